// SPDX-License-Identifier: Apache-2.0

import com.google.protobuf.DescriptorProtos.DescriptorProto;
import com.google.protobuf.DescriptorProtos.FieldDescriptorProto;
import com.google.protobuf.DescriptorProtos.FieldDescriptorProto.Label;
import com.google.protobuf.DescriptorProtos.FieldDescriptorProto.Type;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.DescriptorProtos.SourceCodeInfo.Location;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Writes the losses as methods (Losses, AsyncLosses, LossUpdates) and one class of options for each
 * loss, from the schema.
 *
 * <p>A required field of a request is an argument of the method, and an optional field is an
 * option. Their names are the fields', which are torch's, and their documentation is the schema's.
 * Only a `oneof` needs a rule of its own: see {@link #oneof}.
 */
final class GenerateLosses {
  private static final Set<String> COMMON = Set.of("reduction", "precision", "reject_non_finite");
  private static final Pattern WORD = Pattern.compile("\\b[a-z]+(?:_[a-z0-9]+)+\\b");
  // cross_entropy refuses an ignore_index beside probabilities, but torch's default may be given.
  private static final String WITHOUT_DEFAULT =
      "\nif (request.getIgnoreIndex() == -100) {\n  request.clearIgnoreIndex();\n}";
  private static final String HEADER =
      "// SPDX-License-Identifier: Apache-2.0\n"
          + "// Generated from proto/ by client/java/generate: do not edit.\n\n"
          + "package dev.lossd;\n\n";

  /**
   * An argument of a method or an option: its type, its name, its documentation and the statement
   * that adds it to `request`.
   */
  record Argument(String type, String name, String documentation, String add) {}

  /** A loss. An overload is the list of its arguments. */
  record Loss(
      String torch,
      String name,
      String request,
      String summary,
      List<List<Argument>> overloads,
      List<Argument> options) {
    String optionsClass() {
      return capitalized(name) + "Options";
    }
  }

  private final Map<String, DescriptorProto> messages = new HashMap<>();
  private final Map<String, String> comments = new HashMap<>();

  public static void main(String[] arguments) throws IOException {
    var generator = new GenerateLosses();
    var losses =
        generator.read(FileDescriptorSet.parseFrom(Files.readAllBytes(Path.of(arguments[0]))));
    Path out = Path.of(arguments[1], "dev", "lossd");
    Files.createDirectories(out);
    for (Loss loss : losses) {
      Files.writeString(out.resolve(loss.optionsClass() + ".java"), options(loss));
    }
    for (Style style : Style.values()) {
      Files.writeString(out.resolve(style.className + ".java"), methods(style, losses));
    }
  }

  // Reading the schema.

  private List<Loss> read(FileDescriptorSet files) {
    for (FileDescriptorProto file : files.getFileList()) {
      file.getMessageTypeList().forEach(message -> messages.put(message.getName(), message));
      for (Location location : file.getSourceCodeInfo().getLocationList()) {
        comments.put(
            nameOf(file, location.getPathList()),
            location.getLeadingComments().strip().replaceAll("\\s*\n\\s*", " "));
      }
    }
    var service =
        files.getFileList().stream()
            .flatMap(file -> file.getServiceList().stream())
            .filter(found -> found.getName().equals("LossService"))
            .findFirst()
            .orElseThrow();
    return service.getMethodList().stream()
        .map(method -> method.getInputType().replaceAll(".*\\.", ""))
        .filter(input -> !input.equals("GetServerInfoRequest"))
        .map(input -> loss(messages.get(input)))
        .toList();
  }

  /** "Message", "Message.field", "Message.oneof", or "" for what needs no comment. */
  private static String nameOf(FileDescriptorProto file, List<Integer> path) {
    if (path.isEmpty() || path.get(0) != FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER) {
      return "";
    }
    DescriptorProto message = file.getMessageType(path.get(1));
    if (path.size() == 2) {
      return message.getName();
    }
    if (path.size() != 4) {
      return "";
    }
    String member =
        switch (path.get(2)) {
          case DescriptorProto.FIELD_FIELD_NUMBER -> message.getField(path.get(3)).getName();
          case DescriptorProto.ONEOF_DECL_FIELD_NUMBER ->
              message.getOneofDecl(path.get(3)).getName();
          default -> "";
        };
    return message.getName() + "." + member;
  }

  private Loss loss(DescriptorProto message) {
    String comment = comments.get(message.getName());
    String torch = comment.replaceFirst("[:,].*", "").strip();
    String name = camel(torch.replaceAll(".*\\.", ""));
    name = name.substring(0, 1).toLowerCase(Locale.ROOT) + name.substring(1);
    List<List<Argument>> overloads = List.of(List.of());
    List<Argument> options = new ArrayList<>();
    Set<Integer> oneofs = new HashSet<>();
    for (FieldDescriptorProto field : message.getFieldList()) {
      if (COMMON.contains(field.getName())) {
        continue;
      }
      boolean inOneof = field.hasOneofIndex() && !field.getProto3Optional();
      if (inOneof && !oneofs.add(field.getOneofIndex())) {
        continue;
      }
      String member =
          inOneof ? message.getOneofDecl(field.getOneofIndex()).getName() : field.getName();
      List<Argument> choices = inOneof ? oneof(message, member) : List.of(argument(message, field));
      if (comments.get(message.getName() + "." + member).startsWith("Required.")) {
        overloads = product(overloads, choices);
      } else {
        options.addAll(choices);
      }
    }
    String summary =
        comment.substring(comment.indexOf(torch) + torch.length()).replaceFirst("^[:,]\\s*", "");
    return new Loss(torch, name, message.getName(), text(message, summary), overloads, options);
  }

  /** Each overload with each choice at its end. */
  private static List<List<Argument>> product(
      List<List<Argument>> overloads, List<Argument> choices) {
    List<List<Argument>> longer = new ArrayList<>();
    for (List<Argument> overload : overloads) {
      for (Argument choice : choices) {
        List<Argument> arguments = new ArrayList<>(overload);
        arguments.add(choice);
        longer.add(arguments);
      }
    }
    return longer;
  }

  private Argument argument(DescriptorProto message, FieldDescriptorProto field) {
    String name = camel(field.getName());
    String set = ".set" + capitalized(name) + "(" + name;
    String documentation =
        text(message, comments.getOrDefault(message.getName() + "." + field.getName(), ""));
    boolean repeated = field.getLabel() == Label.LABEL_REPEATED;
    if (field.getType() == Type.TYPE_MESSAGE && repeated) {
      String type = field.getTypeName().replaceAll(".*\\.", "");
      String add =
          ".addAll"
              + capitalized(name)
              + "("
              + name
              + ".stream().map("
              + type
              + "::proto).toList());";
      return new Argument("List<" + type + ">", name, documentation, "request" + add);
    }
    if (field.getType() == Type.TYPE_MESSAGE) {
      return new Argument("Tensor", name, documentation, "request" + set + ".proto());");
    }
    if (repeated) {
      String add =
          ".addAll" + capitalized(name) + "(LongStream.of(" + name + ").boxed().toList());";
      return new Argument("long[]", name, documentation, "request" + add);
    }
    String type =
        switch (field.getType()) {
          case TYPE_BOOL -> "boolean";
          case TYPE_DOUBLE -> "double";
          case TYPE_INT32 -> "int";
          case TYPE_INT64 -> "long";
          default ->
              throw new IllegalArgumentException(
                  message.getName() + "." + field.getName() + ": no rule for its type");
        };
    return new Argument(
        type,
        name,
        documentation.isEmpty() ? "as in torch" : documentation,
        "request" + set + ");");
  }

  /**
   * The arguments, one for each overload, that stand for a `oneof`: torch tells its members apart
   * by a type or by a rank.
   */
  private List<Argument> oneof(DescriptorProto message, String name) {
    String path = message.getName() + ".";
    return switch (name) {
      case "target" ->
          List.of(
              new Argument(
                  "Tensor",
                  "target",
                  "class indices if its type is an integer type: "
                      + text(message, comments.get(path + "class_indices"))
                      + " Class probabilities if its type is a float type: "
                      + text(message, comments.get(path + "class_probabilities")),
                  """
                  if (target.dataType().isFloat()) {
                    request.setClassProbabilities(target.proto());%s
                  } else {
                    request.setClassIndices(target.proto());
                  }\
                  """
                      .formatted(
                          message.getName().equals("CrossEntropyLossRequest")
                              ? WITHOUT_DEFAULT
                              : "")));
      case "targets" ->
          List.of(
              new Argument(
                  "Tensor",
                  "targets",
                  text(message, comments.get(path + "targets"))
                      + " Padded: "
                      + text(message, comments.get(path + "padded_targets"))
                      + " Or concatenated: "
                      + text(message, comments.get(path + "concatenated_targets")),
                  """
                  if (targets.rank() == 2 || logProbs.rank() == 2) {
                    request.setPaddedTargets(targets.proto());
                  } else {
                    request.setConcatenatedTargets(targets.proto());
                  }\
                  """));
      case "variance" ->
          List.of(
              new Argument(
                  "Tensor",
                  "var",
                  "the variances, &gt;= 0. "
                      + text(message, comments.get(path + "variance_values")),
                  "request.setVarianceValues(var.proto());"),
              new Argument(
                  "double",
                  "var",
                  "one variance for all elements, &gt;= 0",
                  "request.setVarianceScalar(var);"));
      case "distance" ->
          List.of(
              new Argument(
                  "Distance",
                  "distanceFunction",
                  "the distance; by default {@link Distance.Pairwise} with its defaults",
                  "Distances.set(request, distanceFunction);"));
      default -> throw new IllegalArgumentException(path + name + ": no rule for this oneof");
    };
  }

  /** A comment of the schema as Javadoc. */
  private static String text(DescriptorProto message, String comment) {
    Set<String> fields =
        message.getFieldList().stream()
            .map(FieldDescriptorProto::getName)
            .collect(Collectors.toSet());
    String html = comment.replaceFirst("^(Required|Optional)\\.\\s*", "");
    html = html.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    html = html.replaceAll("`([^`]*)`", "{@code $1}");
    html =
        html.replace("class_probabilities", "class probabilities")
            .replace("class_indices", "class indices");
    return WORD.matcher(html)
        .replaceAll(match -> fields.contains(match.group()) ? camel(match.group()) : match.group());
  }

  // Writing the methods.

  private enum Style {
    SYNC(
        "Losses",
        "The losses as methods that block until the loss is known.",
        "abstract <R extends LossResult> R score(Call<R> call);",
        "<R extends LossResult> ",
        "R",
        "Loss",
        "return score"),
    ASYNC(
        "AsyncLosses",
        "The losses as methods that return at once. Cancelling a future cancels its call.",
        "abstract <R extends LossResult> CompletableFuture<R> score(Call<R> call);",
        "<R extends LossResult> ",
        "CompletableFuture<R>",
        "CompletableFuture<Loss>",
        "return score"),
    UPDATE(
        "LossUpdates",
        "The losses as updates of a series of an {@link Evaluation}: each adds a mini-batch to the"
            + " series.",
        "abstract void update(Call<Loss> call);",
        "",
        "void",
        "void",
        "update");

    final String className;
    final String documentation;
    final String declaration;
    final String variable;
    final String answer;
    final String mean;
    final String action;

    Style(
        String className,
        String documentation,
        String declaration,
        String variable,
        String answer,
        String mean,
        String action) {
      this.className = className;
      this.documentation = documentation;
      this.declaration = declaration;
      this.variable = variable;
      this.answer = answer;
      this.mean = mean;
      this.action = action;
    }

    String options(Loss loss) {
      return loss.optionsClass() + (this == UPDATE ? "<Loss>" : "<R>");
    }

    String returns(String what) {
      return this == UPDATE ? "" : "\n   * @return " + what;
    }
  }

  private static String methods(Style style, List<Loss> losses) {
    var code = new StringBuilder(HEADER);
    code.append("import java.util.List;\n");
    if (style == Style.ASYNC) {
      code.append("import java.util.concurrent.CompletableFuture;\n");
    }
    code.append("\n/** ").append(style.documentation).append(" */\n");
    code.append("public abstract class ").append(style.className).append(" {\n");
    code.append("  ")
        .append(style.className)
        .append("() {}\n\n  ")
        .append(style.declaration)
        .append("\n");
    for (Loss loss : losses) {
      for (List<Argument> overload : loss.overloads) {
        String parameters =
            overload.stream().map(a -> a.type + " " + a.name).collect(Collectors.joining(", "));
        String names = overload.stream().map(Argument::name).collect(Collectors.joining(", "));
        String documentation =
            overload.stream()
                .map(a -> "\n   * @param " + a.name + " " + a.documentation)
                .collect(Collectors.joining());
        code.append(
            """

              /**
               * %s
               *
               * <p>{@code %s}, reduced by its mean, with torch's defaults.
               *%s%s
               */
              public %s %s(%s) {
                %s%s(%s, %s.mean());
              }

              /**
               * %s
               *
               * <p>{@code %s}
               *%s
               * @param options its reduction and its options%s%s
               */
              public %s%s %s(%s, %s options) {
                %s(options.call(%s));
              }
            """
                .formatted(
                    sentence(loss.summary),
                    loss.torch,
                    documentation,
                    style.returns("the mean, and its statistics"),
                    style.mean,
                    loss.name,
                    parameters,
                    style == Style.UPDATE ? "" : "return ",
                    loss.name,
                    names,
                    loss.optionsClass(),
                    sentence(loss.summary),
                    loss.torch,
                    documentation,
                    style == Style.UPDATE
                        ? ""
                        : "\n"
                            + "   * @param <R> {@link Loss}, or {@link UnreducedLoss} without a"
                            + " reduction",
                    style.returns("the loss as {@code options} reduces it, and its statistics"),
                    style.variable,
                    style.answer,
                    loss.name,
                    parameters,
                    style.options(loss),
                    style.action,
                    names));
      }
    }
    return code.append("}\n").toString();
  }

  // Writing the options.

  private static String options(Loss loss) {
    var code = new StringBuilder(HEADER);
    String name = loss.optionsClass();
    code.append("import dev.lossd.v1.Precision;\nimport dev.lossd.v1.")
        .append(loss.request)
        .append(";\n");
    code.append("import java.time.Duration;\n");
    if (loss.overloads.get(0).stream().anyMatch(a -> a.type.startsWith("List"))) {
      code.append("import java.util.List;\n");
    }
    if (loss.overloads.get(0).stream().anyMatch(a -> a.type.equals("long[]"))) {
      code.append("import java.util.stream.LongStream;\n");
    }
    Map<String, String> reductions = new LinkedHashMap<>();
    reductions.put("mean", "MEAN");
    reductions.put("sum", "SUM");
    reductions.put("none", "NONE");
    if (loss.name.equals("klDiv")) {
      reductions.put("batchMean", "BATCH_MEAN");
    }
    code.append(
        """

        /**
         * The reduction and the options of {@code %1$s}. An option that is not set has torch's default.
         *
         * <p>Options are immutable: each method returns a copy with one option changed.
         *
         * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
         */
        public final class %2$s<R extends LossResult> {
          private final Reduction<R> reduction;
          private final Duration timeout;
          private final %3$s request;

          private %2$s(Reduction<R> reduction, Duration timeout, %3$s request) {
            this.reduction = reduction;
            this.timeout = timeout;
            this.request = request;
          }

          /**
           * Torch's defaults with this reduction.
           *
           * @param reduction how the loss is reduced
           * @param <R> the type of the result
           * @return the options
           */
          public static <R extends LossResult> %2$s<R> of(Reduction<R> reduction) {
            return new %2$s<>(reduction, null, %3$s.newBuilder().setReduction(reduction.proto()).build());
          }
        """
            .formatted(loss.torch, name, loss.request));
    reductions.forEach(
        (method, constant) ->
            code.append(
                """

                  /**
                   * Torch's defaults with {@link Reduction#%s}.
                   *
                   * @return the options
                   */
                  public static %s<%s> %s() {
                    return of(Reduction.%s);
                  }
                """
                    .formatted(
                        constant,
                        name,
                        constant.equals("NONE") ? "UnreducedLoss" : "Loss",
                        method,
                        constant)));
    for (Argument option : loss.options) {
      String add =
          option.add.startsWith("request.")
              ? option.add.substring("request".length(), option.add.length() - 1)
              : null;
      code.append(
          """

            /**
             * Sets {@code %2$s}.
             *
             * @param %2$s %3$s
             * @return the options with it
             */
            public %1$s<R> %2$s(%4$s %2$s) {
              %5$s
            }
          """
              .formatted(
                  name,
                  option.name,
                  option.documentation,
                  option.type,
                  add != null
                      ? "return with(request.toBuilder()" + add + ");"
                      : loss.request
                          + ".Builder request = this.request.toBuilder();\n"
                          + option.add
                          + "\nreturn with(request);"));
    }
    code.append(
        """

          /**
           * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
           *
           * @return the options with it
           */
          public %1$s<R> float64() {
            return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
          }

          /**
           * Sets whether NaN and infinities in float tensors are refused.
           *
           * @param rejectNonFinite true refuses them; by default they propagate as in torch
           * @return the options with it
           */
          public %1$s<R> rejectNonFinite(boolean rejectNonFinite) {
            return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
          }

          /**
           * Sets the time limit of the call, retries included, in place of the client's.
           *
           * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
           * @return the options with it
           */
          public %1$s<R> timeout(Duration timeout) {
            return new %1$s<>(reduction, timeout, request);
          }
        """
            .formatted(name));
    for (List<Argument> overload : loss.overloads) {
      code.append("\n  Call<R> call(");
      code.append(
          overload.stream().map(a -> a.type + " " + a.name).collect(Collectors.joining(", ")));
      code.append(") {\n    ")
          .append(loss.request)
          .append(".Builder request = this.request.toBuilder();\n");
      overload.forEach(argument -> code.append("    ").append(argument.add).append("\n"));
      code.append("    return new Call<>(request.build(), reduction, timeout);\n  }\n");
    }
    code.append("\n  private ")
        .append(name)
        .append("<R> with(")
        .append(loss.request)
        .append(".Builder changed) {\n");
    code.append("    return new ")
        .append(name)
        .append("<>(reduction, timeout, changed.build());\n  }\n}\n");
    return code.toString();
  }

  private static String sentence(String text) {
    return text.endsWith(".") ? text : text + ".";
  }

  private static String capitalized(String name) {
    return name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1);
  }

  private static String camel(String name) {
    return Pattern.compile("_([a-z0-9])")
        .matcher(name)
        .replaceAll(match -> match.group(1).toUpperCase(Locale.ROOT));
  }
}
