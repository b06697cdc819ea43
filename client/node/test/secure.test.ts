// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Client, LossdError } from "../src/index.js";
import { Server } from "./server.js";

const folder = mkdtempSync(join(tmpdir(), "lossd-"));
const [ca, key] = [join(folder, "tls.crt"), join(folder, "tls.key")];
let server: Server;
let token: string;
let localhost: string;

before(async () => {
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...names, "-keyout", key, "-out", ca], {
    stdio: "ignore",
  });
  const made = execFileSync(process.env.LOSSD ?? "lossd", ["token", "test"], { encoding: "utf8" })
    .trim()
    .split("\n");
  token = made[1] ?? "";
  const tokens = join(folder, "tokens.txt");
  writeFileSync(tokens, `${made.at(-1)}\n`);
  server = await Server.start(["--tls-cert-file", ca, "--tls-key-file", key, "--tls-client-ca-file", ca, "--tokens-file", tokens]);
  localhost = server.address.replace("127.0.0.1", "localhost");
});
after(async () => {
  await server.kill();
  rmSync(folder, { recursive: true });
});

describe("mutual TLS with a token", () => {
  test("by files, and by their contents", async () => {
    for (const coalesce of [false, true]) {
      await using byFiles = new Client(localhost, { tls: { ca, cert: ca, key }, token, coalesce });
      assert.equal(await byFiles.mseLoss([1], [3]), 4);
    }
    const pem = { ca: readFileSync(ca), cert: readFileSync(ca), key: readFileSync(key) };
    await using byContents = new Client(localhost, { tls: pem, token });
    assert.equal(await byContents.mseLoss([1], [3]), 4);
  });

  test("the token of the variable LOSSD_TOKEN", async () => {
    process.env.LOSSD_TOKEN = token;
    try {
      await using client = new Client(localhost, { tls: { ca, cert: ca, key } });
      assert.equal(await client.mseLoss([1], [3]), 4);
    } finally {
      delete process.env.LOSSD_TOKEN;
    }
  });

  const wrong: readonly [string, () => Client, string, RegExp][] = [
    ["no token", () => new Client(localhost, { tls: { ca, cert: ca, key } }), "UNAUTHENTICATED", /./],
    [
      "a wrong token",
      () => new Client(localhost, { tls: { ca, cert: ca, key }, token: "wrong", coalesce: true }),
      "UNAUTHENTICATED",
      /./,
    ],
    [
      "an authority that is not trusted",
      () => new Client(localhost, { tls: true, token }),
      "UNAVAILABLE",
      /does not trust the server's certificate/,
    ],
  ];
  for (const [what, open, code, message] of wrong) {
    test(`${what} fails at once`, async () => {
      await using client = open();
      await assert.rejects(client.mseLoss([1], [3]), (error) => {
        assert.ok(error instanceof LossdError);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test("plaintext to a TLS port says so", async () => {
    await using client = new Client(localhost, { timeoutSeconds: 1 });
    await assert.rejects(client.mseLoss([1], [3]), { code: "UNAVAILABLE", message: /it uses TLS and this client does not/ });
  });

  test("a token that cannot be sent is refused", () => {
    assert.throws(() => new Client(localhost, { token: "a\n" }), /call trim\(\) on a token from a file/);
    assert.throws(() => new Client(localhost, { tls: { ca: join(folder, "none.crt") } }), /ENOENT/);
  });
});
