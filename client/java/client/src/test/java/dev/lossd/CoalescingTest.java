// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class CoalescingTest {
  private static final Tensor ZEROS = Tensor.of(new float[3]);

  private final CountingInterceptor counting = new CountingInterceptor();
  private LossdClient client;

  @BeforeEach
  void connect() {
    client =
        LossdClient.builder()
            .address(TestServer.sharedAddress())
            .coalesce(true)
            .intercept(counting)
            .build();
  }

  @AfterEach
  void disconnect() {
    client.close();
  }

  private CompletableFuture<Loss> square(float x) {
    return client.async().mseLoss(Tensor.of(new float[] {x, x, x}), ZEROS);
  }

  @Test
  void sendsConcurrentCallsTogetherAndAnswersEach() {
    List<CompletableFuture<Loss>> futures = new ArrayList<>();
    for (int i = 0; i < 1000; i++) {
      futures.add(square(i));
    }
    int together = 0;
    for (int i = 0; i < 1000; i++) {
      Loss loss = futures.get(i).join();
      assertEquals((double) i * i, loss.value(), 1e-6 * i * i);
      together = Math.max(together, loss.execution().callsInBatch());
    }
    assertTrue(together > 1);
    assertEquals(counting.sent.size(), counting.count("ScoreStream"));
    assertTrue(counting.sent.size() < 500, counting.sent.size() + " messages");
  }

  @Test
  void sendsCallsOfBlockedThreadsTogether() throws InterruptedException {
    AtomicInteger right = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 32; i++) {
      float x = i;
      Thread thread =
          new Thread(
              () -> {
                for (int call = 0; call < 50; call++) {
                  double value = client.mseLoss(Tensor.of(new float[] {x, x, x}), ZEROS).value();
                  right.addAndGet(value == (double) x * x ? 1 : 0);
                }
              });
      thread.start();
      threads.add(thread);
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(32 * 50, right.get());
    assertTrue(counting.sent.size() < 32 * 50, counting.sent.size() + " messages");
  }

  @Test
  void keepsEachCallsErrorDeadlineAndCancellationFromTheOthers() {
    var expired = MseLossOptions.mean().timeout(Duration.ofNanos(1));
    List<CompletableFuture<Loss>> right = new ArrayList<>();
    List<CompletableFuture<Loss>> wrong = new ArrayList<>();
    List<CompletableFuture<Loss>> late = new ArrayList<>();
    List<CompletableFuture<Loss>> cancelled = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      right.add(square(i));
      wrong.add(client.async().crossEntropy(ZEROS, Tensor.scalar(7)));
      late.add(client.async().mseLoss(ZEROS, ZEROS, expired));
      cancelled.add(square(i));
      cancelled.get(i).cancel(true);
    }
    for (int i = 0; i < 100; i++) {
      assertEquals((double) i * i, right.get(i).join().value(), 1e-6 * i * i);
      var error = assertThrows(CompletionException.class, wrong.get(i)::join);
      assertEquals("TARGET_OUT_OF_RANGE", ((LossdException) error.getCause()).reason());
      assertEquals("target", ((LossdException) error.getCause()).fieldViolations().get(0).field());
      var expiry = assertThrows(CompletionException.class, late.get(i)::join);
      assertEquals(Status.Code.DEADLINE_EXCEEDED, ((LossdException) expiry.getCause()).code());
      assertTrue(cancelled.get(i).isCancelled());
    }
  }

  @Test
  void cancelsACallThatWasSentAtTheServer() throws Exception {
    var messages = new CountingInterceptor();
    try (FakeServer silent = FakeServer.silent();
        LossdClient waiting =
            LossdClient.builder()
                .address(silent.address())
                .coalesce(true)
                .intercept(messages)
                .build()) {
      var future = waiting.async().mseLoss(ZEROS, ZEROS);
      assertTrue(silent.started.tryAcquire(30, TimeUnit.SECONDS));
      while (messages.sent.isEmpty()) {
        Thread.onSpinWait();
      }
      future.cancel(true);
      assertEquals(List.of("ScoreStream", "ScoreStream"), messages.sent);
      assertEquals(0, silent.cancelled.availablePermits());
    }
  }

  @Test
  void outlivesTheContextOfTheCallThatOpenedTheStream() throws Exception {
    Context.CancellableContext context = Context.current().withCancellation();
    context.call(() -> square(2).join());
    context.cancel(null);
    assertEquals(9, square(3).join().value());
    assertEquals(0, counting.count("MseLoss"));
  }

  @Test
  void sendsALargeCallByItself() {
    Tensor large = Tensor.of(new float[100_000]);
    assertEquals(0, client.mseLoss(large, large).value());
    assertEquals(List.of("MseLoss"), counting.sent);
  }
}
