// SPDX-License-Identifier: Apache-2.0

import type { Fields, Rpc } from "../codec.js";
import { argument, rankOf, Tensor, type DType, type TensorLike } from "../tensor.js";

/** How the elements of a loss become the answer: their mean as torch defines it for the loss, their sum, or all of them. */
export type Reduction = "none" | "mean" | "sum";

/** The options of every loss. */
export interface LossOptions<R, S> {
  /** By default `"mean"`. `"none"` answers a tensor with one value for each element or row. */
  reduction?: R;
  /** True answers the {@link LossResult}, which holds the value and what is needed to merge it with others. */
  returnStatistics?: S;
  /** `"float64"` computes in float64; by default 16-bit inputs are computed in float32, and others as given. */
  precision?: "float64";
  /** True refuses NaN and infinities in float tensors; by default they propagate as in torch. */
  rejectNonFinite?: boolean;
}

/** What the methods of a client, a batch or an evaluation take and return. */
export interface Answers {
  /** Further options of every call. */
  readonly control: object;
  /** Of a reduced loss. */
  readonly reduced: unknown;
  /** Of `reduction: "none"`. */
  readonly unreduced: unknown;
  /** Of a reduced loss with `returnStatistics: true`. */
  readonly reducedResult: unknown;
  /** Of `reduction: "none"` with `returnStatistics: true`. */
  readonly unreducedResult: unknown;
}

/** What a call with these options returns. */
export type Answer<A extends Answers, R, S> = S extends true
  ? R extends "none"
    ? A["unreducedResult"]
    : A["reducedResult"]
  : R extends "none"
    ? A["unreduced"]
    : A["reduced"];

/** The options of a call that {@link Caller.call} reads. @internal */
export type AnyOptions = LossOptions<string, boolean>;

/** Makes a call. The losses need nothing else. */
export abstract class Caller<A extends Answers> {
  /**
   * Calls an RPC. `fields` makes the fields of its request, and throws TypeError for arguments that cannot be sent.
   *
   * @internal
   */
  protected abstract call<R, S>(rpc: Rpc, options: AnyOptions & A["control"], fields: () => Fields): Answer<A, R, S>;
}

/** An argument of floats, or one that is cast to the type of such an argument. @internal */
export function floats(data: TensorLike, name: string): Tensor {
  return argument(data, name);
}

/** An optional argument of floats. @internal */
export function optional(data: TensorLike | undefined, name: string): Tensor | undefined {
  return data === undefined ? undefined : argument(data, name);
}

/** An argument of class indices. @internal */
export function indices(data: TensorLike, name: string): Tensor {
  return argument(data, name, "int64");
}

/**
 * The target of a cross entropy. Floats are class probabilities and integers class indices. Numbers in nested arrays, which are
 * neither, are probabilities if they have the rank of the logits. An ignoreIndex that is torch's default is left out with
 * probabilities, which have none.
 *
 * @internal
 */
export function classes(target: TensorLike, rankOfLogits: number, ignoreIndex?: number | bigint): Fields {
  const tensor = argument(target, "target", rankOf(target) === rankOfLogits ? "float32" : "int64");
  if (!FLOATS.has(tensor.dtype)) return { classIndices: tensor };
  return Number(ignoreIndex) === -100 ? { classProbabilities: tensor, ignoreIndex: undefined } : { classProbabilities: tensor };
}

/** A list of lengths or cutoffs. @internal */
export function integers(data: TensorLike, name: string): bigint[] {
  const { dtype, data: elements } = argument(data, name, "int64");
  if (FLOATS.has(dtype) || dtype === "bool") throw new TypeError(`${name} must be integers`);
  return Array.from(elements as Iterable<number | bigint>, BigInt);
}

const FLOATS: ReadonlySet<DType> = new Set<DType>(["float16", "bfloat16", "float32", "float64"]);
