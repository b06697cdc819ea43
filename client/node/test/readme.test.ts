// SPDX-License-Identifier: Apache-2.0

// The examples of README.md print what their comments say.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import ts from "typescript";

import { Server } from "./server.js";

const ROOT = new URL("../../", import.meta.url);

test("README.md", async () => {
  await using server = await Server.start();
  const folder = new URL("build/readme/", ROOT);
  mkdirSync(folder, { recursive: true });
  const blocks = [...readFileSync(new URL("README.md", ROOT), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? "");
  assert.equal(blocks.length, 6);
  const paths = blocks.map((block, index) => {
    const path = new URL(`${index}.ts`, folder);
    writeFileSync(path, block.replaceAll("127.0.0.1:50051", server.address));
    return fileURLToPath(path);
  });
  const compiler = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.NodeNext, strict: true };
  const program = ts.createProgram(paths, { ...compiler, lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"], types: ["node"] });
  program.emit();
  const faults = ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  assert.deepEqual(faults, []);
  for (const [index, block] of blocks.entries()) {
    const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(new URL(`${index}.js`, folder))], {
      timeout: 120_000,
    });
    const expected = [...block.matchAll(/console\.log\(.*\); \/\/ (.*)/g)].map(([, printed]) => printed);
    assert.deepEqual(stdout.trim().split("\n"), expected, block);
  }
});
