// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Finds mismatched shapes before anything is sent, and words the server's errors in terms of the
 * caller's arguments.
 *
 * <p>The server decides. Only the rules that callers break most often are also checked here, with
 * the server's messages.
 */
final class Explain {
  private static final Map<String, String> CLASSES =
      Map.of("class_indices", "target", "class_probabilities", "target");

  /**
   * By RPC, the fields of request messages whose names differ from the arguments that they hold.
   */
  private static final Map<String, Map<String, String>> ARGUMENTS =
      Map.of(
          "CrossEntropyLoss", CLASSES,
          "LinearCrossEntropyLoss", CLASSES,
          "GaussianNllLoss", Map.of("variance_values", "var", "variance_scalar", "var"),
          "CtcLoss", Map.of("padded_targets", "targets", "concatenated_targets", "targets"),
          "TripletMarginWithDistanceLoss",
              Map.of(
                  "pairwise_distance", "distance_function",
                  "cosine_distance", "distance_function",
                  "squared_euclidean_distance", "distance_function"));

  private static final List<String> PAIR = List.of("input", "target");
  private static final List<String> WEIGHTED = List.of("input", "target", "weight");
  private static final List<String> TRIPLET = List.of("anchor", "positive", "negative");

  /** Tensors that must all have the shape of the first. */
  private static final Map<String, List<String>> SAME_SHAPE =
      Map.ofEntries(
          Map.entry("L1Loss", WEIGHTED),
          Map.entry("MseLoss", WEIGHTED),
          Map.entry("SmoothL1Loss", PAIR),
          Map.entry("HuberLoss", WEIGHTED),
          Map.entry("KlDivLoss", PAIR),
          Map.entry("PoissonNllLoss", PAIR),
          Map.entry("BceLoss", PAIR),
          Map.entry("BceWithLogitsLoss", PAIR),
          Map.entry("CrossEntropyLoss", List.of("input", "class_probabilities")),
          Map.entry("MultiLabelMarginLoss", PAIR),
          Map.entry("MultiLabelSoftMarginLoss", PAIR),
          Map.entry("CosineEmbeddingLoss", List.of("input1", "input2")),
          Map.entry("TripletMarginLoss", TRIPLET),
          Map.entry("TripletMarginWithDistanceLoss", TRIPLET));

  /** The tensor that must have the shape of `input` without the classes. */
  private static final Map<String, String> INDICES =
      Map.of("NllLoss", "target", "CrossEntropyLoss", "class_indices");

  private static final Set<List<Long>> ONE = Set.of(List.of(), List.of(1L));
  private static final Pattern BAD =
      Pattern.compile(
          "(\\d+) of (\\d+) (elements|labels)(?: of rows \\d+ to \\d+)? are not(?:, the first at"
              + " index \\[(.*?)\\])?");
  private static final Pattern WORD = Pattern.compile("\\b[a-z]+(?:_[a-z]+)+\\b");
  private static final Pattern MISFIT =
      Pattern.compile("has shape \\[(.*?)\\]; input of shape \\[(.*?)\\] makes it");

  private Explain() {}

  /**
   * Throws the error that the server would answer, if shapes do not match.
   *
   * @throws LossdException INVALID_ARGUMENT
   */
  static void checkShapes(Message request) {
    String rpc = Methods.nameOf(request);
    List<String> same = SAME_SHAPE.getOrDefault(rpc, List.of());
    for (String name : same.subList(Math.min(1, same.size()), same.size())) {
      if (!Fields.has(request, name)) {
        continue;
      }
      List<Long> shape = Fields.shape(request, same.get(0));
      List<Long> found = Fields.shape(request, name);
      // Some losses treat () and (1) as equal: the server decides.
      if (!found.equals(shape) && !(ONE.contains(found) && ONE.contains(shape))) {
        throw Errors.misfit(
            name, "has shape " + found + "; it must be " + same.get(0) + "'s, " + shape);
      }
    }
    String indices = INDICES.get(rpc);
    if (indices != null && Fields.has(request, indices)) {
      List<Long> shape = Fields.shape(request, "input");
      List<Long> found = Fields.shape(request, indices);
      List<Long> expected = new ArrayList<>();
      for (int extent = 0; shape.size() > 1 && extent < shape.size(); extent++) {
        if (extent != 1) {
          expected.add(shape.get(extent));
        }
      }
      if (!shape.isEmpty() && !found.equals(expected)) {
        throw Errors.misfit(
            indices, "has shape " + found + "; input of shape " + shape + " makes it " + expected);
      }
    }
  }

  /**
   * The same error with the names of arguments instead of fields, and with a hint if a common
   * mistake is the likely cause.
   */
  static LossdException explained(LossdException error, Message request) {
    String rpc = Methods.nameOf(request);
    String hint = hint(error, request);
    var violations =
        error.fieldViolations().stream()
            .map(
                v ->
                    new FieldViolation(
                        inArguments(rpc, v.field()), inArguments(rpc, v.description()) + hint))
            .toList();
    return error.with(inArguments(rpc, error.description()) + hint, violations);
  }

  /**
   * The error of the part of a request with the rows from `start` to before `stop`, in terms of the
   * whole request.
   */
  static LossdException inWhole(LossdException error, Message request, int start, int stop) {
    if (error.fieldViolations().isEmpty()) {
      return error;
    }
    var violations =
        error.fieldViolations().stream()
            .map(
                v ->
                    new FieldViolation(
                        v.field(), moved(request, v.field(), v.description(), start, stop)))
            .toList();
    String description =
        moved(request, violations.get(0).field(), error.description(), start, stop);
    return error.with(description, violations);
  }

  private static String moved(Message request, String argument, String text, int start, int stop) {
    Map<String, String> names = ARGUMENTS.getOrDefault(Methods.nameOf(request), Map.of());
    Splitting splitting = new Splitting(request);
    long[] offset =
        request.getAllFields().keySet().stream()
            .map(field -> field.getName())
            .filter(name -> names.getOrDefault(name, name).equals(argument))
            .findFirst()
            .map(name -> splitting.offset(name, start))
            .orElse(null);
    if (offset == null) {
      return text;
    }
    return BAD.matcher(text).replaceAll(match -> moved(match, offset, start, stop));
  }

  private static String moved(MatchResult match, long[] offset, int start, int stop) {
    String bad =
        "%s of %s %s of rows %d to %d are not"
            .formatted(match.group(1), match.group(2), match.group(3), start, stop - 1);
    if (match.group(4) == null) {
      return bad;
    }
    long[] index = Arrays.stream(match.group(4).split(", ")).mapToLong(Long::parseLong).toArray();
    index[(int) offset[0]] += offset[1];
    return Matcher.quoteReplacement(bad + ", the first at index " + Arrays.toString(index));
  }

  private static String inArguments(String rpc, String text) {
    Map<String, String> names = ARGUMENTS.getOrDefault(rpc, Map.of());
    return WORD.matcher(text)
        .replaceAll(
            match -> Matcher.quoteReplacement(names.getOrDefault(match.group(), match.group())));
  }

  private static String hint(LossdException error, Message request) {
    String fields =
        error.fieldViolations().stream()
            .map(FieldViolation::field)
            .collect(Collectors.joining(","));
    if (error.reason().equals("SHAPE_MISMATCH") && fields.equals("class_probabilities")) {
      String type =
          TensorMessages.dataType(Fields.tensor(request, fields)).name().toLowerCase(Locale.ROOT);
      return "; target is "
          + type
          + ", so it is taken as class probabilities: pass integers for class indices";
    }
    Matcher misfit = MISFIT.matcher(error.description());
    if (INDICES.containsKey(Methods.nameOf(request)) && misfit.find()) {
      String shape = misfit.group(2);
      if (shape.indexOf(',') != shape.lastIndexOf(',')
          && misfit.group(1).equals(shape.substring(0, shape.lastIndexOf(',')))) {
        return "; classes are input's second extent, as in torch: flatten all extents before the"
            + " classes into one";
      }
    }
    return "";
  }
}
