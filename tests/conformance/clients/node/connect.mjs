// SPDX-License-Identifier: Apache-2.0

// The driver for Connect's gRPC transport: tests/support/drivers.py says what a driver does.
import { createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { readFileSync } from "node:fs";
import { readPlan, runPlan } from "./plan.mjs";

const [address, plan, out] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.env.DESCRIPTORS)));
const options = { baseUrl: `http://${address}` };
if (process.env.KEEPALIVE_SECONDS) options.pingIntervalMs = 1000 * Number(process.env.KEEPALIVE_SECONDS);
const transport = createGrpcTransport(options);

async function call({ kind, path, pause, requests }, index) {
  const [, service, name] = path.split("/");
  const method = registry.getService(service).methods.find((one) => one.name === name);
  const client = createClient(method.parent, transport);
  const timeoutMs = 30000 + 1000 * pause * requests.length;
  const message = (bytes) => fromBinary(method.input, bytes);
  const bytes = (reply) => Buffer.from(toBinary(method.output, reply));
  if (method.methodKind === "unary") {
    const send = async () => [bytes(await client[method.localName](message(requests[index % requests.length]), { timeoutMs }))];
    // Node refuses requests that it holds when a GOAWAY comes, and Connect does not send them again as RFC 9113, section 8.7, allows.
    return send().catch((error) => (String(error).includes("NGHTTP2_REFUSED_STREAM") ? send() : Promise.reject(error)));
  }
  const messages = (async function* () {
    for (const [at, request] of requests.entries()) {
      if (at && pause) await new Promise((resume) => setTimeout(resume, 1000 * pause));
      yield message(request);
    }
  })();
  if (kind === "client_stream") return [bytes(await client[method.localName](messages, { timeoutMs }))];
  const replies = [];
  for await (const reply of client[method.localName](messages, { timeoutMs })) replies.push(bytes(reply));
  return replies;
}

await runPlan(readPlan(plan), out, call);
process.exit();
