// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.lossd.v1.Tensor;
import java.util.List;

/** The fields of request messages by name. */
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
}
