// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/** The type of the elements of a {@link Tensor}. */
public enum DataType {
  /** IEEE 754 binary16, held as {@code short}. */
  FLOAT16(2, true),
  /** The upper half of an IEEE 754 binary32, held as {@code short}. */
  BFLOAT16(2, true),
  /** {@code float}. */
  FLOAT32(4, true),
  /** {@code double}. */
  FLOAT64(8, true),
  /** {@code int}. */
  INT32(4, false),
  /** {@code long}. */
  INT64(8, false),
  /** Unsigned, held as {@code byte}. */
  UINT8(1, false),
  /** One byte each, 0 or 1. */
  BOOL(1, false);

  private final int bytes;
  private final boolean isFloat;

  DataType(int bytes, boolean isFloat) {
    this.bytes = bytes;
    this.isFloat = isFloat;
  }

  /**
   * The size of an element.
   *
   * @return bytes
   */
  public int bytes() {
    return bytes;
  }

  /**
   * Whether this is one of the four float types.
   *
   * @return true for them
   */
  public boolean isFloat() {
    return isFloat;
  }
}
