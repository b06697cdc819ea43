// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Client } from "@lossd/client";

import { service } from "../example/service.js";
import { Server } from "./server.js";

test("the example scores the predictions that it has served", async (context) => {
  await using server = await Server.start();
  await using client = new Client(server.address, { coalesce: true });
  const http = service([[2, 0, 0], [0, 1, 0], [0, 0, 3]], client).listen(0, "127.0.0.1"); // prettier-ignore
  context.after(() => http.close());
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;

  const get = async (path: string, body?: object): Promise<Record<string, unknown>> => {
    const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, signal: AbortSignal.timeout(60_000) });
    return { status: response.status, ...((await response.json()) as object) };
  };

  const losses = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const { id, logits } = await get("/predict", { features: [1, i, 0.5] });
      assert.deepEqual(logits, [2, i, 1.5]);
      const { loss } = await get("/outcome", { id, class: i % 3 });
      const expected = Math.log(Math.exp(2) + Math.exp(i) + Math.exp(1.5)) - [2, i, 1.5][i % 3]!;
      assert.ok(Math.abs((loss as number) - expected) < 1e-5 * (1 + expected));
      return loss as number;
    }),
  );
  const total = await get("/loss");
  assert.equal(total.count, 20);
  assert.ok(Math.abs((total.loss as number) - losses.reduce((sum, loss) => sum + loss, 0) / 20) < 1e-9);

  const { id } = await get("/predict", { features: [1, 1, 1] });
  assert.equal((await get("/outcome", { id, class: 3 })).status, 400);
  assert.equal((await get("/outcome", { id: "unknown", class: 0 })).status, 400);
  assert.equal((await get("/loss")).count, 20);
});
