// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Certificates for localhost, made by openssl: ca.crt, server.crt and server.key, client.crt and
 * client.key.
 */
final class Certificates {
  private Certificates() {}

  static void make(Path folder) throws IOException, InterruptedException {
    openssl(
        folder,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=tests",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt");
    Files.writeString(folder.resolve("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    for (String name : List.of("server", "client")) {
      openssl(
          folder,
          "req",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-subj",
          "/CN=" + name,
          "-keyout",
          name + ".key",
          "-out",
          name + ".csr");
      openssl(
          folder,
          "x509",
          "-req",
          "-days",
          "2",
          "-in",
          name + ".csr",
          "-CA",
          "ca.crt",
          "-CAkey",
          "ca.key",
          "-CAcreateserial",
          "-extfile",
          "names",
          "-out",
          name + ".crt");
    }
  }

  private static void openssl(Path folder, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("openssl"));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes());
    if (process.waitFor() != 0) {
      throw new IllegalStateException(output);
    }
  }
}
