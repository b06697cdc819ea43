// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { VERSION } from "@lossd/client";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");

test("the version is that of the repository", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const repository = /__version__ = "(.*)"/.exec(read("../python/lossd/__init__.py"))?.[1];
  assert.deepEqual([VERSION, version], [repository, repository]);
});

test("the package holds what was built, and nothing else", () => {
  const command = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const printed = execFileSync("npm", command, { cwd: fileURLToPath(ROOT), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const packed = JSON.parse(printed) as { files: { path: string }[] }[] | Record<string, { files: { path: string }[] }>;
  const paths = Object.values(packed)[0]?.files.map(({ path }) => path) ?? [];
  assert.deepEqual(paths.filter((path) => !path.startsWith("dist/")).sort(), ["LICENSE", "README.md", "package.json"]);
  assert.ok(["dist/index.js", "dist/index.d.ts", "dist/gen/lossd/v1/tensor_pb.js"].every((path) => paths.includes(path)));
  assert.deepEqual(
    paths.filter((path) => !/\.(js|d\.ts)$/.test(path) && path.startsWith("dist/")),
    [],
  );
});
