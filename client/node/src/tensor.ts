// SPDX-License-Identifier: Apache-2.0

import { endianness } from "node:os";

// Arrays are sent as the bytes that they are in memory.
if (endianness() !== "LE") throw new Error("@lossd/client needs a little-endian host");

/** The type of a tensor's elements, with torch's name. */
export type DType = "float16" | "bfloat16" | "float32" | "float64" | "int32" | "int64" | "uint8" | "bool";

/** Typed arrays that hold a tensor's elements as they are sent. */
export type TensorArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

/** The Float16Array of newer releases of Node. */
export interface Float16ArrayLike extends ArrayBufferView {
  readonly length: number;
  readonly [Symbol.toStringTag]: "Float16Array";
}

/** Typed arrays that a tensor is made of. Types that the server lacks are widened, which copies them. */
export type TypedArray = TensorArray | Float16ArrayLike | Uint8ClampedArray | Int8Array | Int16Array | Uint32Array;

/** Numbers in arrays, nested to any depth; all arrays of one depth have the same length. */
export type Nested = number | bigint | boolean | readonly Nested[];

/** What every loss takes as a tensor; a typed array by itself has one extent, and a number none. */
export type TensorLike = Tensor | TypedArray | Nested;

/** A dense, row-major tensor. Made by {@link tensor}. */
export class Tensor<Data extends TensorArray = TensorArray> {
  /** @internal */
  constructor(
    /** The type of the elements. */
    readonly dtype: DType,
    /** The extents, outermost first; empty for a single number. */
    readonly shape: readonly number[],
    /** The elements. float16 and bfloat16 are held as their bits, bool as 0 and 1. */
    readonly data: Data,
  ) {}
}

/** A tensor of losses: the answer of `reduction: "none"`. */
export type FloatTensor = Tensor<Float32Array | Float64Array>;

/** @internal */
export const ITEM_BYTES: Readonly<Record<DType, number>> = {
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
};

/**
 * A tensor of these elements, which are not copied: the array must not change before a call with the tensor is answered.
 *
 * ```ts
 * tensor(new Float32Array(320), [32, 10]);
 * tensor(new Uint16Array(bits), [32, 10], "bfloat16");
 * tensor([[1, 2], [3, 4]], undefined, "float64");
 * ```
 *
 * @param data - A typed array, whose type names the element type, or numbers in nested arrays.
 * @param shape - The extents, outermost first. By default that of the nested arrays; a typed array has one extent.
 * @param dtype - Needed for a Uint16Array that holds the bits of `"float16"` or `"bfloat16"`, and for a Uint8Array of `"bool"`.
 *   Numbers in nested arrays are float32 by default, bigints int64 and booleans bool.
 * @throws TypeError for elements that cannot be sent, RangeError for a shape that does not fit them.
 */
export function tensor(data: TypedArray | Nested, shape?: readonly number[], dtype?: DType): Tensor {
  const made = ArrayBuffer.isView(data) ? ofTyped(data, dtype) : ofNested(data, dtype ?? dtypeOf(data));
  if (shape === undefined) return made;
  if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) || sizeOf(shape) !== made.data.length) {
    throw new RangeError(`shape [${shape.join(", ")}] does not fit ${made.data.length} elements`);
  }
  return new Tensor(made.dtype, [...shape], made.data);
}

/**
 * An argument as a tensor. `numbers` is the element type of numbers in nested arrays, which have none of their own.
 *
 * @internal
 */
export function argument(data: TensorLike, name: string, numbers: DType = "float32"): Tensor {
  if (data instanceof Tensor) return data;
  try {
    if (ArrayBuffer.isView(data)) return ofTyped(data);
    const own = dtypeOf(data);
    return ofNested(data, own === "float32" ? numbers : own);
  } catch (error) {
    if (error instanceof TypeError) error.message = `${name}: ${error.message}`;
    throw error;
  }
}

/** @internal */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}

/** The number of extents of an argument. @internal */
export function rankOf(data: TensorLike): number {
  if (data instanceof Tensor) return data.shape.length;
  return ArrayBuffer.isView(data) ? 1 : nestedShape(data).length;
}

/** The elements as they are sent, not copied. @internal */
export function bytesOf(tensor: Tensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The tensor that these bytes hold. They are copied if they are not aligned. @internal */
export function ofBytes(dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  const aligned = bytes.byteOffset % ITEM_BYTES[dtype] === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = aligned;
  return new Tensor(dtype, shape, new ARRAYS[dtype](buffer, byteOffset, bytes.length / ITEM_BYTES[dtype]));
}

// Implementation details follow.

type Constructor = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => TensorArray;

const ARRAYS: Readonly<Record<DType, Constructor>> = {
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

function ofTyped(data: TypedArray | ArrayBufferView, dtype?: DType): Tensor {
  const made = ofTypedArray(data, dtype);
  if (dtype !== undefined && made.dtype !== dtype) {
    throw new TypeError(`the elements are ${made.dtype}, not ${dtype}: pass a ${ARRAYS[dtype].name}`);
  }
  return made;
}

function ofTypedArray(data: TypedArray | ArrayBufferView, dtype?: DType): Tensor {
  const flat = (type: DType, array: TensorArray): Tensor => new Tensor(type, [array.length], array);
  if (data instanceof Float32Array) return flat("float32", data);
  if (data instanceof Float64Array) return flat("float64", data);
  if (data instanceof Int32Array) return flat("int32", data);
  if (data instanceof BigInt64Array) return flat("int64", data);
  if (data instanceof Uint8Array) return flat(dtype === "bool" ? "bool" : "uint8", data);
  if (data instanceof Uint16Array) {
    if (dtype === "float16" || dtype === "bfloat16") return flat(dtype, data);
    return flat("int32", Int32Array.from(data));
  }
  if (data instanceof Uint8ClampedArray) return flat("uint8", new Uint8Array(data.buffer, data.byteOffset, data.length));
  if (data instanceof Int8Array || data instanceof Int16Array) return flat("int32", Int32Array.from(data));
  if (data instanceof Uint32Array) return flat("int64", BigInt64Array.from(data as Iterable<number>, BigInt));
  const name = (data as Partial<Float16ArrayLike>)[Symbol.toStringTag] ?? "a DataView";
  if (name === "Float16Array") return flat("float16", new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2));
  throw new TypeError(`${name} cannot be sent: pass a typed array of floats, of integers up to 64 bits with sign, or of bytes`);
}

/** The element type that numbers in nested arrays have by themselves: float32 for numbers. */
function dtypeOf(data: Nested): DType {
  let first: unknown = data;
  while (Array.isArray(first)) first = first[0];
  return typeof first === "bigint" ? "int64" : typeof first === "boolean" ? "bool" : "float32";
}

function nestedShape(data: Nested): number[] {
  const shape: number[] = [];
  for (let level: Nested | undefined = data; isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

function ofNested(data: Nested, dtype: DType): Tensor {
  const shape = nestedShape(data);
  const size = sizeOf(shape);
  const array = new ARRAYS[dtype](new ArrayBuffer(size * ITEM_BYTES[dtype]), 0, size);
  const convert = converter(dtype);
  let next = 0;
  const fill = (level: Nested, depth: number): void => {
    if (!isArray(level)) {
      if (depth !== shape.length) throw new TypeError("the nested arrays have unequal depths");
      array[next++] = convert(level);
      return;
    }
    if (level.length !== shape[depth]) throw new TypeError("the nested arrays have unequal lengths");
    for (const inner of level) fill(inner, depth + 1);
  };
  fill(data, 0);
  return new Tensor(dtype, shape, array);
}

function converter(dtype: DType): (element: unknown) => number | bigint {
  const wrong = (element: unknown): TypeError => new TypeError(`${String(element)} is not a valid ${dtype}`);
  const number = (element: unknown): number => {
    if (typeof element !== "number") throw wrong(element);
    return element;
  };
  const integer = (element: unknown): number => {
    if (!Number.isSafeInteger(element)) throw wrong(element);
    return element as number;
  };
  switch (dtype) {
    case "float32":
    case "float64":
      return number;
    case "int64":
      return (element) => (typeof element === "bigint" ? element : BigInt(integer(element)));
    case "int32":
    case "uint8":
      return integer;
    case "bool":
      return (element) => {
        if (typeof element !== "boolean") throw wrong(element);
        return Number(element);
      };
    case "float16":
    case "bfloat16":
      throw new TypeError(`${dtype} is made of its bits: pass a Uint16Array`);
  }
}

function isArray(data: Nested | undefined): data is readonly Nested[] {
  return Array.isArray(data);
}
