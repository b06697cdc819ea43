// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConnectionTest {
  private static final Tensor X = Tensor.of(new float[] {1, 2, 3});

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  @Test
  void takesTurnsAndLeavesOutAServerThatIsNotReached() throws IOException {
    try (TestServer other = TestServer.start();
        LossdClient client =
            LossdClient.builder()
                .address(
                    TestServer.sharedAddress()
                        + ", 127.0.0.1:"
                        + freePort()
                        + ","
                        + other.address())
                .connections(2)
                .build()) {
      for (int i = 0; i < 50; i++) {
        assertEquals(0, client.mseLoss(X, X).value());
      }
    }
  }

  @Test
  void saysThatNothingListens() throws IOException {
    try (LossdClient client =
        LossdClient.builder()
            .address("127.0.0.1:" + freePort())
            .timeout(Duration.ofMillis(500))
            .build()) {
      LossdException error = assertThrows(LossdException.class, () -> client.mseLoss(X, X));
      assertEquals(Status.Code.UNAVAILABLE, error.code());
      assertEquals("", error.reason());
      assertTrue(
          error.description().contains("nothing listens at this address"), error.description());
    }
  }

  @Test
  void waitsForAServerThatStarts() throws IOException {
    int port = freePort();
    var starting = CompletableFuture.supplyAsync(() -> TestServer.startOn(port));
    try (LossdClient client = LossdClient.connect("127.0.0.1:" + port)) {
      client.waitUntilReady(Duration.ofSeconds(60));
      assertEquals(0, client.mseLoss(X, X).value());
    } finally {
      starting.join().close();
    }
  }

  @Test
  void checksItsArguments() {
    assertThrows(IllegalArgumentException.class, () -> LossdClient.connect("a:1,,b:2"));
    assertThrows(IllegalArgumentException.class, () -> LossdClient.builder().connections(0));
    var error =
        assertThrows(
            IllegalArgumentException.class,
            () -> LossdClient.builder().address("a:1").token("secret\n").build());
    assertTrue(error.getMessage().contains("strip()"), error.getMessage());
    if (System.getenv("LOSSD_ADDRESS") == null) {
      assertThrows(IllegalArgumentException.class, LossdClient::connect);
    }
  }

  @Test
  void usesTlsAndAToken(@TempDir Path folder) throws Exception {
    Certificates.make(folder);
    String token = "a-token-of-32-characters-or-more-1234";
    byte[] digest =
        MessageDigest.getInstance("SHA-256").digest(token.getBytes(StandardCharsets.UTF_8));
    Path tokens =
        Files.writeString(
            folder.resolve("tokens"), "tests " + HexFormat.of().formatHex(digest) + "\n");
    try (TestServer server =
        TestServer.start(
            "--tls-cert-file", folder.resolve("server.crt").toString(),
            "--tls-key-file", folder.resolve("server.key").toString(),
            "--tls-client-ca-file", folder.resolve("ca.crt").toString(),
            "--tokens-file", tokens.toString())) {
      String address = server.address().replace("127.0.0.1", "localhost");
      try (LossdClient client = trusting(folder, address).token(token).build()) {
        assertEquals(0, client.mseLoss(X, X).value());
      }
      try (LossdClient client = trusting(folder, address).token("").build()) {
        LossdException error = assertThrows(LossdException.class, () -> client.mseLoss(X, X));
        assertEquals(Status.Code.UNAUTHENTICATED, error.code());
        assertFalse(error.reason().isEmpty());
      }
      // What would fail again fails at once, with the likely cause; the test's timeout would be too
      // long to wait for.
      fails(LossdClient.builder().address(address).tls(), "trustCertificates");
      var anonymous =
          LossdClient.builder().address(address).trustCertificates(folder.resolve("ca.crt"));
      fails(anonymous.timeout(Duration.ofSeconds(1)), "client certificate");
      fails(trusting(folder, TestServer.sharedAddress()), "does not use TLS");
      fails(LossdClient.builder().address(address).timeout(Duration.ofSeconds(1)), "it uses TLS");
    }
  }

  private static LossdClientBuilder trusting(Path folder, String address) {
    return LossdClient.builder()
        .address(address)
        .trustCertificates(folder.resolve("ca.crt"))
        .clientCertificate(folder.resolve("client.crt"), folder.resolve("client.key"));
  }

  private static void fails(LossdClientBuilder builder, String cure) {
    try (LossdClient client = builder.build()) {
      LossdException error = assertThrows(LossdException.class, () -> client.mseLoss(X, X));
      assertEquals(Status.Code.UNAVAILABLE, error.code());
      assertTrue(error.description().contains(cure), error.description());
    }
  }
}
