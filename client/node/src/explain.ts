// SPDX-License-Identifier: Apache-2.0

// Finds mismatched shapes before anything is sent, and words the server's errors in terms of the caller's arguments.
//
// The server decides. Only the rules that callers break most often are also checked here, with the server's messages.

import { schemaOf, type Encoded, type Request, type Rpc } from "./codec.js";
import { LossdError, reworded, type FieldViolation } from "./errors.js";
import { argumentOf, inArguments } from "./names.js";
import { offset } from "./split.js";
import { Tensor } from "./tensor.js";

// Tensors that must all have the shape of the first.
const PAIR = ["input", "target"];
const WEIGHTED = [...PAIR, "weight"];
const TRIPLET = ["anchor", "positive", "negative"];
const SAME_SHAPE: Readonly<Record<Rpc, readonly string[]>> = {
  L1Loss: WEIGHTED,
  MseLoss: WEIGHTED,
  SmoothL1Loss: PAIR,
  HuberLoss: WEIGHTED,
  KlDivLoss: PAIR,
  PoissonNllLoss: PAIR,
  BceLoss: PAIR,
  BceWithLogitsLoss: PAIR,
  CrossEntropyLoss: ["input", "classProbabilities"],
  MultiLabelMarginLoss: PAIR,
  MultiLabelSoftMarginLoss: PAIR,
  CosineEmbeddingLoss: ["input1", "input2"],
  TripletMarginLoss: TRIPLET,
  TripletMarginWithDistanceLoss: TRIPLET,
};
// The tensor that must have the shape of `input` without the classes.
const INDICES: Readonly<Record<Rpc, string>> = { NllLoss: "target", CrossEntropyLoss: "classIndices" };

const BAD = /(\d+) of (\d+) (elements|labels)(?: of rows \d+ to \d+)? are not(?:, the first at index \[(.*?)\])?/g;
const MISFIT = /has shape \[(.*?)\]; input of shape \[(.*?)\] makes it/;

/** Throws the error that the server would answer, if shapes do not match. @internal */
export function checkShapes(request: Request): void {
  const { rpc, fields } = request;
  const [first, ...others] = SAME_SHAPE[rpc] ?? [];
  const expected = fields[first ?? ""];
  for (const name of others) {
    const found = fields[name];
    if (!(found instanceof Tensor) || !(expected instanceof Tensor) || sameShape(found.shape, expected.shape)) continue;
    throw misfit(rpc, name, `has shape ${show(found.shape)}; it must be ${first}'s, ${show(expected.shape)}`);
  }
  const indices = INDICES[rpc] ?? "";
  const { input, [indices]: found } = fields;
  if (input instanceof Tensor && found instanceof Tensor && input.shape.length > 0) {
    const [row, , ...rest] = input.shape;
    const batch = input.shape.length > 1 ? [row ?? 0, ...rest] : [];
    if (show(found.shape) === show(batch)) return;
    throw misfit(rpc, indices, `has shape ${show(found.shape)}; input of shape ${show(input.shape)} makes it ${show(batch)}`);
  }
}

/**
 * The same error with the names of arguments instead of fields, and with a hint if a common mistake is the likely cause.
 *
 * @internal
 */
export function explained(error: LossdError, call: Request | Encoded): LossdError {
  const { rpc } = call;
  const hint = hintFor(error, call);
  const violations = error.fieldViolations.map(({ field, description }) => ({
    field: inArguments(rpc, field),
    description: inArguments(rpc, description) + hint,
  }));
  return reworded(error, inArguments(rpc, error.message) + hint, violations);
}

/** The error of the part of a request with the rows [start, stop), in terms of the whole request. @internal */
export function inWhole(error: LossdError, request: Request, start: number, stop: number): LossdError {
  const moved = (argument: string, text: string): string => {
    const name = Object.keys(request.fields).find((field) => argumentOf(request.rpc, field) === argument);
    const moves = name === undefined ? undefined : offset(request, name, start);
    if (moves === undefined) return text;
    return text.replace(BAD, (_, count: string, total: string, what: string, index: string | undefined) => {
      const bad = `${count} of ${total} ${what} of rows ${start} to ${stop - 1} are not`;
      if (!index) return bad;
      const numbers = index.split(", ").map((number, axis) => Number(number) + (axis === moves.along ? moves.by : 0));
      return `${bad}, the first at index [${numbers.join(", ")}]`;
    });
  };
  const violations = error.fieldViolations.map(({ field, description }) => ({ field, description: moved(field, description) }));
  const [first] = violations;
  return reworded(error, first === undefined ? error.message : moved(first.field, error.message), violations);
}

// Implementation details follow.

function misfit(rpc: Rpc, field: string, described: string): LossdError {
  const name = schemaOf(rpc).field[field]?.name ?? field;
  const fieldViolations: FieldViolation[] = [{ field: name, description: described }];
  return new LossdError({ code: "INVALID_ARGUMENT", message: `${name}: ${described}`, reason: "SHAPE_MISMATCH", fieldViolations });
}

/** Some losses treat [] and [1] as equal: the server decides. */
function sameShape(found: readonly number[], expected: readonly number[]): boolean {
  const both = [show(found), show(expected)];
  return both[0] === both[1] || (both.includes("[]") && both.includes("[1]"));
}

function show(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

function hintFor(error: LossdError, call: Request | Encoded): string {
  const [violation] = error.fieldViolations;
  if (error.reason === "SHAPE_MISMATCH" && violation?.field === "class_probabilities") {
    const { classProbabilities } = "fields" in call ? call.fields : {};
    const what = classProbabilities instanceof Tensor ? classProbabilities.dtype : "of a float type";
    return `; target is ${what}, so it is taken as class probabilities: pass integers for class indices`;
  }
  const [, found, input] = INDICES[call.rpc] === undefined ? [] : (MISFIT.exec(error.message) ?? []);
  const extents = input?.split(", ") ?? [];
  if (extents.length > 2 && extents.slice(0, -1).join(", ") === found) {
    const rows = extents.slice(0, -1).reduce((product, extent) => product * Number(extent), 1);
    return `; classes are input's second extent, as in torch: pass input of shape [${rows}, ${extents.at(-1)}] and target of [${rows}]`;
  }
  return "";
}
