// SPDX-License-Identifier: Apache-2.0

import { Batch, type BatchOptions } from "./batch.js";
import { request, type Fields, type LossResult, type Rpc } from "./codec.js";
import { Core, untilReady, type ClientOptions } from "./core.js";
import { Evaluation } from "./evaluation.js";
import type { AnyOptions, Answer } from "./losses/caller.js";
import { LossMethods } from "./losses/index.js";
import type { FloatTensor } from "./tensor.js";

/** What ends a call early. */
export interface CallOptions {
  /** Maximum seconds for the call, including retries, instead of the client's; Infinity means no limit. */
  timeoutSeconds?: number;
  /** Cancels the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The methods of a client return promises. */
export interface ClientAnswers {
  readonly control: CallOptions;
  readonly reduced: Promise<number>;
  readonly unreduced: Promise<FloatTensor>;
  readonly reducedResult: Promise<LossResult<number>>;
  readonly unreducedResult: Promise<LossResult<FloatTensor>>;
}

/** What a server is and what it accepts. */
export interface ServerInfo {
  readonly serverVersion: string;
  readonly torchVersion: string;
  /** As torch names them: `"cpu"`, `"cuda:0"`. */
  readonly devices: readonly string[];
  /** Names of the RPCs of LossService, such as `"CrossEntropyLoss"`. */
  readonly losses: readonly string[];
  /** The largest request message, in bytes. */
  readonly maxRequestBytes: number;
  /** The largest response message, in bytes. */
  readonly maxResponseBytes: number;
  /** The largest working memory that one request may ask for, in bytes. */
  readonly maxWorkspaceBytes: number;
  /** The most multiply-adds, or what takes as long, that one request may ask for. */
  readonly maxOperations: number;
}

/**
 * A connection to a lossd server. Close it, or declare it with `await using`.
 *
 * ```ts
 * const client = new Client("127.0.0.1:50051");
 * const loss = await client.crossEntropy(tensor(logits, [32, 10]), labels, { labelSmoothing: 0.1 });
 * await client.close();
 * ```
 *
 * There is one method for each loss, with the names, arguments and defaults of torch.nn.functional in camel case. Its promise
 * rejects with a {@link LossdError}, with the reason of an aborted signal, or with a TypeError or RangeError for arguments that
 * cannot be sent. Typed arrays must not change before the call is answered.
 */
export class Client extends LossMethods<ClientAnswers> {
  readonly #core: Core;

  /**
   * @param target - `"host:port"` or any gRPC target; `"a:1,b:2"` or an array for several servers. Calls go to the servers in turn,
   *   and to the others while one cannot be reached. By default the variable LOSSD_ADDRESS.
   */
  constructor(target?: string | readonly string[], options: ClientOptions = {}) {
    super();
    this.#core = new Core(target, options);
  }

  /**
   * Collects calls of any losses, and sends them together:
   *
   * ```ts
   * const batch = client.batch();
   * const first = batch.crossEntropy(logits, labels);
   * const second = batch.mseLoss(predictions, targets);
   * await batch.send();
   * first.result(), second.result();
   * ```
   */
  batch(options: BatchOptions = {}): Batch {
    return new Batch(this.#core, options);
  }

  /** The loss over many mini-batches, exact, overall and by named series. */
  evaluation(): Evaluation {
    return new Evaluation(this.#core);
  }

  /** Versions, devices, losses and limits of the server. */
  async serverInfo(options: CallOptions = {}): Promise<ServerInfo> {
    const info = await this.#core.serverInfo(this.#core.control(options));
    return {
      serverVersion: info.serverVersion,
      torchVersion: info.torchVersion,
      devices: info.devices,
      losses: info.losses,
      maxRequestBytes: Number(info.maxRequestBytes),
      maxResponseBytes: Number(info.maxResponseBytes),
      maxWorkspaceBytes: Number(info.maxWorkspaceBytes),
      maxOperations: Number(info.maxOperations),
    };
  }

  /** Resolves when the server answers. Rejects with `UNAVAILABLE`, and the cause, if no server answers within the timeout. */
  async waitUntilReady(options: CallOptions = {}): Promise<void> {
    await untilReady(this.#core, this.#core.control(options));
  }

  /** Closes the connections; calls in flight reject with `CANCELLED`. */
  // eslint-disable-next-line @typescript-eslint/require-await -- so that a later version may wait
  async close(): Promise<void> {
    this.#core.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  protected override call<R, S>(rpc: Rpc, options: AnyOptions & CallOptions, fields: () => Fields): Answer<ClientAnswers, R, S> {
    return this.#score(rpc, options, fields) as Answer<ClientAnswers, R, S>;
  }

  async #score(rpc: Rpc, options: AnyOptions & CallOptions, fields: () => Fields): Promise<unknown> {
    const result = await this.#core.score(request(rpc, fields(), options), this.#core.control(options));
    return options.returnStatistics === true ? result : result.value;
  }
}
