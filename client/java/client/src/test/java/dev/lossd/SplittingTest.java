// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SplittingTest {
  private static TestServer small;
  private static LossdClient whole;
  private final CountingInterceptor counting = new CountingInterceptor();

  @BeforeAll
  static void start() {
    small = TestServer.start("--max-request-bytes", "65536");
    whole = LossdClient.connect(TestServer.sharedAddress());
  }

  @AfterAll
  static void stop() {
    whole.close();
    small.close();
  }

  private LossdClient client() {
    return LossdClient.builder().address(small.address()).intercept(counting).build();
  }

  private static Tensor normal(long... shape) {
    Random random = new Random(7);
    float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Tensor.of(values, shape);
  }

  private static Tensor labels(int count, int classes) {
    Random random = new Random(8);
    long[] labels = random.longs(count, 0, classes).toArray();
    return Tensor.of(labels);
  }

  @Test
  void mergesTheAnswersToThePartsExactly() {
    Tensor logits = normal(20_000, 10);
    Tensor labels = labels(20_000, 10);
    Tensor weight = Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    try (LossdClient client = client()) {
      for (var options : List.of(CrossEntropyOptions.mean(), CrossEntropyOptions.sum())) {
        Loss expected = whole.crossEntropy(logits, labels, options.weight(weight));
        Loss found = client.crossEntropy(logits, labels, options.weight(weight));
        assertEquals(expected.value(), found.value(), 1e-12 * Math.abs(expected.value()));
        assertEquals(expected.statistics().elementCount(), found.statistics().elementCount());
      }
      assertTrue(counting.count("CrossEntropyLoss") > 10);
      assertArrayEquals(
          whole.crossEntropy(logits, labels, CrossEntropyOptions.none()).values().toFloatArray(),
          client.crossEntropy(logits, labels, CrossEntropyOptions.none()).values().toFloatArray());
      assertEquals(
          whole.crossEntropy(logits, labels).value(),
          client.async().crossEntropy(logits, labels).join().value(),
          1e-12);
    }
  }

  @Test
  void cutsALongRowAlongItsNextExtent() {
    Tensor image = normal(1, 300, 300);
    Tensor other = Tensor.of(new float[90_000], 1, 300, 300);
    try (LossdClient client = client()) {
      assertEquals(
          whole.mseLoss(image, other).value(), client.mseLoss(image, other).value(), 1e-12);
      UnreducedLoss each = client.mseLoss(image, other, MseLossOptions.none());
      assertArrayEquals(new long[] {1, 300, 300}, each.values().shape());
    }
  }

  @Test
  void cutsSequencesAlongTheirSecondExtent() {
    Tensor scores = normal(20, 60, 30);
    long[] inputLengths = new long[60];
    long[] targetLengths = new long[60];
    Arrays.fill(inputLengths, 20);
    int total = 0;
    for (int i = 0; i < 60; i++) {
      targetLengths[i] = 1 + i % 5;
      total += (int) targetLengths[i];
    }
    long[] targets = new Random(9).longs(total, 1, 30).toArray();
    try (LossdClient client = client()) {
      Loss expected = whole.ctcLoss(scores, Tensor.of(targets), inputLengths, targetLengths);
      Loss found = client.ctcLoss(scores, Tensor.of(targets), inputLengths, targetLengths);
      assertEquals(expected.value(), found.value(), 1e-6 * Math.abs(expected.value()));
      assertTrue(counting.count("CtcLoss") > 2);
    }
  }

  @Test
  void describesAnErrorOfAPartInTermsOfTheWhole() {
    long[] labels = new long[20_000];
    labels[19_999] = 10;
    try (LossdClient client = client()) {
      LossdException error =
          assertThrows(
              LossdException.class,
              () -> client.crossEntropy(normal(20_000, 10), Tensor.of(labels)));
      assertTrue(error.description().contains("the first at index [19999]"), error.description());
      assertEquals("target", error.fieldViolations().get(0).field());
    }
  }

  @Test
  void refusesWhatCannotBeCutBeforeItSendsParts() {
    Tensor input = normal(512, 64);
    Tensor weight = normal(1000, 64);
    try (LossdClient client = client()) {
      for (int attempt = 0; attempt < 2; attempt++) {
        LossdException error =
            assertThrows(
                LossdException.class,
                () -> client.linearCrossEntropy(input, weight, labels(512, 1000)));
        assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.code());
        assertEquals("REQUEST_TOO_LARGE", error.reason());
        assertTrue(error.description().contains("linear_weight"), error.description());
      }
      assertEquals(
          List.of("LinearCrossEntropyLoss"),
          counting.sent); // the one that told the client the limit
    }
  }

  @Test
  void throwsInsteadIfToldNotToSplit() {
    try (LossdClient client = LossdClient.builder().address(small.address()).split(false).build()) {
      Tensor large = normal(100_000);
      assertEquals(
          "REQUEST_TOO_LARGE",
          assertThrows(LossdException.class, () -> client.mseLoss(large, large)).reason());
      var failure =
          assertThrows(CompletionException.class, client.async().mseLoss(large, large)::join);
      assertEquals("REQUEST_TOO_LARGE", ((LossdException) failure.getCause()).reason());
    }
  }

  @Test
  void cutsForOtherLimitsOfTheServer() {
    try (TestServer server = TestServer.start("--max-response-bytes", "4096");
        LossdClient client = LossdClient.connect(server.address())) {
      Tensor x = normal(5_000);
      Tensor zeros = Tensor.of(new float[5_000]);
      assertArrayEquals(
          whole.l1Loss(x, zeros, L1LossOptions.none()).values().toFloatArray(),
          client.l1Loss(x, zeros, L1LossOptions.none()).values().toFloatArray());
    }
  }

  @Test
  void splitsLargeCallsOfABatchToo() {
    Tensor x = normal(200_000);
    Tensor zeros = Tensor.of(new float[200_000]);
    try (LossdClient client = client()) {
      Batch batch = client.batch();
      var large = batch.mseLoss(x, zeros);
      var little = batch.mseLoss(Tensor.of(new float[] {2}), Tensor.of(new float[] {0}));
      batch.send();
      assertEquals(whole.mseLoss(x, zeros).value(), large.join().value(), 1e-12);
      assertEquals(4, little.join().value());
    }
  }
}
