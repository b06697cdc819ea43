// SPDX-License-Identifier: Apache-2.0

// Calls, errors, cancellation, batches, splitting and evaluations against a live server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Client, LossdError, tensor, type FloatTensor } from "../src/index.js";
import { Server } from "./server.js";

const LIMIT_BYTES = 20_000;

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start(["--max-request-bytes", String(LIMIT_BYTES)]);
  client = new Client(server.address);
  await client.waitUntilReady();
});
after(async () => {
  await client.close();
  await server.kill();
});

async function failure(call: Promise<unknown>): Promise<LossdError> {
  const error: unknown = await call.then(
    () => assert.fail("the call did not fail"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof LossdError, String(error));
  return error;
}

const LOGITS = [
  [2.0, 0.5, -1.0],
  [0.1, 0.2, 3.0],
];

describe("a call", () => {
  test("answers a number, or a tensor without reduction", async () => {
    assert.equal(await client.crossEntropy(LOGITS, [0, 2]), 0.17545639723539352);
    const losses: FloatTensor = await client.crossEntropy(LOGITS, [0, 2], { reduction: "none" });
    assert.deepEqual([losses.shape, losses.data.constructor.name], [[2], "Float32Array"]);
    const exact = await client.crossEntropy(LOGITS, [0, 2], { reduction: "none", precision: "float64" });
    assert.equal(exact.data.constructor.name, "Float64Array");
  });

  test("takes plain numbers as indices or probabilities, by their rank", async () => {
    const probabilities = [
      [1, 0, 0],
      [0, 0, 1],
    ];
    assert.equal(await client.crossEntropy(LOGITS, probabilities), await client.crossEntropy(LOGITS, [0, 2]));
    assert.equal(await client.crossEntropy(LOGITS[0]!, [1, 0, 0]), await client.crossEntropy(LOGITS[0]!, 0));
    assert.equal(
      await client.crossEntropy(LOGITS, probabilities, { ignoreIndex: -100 }),
      await client.crossEntropy(LOGITS, [0, 2]),
    );
  });

  test("answers statistics and how it was computed", async () => {
    const result = await client.mseLoss([1, 2, 3], [1, 1, 1], { returnStatistics: true, reduction: "sum" });
    assert.deepEqual([result.value, result.sum, result.meanDenominator, result.elementCount, result.ignoredCount], [5, 5, 3, 3, 0]);
    assert.equal(result.execution.device, "cpu");
  });

  test("names the argument at fault as the caller wrote it", async () => {
    const range = await failure(client.crossEntropy(LOGITS, [0, 3]));
    assert.deepEqual(
      [range.code, range.reason, range.fieldViolations[0]?.field],
      ["INVALID_ARGUMENT", "TARGET_OUT_OF_RANGE", "target"],
    );
    const smoothing = await failure(client.crossEntropy(LOGITS, [0, 2], { labelSmoothing: 2 }));
    assert.equal(smoothing.fieldViolations[0]?.field, "labelSmoothing");
    const floats = await failure(client.crossEntropy(LOGITS, new Float32Array([0, 2])));
    assert.match(floats.message, /^target: .*; target is float32, so it is taken as class probabilities: pass integers/);
    const sequence = await failure(client.crossEntropy(tensor(new Float32Array(24), [2, 3, 4]), tensor(new Int32Array(6), [2, 3])));
    assert.match(sequence.message, /pass input of shape \[6, 4\] and target of \[6\]$/);
  });

  test("rejects what cannot be sent with a TypeError", async () => {
    await assert.rejects(client.mseLoss([[1], [1, 2]], [1]), /^TypeError: input: the nested arrays have unequal lengths/);
    await assert.rejects(client.mseLoss(1, 2, { reduction: "median" as "mean" }), /^TypeError: reduction is median/);
    await assert.rejects(client.multiMarginLoss([1, 2], 0, { p: 1.5 }), /^TypeError: p is 1.5; it must be an integer/);
  });

  test("is cancelled by its signal, which any number of calls share", async () => {
    const reason = new Error("no longer needed");
    await assert.rejects(client.mseLoss(1, 2, { signal: AbortSignal.abort(reason) }), reason);
    await using nowhere = new Client("127.0.0.1:1");
    const controller = new AbortController();
    const calls = Array.from({ length: 20 }, () => nowhere.mseLoss(1, 2, { signal: controller.signal }));
    setTimeout(() => controller.abort(reason), 20);
    for (const call of await Promise.allSettled(calls)) assert.deepEqual(call, { status: "rejected", reason });
  });

  test("has a timeout", async () => {
    assert.equal((await failure(client.mseLoss(1, 2, { timeoutSeconds: 1e-6 }))).code, "DEADLINE_EXCEEDED");
    assert.equal(await client.mseLoss(1, 3, { timeoutSeconds: Infinity }), 4);
  });

  test("says that nothing listens, within its timeout", async () => {
    await using nowhere = new Client("127.0.0.1:1", { timeoutSeconds: 0.3 });
    const error = await failure(nowhere.mseLoss(1, 2));
    assert.deepEqual([error.code, error.reason], ["UNAVAILABLE", ""]);
    assert.match(error.message, /nothing listens at this address/);
  });

  test("of a closed client is cancelled, in flight or not", async () => {
    const closed = new Client("127.0.0.1:1");
    const inFlight = failure(closed.mseLoss(1, 2));
    await closed.close();
    for (const error of [await inFlight, await failure(closed.mseLoss(1, 2))]) {
      assert.deepEqual([error.code, error.message], ["CANCELLED", "the client is closed"]);
    }
  });
});

describe("addresses", () => {
  test("are taken from LOSSD_ADDRESS, and one is needed", async () => {
    assert.throws(() => new Client(), /set LOSSD_ADDRESS/);
    assert.throws(() => new Client("http://localhost:50051"), /is a URL: give host:port/);
    process.env.LOSSD_ADDRESS = server.address;
    try {
      await using byVariable = new Client();
      assert.equal(await byVariable.mseLoss(1, 3), 4);
    } finally {
      delete process.env.LOSSD_ADDRESS;
    }
  });

  test("stand in for each other", async () => {
    await using several = new Client(["127.0.0.1:1", server.address]);
    for (let i = 0; i < 6; i++) assert.equal(await several.mseLoss(i, 0), i * i);
    await using text = new Client(`${server.address},${server.address}`, { connections: 2 });
    assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map((i) => text.mseLoss(i, 0))), [1, 4, 9, 16, 25]);
  });
});

describe("a batch", () => {
  test("answers each call, or its own error", async () => {
    const batch = client.batch();
    const losses = Array.from({ length: 3000 }, (_, i) => batch.mseLoss(i, 0));
    const wrong = batch.mseLoss([1], [1, 2]);
    assert.throws(() => losses[0]?.result(), /the batch was not sent/);
    await batch.send();
    losses.forEach((pending, i) => assert.equal(pending.result(), i * i));
    assert.throws(() => wrong.result(), { name: "LossdError", reason: "SHAPE_MISMATCH" });
    assert.throws(() => batch.mseLoss(1, 2), /already sent/);
    assert.equal(batch.size, 3001);
  });

  test("has one timeout", async () => {
    await using nowhere = new Client("127.0.0.1:1");
    const batch = nowhere.batch({ timeoutSeconds: 0.1 });
    const pending = batch.mseLoss(1, 2);
    await batch.send();
    assert.throws(() => pending.result(), { code: "UNAVAILABLE" });
  });
});

const ROWS = 4000;
const ELEMENTS = Float32Array.from({ length: ROWS * 10 }, (_, i) => Math.sin(i));
const LARGE = tensor(ELEMENTS, [ROWS, 10]);
const LABELS = BigInt64Array.from({ length: ROWS }, (_, i) => BigInt(i % 10));

describe("a call above the server's limit", () => {
  test("is split, and merged exactly", async () => {
    const whole = await client.crossEntropy(LARGE, LABELS, { returnStatistics: true, ignoreIndex: 3, precision: "float64" });
    const rows = await client.crossEntropy(LARGE, LABELS, { reduction: "none", ignoreIndex: 3, precision: "float64" });
    assert.deepEqual([rows.shape, whole.elementCount, whole.ignoredCount], [[ROWS], ROWS, ROWS / 10]);
    const sum = [...rows.data].reduce((sum, row) => sum + row, 0);
    assert.ok(Math.abs(whole.sum - sum) < 1e-9 * sum);
    assert.equal(whole.value, whole.sum / (0.9 * ROWS));
  });

  test("of a tensor whose first extents are 1 is cut along a later one", async () => {
    const input = tensor(ELEMENTS, [1, 10, ROWS]);
    const losses = await client.l1Loss(input, tensor(new Float32Array(10 * ROWS), [1, 10, ROWS]), { reduction: "none" });
    assert.deepEqual([losses.shape, losses.data], [[1, 10, ROWS], ELEMENTS.map(Math.abs)]);
  });

  test("along the second extent: CTC", async () => {
    const [time, batch, classes] = [20, 300, 5];
    const scores = tensor(new Float32Array(time * batch * classes).fill(-Math.log(5)), [time, batch, classes]);
    const targets = Int32Array.from({ length: batch }, (_, i) => 1 + (i % 4));
    const lengths = new Int32Array(batch).fill(time);
    const ones = new Int32Array(batch).fill(1);
    const losses = await client.ctcLoss(scores, targets, lengths, ones, { reduction: "none" });
    assert.equal(losses.shape[0], batch);
    assert.ok(losses.data.every((loss) => Math.abs(loss - losses.data[0]!) < 1e-5 && loss > 0));
  });

  test("names the row of the whole at fault", async () => {
    const labels = LABELS.slice();
    labels[ROWS - 1] = 10n;
    const error = await failure(client.crossEntropy(LARGE, labels));
    assert.match(error.fieldViolations[0]?.description ?? "", /the first at index \[3999\]/);
  });

  test("that cannot be split is one error, before anything is sent", async () => {
    const features = tensor(new Float32Array(8), [2, 4]);
    const error = await failure(client.linearCrossEntropy(features, tensor(new Float32Array(40_000), [10_000, 4]), [0, 1]));
    assert.deepEqual([error.code, error.reason], ["RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE"]);
    assert.match(error.message, /linearWeight of about \d+ bytes must go with every part/);
  });

  test("is refused if the client does not split", async () => {
    await using whole = new Client(server.address, { split: false });
    const error = await failure(whole.crossEntropy(LARGE, LABELS));
    assert.deepEqual([error.reason, error.metadata.limit_bytes], ["REQUEST_TOO_LARGE", String(LIMIT_BYTES)]);
  });
});

describe("an evaluation", () => {
  const BATCHES = Array.from({ length: 300 }, (_, i) => ({
    series: i % 3 ? "north" : "south",
    input: [Math.sin(i), i],
    target: [0, 1 / (i + 1)],
  }));

  test("is the same to the last bit in any order, split over processes or not", async () => {
    const forwards = client.evaluation();
    for (const { series, input, target } of BATCHES) await forwards.series(series).mseLoss(input, target);
    const halves = [client.evaluation(), client.evaluation()] as const;
    for (const [i, { series, input, target }] of [...BATCHES].reverse().entries()) {
      await halves[i % 2 ? 0 : 1].series(series).mseLoss(input, target);
    }
    await halves[0].merge(JSON.parse(JSON.stringify(await halves[1].state())) as Awaited<ReturnType<typeof forwards.state>>);
    const [expected, found] = [await forwards.compute(), await halves[0].compute()];
    assert.deepEqual(forwards.names, ["south", "north"]);
    assert.deepEqual([found.get("north"), found.get("south")], [expected.get("north"), expected.get("south")]);
    assert.deepEqual(await halves[0].total(), await forwards.total());
    assert.deepEqual([(await forwards.total()).callCount, (await forwards.total()).elementCount], [300, 600]);
  });

  test("rejects once for a wrong update, which does not count", async () => {
    const evaluation = client.evaluation();
    await evaluation.mseLoss([3], [0]);
    await evaluation.mseLoss([1], [1, 2]);
    const error = await failure(evaluation.compute());
    assert.match(error.message, /in an update of series ""; 1 of 2 sent together failed/);
    assert.equal((await evaluation.total()).value, 9);
    evaluation.add(await client.mseLoss([1], [0], { returnStatistics: true }));
    assert.equal((await evaluation.total()).value, 5);
  });

  test("refuses to mix losses or reductions", async () => {
    const evaluation = client.evaluation();
    await evaluation.mseLoss([3], [0]);
    await assert.rejects(evaluation.l1Loss([3], [0]), /L1Loss \(mean\) cannot be merged with MseLoss \(mean\)/);
    await assert.rejects(evaluation.mseLoss([3], [0], { reduction: "sum" }), TypeError);
    await assert.rejects(evaluation.mseLoss([3], [0], { reduction: "none" }), TypeError);
  });

  test("keeps updates that no server answered", async () => {
    await using nowhere = new Client("127.0.0.1:1", { timeoutSeconds: 0.05 });
    const evaluation = nowhere.evaluation();
    await evaluation.mseLoss([3], [0]);
    for (let i = 0; i < 2; i++) assert.equal((await failure(evaluation.compute())).code, "UNAVAILABLE");
  });
});
