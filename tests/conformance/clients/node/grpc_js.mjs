// SPDX-License-Identifier: Apache-2.0

// The driver for @grpc/grpc-js: tests/support/drivers.py says what a driver does.
import { Client, credentials, status } from "@grpc/grpc-js";
import { readPlan, runPlan } from "./plan.mjs";

const [address, plan, out] = process.argv.slice(2);
const options = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };
if (process.env.KEEPALIVE_SECONDS) options["grpc.keepalive_time_ms"] = 1000 * Number(process.env.KEEPALIVE_SECONDS);
const client = new Client(address, credentials.createInsecure(), options);
const bytes = (message) => message;

function call({ kind, path, pause, requests }, index) {
  const deadline = Date.now() + 30000 + 1000 * pause * requests.length;
  return new Promise((resolve, reject) => {
    const done = (error, reply) => (error ? reject(error) : resolve([reply]));
    if (kind === "unary" || kind === "load") {
      client.makeUnaryRequest(path, bytes, bytes, requests[index % requests.length], { deadline }, done);
      return;
    }
    let stream;
    if (kind === "client_stream") {
      stream = client.makeClientStreamRequest(path, bytes, bytes, { deadline }, done);
      stream.on("error", () => {}); // `done` has it
    } else {
      const replies = [];
      stream = client.makeBidiStreamRequest(path, bytes, bytes, { deadline });
      stream.on("data", (reply) => replies.push(reply));
      stream.on("error", reject);
      stream.on("status", (end) => end.code === status.OK && resolve(replies));
    }
    send(stream, requests, pause);
  });
}

async function send(stream, requests, pause) {
  for (const [index, request] of requests.entries()) {
    if (index && pause) await new Promise((resume) => setTimeout(resume, 1000 * pause));
    if (!stream.write(request)) await new Promise((resume) => stream.once("drain", resume));
  }
  stream.end();
}

await runPlan(readPlan(plan), out, call);
process.exit();
