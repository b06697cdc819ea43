// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.UnsafeByteOperations;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;

/**
 * An immutable, dense, row-major array of numbers.
 *
 * <p>Arrays and buffers are copied once, as a block, so they may change afterwards; {@link #wrap}
 * does not copy. A shape lists the extents, outermost first. Without a shape, the tensor has one
 * extent, the number of elements. Buffers are read from their position to their limit, and their
 * position does not change.
 */
public final class Tensor {
  private final dev.lossd.v1.Tensor proto;

  private Tensor(dev.lossd.v1.Tensor proto) {
    this.proto = proto;
  }

  /**
   * A float32 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(float[] values, long... shape) {
    return of(FloatBuffer.wrap(values), shape);
  }

  /**
   * A float32 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(FloatBuffer values, long... shape) {
    ByteBuffer bytes = room(values.remaining(), Float.BYTES);
    bytes.asFloatBuffer().put(values.duplicate());
    return of(DataType.FLOAT32, bytes, values.remaining(), shape);
  }

  /**
   * A float32 matrix.
   *
   * @param rows the rows, all of one length
   * @return the tensor, of shape (rows, columns)
   * @throws IllegalArgumentException if rows have different lengths
   */
  public static Tensor of(float[][] rows) {
    int columns = rows.length == 0 ? 0 : rows[0].length;
    ByteBuffer bytes = room((long) rows.length * columns, Float.BYTES);
    FloatBuffer elements = bytes.asFloatBuffer();
    for (float[] row : rows) {
      checkColumns(row.length, columns);
      elements.put(row);
    }
    return of(DataType.FLOAT32, bytes, (long) rows.length * columns, rows.length, columns);
  }

  /**
   * A float64 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(double[] values, long... shape) {
    return of(DoubleBuffer.wrap(values), shape);
  }

  /**
   * A float64 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(DoubleBuffer values, long... shape) {
    ByteBuffer bytes = room(values.remaining(), Double.BYTES);
    bytes.asDoubleBuffer().put(values.duplicate());
    return of(DataType.FLOAT64, bytes, values.remaining(), shape);
  }

  /**
   * A float64 matrix.
   *
   * @param rows the rows, all of one length
   * @return the tensor, of shape (rows, columns)
   * @throws IllegalArgumentException if rows have different lengths
   */
  public static Tensor of(double[][] rows) {
    int columns = rows.length == 0 ? 0 : rows[0].length;
    ByteBuffer bytes = room((long) rows.length * columns, Double.BYTES);
    DoubleBuffer elements = bytes.asDoubleBuffer();
    for (double[] row : rows) {
      checkColumns(row.length, columns);
      elements.put(row);
    }
    return of(DataType.FLOAT64, bytes, (long) rows.length * columns, rows.length, columns);
  }

  /**
   * An int32 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(int[] values, long... shape) {
    return of(IntBuffer.wrap(values), shape);
  }

  /**
   * An int32 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(IntBuffer values, long... shape) {
    ByteBuffer bytes = room(values.remaining(), Integer.BYTES);
    bytes.asIntBuffer().put(values.duplicate());
    return of(DataType.INT32, bytes, values.remaining(), shape);
  }

  /**
   * An int64 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(long[] values, long... shape) {
    return of(LongBuffer.wrap(values), shape);
  }

  /**
   * An int64 tensor.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(LongBuffer values, long... shape) {
    ByteBuffer bytes = room(values.remaining(), Long.BYTES);
    bytes.asLongBuffer().put(values.duplicate());
    return of(DataType.INT64, bytes, values.remaining(), shape);
  }

  /**
   * A bool tensor. Java does not say how it stores a {@code boolean[]}, so this copies element by
   * element.
   *
   * @param values the elements
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(boolean[] values, long... shape) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (values[i] ? 1 : 0);
    }
    return of(DataType.BOOL, ByteBuffer.wrap(bytes), values.length, shape);
  }

  /**
   * A uint8 tensor.
   *
   * @param values the elements, unsigned
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor of(byte[] values, long... shape) {
    return of(DataType.UINT8, ByteBuffer.wrap(values.clone()), values.length, shape);
  }

  /**
   * A float16 tensor.
   *
   * @param bits the elements, as {@code Float.floatToFloat16} of Java 20 makes them
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor float16(short[] bits, long... shape) {
    ByteBuffer bytes = room(bits.length, Short.BYTES);
    bytes.asShortBuffer().put(bits);
    return of(DataType.FLOAT16, bytes, bits.length, shape);
  }

  /**
   * A bfloat16 tensor.
   *
   * @param bits the elements: the upper halves of floats
   * @param shape the extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor bfloat16(short[] bits, long... shape) {
    ByteBuffer bytes = room(bits.length, Short.BYTES);
    bytes.asShortBuffer().put(bits);
    return of(DataType.BFLOAT16, bytes, bits.length, shape);
  }

  /**
   * A float32 tensor without extents.
   *
   * @param value its element
   * @return the tensor
   */
  public static Tensor scalar(float value) {
    return wrap(DataType.FLOAT32, room(1, Float.BYTES).putFloat(0, value), new long[0]);
  }

  /**
   * An int64 tensor without extents, such as the class of a single row.
   *
   * @param value its element
   * @return the tensor
   */
  public static Tensor scalar(long value) {
    return wrap(DataType.INT64, room(1, Long.BYTES).putLong(0, value), new long[0]);
  }

  /**
   * A tensor of bytes that are not copied: they must not change while a call uses them.
   *
   * @param dataType the type of the elements
   * @param littleEndian the elements as on the wire, whatever the buffer's own byte order is
   * @param shape the extents; none for a tensor without extents
   * @return the tensor
   * @throws IllegalArgumentException if the shape needs another number of elements
   */
  public static Tensor wrap(DataType dataType, ByteBuffer littleEndian, long[] shape) {
    long elements = elements(shape);
    if (elements * dataType.bytes() != littleEndian.remaining()) {
      throw new IllegalArgumentException(
          "a shape of "
              + elements
              + " elements of "
              + dataType.bytes()
              + " bytes for "
              + littleEndian.remaining()
              + " bytes");
    }
    var proto = dev.lossd.v1.Tensor.newBuilder();
    for (long extent : shape) {
      proto.addShape(extent);
    }
    return new Tensor(
        TensorMessages.set(proto, dataType, UnsafeByteOperations.unsafeWrap(littleEndian.slice()))
            .build());
  }

  /**
   * The type of the elements.
   *
   * @return the type
   */
  public DataType dataType() {
    return TensorMessages.dataType(proto);
  }

  /**
   * The extents, outermost first.
   *
   * @return a copy
   */
  public long[] shape() {
    return proto.getShapeList().stream().mapToLong(Long::longValue).toArray();
  }

  /**
   * The number of extents.
   *
   * @return the number
   */
  public int rank() {
    return proto.getShapeCount();
  }

  /**
   * The elements of a float32 tensor.
   *
   * @return a copy
   * @throws IllegalStateException if the tensor is of another type
   */
  public float[] toFloatArray() {
    FloatBuffer elements = expect(DataType.FLOAT32).asFloatBuffer();
    float[] copy = new float[elements.remaining()];
    elements.get(copy);
    return copy;
  }

  /**
   * The elements of a float64 tensor.
   *
   * @return a copy
   * @throws IllegalStateException if the tensor is of another type
   */
  public double[] toDoubleArray() {
    DoubleBuffer elements = expect(DataType.FLOAT64).asDoubleBuffer();
    double[] copy = new double[elements.remaining()];
    elements.get(copy);
    return copy;
  }

  /**
   * The elements as on the wire.
   *
   * @return a read-only view, in little-endian order
   */
  public ByteBuffer asByteBuffer() {
    return TensorMessages.payload(proto).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public String toString() {
    return dataType() + " tensor of shape " + proto.getShapeList();
  }

  // Implementation details follow: the tensor as a message.

  static Tensor of(dev.lossd.v1.Tensor proto) {
    return new Tensor(proto);
  }

  dev.lossd.v1.Tensor proto() {
    return proto;
  }

  private static Tensor of(DataType dataType, ByteBuffer bytes, long elements, long... shape) {
    return wrap(dataType, bytes, shape.length == 0 ? new long[] {elements} : shape);
  }

  private ByteBuffer expect(DataType dataType) {
    if (dataType() != dataType) {
      throw new IllegalStateException("this is a " + this + ", not a " + dataType + " tensor");
    }
    return asByteBuffer();
  }

  private static ByteBuffer room(long elements, int bytes) {
    return ByteBuffer.allocate(Math.toIntExact(elements * bytes)).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static long elements(long[] shape) {
    long elements = 1;
    for (long extent : shape) {
      if (extent < 0) {
        throw new IllegalArgumentException("an extent is " + extent);
      }
      elements = Math.multiplyExact(elements, extent);
    }
    return elements;
  }

  private static void checkColumns(int found, int expected) {
    if (found != expected) {
      throw new IllegalArgumentException("rows of " + found + " and of " + expected + " columns");
    }
  }
}
