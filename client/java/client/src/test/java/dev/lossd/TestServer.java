// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A running {@code lossd serve}. The variable LOSSD is its command. */
final class TestServer implements AutoCloseable {
  private static final Pattern LISTENS = Pattern.compile("lossd listens on (\\S+:(\\d+))");
  private static TestServer shared;

  private final Process process;
  private final String address;

  private TestServer(Process process, String address) {
    this.process = process;
    this.address = address;
  }

  /** A server with default settings, which all tests may use and none may stop. */
  static synchronized String sharedAddress() {
    if (shared == null) {
      shared = start();
      Runtime.getRuntime().addShutdownHook(new Thread(shared::close));
    }
    return shared.address;
  }

  static TestServer start(String... flags) {
    return startOn(0, flags);
  }

  static TestServer startOn(int port, String... flags) {
    String command = System.getenv().getOrDefault("LOSSD", "lossd");
    List<String> words = new ArrayList<>(Arrays.asList(command.split(" ")));
    words.addAll(List.of("serve", "--listen", "127.0.0.1:" + port, "--admin-listen", ""));
    words.addAll(List.of(flags));
    try {
      Process process = new ProcessBuilder(words).redirectErrorStream(true).start();
      BufferedReader output = process.inputReader();
      StringBuilder seen = new StringBuilder();
      for (String line = output.readLine(); line != null; line = output.readLine()) {
        Matcher listens = LISTENS.matcher(line);
        if (listens.find()) {
          Thread drain = new Thread(() -> output.lines().forEach(rest -> {}), "server-output");
          drain.setDaemon(true);
          drain.start();
          return new TestServer(process, listens.group(1));
        }
        seen.append(line).append('\n');
      }
      throw new IllegalStateException("the server did not start: " + seen);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  String address() {
    return address;
  }

  int port() {
    return Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
  }

  /** Ends the server as a crash would. */
  void kill() {
    process.destroyForcibly();
    waitFor();
  }

  @Override
  public void close() {
    kill();
  }

  private void waitFor() {
    try {
      if (!process.waitFor(30, TimeUnit.SECONDS)) {
        throw new IllegalStateException("the server does not end");
      }
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
    }
  }
}
