// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { encode, request, type LossResult } from "../src/codec.js";
import { ScoreStreamRequestSchema, ScoreStreamResponseSchema } from "../src/gen/lossd/v1/evaluation_service_pb.js";
import { Outbox } from "../src/outbox.js";
import { tensor } from "../src/tensor.js";

const CALL = encode(request("MseLoss", { input: tensor([1]), target: tensor([2]) }, {}));

const sent = (outbox: Outbox<string>, now = 0) => fromBinary(ScoreStreamRequestSchema, outbox.take(now));
const idsOf = (message: ReturnType<typeof sent>): number[] => message.calls.map(({ id }) => Number(id));

function answer(outbox: Outbox<string>, id: number): string[] {
  const response = { output: { case: "value" as const, value: id }, statistics: {}, execution: {} };
  const outcome = { outcome: { case: "response" as const, value: response } };
  const message = create(ScoreStreamResponseSchema, { outcomes: [{ id: BigInt(id), outcome }] });
  const answers = outbox.answer(toBinary(ScoreStreamResponseSchema, message));
  for (const { outcome } of answers) assert.equal((outcome as LossResult).value, id);
  return answers.map(({ waiter }) => waiter);
}

test("calls that wait go together, with what is left of their deadlines", () => {
  const outbox = new Outbox<string>();
  outbox.add("a", CALL, 5000);
  outbox.add("b", CALL, Infinity);
  const message = sent(outbox, 1000);
  assert.deepEqual(
    message.calls.map(({ timeoutSeconds }) => timeoutSeconds),
    [4, undefined],
  );
  assert.deepEqual(
    message.calls.map(({ call }) => call?.request.case),
    ["mseLoss", "mseLoss"],
  );
  assert.deepEqual(answer(outbox, 2), ["b"]);
  assert.deepEqual(answer(outbox, 2), [], "an answer counts once");
  assert.deepEqual(answer(outbox, 1), ["a"]);
});

test("four messages may have no answer; a cancellation is sent all the same", () => {
  const outbox = new Outbox<string>();
  for (let i = 0; i < 4; i++) {
    outbox.add(String(i), CALL, Infinity);
    sent(outbox);
  }
  const waiting = outbox.add("waits", CALL, Infinity);
  assert.equal(outbox.ready, false);
  outbox.cancel(1);
  assert.equal(outbox.ready, true);
  const message = sent(outbox);
  assert.deepEqual([idsOf(message), message.cancelledIds], [[waiting], [1n]]);
});

test("a call that was not sent is dropped, and the server is told nothing", () => {
  const outbox = new Outbox<string>();
  outbox.cancel(outbox.add("a", CALL, Infinity));
  assert.equal(outbox.ready, false);
});

test("a message holds a quarter of the calls that wait, at least 32", () => {
  const outbox = new Outbox<string>();
  for (let i = 0; i < 200; i++) outbox.add(String(i), CALL, Infinity);
  assert.deepEqual(
    [0, 1, 2].map(() => sent(outbox).calls.length),
    [50, 37, 32],
  );
});

test("a message holds 1 MiB, or one call", () => {
  const outbox = new Outbox<string>();
  const large = encode(request("MseLoss", { input: tensor(new Uint8Array(600_000)), target: tensor([2]) }, {}));
  for (let i = 0; i < 2; i++) outbox.add(String(i), large, Infinity);
  assert.deepEqual(idsOf(sent(outbox)), [1]);
  assert.deepEqual(idsOf(sent(outbox)), [2]);
});

test("the end of a stream gives all waiters back", () => {
  const outbox = new Outbox<string>();
  outbox.add("sent", CALL, 10);
  sent(outbox);
  outbox.add("waits", CALL, 20);
  assert.deepEqual(
    outbox
      .deadlines()
      .map(({ deadline }) => deadline)
      .sort(),
    [10, 20],
  );
  assert.deepEqual(outbox.clear().sort(), ["sent", "waits"]);
  assert.deepEqual([outbox.ready, outbox.clear()], [false, []]);
});
