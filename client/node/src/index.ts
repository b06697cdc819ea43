// SPDX-License-Identifier: Apache-2.0

export { Batch, Pending, type BatchAnswers, type BatchOptions } from "./batch.js";
export { Client, type CallOptions, type ClientAnswers, type ServerInfo } from "./client.js";
export type { Execution, LossResult, Statistics } from "./codec.js";
export type { ClientOptions } from "./core.js";
export { LossdError, type Code, type ErrorDetails, type FieldViolation } from "./errors.js";
export { Evaluation, Series, type EvaluationAnswers } from "./evaluation.js";
export type { Answer, Answers, LossOptions, Reduction } from "./losses/caller.js";
export { LossMethods } from "./losses/index.js";
export type * from "./losses/classification.js";
export type * from "./losses/distribution.js";
export type * from "./losses/embedding.js";
export type * from "./losses/multilabel.js";
export type * from "./losses/regression.js";
export type * from "./losses/sequence.js";
export type * from "./losses/vocabulary.js";
export type { EvaluationState, SeriesResult, SeriesState } from "./series.js";
export type { SumState, TotalsState } from "./statistics.js";
export {
  Tensor,
  tensor,
  type DType,
  type FloatTensor,
  type Float16ArrayLike,
  type Nested,
  type TensorArray,
  type TensorLike,
  type TypedArray,
} from "./tensor.js";
export type { ConnectionOptions, TlsOptions } from "./transport.js";
export { VERSION } from "./version.js";
