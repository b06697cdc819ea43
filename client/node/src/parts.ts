// SPDX-License-Identifier: Apache-2.0

// How many parts a request that is too large must be cut into, from the limit on its bytes or from a server's refusals.

import { sizeInBytes, type Request } from "./codec.js";
import type { LossdError } from "./errors.js";
import { countRows, sharedFields, uncuttable } from "./split.js";

/** A server refused a request of `rows` rows: it needs `actual`, and `limit` is allowed; NaN if the server did not say. @internal */
export interface Refusal {
  readonly rows: number;
  readonly limit: number;
  readonly actual: number;
  readonly error: LossdError;
}

/** What the error says about a request of `rows` rows. Throws the error if cutting the request cannot help. @internal */
export function refusal(rows: number, error: LossdError): Refusal {
  const limit = Object.keys(error.metadata).find((name) => name.startsWith("limit_"));
  if (limit !== undefined) {
    const actual = error.metadata[limit.replace("limit_", "actual_")];
    return { rows, limit: Number(error.metadata[limit]), actual: Number(actual ?? NaN), error };
  }
  if (!refusedByGrpc(error)) throw error;
  return { rows, limit: NaN, actual: NaN, error };
}

/** Whether gRPC itself refused the request or the answer for its size. gRPC does not say which. @internal */
export function refusedByGrpc(error: LossdError): boolean {
  return error.message.includes("larger than max");
}

/**
 * How many rows a part of the request may have, at least one, from refusals of fewer and fewer of its rows.
 *
 * A request needs a fixed amount for the fields that go with every part, and the same amount for each row. One refusal bounds the
 * rows, and two give both amounts. Throws RESOURCE_EXHAUSTED if the fixed amount alone is above the limit.
 *
 * @internal
 */
export function rowsThatFit(request: Request, last: Refusal, before: Refusal | undefined): number {
  let rows = (last.rows * last.limit) / last.actual;
  if (before?.limit === last.limit) {
    const aRow = (before.actual - last.actual) / (before.rows - last.rows);
    const everyPart = last.actual - aRow * last.rows;
    if (aRow <= 0 || everyPart >= last.limit) {
      throw uncuttable(request, `what goes with every part is above the limit by itself. ${last.error.message}`);
    }
    rows = (last.limit - everyPart) / aRow;
  }
  return Math.max(1, Math.floor(rows < last.rows ? rows : last.rows / 2));
}

/**
 * Into how many parts a request above `limit` bytes must be cut. Throws RESOURCE_EXHAUSTED if cutting cannot help.
 *
 * Parts may still be too large, if rows are of unequal length or one row is too large by itself: cut them again.
 *
 * @internal
 */
export function partsNeeded(request: Request, limit: number): number {
  const rows = countRows(request);
  const shared = sharedFields(request);
  const sharedBytes = sizeInBytes(shared);
  const room = limit - sharedBytes - 128 * Object.keys(request.fields).length;
  if (room <= 0) {
    const sizes = Object.entries(shared).map(([name, value]) => ({ name, bytes: sizeInBytes(value) }));
    const { name, bytes } = sizes.reduce((largest, size) => (size.bytes > largest.bytes ? size : largest), { name: "", bytes: 0 });
    throw uncuttable(request, `${name} of about ${bytes} bytes must go with every part, and ${limit} bytes are allowed`);
  }
  const rowsAPart = Math.floor((room * rows) / (sizeInBytes(request.fields) - sharedBytes));
  return Math.ceil(rows / Math.max(1, rowsAPart));
}
