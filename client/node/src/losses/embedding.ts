// SPDX-License-Identifier: Apache-2.0

import type { Fields } from "../codec.js";
import type { TensorLike } from "../tensor.js";
import { floats, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";
import type { AnyTargetOptions } from "./classification.js";
import { MultilabelLosses } from "./multilabel.js";

/** Options of {@link EmbeddingLosses.marginRankingLoss} and {@link EmbeddingLosses.cosineEmbeddingLoss}. */
export interface MarginRankingOptions extends AnyTargetOptions {
  /** Finite, by default 0. */
  margin?: number;
}

/** Options of {@link EmbeddingLosses.hingeEmbeddingLoss}. */
export interface HingeEmbeddingOptions extends AnyTargetOptions {
  /** Finite, by default 1. */
  margin?: number;
}

/** Options of {@link EmbeddingLosses.tripletMarginLoss}. */
export interface TripletMarginOptions {
  /** Finite, \> 0, by default 1. */
  margin?: number;
  /** \> 0, by default 2; infinity is allowed. */
  p?: number;
  /** Finite, \>= 0, by default 1e-6. */
  eps?: number;
  /** Replaces d(a, n) by min(d(a, n), d(p, n)). By default false. */
  swap?: boolean;
}

/**
 * A distance that the server has: the p-norm of u - v + eps (p \> 0, by default 2; eps \>= 0, by default 1e-6), 1 - cosine similarity
 * (eps \> 0, by default 1e-8), or the sum over the last extent of (u - v)^2.
 */
export type Distance =
  { kind: "pairwise"; p?: number; eps?: number } | { kind: "cosine"; eps?: number } | { kind: "squaredEuclidean" };

/** Options of {@link EmbeddingLosses.tripletMarginWithDistanceLoss}. */
export interface TripletMarginWithDistanceOptions {
  /** By default `{ kind: "pairwise" }`. A function cannot be sent. */
  distanceFunction?: Distance;
  /** Finite, \> 0, by default 1. */
  margin?: number;
  /** Replaces d(a, n) by min(d(a, n), d(p, n)). By default false. */
  swap?: boolean;
}

/** Distances and similarities of embeddings. */
export abstract class EmbeddingLosses<A extends Answers> extends MultilabelLosses<A> {
  /**
   * max(0, -target (input1 - input2) + margin); the mean divides by the number of elements.
   * torch.nn.functional.margin_ranking_loss.
   *
   * @param input1 - Any shape; float.
   * @param input2 - Of input1's rank; float. It broadcasts, if the result has no more elements than the largest argument.
   * @param target - 1 or -1, of input1's rank; any type, cast to the inputs'. It broadcasts likewise.
   */
  marginRankingLoss<R extends Reduction = "mean", S extends boolean = false>(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    options: MarginRankingOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("MarginRankingLoss", options, () => ({
      input1: floats(input1, "input1"),
      input2: floats(input2, "input2"),
      target: floats(target, "target"),
      margin: options.margin,
      allowAnyTarget: options.allowAnyTarget,
    }));
  }

  /**
   * input if target is 1, max(0, margin - input) if it is -1; the mean divides by the number of elements.
   * torch.nn.functional.hinge_embedding_loss.
   *
   * @param input - Any shape; float.
   * @param target - 1 or -1; any type, cast to input's. It broadcasts, if the result has no more elements than the largest argument.
   */
  hingeEmbeddingLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: HingeEmbeddingOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("HingeEmbeddingLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      margin: options.margin,
      allowAnyTarget: options.allowAnyTarget,
    }));
  }

  /**
   * 1 - cos(input1, input2) if target is 1, max(0, cos - margin) if it is -1; the mean divides by N.
   * torch.nn.functional.cosine_embedding_loss.
   *
   * @param input1 - (N, D) or (D); float.
   * @param input2 - The shape of input1; float.
   * @param target - 1 or -1: (N) or (); any type, cast to the inputs'.
   */
  cosineEmbeddingLoss<R extends Reduction = "mean", S extends boolean = false>(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    options: MarginRankingOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("CosineEmbeddingLoss", options, () => ({
      input1: floats(input1, "input1"),
      input2: floats(input2, "input2"),
      target: floats(target, "target"),
      margin: options.margin,
      allowAnyTarget: options.allowAnyTarget,
    }));
  }

  /**
   * max(0, d(a, p) - d(a, n) + margin) with d the p-norm of u - v + eps; the mean divides by the number of rows.
   * torch.nn.functional.triplet_margin_loss.
   *
   * @param anchor - (..., D); float.
   * @param positive - The shape of anchor; float.
   * @param negative - The shape of anchor; float.
   */
  tripletMarginLoss<R extends Reduction = "mean", S extends boolean = false>(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    options: TripletMarginOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("TripletMarginLoss", options, () => ({
      anchor: floats(anchor, "anchor"),
      positive: floats(positive, "positive"),
      negative: floats(negative, "negative"),
      margin: options.margin,
      p: options.p,
      eps: options.eps,
      swap: options.swap,
    }));
  }

  /**
   * tripletMarginLoss with another distance; the mean divides by the number of rows.
   * torch.nn.functional.triplet_margin_with_distance_loss.
   *
   * @param anchor - (..., D); float.
   * @param positive - The shape of anchor; float.
   * @param negative - The shape of anchor; float.
   */
  tripletMarginWithDistanceLoss<R extends Reduction = "mean", S extends boolean = false>(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    options: TripletMarginWithDistanceOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("TripletMarginWithDistanceLoss", options, () => ({
      anchor: floats(anchor, "anchor"),
      positive: floats(positive, "positive"),
      negative: floats(negative, "negative"),
      ...distance(options.distanceFunction),
      margin: options.margin,
      swap: options.swap,
    }));
  }
}

// Implementation details follow.

function distance(given: Distance | undefined): Fields {
  switch (given?.kind) {
    case undefined:
      return {};
    case "pairwise":
      return { pairwiseDistance: { p: given.p, eps: given.eps } };
    case "cosine":
      return { cosineDistance: { eps: given.eps } };
    case "squaredEuclidean":
      return { squaredEuclideanDistance: {} };
  }
}
