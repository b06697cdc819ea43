// SPDX-License-Identifier: Apache-2.0

// Concurrent calls of one client on one stream, and a server that is killed while calls are in flight.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "node:test";

import { Client, LossdError } from "../src/index.js";
import { Server } from "./server.js";

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start();
  client = new Client(server.address, { coalesce: true, timeoutSeconds: 120 });
  await client.waitUntilReady();
});
after(async () => {
  await client.close();
  await server.kill();
});

describe("calls in flight together", () => {
  test("meet in batches, and each has its answer", async () => {
    const calls = Array.from({ length: 500 }, (_, i) => client.mseLoss([i], [0], { returnStatistics: true }));
    const results = await Promise.all(calls);
    results.forEach(({ value }, i) => assert.equal(value, i * i));
    assert.ok(Math.max(...results.map(({ execution }) => execution.callsInBatch)) > 1);
  });

  test("have their own errors, deadlines and cancellations", async () => {
    const controller = new AbortController();
    const right = Array.from({ length: 100 }, (_, i) => client.mseLoss([i], [0]));
    const failing = Promise.allSettled([
      client.mseLoss([1, 2], [1]),
      client.crossEntropy([[1, 2]], [2]),
      client.mseLoss([1], [2], { timeoutSeconds: 1e-6 }),
      client.mseLoss([1], [2], { signal: controller.signal }),
    ]);
    controller.abort(new Error("enough"));
    const errors = (await failing).map((outcome) => (outcome.status === "rejected" ? (outcome.reason as LossdError) : undefined));
    assert.deepEqual(
      errors.map((error) => error?.reason ?? error?.message),
      ["SHAPE_MISMATCH", "TARGET_OUT_OF_RANGE", "", "enough"],
    );
    assert.equal(errors[2]?.code, "DEADLINE_EXCEEDED");
    assert.deepEqual(
      await Promise.all(right),
      right.map((_, i) => i * i),
    );
  });

  test("are cancelled while the server has them, and others go on", async () => {
    const reason = new Error("enough");
    for (let round = 0; round < 20; round++) {
      const controller = new AbortController();
      const cancelled = Array.from({ length: 10 }, () => client.mseLoss([1], [2], { signal: controller.signal }));
      const right = client.mseLoss([round], [0]);
      setImmediate(() => controller.abort(reason));
      for (const outcome of await Promise.allSettled(cancelled)) {
        if (outcome.status === "rejected") assert.equal(outcome.reason, reason);
        else assert.equal(outcome.value, 1);
      }
      assert.equal(await right, round * round);
    }
  });

  test("of a client that is closed are cancelled", async () => {
    const closing = new Client(server.address, { coalesce: true });
    assert.equal(await closing.mseLoss([2], [0]), 4);
    const call = closing.mseLoss([1], [2]);
    const settled = Promise.allSettled([call]);
    await sleep(0);
    await closing.close();
    const [outcome] = await settled;
    if (outcome.status === "rejected") {
      assert.ok(outcome.reason instanceof LossdError);
      assert.equal(outcome.reason.code, "CANCELLED");
    }
    await assert.rejects(closing.mseLoss([1], [2]), { code: "CANCELLED" });
  });
});

describe("a server that is killed and started again", () => {
  for (const coalesce of [false, true]) {
    test(`fails no call; coalesce: ${coalesce}`, async () => {
      await using calling = new Client(server.address, { coalesce, timeoutSeconds: 120 });
      const evaluation = calling.evaluation();
      let restarted = false;
      let answered = 0;
      const work = async (worker: number): Promise<void> => {
        for (let i = 0; !restarted || i < 50; i++) {
          assert.equal(await calling.mseLoss([worker * i], [0]), (worker * i) ** 2);
          answered += 1;
        }
      };
      const workers = Promise.all(Array.from({ length: 16 }, (_, worker) => work(worker)));
      for (let i = 0; i < 3000; i++) await evaluation.mseLoss([i % 7], [0]);
      await sleep(100);
      await server.kill();
      await sleep(200);
      await server.restart();
      restarted = true;
      await workers;
      assert.ok(answered >= 16 * 50);
      const total = await evaluation.total();
      const expected = Array.from({ length: 3000 }, (_, i) => (i % 7) ** 2).reduce((sum, square) => sum + square, 0);
      assert.deepEqual([total.callCount, total.sum], [3000, expected]);
    });
  }
});
