// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class CallsTest {
  private static final Tensor LOGITS = Tensor.of(new float[][] {{2, 0.5f, -1}, {0.1f, 0.2f, 3}});
  private static final Tensor LABELS = Tensor.of(new long[] {0, 2});
  private static final double MEAN = 0.17545639723539352;

  private static LossdClient client;

  @BeforeAll
  static void connect() {
    client = LossdClient.connect(TestServer.sharedAddress());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  @Test
  void reducesAsTheOptionsSay() {
    Loss mean = client.crossEntropy(LOGITS, LABELS);
    assertEquals(MEAN, mean.value(), 1e-7);
    assertEquals(2, mean.statistics().meanDenominator());
    assertEquals("cpu", mean.execution().device());
    Loss sum = client.crossEntropy(LOGITS, LABELS, CrossEntropyOptions.sum());
    assertEquals(2 * MEAN, sum.value(), 1e-6);
    UnreducedLoss each = client.crossEntropy(LOGITS, LABELS, CrossEntropyOptions.none().float64());
    assertEquals(
        2 * MEAN, each.values().toDoubleArray()[0] + each.values().toDoubleArray()[1], 1e-6);
    LossResult dynamic =
        client.crossEntropy(LOGITS, LABELS, CrossEntropyOptions.of(Reduction.of("none")));
    assertArrayEquals(
        new long[] {2}, assertInstanceOf(UnreducedLoss.class, dynamic).values().shape());
  }

  @Test
  void takesArraysAndBuffersOfEveryType() {
    FloatBuffer buffer = FloatBuffer.wrap(new float[] {9, 1, 2, 9}).position(1).limit(3);
    Tensor floats = Tensor.of(buffer);
    assertEquals(1, buffer.position());
    List<Tensor> targets =
        List.of(
            Tensor.of(new double[] {0, 0}),
            Tensor.of(new int[] {0, 0}),
            Tensor.of(new long[] {0, 0}),
            Tensor.of(new boolean[] {false, false}),
            Tensor.of(new byte[] {0, 0}),
            Tensor.float16(new short[] {0, 0}),
            Tensor.bfloat16(new short[] {0, 0}));
    for (Tensor target : targets) {
      assertEquals(2.5, client.mseLoss(floats, target).value(), target.toString());
    }
    Tensor half = Tensor.float16(new short[] {0x3c00, 0x4000}); // 1 and 2
    assertEquals(2.5, client.mseLoss(half, targets.get(1)).value());
  }

  @Test
  void tellsWhatIsWrong() {
    LossdException error =
        assertThrows(
            LossdException.class, () -> client.crossEntropy(LOGITS, Tensor.of(new long[] {0, 3})));
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals("TARGET_OUT_OF_RANGE", error.reason());
    assertEquals("target", error.fieldViolations().get(0).field());
    assertFalse(error.description().contains("class_indices"), error.description());
    assertInstanceOf(StatusRuntimeException.class, error.getCause());
    assertFalse(error.isRetryable());
  }

  @Test
  void hintsAtFloatLabelsAndAtTheExtentOfClasses() {
    LossdException floats =
        assertThrows(
            LossdException.class,
            () -> client.crossEntropy(LOGITS, Tensor.of(new double[] {0, 2})));
    assertTrue(
        floats.description().contains("pass integers for class indices"), floats.description());
    Tensor sequences = Tensor.of(new float[2 * 5 * 7], 2, 5, 7);
    LossdException order =
        assertThrows(
            LossdException.class,
            () -> client.crossEntropy(sequences, Tensor.of(new long[10], 2, 5)));
    assertTrue(
        order.description().contains("classes are input's second extent"), order.description());
  }

  @Test
  void completesFuturesWhereContinuationsMayBlock() {
    double twice =
        client
            .async()
            .crossEntropy(LOGITS, LABELS)
            .thenApply(loss -> loss.value() + client.crossEntropy(LOGITS, LABELS).value())
            .join();
    assertEquals(2 * MEAN, twice, 1e-6);
  }

  @Test
  void failsFuturesWithTheError() {
    var future = client.async().crossEntropy(LOGITS, Tensor.of(new long[] {0}));
    CompletionException failure = assertThrows(CompletionException.class, future::join);
    assertEquals(
        "SHAPE_MISMATCH", assertInstanceOf(LossdException.class, failure.getCause()).reason());
  }

  @Test
  void cancelsTheRpcOfAFuture() throws Exception {
    try (FakeServer silent = FakeServer.silent();
        LossdClient waiting = LossdClient.connect(silent.address())) {
      var future = waiting.async().crossEntropy(LOGITS, LABELS);
      assertTrue(silent.started.tryAcquire(30, TimeUnit.SECONDS));
      assertTrue(future.cancel(true));
      assertTrue(silent.cancelled.tryAcquire(30, TimeUnit.SECONDS));
    }
  }

  @Test
  void cancelsTheRpcOfAnInterruptedThread() throws Exception {
    try (FakeServer silent = FakeServer.silent();
        LossdClient waiting = LossdClient.connect(silent.address())) {
      AtomicReference<LossdException> thrown = new AtomicReference<>();
      Thread thread =
          new Thread(
              () -> {
                thrown.set(
                    assertThrows(LossdException.class, () -> waiting.crossEntropy(LOGITS, LABELS)));
                assertTrue(Thread.currentThread().isInterrupted());
              });
      thread.start();
      assertTrue(silent.started.tryAcquire(30, TimeUnit.SECONDS));
      thread.interrupt();
      thread.join(30_000);
      assertEquals(Status.Code.CANCELLED, thrown.get().code());
      assertTrue(silent.cancelled.tryAcquire(30, TimeUnit.SECONDS));
    }
  }

  @Test
  void endsAtTheDeadlineOfTheCallOrOfItsContext() throws Exception {
    try (FakeServer silent = FakeServer.silent();
        LossdClient waiting = LossdClient.connect(silent.address());
        LossdClient coalescing =
            LossdClient.builder().address(silent.address()).coalesce(true).build()) {
      var options = CrossEntropyOptions.mean().timeout(Duration.ofMillis(100));
      for (LossdClient one : List.of(waiting, coalescing)) {
        var error =
            assertThrows(LossdException.class, () -> one.crossEntropy(LOGITS, LABELS, options));
        assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
      }
      var timer = Executors.newSingleThreadScheduledExecutor();
      Context.current()
          .withDeadline(Deadline.after(100, TimeUnit.MILLISECONDS), timer)
          .run(
              () -> {
                var error =
                    assertThrows(LossdException.class, () -> waiting.crossEntropy(LOGITS, LABELS));
                assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
              });
      timer.shutdownNow();
    }
    var forever = CrossEntropyOptions.mean().timeout(ChronoUnit.FOREVER.getDuration());
    assertEquals(MEAN, client.crossEntropy(LOGITS, LABELS, forever).value(), 1e-7);
  }

  @Test
  void failsCallsInFlightWhenItIsClosed() throws Exception {
    for (boolean coalesce : List.of(false, true)) {
      try (FakeServer silent = FakeServer.silent()) {
        LossdClient closing =
            LossdClient.builder().address(silent.address()).coalesce(coalesce).build();
        var future = closing.async().crossEntropy(LOGITS, LABELS);
        assertTrue(silent.started.tryAcquire(30, TimeUnit.SECONDS));
        closing.close();
        CompletionException failure = assertThrows(CompletionException.class, future::join);
        assertEquals(Status.Code.CANCELLED, ((LossdException) failure.getCause()).code());
        var later = assertThrows(LossdException.class, () -> closing.crossEntropy(LOGITS, LABELS));
        assertEquals(Status.Code.CANCELLED, later.code());
      }
    }
  }

  @Test
  void sendsManyCallsOfABatchInOneMessage() {
    var counting = new CountingInterceptor();
    try (var counted =
        LossdClient.builder().address(TestServer.sharedAddress()).intercept(counting).build()) {
      Batch batch = counted.batch();
      var right = batch.crossEntropy(LOGITS, LABELS);
      var wrong = batch.crossEntropy(LOGITS, Tensor.of(new long[] {0, 3}));
      var each = batch.l1Loss(LOGITS, LOGITS, L1LossOptions.none());
      var cancelled = batch.mseLoss(LOGITS, LOGITS);
      cancelled.cancel(true);
      assertEquals(4, batch.size());
      assertFalse(right.isDone());
      batch.send();
      assertEquals(MEAN, right.join().value(), 1e-7);
      assertArrayEquals(new float[6], each.join().values().toFloatArray());
      var failure = assertThrows(CompletionException.class, wrong::join);
      assertEquals(
          "target", ((LossdException) failure.getCause()).fieldViolations().get(0).field());
      assertEquals(List.of("ScoreBatch"), counting.sent);
      assertThrows(IllegalStateException.class, batch::send);
    }
  }

  @Test
  void sendsALargeBatchInSeveralMessages() {
    Batch batch = client.batch(Duration.ofSeconds(60));
    Tensor zeros = Tensor.of(new float[20_000]);
    List<CompletableFuture<Loss>> futures = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      float[] values = new float[20_000];
      Arrays.fill(values, i);
      futures.add(batch.mseLoss(Tensor.of(values), zeros));
    }
    batch.send();
    for (int i = 0; i < 100; i++) {
      assertEquals((double) i * i, futures.get(i).join().value());
    }
  }

  @Test
  void describesTheServer() {
    ServerInfo info = client.serverInfo();
    assertEquals(23, info.losses().size());
    assertTrue(info.maxRequestBytes() > 0);
  }
}
