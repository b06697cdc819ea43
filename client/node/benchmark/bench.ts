// SPDX-License-Identifier: Apache-2.0

// The figures of rule 44 of docs/design/clients.md, of this client and of what one would write by hand with @grpc/proto-loader.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { credentials, loadPackageDefinition, type Client as Stub, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import { Client, tensor } from "../src/index.js";

const IN_FLIGHT = 64;
const TIMEOUT_MILLISECONDS = 30_000;
const MESSAGE_BYTES = 64 << 20;
const WARM_UP = 0.3; // of the seconds

const random = (length: number): Float32Array => Float32Array.from({ length }, () => Math.random() * 2 - 1);
const [LOGITS, PREDICTION, TARGET] = [random(320), random(524_288), random(524_288)];
const LABELS = BigInt64Array.from({ length: 32 }, (_, i) => BigInt(i % 10));

type Call = () => Promise<unknown>;

/** Calls one at a time: the median seconds of a call, and the CPU seconds of this process for each. */
async function alone(call: Call, seconds: number): Promise<{ median: number; cpu: number }> {
  for (const until = performance.now() + WARM_UP * seconds * 1000; performance.now() < until;) await call();
  const latencies: number[] = [];
  const before = process.cpuUsage();
  for (let at = performance.now(), until = at + seconds * 1000; at < until;) {
    await call();
    const done = performance.now();
    latencies.push((done - at) / 1000);
    at = done;
  }
  const { user, system } = process.cpuUsage(before);
  const sorted = latencies.sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1] ?? NaN, cpu: ((user + system) * 1e-6) / latencies.length };
}

/** IN_FLIGHT calls at a time: how many are answered in a second. */
async function together(call: Call, seconds: number): Promise<number> {
  let answered = 0;
  const start = performance.now() + WARM_UP * seconds * 1000;
  const until = start + seconds * 1000;
  const work = async (): Promise<void> => {
    for (let at = performance.now(); at < until;) {
      await call();
      const done = performance.now();
      if (at >= start && done < until) answered += 1;
      at = done;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return answered / seconds;
}

async function ofClient(address: string, seconds: number): Promise<Record<string, number>> {
  await using client = new Client(address);
  await using coalescing = new Client(address, { coalesce: true });
  const small = (one: Client) => (): Promise<number> => one.crossEntropy(tensor(LOGITS, [32, 10]), LABELS);
  const lone = await alone(small(client), seconds);
  const large = await alone(() => client.mseLoss(PREDICTION, TARGET), seconds);
  return {
    lone_p50_seconds: lone.median,
    unary_calls_per_second: await together(small(client), seconds),
    coalesced_calls_per_second: await together(small(coalescing), seconds),
    large_call_seconds: large.median,
    large_call_cpu_seconds: large.cpu,
  };
}

async function ofStubs(address: string, seconds: number): Promise<Record<string, number>> {
  const folder = fileURLToPath(new URL("../../../../proto", import.meta.url));
  const definition = loadSync("lossd/v1/loss_service.proto", { includeDirs: [folder] });
  const { lossd } = loadPackageDefinition(definition) as unknown as { lossd: { v1: { LossService: StubConstructor } } };
  const stub = new lossd.v1.LossService(address, credentials.createInsecure(), {
    "grpc.max_send_message_length": MESSAGE_BYTES,
    "grpc.max_receive_message_length": MESSAGE_BYTES,
  });
  const call = (method: string, request: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      stub[method]?.(request, { deadline: Date.now() + TIMEOUT_MILLISECONDS }, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  const floats = (array: Float32Array, shape: number[]): object => ({ shape, float32Values: { values: Array.from(array) } });
  const small = (): Promise<unknown> =>
    call("CrossEntropyLoss", {
      input: floats(LOGITS, [32, 10]),
      classIndices: { shape: [32], int64Values: { values: Array.from(LABELS, Number) } },
    });
  const lone = await alone(small, seconds);
  const large = await alone(() => {
    const shape = [PREDICTION.length];
    return call("MseLoss", { input: floats(PREDICTION, shape), target: floats(TARGET, shape) });
  }, seconds);
  const found = {
    lone_p50_seconds: lone.median,
    unary_calls_per_second: await together(small, seconds),
    large_call_seconds: large.median,
    large_call_cpu_seconds: large.cpu,
  };
  stub.close();
  return found;
}

type Answered = (error: ServiceError | null, answer?: unknown) => void;
type StubConstructor = new (
  ...arguments_: ConstructorParameters<typeof Stub>
) => Stub & Record<string, ((request: object, options: { deadline: number }, answered: Answered) => void) | undefined>;

function versionOf(name: string): string {
  const path = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  return `${name} ${(JSON.parse(readFileSync(path, "utf8")) as { version: string }).version}`;
}

const [address, seconds] = [process.argv[2], Number(process.argv[3])];
if (address === undefined || !(seconds > 0)) throw new Error("usage: bench ADDRESS SECONDS");
const versions = [
  `Node ${process.versions.node}`,
  versionOf("@grpc/grpc-js"),
  versionOf("@bufbuild/protobuf"),
  versionOf("@grpc/proto-loader"),
];
console.log(
  JSON.stringify({
    language: "node",
    versions: versions.join(", "),
    client: await ofClient(address, seconds),
    stubs: await ofStubs(address, seconds),
  }),
);
