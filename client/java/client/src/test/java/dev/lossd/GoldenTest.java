// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.LossStatistics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every golden vector through the public methods: blocking, as a future on a shared stream, and in
 * a batch.
 */
class GoldenTest {
  private static final Path GOLDEN =
      Path.of(System.getProperty("basedir", "."), "../../../tests/golden").normalize();

  /** Names of the schema's fields, which clients report as the argument. */
  private static final Map<String, String> ARGUMENTS =
      Map.of(
          "class_indices", "target",
          "class_probabilities", "target",
          "padded_targets", "targets",
          "concatenated_targets", "targets",
          "variance_values", "var",
          "variance_scalar", "var",
          "pairwise_distance", "distance_function",
          "cosine_distance", "distance_function",
          "squared_euclidean_distance", "distance_function");

  /** Vectors that the types of this client cannot express, with the reason. */
  private static final Map<String, String> INEXPRESSIBLE = Map.of();

  @TestFactory
  Stream<DynamicNode> vectors() throws IOException {
    var blocking = LossdClient.connect(TestServer.sharedAddress());
    var coalescing =
        LossdClient.builder().address(TestServer.sharedAddress()).coalesce(true).build();
    List<DynamicNode> files = new ArrayList<>();
    for (JsonElement file : read("index.json").getAsJsonArray("files")) {
      files.add(container(file.getAsString(), blocking, coalescing));
    }
    return files.stream().onClose(blocking::close).onClose(coalescing::close);
  }

  @TestFactory
  Stream<DynamicNode> limits() throws IOException {
    List<DynamicNode> files = new ArrayList<>();
    List<AutoCloseable> open = new ArrayList<>();
    for (JsonElement file : read("index.json").getAsJsonArray("limited_files")) {
      List<String> flags = new ArrayList<>();
      for (var setting : read(file.getAsString()).getAsJsonObject("settings").entrySet()) {
        flags.add("--" + setting.getKey().replace('_', '-'));
        flags.add(setting.getValue().getAsString());
      }
      TestServer server = TestServer.start(flags.toArray(String[]::new));
      var builder = LossdClient.builder().address(server.address()).split(false);
      var client = builder.build();
      open.addAll(List.of(client, server));
      files.add(container(file.getAsString(), client, client));
    }
    return files.stream().onClose(() -> open.forEach(GoldenTest::close));
  }

  /**
   * The answers to the parts of each request that can be cut, merged, are the answer to the
   * request.
   */
  @TestFactory
  Stream<DynamicNode> parts() throws IOException {
    var client = LossdClient.connect(TestServer.sharedAddress());
    List<DynamicNode> tests = new ArrayList<>();
    for (JsonElement file : read("index.json").getAsJsonArray("files")) {
      JsonObject golden = read(file.getAsString());
      String loss = golden.get("loss").getAsString();
      tests.add(
          DynamicTest.dynamicTest(
              loss, () -> checkParts(client, loss, golden.getAsJsonArray("vectors"))));
    }
    return tests.stream().onClose(client::close);
  }

  private static void checkParts(LossdClient client, String loss, JsonArray vectors)
      throws Throwable {
    int cut = 0;
    for (JsonElement element : vectors) {
      JsonObject vector = element.getAsJsonObject();
      if (vector.has("raw") || !vector.has("response")) {
        continue;
      }
      Recorder recorder = new Recorder();
      GoldenArguments.call(recorder, AsyncLosses.class, loss, vector.getAsJsonObject("arguments"));
      Splitting splitting;
      try {
        splitting = new Splitting(recorder.call.request());
      } catch (LossdException uncuttable) {
        continue;
      }
      cut++;
      List<LossResponse> parts = new ArrayList<>();
      for (Message part : splitting.cut(2)) {
        parts.add(response(client.score(new Call<>(part, recorder.call.reduction(), null))));
      }
      check(vector, () -> recorder.call.reduction().read(splitting.merge(parts)));
    }
    assertTrue(cut > 10, cut + " requests were cut");
  }

  /** Keeps a call instead of making it. */
  private static final class Recorder extends AsyncLosses {
    private Call<?> call;

    @Override
    <R extends LossResult> CompletableFuture<R> score(Call<R> call) {
      this.call = call;
      return new CompletableFuture<>();
    }
  }

  private static DynamicContainer container(
      String file, LossdClient blocking, LossdClient coalescing) throws IOException {
    JsonObject golden = read(file);
    String loss = golden.get("loss").getAsString();
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonElement element : golden.getAsJsonArray("vectors")) {
      JsonObject vector = element.getAsJsonObject();
      String name = vector.get("name").getAsString();
      if (vector.has("raw") || INEXPRESSIBLE.containsKey(loss + ": " + name)) {
        continue;
      }
      tests.add(
          DynamicTest.dynamicTest(
              name,
              () -> {
                JsonObject arguments = vector.getAsJsonObject("arguments");
                check(
                    vector,
                    () ->
                        (LossResult) GoldenArguments.call(blocking, Losses.class, loss, arguments));
                check(
                    vector,
                    () ->
                        join(
                            GoldenArguments.call(
                                coalescing.async(), AsyncLosses.class, loss, arguments)));
                if (blocking == coalescing) {
                  return; // a limit on bytes holds for the whole message of a batch
                }
                Batch batch = blocking.batch();
                Object pending = GoldenArguments.call(batch, AsyncLosses.class, loss, arguments);
                batch.send();
                check(vector, () -> join(pending));
              }));
    }
    assertTrue(tests.size() > 1, file + " has hardly any vectors");
    return DynamicContainer.dynamicContainer(loss, tests);
  }

  private interface Answer {
    LossResult get() throws Throwable;
  }

  private static void check(JsonObject vector, Answer answer) throws Throwable {
    LossResult result;
    try {
      result = answer.get();
    } catch (LossdException error) {
      checkError(vector, error);
      return;
    }
    assertTrue(vector.has("response"), () -> "expected " + vector.get("error") + ", got " + result);
    JsonObject expected = vector.getAsJsonObject("response");
    double tolerance = expected.get("tolerance").getAsDouble();
    if (result instanceof Loss loss) {
      checkNumber(GoldenArguments.number(expected.get("value")), loss.value(), tolerance);
    } else if (result instanceof UnreducedLoss loss) {
      checkTensor(GoldenArguments.tensor(expected.get("values")), loss.values(), tolerance);
    }
    JsonObject statistics = expected.getAsJsonObject("statistics");
    Statistics found = result.statistics();
    checkNumber(GoldenArguments.number(statistics.get("sum")), found.sum(), tolerance);
    checkNumber(
        GoldenArguments.number(statistics.get("mean_numerator")), found.meanNumerator(), tolerance);
    checkNumber(
        GoldenArguments.number(statistics.get("mean_denominator")),
        found.meanDenominator(),
        tolerance);
    assertEquals(statistics.get("element_count").getAsLong(), found.elementCount());
    assertEquals(statistics.get("ignored_count").getAsLong(), found.ignoredCount());
  }

  private static void checkError(JsonObject vector, LossdException error) {
    if (!vector.has("error")) {
      fail("expected " + vector.get("response"), error);
    }
    JsonObject expected = vector.getAsJsonObject("error");
    assertEquals(expected.get("code").getAsString(), error.code().name());
    assertEquals(expected.get("reason").getAsString(), error.reason());
    List<String> fields = new ArrayList<>();
    for (JsonElement violation : expected.getAsJsonArray("field_violations")) {
      String field = violation.getAsJsonObject().get("field").getAsString();
      String first = field.replaceFirst("\\..*", "");
      fields.add(ARGUMENTS.getOrDefault(first, first) + field.substring(first.length()));
    }
    assertEquals(fields, error.fieldViolations().stream().map(FieldViolation::field).toList());
  }

  private static void checkTensor(Tensor expected, Tensor found, double tolerance) {
    assertEquals(expected.dataType(), found.dataType());
    assertEquals(Arrays.toString(expected.shape()), Arrays.toString(found.shape()));
    double[] wanted = doubles(expected);
    double[] given = doubles(found);
    for (int i = 0; i < wanted.length; i++) {
      checkNumber(wanted[i], given[i], tolerance);
    }
  }

  private static double[] doubles(Tensor tensor) {
    if (tensor.dataType() == DataType.FLOAT64) {
      return tensor.toDoubleArray();
    }
    float[] floats = tensor.toFloatArray();
    double[] doubles = new double[floats.length];
    Arrays.setAll(doubles, i -> floats[i]);
    return doubles;
  }

  private static void checkNumber(double expected, double found, double tolerance) {
    if (Double.isFinite(expected)) {
      double allowed = tolerance * Math.abs(expected) + tolerance / 10;
      assertTrue(
          Math.abs(expected - found) <= allowed, () -> "expected " + expected + ", got " + found);
    } else {
      assertEquals(expected, found);
    }
  }

  private static LossResponse response(LossResult result) {
    Statistics statistics = result.statistics();
    var response =
        LossResponse.newBuilder()
            .setStatistics(
                LossStatistics.newBuilder()
                    .setSum(statistics.sum())
                    .setMeanNumerator(statistics.meanNumerator())
                    .setMeanDenominator(statistics.meanDenominator())
                    .setElementCount(statistics.elementCount())
                    .setIgnoredCount(statistics.ignoredCount()));
    if (result instanceof UnreducedLoss loss) {
      response.setValues(loss.values().proto());
    } else if (result instanceof Loss loss) {
      response.setValue(loss.value());
    }
    return response.build();
  }

  private static LossResult join(Object future) throws Throwable {
    try {
      return (LossResult) ((CompletableFuture<?>) future).join();
    } catch (CompletionException failure) {
      throw failure.getCause();
    }
  }

  private static JsonObject read(String file) throws IOException {
    return JsonParser.parseString(Files.readString(GOLDEN.resolve(file))).getAsJsonObject();
  }

  private static void close(AutoCloseable resource) {
    try {
      resource.close();
    } catch (Exception failure) {
      throw new IllegalStateException(failure);
    }
  }
}
