// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.regex.Pattern;
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

  /** The required arguments, in the methods' order; the others are options. */
  private static final Map<String, List<String>> REQUIRED =
      Map.of(
          "gaussian_nll_loss", List.of("input", "target", "var"),
          "margin_ranking_loss", List.of("input1", "input2", "target"),
          "cosine_embedding_loss", List.of("input1", "input2", "target"),
          "triplet_margin_loss", List.of("anchor", "positive", "negative"),
          "triplet_margin_with_distance_loss", List.of("anchor", "positive", "negative"),
          "ctc_loss", List.of("log_probs", "targets", "input_lengths", "target_lengths"),
          "adaptive_log_softmax_with_loss",
              List.of("input", "target", "head_weight", "tail", "cutoffs"),
          "linear_cross_entropy", List.of("input", "linear_weight", "target"));

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
                check(vector, () -> (LossResult) call(blocking, Losses.class, loss, arguments));
                check(
                    vector,
                    () -> join(call(coalescing.async(), AsyncLosses.class, loss, arguments)));
                if (blocking == coalescing) {
                  return; // a limit on bytes holds for the whole message of a batch
                }
                Batch batch = blocking.batch();
                Object pending = call(batch, AsyncLosses.class, loss, arguments);
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
      checkNumber(number(expected.get("value")), loss.value(), tolerance);
    } else if (result instanceof UnreducedLoss loss) {
      checkTensor(tensor(expected.get("values")), loss.values(), tolerance);
    }
    JsonObject statistics = expected.getAsJsonObject("statistics");
    Statistics found = result.statistics();
    checkNumber(number(statistics.get("sum")), found.sum(), tolerance);
    checkNumber(number(statistics.get("mean_numerator")), found.meanNumerator(), tolerance);
    checkNumber(number(statistics.get("mean_denominator")), found.meanDenominator(), tolerance);
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

  // Arguments from JSON, for a method that is found by its name.

  private static Object call(Object losses, Class<?> type, String loss, JsonObject arguments)
      throws Throwable {
    String name = camel(loss);
    List<String> required = REQUIRED.getOrDefault(loss, List.of("input", "target"));
    Class<?> optionsType =
        Class.forName(
            "dev.lossd."
                + name.substring(0, 1).toUpperCase(Locale.ROOT)
                + name.substring(1)
                + "Options");
    boolean scalarVariance = arguments.has("var") && !arguments.get("var").isJsonObject();
    Method method =
        Arrays.stream(type.getMethods())
            .filter(m -> m.getName().equals(name) && m.getParameterCount() == required.size() + 1)
            .filter(
                m ->
                    !required.contains("var")
                        || (m.getParameterTypes()[2] == double.class) == scalarVariance)
            .findFirst()
            .orElseThrow();
    List<Object> values = new ArrayList<>();
    for (int i = 0; i < required.size(); i++) {
      values.add(value(arguments.get(required.get(i)), method.getParameterTypes()[i]));
    }
    values.add(options(optionsType, required, arguments));
    return invoke(method, losses, values.toArray());
  }

  private static Object options(Class<?> type, List<String> required, JsonObject arguments)
      throws Throwable {
    String reduction =
        arguments.has("reduction") ? arguments.get("reduction").getAsString() : "mean";
    Object options = invoke(type.getMethod("of", Reduction.class), null, Reduction.of(reduction));
    for (var argument : arguments.entrySet()) {
      if (required.contains(argument.getKey()) || argument.getKey().equals("reduction")) {
        continue;
      }
      if (argument.getKey().equals("precision")) {
        assertEquals("float64", argument.getValue().getAsString());
        options = invoke(type.getMethod("float64"), options);
        continue;
      }
      String name = camel(argument.getKey());
      Method option =
          Arrays.stream(type.getMethods())
              .filter(m -> m.getName().equals(name))
              .findFirst()
              .orElseThrow();
      options = invoke(option, options, value(argument.getValue(), option.getParameterTypes()[0]));
    }
    return options;
  }

  private static Object value(JsonElement json, Class<?> type) {
    if (type == Tensor.class) {
      return tensor(json);
    }
    if (type == double.class) {
      return number(json);
    }
    if (type == long.class) {
      return Long.parseLong(json.getAsString());
    }
    if (type == int.class) {
      return json.getAsInt();
    }
    if (type == boolean.class) {
      return json.getAsBoolean();
    }
    if (type == Distance.class) {
      return distance(json.getAsJsonObject());
    }
    JsonArray items = json.getAsJsonArray();
    if (type == long[].class) {
      long[] numbers = new long[items.size()];
      Arrays.setAll(numbers, i -> Long.parseLong(items.get(i).getAsString()));
      return numbers;
    }
    List<AdaptiveTailCluster> tail = new ArrayList<>();
    for (JsonElement item : items) {
      JsonObject cluster = item.getAsJsonObject();
      tail.add(
          new AdaptiveTailCluster(
              tensor(cluster.get("projection")), tensor(cluster.get("output"))));
    }
    return tail;
  }

  private static Distance distance(JsonObject json) {
    var entry = json.entrySet().iterator().next();
    JsonObject options = entry.getValue().getAsJsonObject();
    return switch (entry.getKey()) {
      case "pairwise_distance" ->
          new Distance.Pairwise(
              number(options, "p", new Distance.Pairwise().p()),
              number(options, "eps", new Distance.Pairwise().eps()));
      case "cosine_distance" ->
          new Distance.Cosine(number(options, "eps", new Distance.Cosine().eps()));
      default -> new Distance.SquaredEuclidean();
    };
  }

  private static double number(JsonObject json, String name, double otherwise) {
    return json.has(name) ? number(json.get(name)) : otherwise;
  }

  private static double number(JsonElement json) {
    return Double.parseDouble(json.getAsString());
  }

  private static Tensor tensor(JsonElement element) {
    JsonObject json = element.getAsJsonObject();
    JsonArray extents = json.getAsJsonArray("shape");
    long[] shape = new long[extents.size()];
    Arrays.setAll(shape, i -> extents.get(i).getAsLong());
    DataType type = DataType.valueOf(json.get("dtype").getAsString().toUpperCase(Locale.ROOT));
    ByteBuffer data =
        ByteBuffer.wrap(Base64.getDecoder().decode(json.get("data").getAsString()))
            .order(ByteOrder.LITTLE_ENDIAN);
    return Tensor.wrap(type, data, shape);
  }

  private static Object invoke(Method method, Object on, Object... arguments) throws Throwable {
    try {
      return method.invoke(on, arguments);
    } catch (InvocationTargetException failure) {
      throw failure.getCause();
    }
  }

  private static LossResult join(Object future) throws Throwable {
    try {
      return (LossResult) ((CompletableFuture<?>) future).join();
    } catch (CompletionException failure) {
      throw failure.getCause();
    }
  }

  private static String camel(String name) {
    return Pattern.compile("_([a-z0-9])")
        .matcher(name)
        .replaceAll(match -> match.group(1).toUpperCase(Locale.ROOT));
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
