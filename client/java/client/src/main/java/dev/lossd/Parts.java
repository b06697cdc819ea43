// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.List;
import java.util.Map;

/**
 * How many parts a request that is too large must be cut into, from the limit on its bytes or from
 * a server's refusals.
 */
final class Parts {
  // Bytes of a tensor's tags, lengths and shape at most.
  private static final int OVERHEAD_BYTES = 128;

  /**
   * A server refused a request of `rows` rows: it needs `actual`, and `limit` is allowed; NaN if
   * the server did not say.
   */
  record Refusal(int rows, double limit, double actual, LossdException error) {}

  private Parts() {}

  /**
   * What the error says about a request of `rows` rows.
   *
   * @throws LossdException the error, if cutting the request cannot help
   */
  static Refusal refusal(int rows, LossdException error) {
    for (Map.Entry<String, String> entry : error.metadata().entrySet()) {
      if (entry.getKey().startsWith("limit_")) {
        String actual =
            error.metadata().getOrDefault(entry.getKey().replaceFirst("limit_", "actual_"), "NaN");
        return new Refusal(
            rows, Double.parseDouble(entry.getValue()), Double.parseDouble(actual), error);
      }
    }
    if (!refusedByGrpc(error)) {
      throw error;
    }
    return new Refusal(rows, Double.NaN, Double.NaN, error);
  }

  /**
   * Whether gRPC itself refused the request or the answer for its size. gRPC does not say which.
   */
  static boolean refusedByGrpc(LossdException error) {
    return error.description().contains("larger than max")
        || error.description().contains("exceeds maximum size");
  }

  /**
   * How many rows a part of the request may have, at least one, from refusals of fewer and fewer of
   * its rows.
   *
   * <p>A request needs a fixed amount for the fields that go with every part, and the same amount
   * for each row. One refusal bounds the rows, and two give both amounts.
   *
   * @throws LossdException if the fixed amount alone is above the limit
   */
  static int rowsThatFit(Message request, List<Refusal> refusals) {
    Refusal last = refusals.get(refusals.size() - 1);
    double rows = last.actual == 0 ? Double.NaN : last.rows * last.limit / last.actual;
    Refusal before = refusals.size() > 1 ? refusals.get(refusals.size() - 2) : null;
    if (before != null && before.limit == last.limit) {
      double row = (before.actual - last.actual) / (before.rows - last.rows);
      double everyPart = last.actual - row * last.rows;
      if (row <= 0 || everyPart >= last.limit) {
        throw Splitting.uncuttable(
            request,
            "what goes with every part is above the limit by itself. " + last.error.description());
      }
      rows = (last.limit - everyPart) / row;
    }
    return Math.max(1, rows < last.rows ? (int) rows : last.rows / 2);
  }

  /**
   * Into how many parts a request above `limit` bytes must be cut. Parts may still be too large, if
   * rows are of unequal length or one row is too large by itself: cut them again.
   *
   * @throws LossdException if cutting cannot help
   */
  static int needed(Message request, int limit) {
    Splitting splitting = new Splitting(request);
    Message shared = splitting.shared();
    long whole = shared.getSerializedSize();
    long room = limit - whole - (long) OVERHEAD_BYTES * request.getAllFields().size();
    if (room <= 0) {
      FieldDescriptor largest = null;
      int size = -1;
      for (FieldDescriptor field : shared.getAllFields().keySet()) {
        int bytes =
            request
                .newBuilderForType()
                .setField(field, request.getField(field))
                .build()
                .getSerializedSize();
        if (bytes > size) {
          largest = field;
          size = bytes;
        }
      }
      throw Splitting.uncuttable(
          request,
          "%s of about %d bytes must go with every part, and %d bytes are allowed"
              .formatted(largest == null ? "a field" : largest.getName(), size, limit));
    }
    long rowsInPart =
        Math.max(1, room * splitting.rows / Math.max(1, request.getSerializedSize() - whole));
    return (int) ((splitting.rows + rowsInPart - 1) / rowsInPart);
  }
}
