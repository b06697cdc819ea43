// SPDX-License-Identifier: Apache-2.0

import dev.lossd.LossdClient;
import dev.lossd.Tensor;
import java.util.Locale;
import java.util.concurrent.CompletionException;

/** The client's figures as JSON: see Measure. */
final class ClientBenchmark {
  public static void main(String[] arguments) throws InterruptedException {
    var measure = new Measure(Double.parseDouble(arguments[1]));
    float[] logits = new float[32 * 10];
    long[] labels = new long[32];
    float[] large = new float[524_288];
    try (var client = LossdClient.connect(arguments[0]);
        var coalescing = LossdClient.builder().address(arguments[0]).coalesce(true).build()) {
      double[] lone =
          measure.alone(
              () -> client.crossEntropy(Tensor.of(logits, 32, 10), Tensor.of(labels)).value());
      double unary = measure.rate(done -> start(client, logits, labels, done));
      double coalesced = measure.rate(done -> start(coalescing, logits, labels, done));
      double[] big =
          measure.alone(() -> client.mseLoss(Tensor.of(large), Tensor.of(large)).value());
      System.out.printf(
          Locale.ROOT,
          "{\"lone_p50_seconds\": %.9f, \"unary_calls_per_second\": %.1f,"
              + " \"coalesced_calls_per_second\": %.1f, \"large_call_seconds\": %.9f,"
              + " \"large_call_cpu_seconds\": %.9f}%n",
          lone[0],
          unary,
          coalesced,
          big[0],
          big[1]);
    }
  }

  private static void start(LossdClient client, float[] logits, long[] labels, Runnable done) {
    client
        .async()
        .crossEntropy(Tensor.of(logits, 32, 10), Tensor.of(labels))
        .whenComplete(
            (loss, error) -> {
              if (error != null) {
                throw new CompletionException(error);
              }
              done.run();
            });
  }
}
