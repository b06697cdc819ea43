// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.google.protobuf.UnsafeByteOperations;
import dev.lossd.v1.Tensor;
import java.nio.ByteBuffer;
import java.util.List;

/** The fields of request messages by name, and the tensors in them. */
final class Fields {
  private Fields() {}

  static FieldDescriptor field(Message request, String name) {
    return request.getDescriptorForType().findFieldByName(name);
  }

  /** Whether a message field is set. */
  static boolean has(Message request, String name) {
    FieldDescriptor field = field(request, name);
    return field != null && request.hasField(field);
  }

  static Tensor tensor(Message request, String name) {
    return (Tensor) request.getField(field(request, name));
  }

  static List<Long> shape(Message request, String name) {
    return tensor(request, name).getShapeList();
  }

  @SuppressWarnings("unchecked")
  static List<Long> numbers(Message request, String name) {
    return (List<Long>) request.getField(field(request, name));
  }

  static dev.lossd.v1.Reduction reduction(Message request) {
    return dev.lossd.v1.Reduction.valueOf(
        (EnumValueDescriptor) request.getField(field(request, "reduction")));
  }

  /**
   * The elements from `start` to `end` along an extent. Copies nothing if the extents before it are
   * 1.
   */
  static Tensor slice(Tensor tensor, int axis, long start, long end) {
    DataType type = dev.lossd.Tensor.dataType(tensor);
    var payload = dev.lossd.Tensor.payload(tensor);
    long outer = product(tensor.getShapeList().subList(0, axis));
    long inner =
        product(tensor.getShapeList().subList(axis + 1, tensor.getShapeCount())) * type.bytes();
    long extent = tensor.getShape(axis);
    var sliced = Tensor.newBuilder().addAllShape(tensor.getShapeList()).setShape(axis, end - start);
    int bytes = (int) ((end - start) * inner);
    if (outer == 1) {
      return dev.lossd.Tensor.set(
              sliced, type, payload.substring((int) (start * inner), (int) (start * inner) + bytes))
          .build();
    }
    ByteBuffer copy = ByteBuffer.allocate((int) outer * bytes);
    for (int i = 0; i < outer; i++) {
      int from = (int) ((i * extent + start) * inner);
      payload.substring(from, from + bytes).copyTo(copy);
    }
    return dev.lossd.Tensor.set(sliced, type, UnsafeByteOperations.unsafeWrap(copy.flip())).build();
  }

  /** The tensors joined along an extent. */
  static Tensor concatenate(List<Tensor> tensors, int axis) {
    Tensor first = tensors.get(0);
    DataType type = dev.lossd.Tensor.dataType(first);
    long outer = product(first.getShapeList().subList(0, axis));
    long inner =
        product(first.getShapeList().subList(axis + 1, first.getShapeCount())) * type.bytes();
    long extent = tensors.stream().mapToLong(tensor -> tensor.getShape(axis)).sum();
    ByteBuffer joined = ByteBuffer.allocate(Math.toIntExact(outer * extent * inner));
    for (int i = 0; i < outer; i++) {
      for (Tensor tensor : tensors) {
        int bytes = (int) (tensor.getShape(axis) * inner);
        dev.lossd.Tensor.payload(tensor).substring(i * bytes, (i + 1) * bytes).copyTo(joined);
      }
    }
    var whole = Tensor.newBuilder().addAllShape(first.getShapeList()).setShape(axis, extent);
    return dev.lossd.Tensor.set(whole, type, UnsafeByteOperations.unsafeWrap(joined.flip()))
        .build();
  }

  static long product(List<Long> extents) {
    return extents.stream().mapToLong(Long::longValue).reduce(1, (a, b) -> a * b);
  }
}
