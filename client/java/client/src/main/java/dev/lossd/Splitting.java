// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.lossd.SplitRules.Cut;
import dev.lossd.SplitRules.Rule;
import dev.lossd.v1.Execution;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.LossStatistics;
import dev.lossd.v1.Tensor;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Cutting a request that is too large along its batch dimension, and merging the answers to the
 * parts exactly.
 */
final class Splitting {
  private final Message request;
  private final Rule rule;
  private final List<Long> leadShape;

  /** The extent along which the request is cut, counted from the start of the batch. */
  private final int axis;

  /** How many rows the batch has along that extent. */
  final int rows;

  /**
   * How a request is cut.
   *
   * @throws LossdException if it cannot be cut
   */
  Splitting(Message request) {
    this.request = request;
    this.rule = SplitRules.of(request);
    this.leadShape = Fields.shape(request, rule.lead());
    int first = firstExtent();
    int end = Math.max(first, leadShape.size() - rule.rowRank());
    if (rule.oneAxis() && leadShape.size() > rule.rowRank()) {
      end = first + 1;
    }
    for (int extent = first; extent < end; extent++) {
      if (leadShape.get(extent) > 1) {
        this.axis = extent - first;
        this.rows = Math.toIntExact(leadShape.get(extent));
        return;
      }
    }
    String why =
        end > first
            ? "it is a single row"
            : rule.lead() + " of shape " + leadShape + " has no batch dimension";
    throw uncuttable(request, why);
  }

  /**
   * The request in that many parts of about equal size; fewer if it has fewer rows.
   *
   * @throws LossdException if the shapes of its tensors do not match
   */
  List<Message> cut(int parts) {
    List<Message> cut = new ArrayList<>();
    int count = Math.min(parts, rows);
    for (int i = 0; i < count; i++) {
      cut.add(part((int) ((long) rows * i / count), (int) ((long) rows * (i + 1) / count)));
    }
    return cut;
  }

  /** How many of the request's rows a part has. */
  int rowsIn(Message part) {
    return Math.toIntExact(Fields.shape(part, rule.lead()).get(axis + firstExtent()));
  }

  /** The request with only the fields that go with every part. */
  Message shared() {
    Message.Builder shared = request.toBuilder();
    for (FieldDescriptor field : request.getAllFields().keySet()) {
      if (isCut(field.getName())) {
        shared.clearField(field);
      }
    }
    return shared.build();
  }

  /**
   * The extent along which a tensor is cut, and the index in it at which row `start` begins; null
   * if it goes with every part.
   */
  long[] offset(String name, int start) {
    if (!isCut(name)) {
      return null;
    }
    if (rule.cuts().get(name) == Cut.CONCATENATED) {
      return new long[] {0, sum(Fields.numbers(request, rule.lengths()).subList(0, start))};
    }
    return new long[] {Math.max(0, axisOf(name)), start};
  }

  /** The answer to the request, from the answers to its parts in order. */
  LossResponse merge(List<LossResponse> parts) {
    Totals totals = Totals.NONE;
    var execution = Execution.newBuilder().setDevice(parts.get(0).getExecution().getDevice());
    for (LossResponse part : parts) {
      totals = totals.plus(Statistics.of(part.getStatistics()));
      Execution one = part.getExecution();
      execution.setQueueSeconds(Math.max(execution.getQueueSeconds(), one.getQueueSeconds()));
      execution.setComputeSeconds(execution.getComputeSeconds() + one.getComputeSeconds());
      execution.setCallsInBatch(Math.max(execution.getCallsInBatch(), one.getCallsInBatch()));
    }
    var statistics =
        LossStatistics.newBuilder()
            .setSum(totals.sum().value())
            .setMeanNumerator(totals.meanNumerator().value())
            .setMeanDenominator(totals.meanDenominator().value())
            .setElementCount(totals.elementCount())
            .setIgnoredCount(totals.ignoredCount());
    var merged = LossResponse.newBuilder().setExecution(execution);
    switch (Fields.reduction(request)) {
      case REDUCTION_NONE -> {
        List<Tensor> values = parts.stream().map(LossResponse::getValues).toList();
        // A target of a higher rank broadcasts with the lead: the extents of both are aligned on
        // the right.
        int missing =
            rule.cuts().get("target") == Cut.RIGHT_BROADCAST
                ? values.get(0).getShapeCount() - leadShape.size()
                : 0;
        merged.setValues(TensorMessages.concatenate(values, axis + missing));
      }
      case REDUCTION_BATCH_MEAN -> {
        // The parts' sum is the first extent only if the first extent was cut.
        statistics.setMeanDenominator(leadShape.get(0));
        merged.setValue(statistics.getMeanNumerator() / statistics.getMeanDenominator());
      }
      default ->
          merged.setValue(
              totals.value(Fields.reduction(request) == dev.lossd.v1.Reduction.REDUCTION_SUM));
    }
    return merged.setStatistics(statistics).build();
  }

  /** The error for a request above the client's limit. */
  static LossdException tooLarge(Message request, int limit) {
    int bytes = request.getSerializedSize();
    String description =
        "the %s request has %d bytes; %d are allowed: split the batch"
            .formatted(Methods.nameOf(request), bytes, limit);
    var metadata =
        Map.of("limit_bytes", Integer.toString(limit), "actual_bytes", Integer.toString(bytes));
    return Errors.of(
        Status.Code.RESOURCE_EXHAUSTED,
        new LossdException.Details(
            description, "REQUEST_TOO_LARGE", List.of(), null, false, metadata));
  }

  /** The error for a request that is too large and cannot be cut. */
  static LossdException uncuttable(Message request, String why) {
    String description =
        "the %s request is too large, and it cannot be split: %s"
            .formatted(Methods.nameOf(request), why);
    return Errors.of(Status.Code.RESOURCE_EXHAUSTED, description, "REQUEST_TOO_LARGE");
  }

  private int firstExtent() {
    return rule.cuts().get(rule.lead()) == Cut.ROWS_AFTER_TIME ? 1 : 0;
  }

  /** The extent along which a tensor is cut; -1 if it goes with every part. */
  private int axisOf(String name) {
    Cut cut = rule.cuts().get(name);
    if (cut == Cut.ROWS) {
      return axis;
    }
    if (cut == Cut.ROWS_AFTER_TIME) {
      return axis + 1;
    }
    List<Long> shape = Fields.shape(request, name);
    int along = cut == Cut.RIGHT_BROADCAST ? axis - (leadShape.size() - shape.size()) : axis;
    return along >= 0 && along < shape.size() && shape.get(along) != 1 ? along : -1;
  }

  private boolean isCut(String name) {
    Cut cut = rule.cuts().get(name);
    return cut != null && (cut == Cut.ITEMS || cut == Cut.CONCATENATED || axisOf(name) >= 0);
  }

  private Message part(int start, int end) {
    Message.Builder part = request.toBuilder();
    for (FieldDescriptor field : request.getAllFields().keySet()) {
      String name = field.getName();
      if (!isCut(name)) {
        continue;
      }
      switch (rule.cuts().get(name)) {
        case ITEMS -> {
          List<Long> items = Fields.numbers(request, name);
          check(name, items.size(), rows);
          part.setField(field, items.subList(start, end));
        }
        case CONCATENATED -> {
          List<Long> lengths = Fields.numbers(request, rule.lengths());
          check(rule.lengths(), lengths.size(), rows);
          Tensor tensor = Fields.tensor(request, name);
          check(name, TensorMessages.product(tensor.getShapeList()), sum(lengths));
          part.setField(
              field,
              TensorMessages.slice(
                  tensor, 0, sum(lengths.subList(0, start)), sum(lengths.subList(0, end))));
        }
        default -> {
          Tensor tensor = Fields.tensor(request, name);
          int along = axisOf(name);
          check(name, along < tensor.getShapeCount() ? tensor.getShape(along) : 0, rows);
          part.setField(field, TensorMessages.slice(tensor, along, start, end));
        }
      }
    }
    return part.build();
  }

  private static long sum(List<Long> lengths) {
    return lengths.stream().mapToLong(Long::longValue).sum();
  }

  private static void check(String name, long found, long expected) {
    if (found != expected) {
      throw Errors.misfit(name, "has " + found + " where " + expected + " are expected");
    }
  }
}
