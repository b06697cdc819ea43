// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class EvaluationTest {
  private record MiniBatch(String region, float[] predictions, float[] targets) {}

  private static LossdClient client;

  @BeforeAll
  static void connect() {
    client = LossdClient.connect(TestServer.sharedAddress());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  private static List<MiniBatch> data(int batches) {
    Random random = new Random(1);
    List<MiniBatch> data = new ArrayList<>();
    for (int i = 0; i < batches; i++) {
      float[] predictions = new float[1 + random.nextInt(100)];
      for (int row = 0; row < predictions.length; row++) {
        predictions[row] = (float) (random.nextGaussian() * Math.pow(10, random.nextInt(8)));
      }
      data.add(
          new MiniBatch(
              i % 3 == 0 ? "north" : "south", predictions, new float[predictions.length]));
    }
    return data;
  }

  private static Evaluation evaluate(List<MiniBatch> data) {
    Evaluation evaluation = client.evaluation();
    for (MiniBatch batch : data) {
      evaluation
          .series(batch.region)
          .mseLoss(Tensor.of(batch.predictions), Tensor.of(batch.targets));
    }
    return evaluation;
  }

  @Test
  void isTheSameBitsInAnyOrderAndInAnyParts() {
    List<MiniBatch> data = data(3000);
    Evaluation once = evaluate(data);
    SeriesResult total = once.total();
    Map<String, SeriesResult> results = once.compute();
    assertEquals(3000, total.callCount());
    assertEquals(1000, results.get("north").callCount());
    assertEquals(
        data.stream().mapToLong(batch -> batch.predictions.length).sum(),
        total.statistics().elementCount());

    List<MiniBatch> shuffled = new ArrayList<>(data);
    Collections.shuffle(shuffled, new Random(2));
    Evaluation parts = evaluate(shuffled.subList(0, 700));
    parts.merge(evaluate(shuffled.subList(700, 3000)));
    assertEquals(results, new HashMap<>(parts.compute()));
    assertEquals(total, parts.total());
  }

  @Test
  void isTheLossOfAllRowsAtOnce() {
    float[] all = new float[5000];
    Random random = new Random(3);
    Evaluation evaluation = client.evaluation();
    for (int start = 0; start < all.length; start += 50) {
      float[] some = new float[50];
      for (int i = 0; i < 50; i++) {
        some[i] = all[start + i] = (float) random.nextGaussian();
      }
      evaluation.l1Loss(Tensor.of(some), Tensor.of(new float[50]), L1LossOptions.sum());
    }
    Loss whole = client.l1Loss(Tensor.of(all), Tensor.of(new float[5000]), L1LossOptions.sum());
    assertEquals(whole.value(), evaluation.compute().get("").value(), 1e-9 * whole.value());
  }

  @Test
  void mergesTheStateOfAnotherProcess() throws IOException, ClassNotFoundException {
    Evaluation evaluation = evaluate(data(20));
    var bytes = new ByteArrayOutputStream();
    try (var out = new ObjectOutputStream(bytes)) {
      out.writeObject(evaluation.state());
    }
    Evaluation other = client.evaluation();
    try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      @SuppressWarnings("unchecked")
      var state = (Map<String, SeriesState>) in.readObject();
      other.merge(state);
    }
    assertEquals(evaluation.compute(), other.compute());
  }

  @Test
  void throwsTheErrorOfAnUpdateAndDoesNotCountIt() {
    Evaluation evaluation = client.evaluation();
    Tensor logits = Tensor.of(new float[][] {{1, 2}});
    evaluation.crossEntropy(logits, Tensor.of(new long[] {0}));
    evaluation.crossEntropy(logits, Tensor.of(new long[] {2}));
    LossdException error = assertThrows(LossdException.class, evaluation::compute);
    assertEquals("TARGET_OUT_OF_RANGE", error.reason());
    assertEquals(1, evaluation.total().callCount());
  }

  @Test
  void refusesToMixLossesOrReductions() {
    Evaluation evaluation = client.evaluation();
    Tensor x = Tensor.of(new float[] {1});
    evaluation.series("a").mseLoss(x, x);
    assertThrows(IllegalArgumentException.class, () -> evaluation.series("a").l1Loss(x, x));
    assertThrows(
        IllegalArgumentException.class,
        () -> evaluation.series("a").mseLoss(x, x, MseLossOptions.sum()));
    evaluation.series("b").l1Loss(x, x);
    assertThrows(IllegalArgumentException.class, evaluation::total);
    assertEquals(List.of("a", "b"), List.copyOf(evaluation.names()));
  }

  @Test
  void countsResultsOfCalls() {
    Evaluation evaluation = client.evaluation();
    Tensor zero = Tensor.of(new float[] {0});
    evaluation.add("", client.mseLoss(Tensor.of(new float[] {3}), zero), Reduction.MEAN);
    evaluation.mseLoss(Tensor.of(new float[] {1}), zero);
    assertEquals(5, evaluation.total().value());
  }

  @Test
  void losesNothingWhenTheServerIsKilledAndStartsAgain() {
    List<MiniBatch> data = data(300);
    SeriesResult expected = evaluate(data).total();
    TestServer first = TestServer.start();
    try (LossdClient restarting =
        LossdClient.builder().address(first.address()).timeout(Duration.ofSeconds(120)).build()) {
      Evaluation evaluation = restarting.evaluation();
      for (int i = 0; i < 300; i++) {
        if (i == 100) {
          evaluation.compute();
        } else if (i == 200) {
          first.kill();
        }
        MiniBatch batch = data.get(i);
        evaluation
            .series(batch.region)
            .mseLoss(Tensor.of(batch.predictions), Tensor.of(batch.targets));
      }
      TestServer second = TestServer.startOn(first.port());
      try {
        assertEquals(expected, evaluation.total());
      } finally {
        second.close();
      }
    } finally {
      first.close();
    }
  }
}
