// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's first program, as a newcomer pastes it. */
class QuickstartTest {
  private static String run(Path folder, String connect) throws Exception {
    String readme = Files.readString(Path.of(System.getProperty("basedir", "."), "../README.md"));
    var program = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(readme);
    assertTrue(program.find());
    Path file = folder.resolve("Quickstart.java");
    Files.writeString(file, program.group(1).replace("connect(\"127.0.0.1:50051\")", connect));
    var command =
        new ProcessBuilder("java", "-cp", System.getProperty("java.class.path"), file.toString());
    command.environment().put("LOSSD_ADDRESS", TestServer.sharedAddress());
    Process run = command.redirectErrorStream(true).start();
    return new String(run.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
  }

  @Test
  void printsTheLossThatItSays(@TempDir Path folder) throws Exception {
    assertEquals(
        "0.17545639723539352", run(folder, "connect(\"" + TestServer.sharedAddress() + "\")"));
  }

  @Test
  void takesTheAddressFromTheEnvironment(@TempDir Path folder) throws Exception {
    assertEquals("0.17545639723539352", run(folder, "connect()"));
  }
}
