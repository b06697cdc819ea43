// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** Arguments of golden vectors, and the public methods that take them, found by their names. */
final class GoldenArguments {
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

  private GoldenArguments() {}

  static Object call(Object losses, Class<?> type, String loss, JsonObject arguments)
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

  static double number(JsonElement json) {
    return Double.parseDouble(json.getAsString());
  }

  static Tensor tensor(JsonElement element) {
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

  private static String camel(String name) {
    return Pattern.compile("_([a-z0-9])")
        .matcher(name)
        .replaceAll(match -> match.group(1).toUpperCase(Locale.ROOT));
  }
}
