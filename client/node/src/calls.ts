// SPDX-License-Identifier: Apache-2.0

// Many calls in one message, and the outcomes in the answer. Pure.

import { fromBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { resultOf, type Encoded, type LossResult } from "./codec.js";
import { errorOfMessage, LossdError } from "./errors.js";
import {
  LossCallSchema,
  ScoreBatchRequestSchema,
  ScoreBatchResponseSchema,
  ScoreStreamRequestSchema,
  ScoreStreamResponseSchema,
  StreamCallSchema,
  type LossOutcome,
} from "./gen/lossd/v1/evaluation_service_pb.js";

/** The answer to a call, or its error. @internal */
export type Outcome = LossResult | LossdError;

/** A call of a stream: `timeoutSeconds` is Infinity if it has none. @internal */
export interface StreamCall {
  readonly id: number;
  readonly encoded: Encoded;
  readonly timeoutSeconds: number;
}

/** A ScoreBatchRequest. @internal */
export function batchMessage(calls: readonly Encoded[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const call of calls) {
    const head = headOf(call);
    writer.tag(ScoreBatchRequestSchema.field.calls.number, WireType.LengthDelimited);
    writer
      .uint32(head.length + call.message.length)
      .raw(head)
      .raw(call.message);
  }
  return writer.finish();
}

/** The outcome of each call in a ScoreBatchResponse. @internal */
export function batchOutcomes(message: Uint8Array, expected: number): Outcome[] {
  const { outcomes } = fromBinary(ScoreBatchResponseSchema, message);
  if (outcomes.length !== expected) {
    throw new LossdError({ code: "INTERNAL", message: `the server answered ${outcomes.length} of ${expected} calls` });
  }
  return outcomes.map(outcomeOf);
}

/** A ScoreStreamRequest. @internal */
export function streamMessage(calls: readonly StreamCall[], cancelledIds: readonly number[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const { id, encoded, timeoutSeconds } of calls) {
    const head = headOf(encoded);
    const fields = new BinaryWriter().tag(StreamCallSchema.field.id.number, WireType.Varint).uint64(id);
    if (timeoutSeconds !== Infinity) {
      fields.tag(StreamCallSchema.field.timeoutSeconds.number, WireType.Bit64).double(timeoutSeconds);
    }
    fields.tag(StreamCallSchema.field.call.number, WireType.LengthDelimited);
    fields.uint32(head.length + encoded.message.length).raw(head);
    const start = fields.finish();
    writer.tag(ScoreStreamRequestSchema.field.calls.number, WireType.LengthDelimited);
    writer
      .uint32(start.length + encoded.message.length)
      .raw(start)
      .raw(encoded.message);
  }
  if (cancelledIds.length > 0) {
    writer.tag(ScoreStreamRequestSchema.field.cancelledIds.number, WireType.LengthDelimited).fork();
    for (const id of cancelledIds) writer.uint64(id);
    writer.join();
  }
  return writer.finish();
}

/** The ids of the calls in a ScoreStreamResponse, each with its outcome. @internal */
export function streamOutcomes(message: Uint8Array): { id: number; outcome: Outcome }[] {
  const { outcomes } = fromBinary(ScoreStreamResponseSchema, message);
  return outcomes.map(({ id, outcome }) => ({ id: Number(id), outcome: outcomeOf(outcome) }));
}

// Implementation details follow.

// The number of the member of LossCall for each RPC of LossService.
const MEMBERS = new Map(LossCallSchema.fields.map((field) => [field.message?.name.replace(/Request$/, ""), field.number]));

/** A LossCall up to the encoded request, with which it ends. */
function headOf({ rpc, message }: Encoded): Uint8Array {
  const number = MEMBERS.get(rpc);
  if (number === undefined) throw new Error(`LossCall has no member for ${rpc}`);
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(message.length).finish();
}

function outcomeOf(message: LossOutcome | undefined): Outcome {
  const outcome = message?.outcome;
  if (outcome?.case === "response") return resultOf(outcome.value);
  if (outcome?.case === "error") return errorOfMessage(outcome.value);
  return new LossdError({ code: "INTERNAL", message: "the server's answer has no outcome" });
}
