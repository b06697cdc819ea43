// SPDX-License-Identifier: Apache-2.0

// The recorded answers of tests/golden, through the public API.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { request, type Fields, type Request } from "../src/codec.js";
import { Core } from "../src/core.js";
import { Client, LossdError, LossMethods, Tensor, tensor, type Answers, type DType, type LossResult } from "../src/index.js";
import { cut, merge } from "../src/split.js";
import { Server } from "./server.js";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Float = number | "NaN" | "Infinity" | "-Infinity";

interface TensorJson {
  dtype: DType;
  shape: number[];
  data: string;
}

interface Vector {
  name: string;
  raw?: true;
  arguments?: Record<string, Json>;
  response?: {
    value?: Float;
    values?: TensorJson;
    statistics: { sum: Float; mean_numerator: Float; mean_denominator: Float; element_count: number; ignored_count: number };
    tolerance: number;
  };
  error?: { code: string; reason: string; field_violations: { field: string }[]; metadata: Record<string, string> };
}

interface GoldenFile {
  loss: string;
  rpc: string;
  settings?: Record<string, number>;
  vectors: Vector[];
}

const GOLDEN = new URL("../../../../tests/golden/", import.meta.url);

/** The contents of a file; integers beyond 2^53 are strings of their digits. */
function load<T>(name: string): T {
  const text = readFileSync(new URL(name, GOLDEN), "utf8");
  const tokens = /"(?:[^"\\]|\\.)*"|-?[\d.]+(?:[eE][+-]?\d+)?/g;
  return JSON.parse(text.replace(tokens, (token) => (/^-?\d{17,}$/.test(token) ? `"${token}"` : token))) as T;
}

const INDEX = load<{ files: string[]; limited_files: string[] }>("index.json");

// The arguments that are not options, in their order.
const POSITIONAL: Readonly<Record<string, readonly string[]>> = {
  gaussian_nll_loss: ["input", "target", "var"],
  margin_ranking_loss: ["input1", "input2", "target"],
  cosine_embedding_loss: ["input1", "input2", "target"],
  triplet_margin_loss: ["anchor", "positive", "negative"],
  triplet_margin_with_distance_loss: ["anchor", "positive", "negative"],
  ctc_loss: ["log_probs", "targets", "input_lengths", "target_lengths"],
  linear_cross_entropy: ["input", "linear_weight", "target"],
};
const KINDS: Readonly<Record<string, string>> = {
  pairwise_distance: "pairwise",
  cosine_distance: "cosine",
  squared_euclidean_distance: "squaredEuclidean",
};
const RENAMED: Readonly<Record<string, string>> = {
  class_indices: "target",
  class_probabilities: "target",
  variance_values: "variance",
  variance_scalar: "variance",
  padded_targets: "targets",
  concatenated_targets: "targets",
  pairwise_distance: "distanceFunction",
  cosine_distance: "distanceFunction",
  squared_euclidean_distance: "distanceFunction",
};

const camel = (name: string): string => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const argumentName = (field: string): string => field.replace(/\w+/g, (name) => RENAMED[name] ?? camel(name));

function isTensor(value: Json): value is Json & TensorJson {
  return value !== null && typeof value === "object" && "dtype" in value;
}

function toTensor({ dtype, shape, data }: TensorJson): Tensor {
  const { buffer } = new Uint8Array(Buffer.from(data, "base64"));
  switch (dtype) {
    case "float32":
      return tensor(new Float32Array(buffer), shape);
    case "float64":
      return tensor(new Float64Array(buffer), shape);
    case "int32":
      return tensor(new Int32Array(buffer), shape);
    case "int64":
      return tensor(new BigInt64Array(buffer), shape);
    case "float16":
    case "bfloat16":
      return tensor(new Uint16Array(buffer), shape, dtype);
    case "uint8":
    case "bool":
      return tensor(new Uint8Array(buffer), shape, dtype);
  }
}

function toArgument(name: string, value: Json): unknown {
  if (name === "distance_function") {
    const [[kind, options] = ["", {}]] = Object.entries(value as Record<string, Record<string, Float>>);
    return { kind: KINDS[kind], ...Object.fromEntries(Object.entries(options).map(([option, given]) => [option, Number(given)])) };
  }
  if (name === "tail") {
    return (value as unknown as { projection: TensorJson; output: TensorJson }[]).map(({ projection, output }) => ({
      projection: toTensor(projection),
      output: toTensor(output),
    }));
  }
  if (isTensor(value)) return toTensor(value);
  if (Array.isArray(value)) return value.map((item) => BigInt(item as number | string));
  if (typeof value !== "string" || name === "reduction" || name === "precision") return value;
  return ["NaN", "Infinity", "-Infinity"].includes(value) ? Number(value) : BigInt(value);
}

/** The losses of a client or a batch by name, as no vector's arguments have a type. */
type Losses = Readonly<Record<string, (...args: unknown[]) => unknown>>;

function call(losses: object, loss: string, given: Record<string, Json>): unknown {
  const positional = POSITIONAL[loss] ?? ["input", "target"];
  const options = Object.entries(given).filter(([name]) => !positional.includes(name));
  return (losses as Losses)[camel(loss)]?.(
    ...positional.map((name) => toArgument(name, given[name] ?? null)),
    Object.fromEntries([...options.map(([name, value]) => [camel(name), toArgument(name, value)]), ["returnStatistics", true]]),
  );
}

function assertClose(found: number, recorded: Float, tolerance: number, what: string): void {
  const expected = Number(recorded);
  if (Number.isFinite(expected))
    assert.ok(Math.abs(found - expected) <= tolerance * (Math.abs(expected) + 0.1), `${what}: ${found}, not ${expected}`);
  else assert.equal(found, expected, what);
}

function assertRecorded(file: GoldenFile, vector: Vector, outcome: unknown): void {
  const { name, response, error } = vector;
  if (error !== undefined) {
    assert.ok(outcome instanceof LossdError, `${name}: ${String(outcome)}`);
    assert.deepEqual(
      {
        code: outcome.code,
        reason: outcome.reason,
        metadata: outcome.metadata,
        fields: outcome.fieldViolations.map(({ field }) => field),
      },
      {
        code: error.code,
        reason: error.reason,
        metadata: error.metadata,
        fields: error.field_violations.map(({ field }) => argumentName(field)),
      },
      name,
    );
    return;
  }
  assert.ok(response !== undefined);
  if (outcome instanceof Error) assert.fail(`${file.loss}, ${name}: ${outcome.message}`);
  const result = outcome as LossResult;
  const { statistics, tolerance } = response;
  if (response.values !== undefined) {
    const expected = toTensor(response.values);
    assert.ok(result.value instanceof Tensor);
    assert.deepEqual([result.value.dtype, result.value.shape], [expected.dtype, expected.shape], name);
    result.value.data.forEach((value, index) => assertClose(value, Number(expected.data[index]), tolerance, `${name} at ${index}`));
  } else {
    assertClose(result.value as number, response.value ?? NaN, tolerance, name);
  }
  assertClose(result.sum, statistics.sum, tolerance, `sum of ${name}`);
  assertClose(result.meanNumerator, statistics.mean_numerator, tolerance, `meanNumerator of ${name}`);
  assertClose(result.meanDenominator, statistics.mean_denominator, tolerance, `meanDenominator of ${name}`);
  assert.deepEqual([result.elementCount, result.ignoredCount], [statistics.element_count, statistics.ignored_count], name);
}

/** The vectors that a typed API can express, with their arguments. */
function expressible(file: GoldenFile): { vector: Vector; given: Record<string, Json> }[] {
  return file.vectors.flatMap((vector) => (vector.arguments === undefined ? [] : [{ vector, given: vector.arguments }]));
}

async function assertCalls(client: Client, file: GoldenFile): Promise<void> {
  const vectors = expressible(file);
  const outcomes = await Promise.allSettled(vectors.map(({ given }) => call(client, file.loss, given) as Promise<unknown>));
  outcomes.forEach((outcome, i) => {
    const { vector } = vectors[i]!;
    assertRecorded(file, vector, outcome.status === "fulfilled" ? outcome.value : outcome.reason);
  });
}

/** Makes the requests of calls, and sends nothing. */
class Requests extends LossMethods<Answers> {
  protected override call(rpc: string, options: object, fields: () => Fields): never {
    return request(rpc, fields(), options) as never;
  }
}

/** The outcome of a call whose rows are sent in two halves; undefined if it has fewer than two. */
async function inHalves(core: Core, file: GoldenFile, given: Record<string, Json>): Promise<unknown> {
  const whole = call(new Requests(), file.loss, given) as Request;
  let parts: Request[];
  try {
    parts = cut(whole, 2);
  } catch (error) {
    assert.ok(error instanceof LossdError && error.code === "RESOURCE_EXHAUSTED", String(error));
    return undefined;
  }
  return merge(whole, await Promise.all(parts.map((part) => core.score(part, core.control()))));
}

describe("golden vectors", () => {
  let server: Server;
  let client: Client;
  let coalescing: Client;

  before(async () => {
    server = await Server.start();
    client = new Client(server.address);
    coalescing = new Client(server.address, { coalesce: true });
  });
  after(async () => {
    await client.close();
    await coalescing.close();
    await server.kill();
  });

  for (const name of INDEX.files) {
    const file = load<GoldenFile>(name);
    test(`${file.loss}: calls`, () => assertCalls(client, file));
    test(`${file.loss}: calls that share a stream`, () => assertCalls(coalescing, file));
    test(`${file.loss}: a batch`, async () => {
      const batch = client.batch();
      const vectors = expressible(file);
      const pending = vectors.map(({ given }) => call(batch, file.loss, given) as { result(): unknown });
      await batch.send();
      vectors.forEach(({ vector }, i) => {
        let outcome: unknown;
        try {
          outcome = pending[i]?.result();
        } catch (error) {
          outcome = error;
        }
        assertRecorded(file, vector, outcome);
      });
    });
  }

  for (const name of INDEX.files) {
    const file = load<GoldenFile>(name);
    test(`${file.loss}: calls that are cut in two and merged`, async () => {
      const core = new Core(server.address, {});
      const right = expressible(file).filter(({ vector }) => vector.response !== undefined);
      const outcomes = await Promise.all(right.map(({ given }) => inHalves(core, file, given)));
      core.close();
      const merged = right.filter((_, i) => outcomes[i] !== undefined);
      assert.ok(merged.length > 5, `${merged.length} can be cut`);
      right.forEach(({ vector }, i) => outcomes[i] === undefined || assertRecorded(file, vector, outcomes[i]));
    });
  }

  for (const name of INDEX.limited_files) {
    const file = load<GoldenFile>(name);
    test(`${name}: a server with limits`, async () => {
      const settings = Object.entries(file.settings ?? {}).flatMap(([setting, value]) => [
        `--${setting.replaceAll("_", "-")}`,
        String(value),
      ]);
      await using limited = await Server.start(settings);
      await using unsplit = new Client(limited.address, { split: false });
      await assertCalls(unsplit, file);
    });
  }

  test("every loss of the server has a file", async () => {
    const { losses } = await client.serverInfo();
    assert.deepEqual(new Set(INDEX.files.map((name) => load<GoldenFile>(name).rpc)), new Set(losses));
  });
});
