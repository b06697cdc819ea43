// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import dev.lossd.v1.BoolValues;
import dev.lossd.v1.Float32Values;
import dev.lossd.v1.Float64Values;
import dev.lossd.v1.Int32Values;
import dev.lossd.v1.Int64Values;
import dev.lossd.v1.Tensor;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * Tensors as messages: their type and their bytes, whichever member holds them, and pieces of them.
 */
final class TensorMessages {
  private TensorMessages() {}

  static DataType dataType(Tensor proto) {
    return switch (proto.getValuesCase()) {
      case FLOAT16_VALUES -> DataType.FLOAT16;
      case BFLOAT16_VALUES -> DataType.BFLOAT16;
      case FLOAT32_VALUES -> DataType.FLOAT32;
      case FLOAT64_VALUES -> DataType.FLOAT64;
      case INT32_VALUES -> DataType.INT32;
      case INT64_VALUES -> DataType.INT64;
      case UINT8_VALUES -> DataType.UINT8;
      case BOOL_VALUES -> DataType.BOOL;
      case VALUES_NOT_SET -> throw new IllegalArgumentException("a tensor without values");
    };
  }

  static ByteString payload(Tensor proto) {
    return switch (dataType(proto)) {
      case FLOAT16 -> proto.getFloat16Values();
      case BFLOAT16 -> proto.getBfloat16Values();
      case FLOAT32 -> proto.getFloat32Values().getValues();
      case FLOAT64 -> proto.getFloat64Values().getValues();
      case INT32 -> proto.getInt32Values().getValues();
      case INT64 -> proto.getInt64Values().getValues();
      case UINT8 -> proto.getUint8Values();
      case BOOL -> proto.getBoolValues().getValues();
    };
  }

  static Tensor.Builder set(Tensor.Builder proto, DataType dataType, ByteString payload) {
    return switch (dataType) {
      case FLOAT16 -> proto.setFloat16Values(payload);
      case BFLOAT16 -> proto.setBfloat16Values(payload);
      case FLOAT32 -> proto.setFloat32Values(Float32Values.newBuilder().setValues(payload));
      case FLOAT64 -> proto.setFloat64Values(Float64Values.newBuilder().setValues(payload));
      case INT32 -> proto.setInt32Values(Int32Values.newBuilder().setValues(payload));
      case INT64 -> proto.setInt64Values(Int64Values.newBuilder().setValues(payload));
      case UINT8 -> proto.setUint8Values(payload);
      case BOOL -> proto.setBoolValues(BoolValues.newBuilder().setValues(payload));
    };
  }

  /**
   * The elements from `start` to `end` along an extent. Copies nothing if the extents before it are
   * 1.
   */
  static Tensor slice(Tensor tensor, int axis, long start, long end) {
    DataType type = dataType(tensor);
    var payload = payload(tensor);
    long outer = product(tensor.getShapeList().subList(0, axis));
    long inner =
        product(tensor.getShapeList().subList(axis + 1, tensor.getShapeCount())) * type.bytes();
    long extent = tensor.getShape(axis);
    var sliced = Tensor.newBuilder().addAllShape(tensor.getShapeList()).setShape(axis, end - start);
    int bytes = (int) ((end - start) * inner);
    if (outer == 1) {
      return set(
              sliced, type, payload.substring((int) (start * inner), (int) (start * inner) + bytes))
          .build();
    }
    ByteBuffer copy = ByteBuffer.allocate((int) outer * bytes);
    for (int i = 0; i < outer; i++) {
      int from = (int) ((i * extent + start) * inner);
      payload.substring(from, from + bytes).copyTo(copy);
    }
    return set(sliced, type, UnsafeByteOperations.unsafeWrap(copy.flip())).build();
  }

  /** The tensors joined along an extent. */
  static Tensor concatenate(List<Tensor> tensors, int axis) {
    Tensor first = tensors.get(0);
    DataType type = dataType(first);
    long outer = product(first.getShapeList().subList(0, axis));
    long inner =
        product(first.getShapeList().subList(axis + 1, first.getShapeCount())) * type.bytes();
    long extent = tensors.stream().mapToLong(tensor -> tensor.getShape(axis)).sum();
    ByteBuffer joined = ByteBuffer.allocate(Math.toIntExact(outer * extent * inner));
    for (int i = 0; i < outer; i++) {
      for (Tensor tensor : tensors) {
        int bytes = (int) (tensor.getShape(axis) * inner);
        payload(tensor).substring(i * bytes, (i + 1) * bytes).copyTo(joined);
      }
    }
    var whole = Tensor.newBuilder().addAllShape(first.getShapeList()).setShape(axis, extent);
    return set(whole, type, UnsafeByteOperations.unsafeWrap(joined.flip())).build();
  }

  static long product(List<Long> extents) {
    return extents.stream().mapToLong(Long::longValue).reduce(1, (a, b) -> a * b);
  }
}
