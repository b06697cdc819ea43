// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class RetryTest {
  private static final Tensor X = Tensor.of(new float[] {1, 2, 3});

  @Test
  void waitsAsLongAsTheServerAsks() throws Exception {
    try (FakeServer server = FakeServer.overloaded(2, 300, null);
        LossdClient client = LossdClient.connect(server.address())) {
      assertEquals(1, client.mseLoss(X, X).value());
      assertEquals(3, server.starts.size());
      assertTrue(server.starts.get(1) - server.starts.get(0) >= TimeUnit.MILLISECONDS.toNanos(300));
    }
  }

  @Test
  void readsThePushbackOfGrpc() throws Exception {
    try (FakeServer server = FakeServer.overloaded(1, 0, "300");
        LossdClient client = LossdClient.connect(server.address())) {
      assertEquals(1, client.mseLoss(X, X).value());
      assertTrue(server.starts.get(1) - server.starts.get(0) >= TimeUnit.MILLISECONDS.toNanos(300));
    }
    try (FakeServer server = FakeServer.overloaded(1, 0, "-1");
        LossdClient client = LossdClient.connect(server.address())) {
      LossdException error = assertThrows(LossdException.class, () -> client.mseLoss(X, X));
      assertFalse(error.isRetryable());
      assertEquals(1, server.starts.size());
    }
  }

  @Test
  void failsAtOnceIfTheNextAttemptWouldComeAfterTheDeadline() throws Exception {
    try (FakeServer server = FakeServer.overloaded(9, 900, null);
        LossdClient client =
            LossdClient.builder()
                .address(server.address())
                .timeout(Duration.ofMillis(500))
                .build()) {
      LossdException error = assertThrows(LossdException.class, () -> client.mseLoss(X, X));
      assertEquals(Status.Code.UNAVAILABLE, error.code());
      assertEquals("QUEUE_FULL", error.reason());
      assertEquals(Duration.ofMillis(900), error.retryAfter().orElseThrow());
      assertEquals(1, server.starts.size());
    }
  }

  @Test
  void doesNotRetryIfToldNotTo() throws Exception {
    try (FakeServer server = FakeServer.overloaded(9, 0, null);
        LossdClient client = LossdClient.builder().address(server.address()).retry(false).build()) {
      assertThrows(LossdException.class, () -> client.mseLoss(X, X));
      assertEquals(1, server.starts.size());
    }
  }

  @Test
  void endsTheWaitForTheNextAttemptWhenItIsCancelledOrClosed() throws Exception {
    try (FakeServer server = FakeServer.overloaded(9, 20_000, null)) {
      LossdClient client = LossdClient.connect(server.address());
      var cancelled = client.async().mseLoss(X, X);
      var closed = client.async().mseLoss(X, X);
      assertTrue(server.started.tryAcquire(2, 30, TimeUnit.SECONDS));
      cancelled.cancel(true);
      client.close();
      var failure = assertThrows(ExecutionException.class, () -> closed.get(10, TimeUnit.SECONDS));
      assertEquals(Status.Code.CANCELLED, ((LossdException) failure.getCause()).code());
    }
  }

  @Test
  void answersEveryCallWhileTheServerIsKilledAndStartsAgain() throws Exception {
    for (boolean coalesce : List.of(false, true)) {
      restart(coalesce);
    }
  }

  private static void restart(boolean coalesce) throws Exception {
    TestServer first = TestServer.start();
    int port = first.port();
    CountDownLatch enough = new CountDownLatch(200);
    var threads = Executors.newFixedThreadPool(8);
    TestServer second = null;
    try (LossdClient client =
        LossdClient.builder()
            .address(first.address())
            .coalesce(coalesce)
            .timeout(Duration.ofSeconds(120))
            .build()) {
      List<Future<Integer>> workers = new ArrayList<>();
      for (int worker = 0; worker < 8; worker++) {
        int seed = worker;
        workers.add(threads.submit((Callable<Integer>) () -> score(client, seed, enough)));
      }
      assertTrue(enough.await(60, TimeUnit.SECONDS));
      first.kill();
      second = TestServer.startOn(port);
      for (Future<Integer> worker : workers) {
        assertEquals(400, worker.get(120, TimeUnit.SECONDS));
      }
    } finally {
      threads.shutdownNow();
      first.close();
      if (second != null) {
        second.close();
      }
    }
  }

  private static int score(LossdClient client, int seed, CountDownLatch enough) {
    Tensor zeros = Tensor.of(new float[3]);
    for (int i = 0; i < 400; i++) {
      float x = seed * 400 + i;
      double expected = (double) x * x;
      double found = client.mseLoss(Tensor.of(new float[] {x, x, x}), zeros).value();
      assertEquals(expected, found, 1e-6 * expected);
      enough.countDown();
    }
    return 400;
  }
}
