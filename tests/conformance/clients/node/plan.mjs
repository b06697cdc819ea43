// SPDX-License-Identifier: Apache-2.0

// What the drivers of grpc-js and Connect share: the plan, and files of messages.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

export function readPlan(path) {
  return readFileSync(path, "utf8").trim().split("\n").map((line) => {
    const [name, kind, path, count, parallel, pause, file] = line.split(" ");
    return { name, kind, path, count: Number(count), parallel: Number(parallel), pause: Number(pause), requests: readMessages(file) };
  });
}

function readMessages(path) {
  const data = readFileSync(path);
  const messages = [];
  for (let at = 0; at < data.length; ) {
    const length = data.readUInt32BE(at);
    messages.push(data.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return messages;
}

function writeMessages(path, messages) {
  const parts = messages.flatMap((message) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(message.length);
    return [length, message];
  });
  writeFileSync(path, Buffer.concat(parts));
}

export async function runPlan(scenarios, out, call) {
  for (const scenario of scenarios) {
    let next = 0;
    let failure;
    const worker = async () => {
      while (!failure) {
        const index = next;
        if (scenario.kind === "load" ? existsSync(`${out}/stop`) : index >= scenario.count) return;
        next += 1;
        try {
          const replies = await call(scenario, index);
          if (scenario.kind !== "load") writeMessages(`${out}/${scenario.name}.${index}`, replies);
        } catch (error) {
          failure ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: scenario.parallel }, worker));
    const code = failure ? failure.code ?? -1 : 0;
    console.log(JSON.stringify({ name: scenario.name, code, detail: failure ? String(failure) : `${next} calls` }));
  }
}
