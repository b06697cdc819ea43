// SPDX-License-Identifier: Apache-2.0

// What the methods return follows from their options. The compiler checks this file; at run time it makes a batch, and sends nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Client,
  LossdError,
  tensor,
  type Evaluation,
  type FloatTensor,
  type LossResult,
  type Pending,
  type Reduction,
  type TensorLike,
} from "../src/index.js";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the type of `value` is `Expected`. */
function hasType<Expected>() {
  return <T>(_make: () => T, ..._same: Same<T, Expected> extends true ? [] : [never]): void => undefined;
}

test("types of answers", async () => {
  await using client = new Client("127.0.0.1:1");
  const input: TensorLike = [[0.5, 1]];
  const target: TensorLike = [1];
  const reduction = "mean" as Reduction;
  const returnStatistics = true as boolean;

  hasType<Promise<number>>()(() => client.crossEntropy(input, target));
  hasType<Promise<number>>()(() => client.crossEntropy(input, target, { labelSmoothing: 0.1 }));
  hasType<Promise<number>>()(() => client.crossEntropy(input, target, { reduction: "sum", timeoutSeconds: 1 }));
  hasType<Promise<FloatTensor>>()(() => client.crossEntropy(input, target, { reduction: "none" }));
  hasType<Promise<number> | Promise<FloatTensor>>()(() => client.crossEntropy(input, target, { reduction }));
  hasType<Promise<LossResult<number>>>()(() => client.crossEntropy(input, target, { returnStatistics: true }));
  hasType<Promise<LossResult<FloatTensor>>>()(() => client.mseLoss(1, 2, { reduction: "none", returnStatistics: true }));
  hasType<Promise<number> | Promise<LossResult<number>>>()(() => client.mseLoss(1, 2, { returnStatistics }));
  hasType<Promise<number>>()(() => client.klDiv(input, input, { reduction: "batchmean" }));

  const batch = client.batch();
  hasType<Pending<number>>()(() => batch.mseLoss(1, 2));
  hasType<Pending<FloatTensor>>()(() => batch.mseLoss(1, 2, { reduction: "none" }));
  hasType<Promise<void>>()(() => (null as unknown as Evaluation).series("a").mseLoss(1, 2));

  const wrong = [
    // @ts-expect-error -- only klDiv has it
    () => client.mseLoss(1, 2, { reduction: "batchmean" }),
    // @ts-expect-error -- a misspelt option
    () => client.crossEntropy(input, target, { labelSmothing: 0.1 }),
    // @ts-expect-error -- an option of another loss
    () => client.mseLoss(1, 2, { labelSmoothing: 0.1 }),
    // @ts-expect-error -- required arguments
    () => client.adaptiveLogSoftmaxWithLoss(input, target),
    // @ts-expect-error -- a call of a batch has the batch's timeout
    () => batch.mseLoss(1, 2, { timeoutSeconds: 1 }),
    // @ts-expect-error -- not a tensor
    () => client.mseLoss("1", 2),
    // @ts-expect-error -- not an element type
    () => tensor([1], [1], "float8"),
    // @ts-expect-error -- the code is one of gRPC's
    (error: LossdError) => error.code === "TIMEOUT",
  ];
  assert.equal(wrong.length, 8);
});
