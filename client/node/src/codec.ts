// SPDX-License-Identifier: Apache-2.0

// Arguments to encoded requests, and encoded responses to results. Pure.

import { fromBinary, ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { LossService } from "./gen/lossd/v1/loss_service_pb.js";
import { Precision, Reduction as ReductionNumber } from "./gen/lossd/v1/options_pb.js";
import { LossResponseSchema, type LossResponse } from "./gen/lossd/v1/response_pb.js";
import { TensorSchema, type Tensor as TensorMessage } from "./gen/lossd/v1/tensor_pb.js";
import { bytesOf, ofBytes, Tensor, type DType, type FloatTensor } from "./tensor.js";

/** How a call was computed. */
export interface Execution {
  /** The time in the server's queue, in seconds. */
  readonly queueSeconds: number;
  /** The computation of the batch, in seconds, which all of its calls shared. */
  readonly computeSeconds: number;
  /** The number of calls computed together, including this one. */
  readonly callsInBatch: number;
  /** The device's name in torch, such as `"cpu"` or `"cuda:0"`. */
  readonly device: string;
}

/** What is needed to merge a loss exactly with others. */
export interface Statistics {
  /** The sum over all elements. */
  readonly sum: number;
  /** The mean is `meanNumerator / meanDenominator`. */
  readonly meanNumerator: number;
  /** The number of elements or rows, or the sum of their weights if torch divides by that. */
  readonly meanDenominator: number;
  /** Elements of the unreduced loss. */
  readonly elementCount: number;
  /** Elements left out: targets equal to ignoreIndex, or infinite CTC losses set to zero. */
  readonly ignoredCount: number;
}

/** A loss with its statistics. `value` is a number, or a tensor for `reduction: "none"`. */
export interface LossResult<Value = number | FloatTensor> extends Statistics {
  readonly value: Value;
  readonly execution: Execution;
}

/** The name of an RPC of LossService, such as `"MseLoss"`. @internal */
export type Rpc = string;

/** A field of a request message: a tensor, a scalar, a list, or a message as a record. @internal */
export type Field = Tensor | number | bigint | boolean | readonly bigint[] | Fields | readonly Fields[] | undefined;

/** The fields of a message by their names in the generated code. @internal */
export interface Fields {
  readonly [name: string]: Field;
}

/** A call before it is encoded. @internal */
export interface Request {
  readonly rpc: Rpc;
  readonly fields: Fields;
  readonly reduction: string;
}

/** An encoded request. @internal */
export interface Encoded {
  readonly rpc: Rpc;
  readonly message: Uint8Array;
}

const REDUCTIONS: Readonly<Record<string, number>> = {
  none: ReductionNumber.NONE,
  mean: ReductionNumber.MEAN,
  sum: ReductionNumber.SUM,
  batchmean: ReductionNumber.BATCH_MEAN,
};

/**
 * A call of this RPC. Fields that are undefined are not sent.
 *
 * @internal
 */
export function request(
  rpc: Rpc,
  fields: Fields,
  options: { reduction?: string; precision?: string; rejectNonFinite?: boolean },
): Request {
  const { reduction = "mean", precision, rejectNonFinite } = options;
  const number = REDUCTIONS[reduction];
  if (number === undefined) {
    throw new TypeError(`reduction is ${reduction}; it must be one of ${Object.keys(REDUCTIONS).join(", ")}`);
  }
  if (precision !== undefined && precision !== "float64") throw new TypeError(`precision is ${precision}; it must be "float64"`);
  const all: Record<string, Field> = { reduction: number, rejectNonFinite, ...fields };
  if (precision !== undefined) all.precision = Precision.FLOAT64;
  return { rpc, fields: all, reduction };
}

/** The schema of the request of an RPC. @internal */
export function schemaOf(rpc: Rpc): DescMessage {
  const method = METHODS.get(rpc);
  if (method === undefined) throw new Error(`there is no RPC ${rpc}`);
  return method;
}

/** The approximate size of a request's message in bytes, never too small. @internal */
export function sizeInBytes(field: Field): number {
  if (field instanceof Tensor) return field.data.byteLength + 128;
  if (isList(field)) return 64 + 10 * field.length;
  if (typeof field === "object") return Object.values(field).reduce<number>((size, value) => size + sizeInBytes(value), 64);
  return field === undefined ? 0 : 16;
}

/** The message of a request, in a buffer that `take` gives for its length. @internal */
export function encode(request: Request, take: (length: number) => Uint8Array = (length) => new Uint8Array(length)): Encoded {
  const pieces = piecesOf(schemaOf(request.rpc), request.fields);
  const message = take(lengthOf(pieces));
  let offset = 0;
  for (const piece of pieces) {
    message.set(piece, offset);
    offset += piece.length;
  }
  return { rpc: request.rpc, message };
}

/** @internal */
export function decode(message: Uint8Array): LossResponse {
  return fromBinary(LossResponseSchema, message);
}

/** @internal */
export function resultOf(response: LossResponse): LossResult {
  const { output, statistics, execution } = response;
  if (output.case === undefined || statistics === undefined || execution === undefined) {
    throw new Error("the server's answer is not a LossResponse");
  }
  return {
    value: output.case === "value" ? output.value : read(output.value),
    sum: statistics.sum,
    meanNumerator: statistics.meanNumerator,
    meanDenominator: statistics.meanDenominator,
    elementCount: Number(statistics.elementCount),
    ignoredCount: Number(statistics.ignoredCount),
    execution: {
      queueSeconds: execution.queueSeconds,
      computeSeconds: execution.computeSeconds,
      callsInBatch: execution.callsInBatch,
      device: execution.device,
    },
  };
}

// Implementation details follow.

const METHODS = new Map(LossService.methods.map((method) => [method.name, method.input]));

// The generated writer would copy the elements of a tensor once for each message around it. Here they are pieces of the whole
// message, which `encode` copies once.
function piecesOf(schema: DescMessage, fields: Fields): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const scalars = new BinaryWriter();
  for (const [name, value] of Object.entries(fields)) {
    const field = schema.field[name];
    if (field === undefined) throw new Error(`${schema.name} has no field ${name}`);
    if (value instanceof Tensor) pieces.push(...nested(field, [headOf(value), bytesOf(value)]));
    else if (isMessages(value)) for (const item of value) pieces.push(...nested(field, piecesOf(messageOf(field), item)));
    else if (isList(value)) writeList(scalars, field, value);
    else if (typeof value === "object") pieces.push(...nested(field, piecesOf(messageOf(field), value)));
    else if (value !== undefined) writeScalar(scalars, field, value);
  }
  return [...pieces, scalars.finish()];
}

/** A field that holds a message of these pieces. */
function nested(field: DescField, pieces: readonly Uint8Array[]): Uint8Array[] {
  const start = new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(lengthOf(pieces));
  return [start.finish(), ...pieces];
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((length, piece) => length + piece.length, 0);
}

function messageOf(field: DescField): DescMessage {
  if (field.message === undefined) throw new Error(`${field.name} holds no message`);
  return field.message;
}

function writeList(writer: BinaryWriter, field: DescField, items: readonly bigint[]): void {
  if (items.length === 0) return;
  writer.tag(field.number, WireType.LengthDelimited).fork();
  for (const item of items) writer.int64(item);
  writer.join();
}

function writeScalar(writer: BinaryWriter, field: DescField, value: unknown): void {
  if (field.scalar === ScalarType.BOOL) {
    if (typeof value !== "boolean") throw mistyped(field, value, "true or false");
    writer.tag(field.number, WireType.Varint).bool(value);
  } else if (field.scalar === ScalarType.DOUBLE) {
    if (typeof value !== "number") throw mistyped(field, value, "a number");
    writer.tag(field.number, WireType.Bit64).double(value);
  } else {
    if (typeof value !== "bigint" && !Number.isSafeInteger(value)) throw mistyped(field, value, "an integer");
    writer.tag(field.number, WireType.Varint).int64(value as bigint | number);
  }
}

function mistyped(field: DescField, value: unknown, expected: string): TypeError {
  return new TypeError(`${field.localName} is ${String(value)}; it must be ${expected}`);
}

/** A tensor's message up to its elements, with which it ends. */
function headOf(tensor: Tensor): Uint8Array {
  const writer = new BinaryWriter();
  if (tensor.shape.length > 0) {
    writer.tag(TensorSchema.field.shape.number, WireType.LengthDelimited).fork();
    for (const extent of tensor.shape) writer.int64(extent);
    writer.join();
  }
  const length = tensor.data.byteLength;
  const field = TensorSchema.field[`${tensor.dtype}Values`];
  writer.tag(field.number, WireType.LengthDelimited);
  if (field.fieldKind === "message") {
    writer.uint32(length === 0 ? 0 : 1 + varintBytes(length) + length);
    if (length > 0) writer.tag(1, WireType.LengthDelimited).uint32(length);
  } else {
    writer.uint32(length);
  }
  return writer.finish();
}

function varintBytes(value: number): number {
  return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : value < 1 << 28 ? 4 : 5;
}

function read({ shape, values }: TensorMessage): FloatTensor {
  if (values.case !== "float32Values" && values.case !== "float64Values") throw new Error("the answer is not a tensor of floats");
  const dtype = values.case.slice(0, -"Values".length) as DType;
  return ofBytes(dtype, shape.map(Number), values.value.values) as FloatTensor;
}

function isList(field: Field): field is readonly bigint[] {
  return Array.isArray(field) && !isMessages(field);
}

function isMessages(field: Field): field is readonly Fields[] {
  return Array.isArray(field) && typeof field[0] === "object";
}
