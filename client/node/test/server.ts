// SPDX-License-Identifier: Apache-2.0

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

/** A running `lossd serve`. The variable LOSSD is the command. */
export class Server {
  #process: ChildProcess;

  private constructor(
    readonly address: string,
    readonly options: readonly string[],
    process: ChildProcess,
  ) {
    this.#process = process;
  }

  /** Starts a server. Kill it, or declare it with `await using`. */
  static async start(options: readonly string[] = []): Promise<Server> {
    const { address, process } = await serve("127.0.0.1:0", options);
    return new Server(address, options, process);
  }

  /** Ends the server without a chance to answer anything. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** Starts the server again, at the same address. */
  async restart(): Promise<void> {
    ({ process: this.#process } = await serve(this.address, this.options));
  }
}

function serve(listen: string, options: readonly string[]): Promise<{ address: string; process: ChildProcess }> {
  const command = process.env.LOSSD ?? "lossd";
  const child = spawn(command, ["serve", "--listen", listen, "--admin-listen", "", ...options], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  return new Promise((resolve, reject) => {
    let printed = "";
    child.stdout.on("data", (chunk) => {
      printed += String(chunk);
      const address = /lossd listens on (\S+)/.exec(printed)?.[1];
      if (address !== undefined) resolve({ address, process: child });
    });
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`${command} serve ended: ${printed}`)));
  });
}
