// SPDX-License-Identifier: Apache-2.0

// Cutting a request that is too large along its batch dimension, and merging the answers of the parts exactly.
//
// RULES says for every RPC which fields are cut and how; the rest is the same for all losses. Fields that no rule names (per-class
// weights, output layers, hyper-parameters) go with every part.

import { sizeInBytes, type Fields, type LossResult, type Request } from "./codec.js";
import { LossdError } from "./errors.js";
import { argumentOf } from "./names.js";
import { concatenate, slice } from "./slicing.js";
import { Totals } from "./statistics.js";
import { Tensor, type FloatTensor } from "./tensor.js";

/**
 * How a field is cut if the batch is cut along extent `axis`: "rows" along the same extent; "rows after time" along the extent
 * after it; "left broadcast" along the same extent, unless that is missing or 1, and "right broadcast" the same with extents
 * aligned on the right; "items" a list with one item per row; "concatenated" rows of `lengths`, concatenated.
 */
type Cut = "rows" | "rows after time" | "left broadcast" | "right broadcast" | "items" | "concatenated";

/** How the requests of one RPC are cut. */
interface Rule {
  /** The tensor whose leading extents are the batch. */
  readonly lead: string;
  readonly fields: Readonly<Record<string, Cut>>;
  /** Minimum number of trailing extents of `lead` in a row. */
  readonly rowRank: number;
  /** The batch has one extent, and all later extents belong to the row. */
  readonly oneAxis: boolean;
  /** The list of lengths by which "concatenated" is cut. */
  readonly lengths?: string;
}

const rule = (lead: string, fields: Record<string, Cut>, row: Partial<Rule> = {}): Rule => ({
  lead,
  fields: { [lead]: "rows", ...fields },
  rowRank: 0,
  oneAxis: false,
  ...row,
});
const rows = (...names: string[]): Record<string, Cut> => Object.fromEntries(names.map((name) => [name, "rows"]));

const ONE_ROW = { rowRank: 1, oneAxis: true };
const WEIGHTED = rule("input", rows("target", "weight"));
const UNWEIGHTED = rule("input", rows("target"));
const CLASSES = rule("input", rows("classIndices", "classProbabilities"), ONE_ROW);
const CLASS = rule("input", rows("target"), ONE_ROW);
const TRIPLET = rule("anchor", rows("positive", "negative"), { rowRank: 1 });

const RULES: Readonly<Record<string, Rule>> = {
  L1Loss: WEIGHTED,
  MseLoss: WEIGHTED,
  SmoothL1Loss: UNWEIGHTED,
  HuberLoss: WEIGHTED,
  KlDivLoss: UNWEIGHTED,
  PoissonNllLoss: UNWEIGHTED,
  GaussianNllLoss: rule("input", { target: "right broadcast", varianceValues: "left broadcast" }),
  NllLoss: CLASS,
  CrossEntropyLoss: CLASSES,
  BceLoss: rule("input", { target: "rows", weight: "right broadcast" }),
  BceWithLogitsLoss: rule("input", { target: "rows", weight: "right broadcast", posWeight: "right broadcast" }),
  SoftMarginLoss: rule("input", { target: "right broadcast" }),
  MultiMarginLoss: CLASS,
  MultiLabelMarginLoss: CLASS,
  MultiLabelSoftMarginLoss: rule("input", { target: "rows", weight: "right broadcast" }, { rowRank: 1 }),
  MarginRankingLoss: rule("input1", { input2: "left broadcast", target: "left broadcast" }),
  HingeEmbeddingLoss: rule("input", { target: "right broadcast" }),
  CosineEmbeddingLoss: rule("input1", rows("input2", "target"), ONE_ROW),
  TripletMarginLoss: TRIPLET,
  TripletMarginWithDistanceLoss: TRIPLET,
  CtcLoss: rule(
    "logProbs",
    {
      logProbs: "rows after time",
      paddedTargets: "rows",
      concatenatedTargets: "concatenated",
      inputLengths: "items",
      targetLengths: "items",
    },
    { rowRank: 2, oneAxis: true, lengths: "targetLengths" },
  ),
  AdaptiveLogSoftmaxWithLoss: CLASS,
  LinearCrossEntropyLoss: CLASSES,
};

/**
 * The request in that many parts of about equal size; fewer if it has fewer rows. Throws a LossdError: RESOURCE_EXHAUSTED if it
 * cannot be cut, INVALID_ARGUMENT if the shapes of its tensors do not match.
 *
 * @internal
 */
export function cut(request: Request, parts: number): Request[] {
  const batch = batchOf(request);
  const edges = [...new Set(Array.from({ length: parts + 1 }, (_, part) => Math.floor((batch.rows * part) / parts)))];
  const selectors = Object.keys(request.fields).map((name) => [name, selector(request, name, batch)] as const);
  return edges.slice(1).map((stop, index) => {
    const start = edges[index] ?? 0;
    return { ...request, fields: Object.fromEntries(selectors.map(([name, select]) => [name, select(start, stop)])) };
  });
}

/** The number of rows along the extent that is cut. Throws RESOURCE_EXHAUSTED if the request cannot be cut. @internal */
export function countRows(request: Request): number {
  return batchOf(request).rows;
}

/** The fields that go with every part. @internal */
export function sharedFields(request: Request): Fields {
  const { axis } = batchOf(request);
  return Object.fromEntries(Object.entries(request.fields).filter(([name]) => !isCut(request, name, axis)));
}

/** How many of the request's rows a part has. @internal */
export function rowsIn(request: Request, part: Request): number {
  const { lead } = ruleOf(request);
  return tensorIn(part, lead).shape[axisOf(request, lead, batchOf(request).axis) ?? 0] ?? 0;
}

/**
 * The extent along which a tensor is cut, and the index in it at which row `start` begins; undefined if the tensor goes with
 * every part.
 *
 * @internal
 */
export function offset(request: Request, name: string, start: number): { along: number; by: number } | undefined {
  const { axis } = batchOf(request);
  if (!isCut(request, name, axis)) return undefined;
  const how = ruleOf(request).fields[name];
  if (how === "concatenated") return { along: 0, by: ends(request)[start] ?? 0 };
  return { along: how === "items" ? 0 : (axisOf(request, name, axis) ?? 0), by: start };
}

/** The result of the request, from the results of its parts in order. @internal */
export function merge(request: Request, results: readonly LossResult[]): LossResult {
  const totals = new Totals();
  for (const result of results) totals.add(result);
  const lead = tensorIn(request, ruleOf(request).lead);
  const executions = results.map((result) => result.execution);
  const batchMean = request.reduction === "batchmean";
  // The sum of the parts' denominators is the first extent only if the first extent was cut.
  const meanDenominator = batchMean ? (lead.shape[0] ?? 1) : totals.meanDenominator;
  return {
    value: request.reduction === "none" ? mergedValues(request, results) : valueOf(request.reduction, totals, meanDenominator),
    sum: totals.sum,
    meanNumerator: totals.meanNumerator,
    meanDenominator,
    elementCount: totals.elementCount,
    ignoredCount: totals.ignoredCount,
    execution: {
      queueSeconds: Math.max(...executions.map((execution) => execution.queueSeconds)),
      computeSeconds: executions.reduce((sum, execution) => sum + execution.computeSeconds, 0),
      callsInBatch: Math.max(...executions.map((execution) => execution.callsInBatch)),
      device: executions[0]?.device ?? "",
    },
  };
}

/** The error for a request above the client's limit. @internal */
export function tooLarge(request: Request, limit: number): LossdError {
  const bytes = sizeInBytes(request.fields);
  return new LossdError({
    code: "RESOURCE_EXHAUSTED",
    message: `the ${request.rpc} request has ${bytes} bytes; ${limit} are allowed: split the batch`,
    reason: "REQUEST_TOO_LARGE",
    metadata: { limit_bytes: String(limit), actual_bytes: String(bytes) },
  });
}

/** The error for a request that is too large and cannot be cut. @internal */
export function uncuttable(request: Request, why: string): LossdError {
  const message = `the ${request.rpc} request is too large, and it cannot be split: ${why}`;
  return new LossdError({ code: "RESOURCE_EXHAUSTED", message, reason: "REQUEST_TOO_LARGE" });
}

// Implementation details follow.

interface Batch {
  /** The extent along which to cut. */
  readonly axis: number;
  readonly rows: number;
}

function ruleOf(request: Request): Rule {
  const found = RULES[request.rpc];
  if (found === undefined) throw new Error(`no rule says how ${request.rpc} is cut`);
  return found;
}

function tensorIn(request: Request, name: string): Tensor {
  const value = request.fields[name];
  if (!(value instanceof Tensor)) throw new Error(`${name} is no tensor`);
  return value;
}

function batchOf(request: Request): Batch {
  const { lead, fields, oneAxis, rowRank } = ruleOf(request);
  const { shape } = tensorIn(request, lead);
  const first = fields[lead] === "rows after time" ? 1 : 0;
  const stop = oneAxis && shape.length > rowRank ? first + 1 : Math.max(0, shape.length - rowRank);
  const batch = shape.slice(first, stop);
  const axis = batch.findIndex((extent) => extent > 1);
  const extent = batch[axis];
  if (extent !== undefined) return { axis, rows: extent };
  const why = batch.length > 0 ? "it is a single row" : `${lead} of shape [${shape.join(", ")}] has no batch dimension`;
  throw uncuttable(request, why);
}

/** The extent along which a tensor is cut, or undefined if it goes with every part. */
function axisOf(request: Request, name: string, axis: number): number | undefined {
  const { fields, lead } = ruleOf(request);
  const { shape } = tensorIn(request, name);
  const how = fields[name];
  if (how === "rows") return axis;
  if (how === "rows after time") return axis + 1;
  if (how !== "left broadcast" && how !== "right broadcast") return undefined;
  const aligned = how === "left broadcast" ? axis : axis - (tensorIn(request, lead).shape.length - shape.length);
  return aligned >= 0 && aligned < shape.length && shape[aligned] !== 1 ? aligned : undefined;
}

function isCut(request: Request, name: string, axis: number): boolean {
  const how = ruleOf(request).fields[name];
  if (how === undefined || request.fields[name] === undefined) return false;
  return how === "items" || how === "concatenated" || axisOf(request, name, axis) !== undefined;
}

/** The function from a range of rows to the value of a field for them. */
function selector(request: Request, name: string, batch: Batch): (start: number, stop: number) => Fields[string] {
  const value = request.fields[name];
  if (!isCut(request, name, batch.axis)) return () => value;
  const { fields, lengths } = ruleOf(request);
  if (fields[name] === "items") {
    const items = value as readonly bigint[];
    check(request, name, items.length, batch.rows);
    return (start, stop) => items.slice(start, stop);
  }
  const whole = tensorIn(request, name);
  if (fields[name] === "concatenated") {
    const edges = ends(request);
    check(request, lengths ?? "", edges.length - 1, batch.rows);
    check(request, name, whole.data.length, edges.at(-1) ?? 0);
    return (start, stop) => slice(whole, 0, edges[start] ?? 0, edges[stop] ?? 0);
  }
  const along = axisOf(request, name, batch.axis) ?? 0;
  check(request, name, whole.shape[along] ?? 0, batch.rows);
  return (start, stop) => slice(whole, along, start, stop);
}

/** Where each row of the concatenated targets begins, and where the last one ends. */
function ends(request: Request): number[] {
  const lengths = request.fields[ruleOf(request).lengths ?? ""] as readonly bigint[];
  let end = 0;
  return [0, ...lengths.map((length) => (end += Number(length)))];
}

function check(request: Request, name: string, found: number, expected: number): void {
  if (found === expected) return;
  const field = argumentOf(request.rpc, name);
  const description = `has ${found} where ${expected} are expected`;
  const fieldViolations = [{ field, description }];
  throw new LossdError({
    code: "INVALID_ARGUMENT",
    message: `${field}: ${description}`,
    reason: "SHAPE_MISMATCH",
    fieldViolations,
  });
}

function valueOf(reduction: string, totals: Totals, meanDenominator: number): number {
  return reduction === "sum" ? totals.sum : totals.meanNumerator / meanDenominator;
}

function mergedValues(request: Request, results: readonly LossResult[]): FloatTensor {
  const values = results.map((result) => result.value as FloatTensor) as [FloatTensor, ...FloatTensor[]];
  const { lead, fields } = ruleOf(request);
  // A target of a higher rank broadcasts with the lead: the extents of both are aligned on the right.
  const missing = fields.target === "right broadcast" ? values[0].shape.length - tensorIn(request, lead).shape.length : 0;
  return concatenate(values, batchOf(request).axis + missing);
}
