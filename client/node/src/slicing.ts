// SPDX-License-Identifier: Apache-2.0

// Ranges of a tensor along one extent, and tensors joined along one.

import { bytesOf, ITEM_BYTES, ofBytes, sizeOf, type Tensor } from "./tensor.js";

/** The part [start, stop) of a tensor along an extent: a view if it is contiguous, else a copy. @internal */
export function slice(tensor: Tensor, axis: number, start: number, stop: number): Tensor {
  const { shape, dtype } = tensor;
  const rows = shape[axis] ?? 0;
  const outer = sizeOf(shape.slice(0, axis));
  const row = sizeOf(shape.slice(axis + 1)) * ITEM_BYTES[dtype];
  const bytes = bytesOf(tensor);
  const cut = [...shape.slice(0, axis), stop - start, ...shape.slice(axis + 1)];
  if (outer === 1) return ofBytes(dtype, cut, bytes.subarray(start * row, stop * row));
  const run = (stop - start) * row;
  const copy = new Uint8Array(outer * run);
  for (let block = 0; block < outer; block++) {
    const from = (block * rows + start) * row;
    copy.set(bytes.subarray(from, from + run), block * run);
  }
  return ofBytes(dtype, cut, copy);
}

/** Tensors of one type joined along an extent, in which alone their shapes may differ. @internal */
export function concatenate<T extends Tensor>(tensors: readonly [T, ...T[]], axis: number): T {
  const [{ shape, dtype }] = tensors;
  const outer = sizeOf(shape.slice(0, axis));
  const rows = tensors.reduce((sum, tensor) => sum + (tensor.shape[axis] ?? 0), 0);
  const joined = [...shape.slice(0, axis), rows, ...shape.slice(axis + 1)];
  const bytes = new Uint8Array(sizeOf(joined) * ITEM_BYTES[dtype]);
  let offset = 0;
  for (let block = 0; block < outer; block++) {
    for (const tensor of tensors) {
      const run = tensor.data.byteLength / outer;
      bytes.set(bytesOf(tensor).subarray(block * run, (block + 1) * run), offset);
      offset += run;
    }
  }
  return ofBytes(dtype, joined, bytes) as T;
}
