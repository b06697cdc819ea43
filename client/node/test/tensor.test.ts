// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";

import { tensor, Tensor, type DType, type TypedArray } from "../src/index.js";
import { concatenate, slice } from "../src/slicing.js";
import { argument } from "../src/tensor.js";

const TYPES: readonly [TypedArray, DType][] = [
  [new Float32Array(2), "float32"],
  [new Float64Array(2), "float64"],
  [new Int32Array(2), "int32"],
  [new BigInt64Array(2), "int64"],
  [new Uint8Array(2), "uint8"],
  [Buffer.alloc(2), "uint8"],
  [new Uint8ClampedArray(2), "uint8"],
  [new Int8Array(2), "int32"],
  [new Int16Array(2), "int32"],
  [new Uint16Array(2), "int32"],
  [new Uint32Array(2), "int64"],
];

test("the type of an array names the element type", () => {
  for (const [array, dtype] of TYPES) {
    const made = tensor(array);
    assert.deepEqual([made.dtype, made.shape], [dtype, [2]], array.constructor.name);
  }
});

test("elements are not copied, nor those of a part of an array", () => {
  const array = new Float32Array([1, 2, 3, 4]);
  assert.equal(tensor(array, [2, 2]).data, array);
  assert.equal(tensor(array.subarray(1), [3]).data.byteOffset, 4);
});

test("widened integers keep their values", () => {
  assert.deepEqual(tensor(new Int8Array([-1, 127])).data, new Int32Array([-1, 127]));
  assert.deepEqual(tensor(new Uint32Array([2 ** 32 - 1])).data, new BigInt64Array([2n ** 32n - 1n]));
});

test("16-bit floats and bools are named", () => {
  assert.equal(tensor(new Uint16Array(2), [2], "bfloat16").dtype, "bfloat16");
  assert.equal(tensor(new Uint16Array(2), [2], "float16").dtype, "float16");
  assert.equal(tensor(new Uint8Array(2), [2], "bool").dtype, "bool");
});

test("a Float16Array is float16 if Node has it", (context) => {
  const constructor = (globalThis as { Float16Array?: new (values: number[]) => TypedArray }).Float16Array;
  if (constructor === undefined) {
    context.skip("this Node has no Float16Array");
    return;
  }
  const made = tensor(new constructor([1, -2]));
  assert.deepEqual([made.dtype, made.data], ["float16", new Uint16Array([0x3c00, 0xc000])]);
});

test("nested arrays have a shape, and a type by their elements or by the argument", () => {
  const nested = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.deepEqual([nested.dtype, nested.shape, nested.data], ["float32", [2, 3], new Float32Array([1, 2, 3, 4, 5, 6])]);
  assert.deepEqual(tensor([1n, -2n]).data, new BigInt64Array([1n, -2n]));
  assert.deepEqual([tensor([true, false]).dtype, tensor([true, false]).data], ["bool", new Uint8Array([1, 0])]);
  assert.deepEqual([tensor(5).shape, tensor([[], []]).shape], [[], [2, 0]]);
  assert.deepEqual(argument([0, 2], "target", "int64").data, new BigInt64Array([0n, 2n]));
  assert.deepEqual(tensor([0.1], undefined, "float64").data, new Float64Array([0.1]));
});

test("what cannot be sent is refused, with the argument's name", () => {
  assert.throws(() => tensor(new Float32Array(6), [2, 2]), RangeError);
  assert.throws(() => tensor(new Float32Array(4), [-2, -2]), RangeError);
  assert.throws(() => tensor(new Float32Array(4), [4], "float64"), /the elements are float32, not float64/);
  assert.throws(() => argument([[1], [1, 2]], "input"), /input: the nested arrays have unequal lengths/);
  assert.throws(() => argument([[1], 2], "input"), /input: the nested arrays have unequal depths/);
  assert.throws(() => argument([0.5], "target", "int64"), /target: 0.5 is not a valid int64/);
  assert.throws(() => argument(["1"] as never, "input"), /input: 1 is not a valid float32/);
  assert.throws(() => argument(new BigUint64Array(1) as never, "target"), /target: BigUint64Array cannot be sent/);
});

test("slices along each extent, joined, are the whole", () => {
  const whole = tensor(
    Float32Array.from({ length: 24 }, (_, i) => i),
    [2, 3, 4],
  );
  for (const [axis, extent] of whole.shape.entries()) {
    const parts = Array.from({ length: extent }, (_, start) => slice(whole, axis, start, start + 1));
    assert.deepEqual(concatenate(parts as [Tensor, ...Tensor[]], axis), whole);
  }
  assert.deepEqual(slice(whole, 1, 1, 3).data, new Float32Array([4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23]));
  assert.equal(slice(whole, 0, 1, 2).data.buffer, whole.data.buffer, "a contiguous part is a view");
});
