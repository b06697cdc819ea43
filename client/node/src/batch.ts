// SPDX-License-Identifier: Apache-2.0

import type { Outcome } from "./calls.js";
import { request, type Fields, type LossResult, type Rpc } from "./codec.js";
import { shareable, type Core, type Shareable } from "./core.js";
import { LossdError } from "./errors.js";
import type { AnyOptions, Answer } from "./losses/caller.js";
import { LossMethods } from "./losses/index.js";
import { CONCURRENT_MESSAGES } from "./outbox.js";
import type { FloatTensor } from "./tensor.js";

/** The options of a batch. */
export interface BatchOptions {
  /** Maximum seconds for all calls together, by default the client's. */
  timeoutSeconds?: number;
  /** Cancels all calls; `send` then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The answer to a call of a batch. It is available once the batch was sent. */
export class Pending<T> {
  /** @internal */
  outcome: Outcome | undefined;
  readonly #returnStatistics: boolean;

  /** @internal */
  constructor(returnStatistics: boolean) {
    this.#returnStatistics = returnStatistics;
  }

  /** The answer. Throws the LossdError of this call, or Error if the batch was not sent. */
  result(): T {
    if (this.outcome === undefined) throw new Error("the batch was not sent: its answers are available after `await batch.send()`");
    if (this.outcome instanceof LossdError) throw this.outcome;
    return (this.#returnStatistics ? this.outcome : this.outcome.value) as T;
  }
}

/** The methods of a batch return at once. */
export interface BatchAnswers {
  readonly control: object;
  readonly reduced: Pending<number>;
  readonly unreduced: Pending<FloatTensor>;
  readonly reducedResult: Pending<LossResult<number>>;
  readonly unreducedResult: Pending<LossResult<FloatTensor>>;
}

// Calls are sent when they reach this many bytes, so that the server computes them while the caller prepares the rest.
const SEND_BYTES = 256 << 10;

/**
 * Calls that are sent together. {@link Client.batch} makes one.
 *
 * If a call fails, its `result()` throws the error, and the other calls are unaffected. Arrays above 1 MiB must not change before
 * `send` resolves.
 */
export class Batch extends LossMethods<BatchAnswers> {
  readonly #core: Core;
  readonly #options: BatchOptions;
  #waiting: { readonly call: Shareable; readonly pending: Pending<unknown> }[] = [];
  #waitingBytes = 0;
  readonly #sent: Promise<void>[] = [];
  #underWay = 0;
  #size = 0;
  #done = false;

  /** @internal */
  constructor(core: Core, options: BatchOptions) {
    super();
    this.#core = core;
    this.#options = options;
  }

  /** The number of calls. */
  get size(): number {
    return this.#size;
  }

  /** Sends the calls that were not sent yet, once, and resolves when all are answered. It does not reject for the error of a call. */
  async send(): Promise<void> {
    this.#check();
    this.#done = true;
    this.#send();
    await Promise.all(this.#sent);
  }

  /** @internal */
  protected override call<R, S>(rpc: Rpc, options: AnyOptions, fields: () => Fields): Answer<BatchAnswers, R, S> {
    this.#check();
    const pending = new Pending<unknown>(options.returnStatistics === true);
    const call = shareable(request(rpc, fields(), options));
    this.#waiting.push({ call, pending });
    this.#size += 1;
    if ("message" in call) {
      this.#waitingBytes += call.message.length;
      if (this.#waitingBytes >= SEND_BYTES && this.#underWay < CONCURRENT_MESSAGES) this.#send();
    }
    return pending as Answer<BatchAnswers, R, S>;
  }

  // Implementation details follow.

  #send(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#underWay += 1;
    const sent = this.#settle(waiting).finally(() => (this.#underWay -= 1));
    sent.catch(() => undefined); // `send` awaits it, and rejects
    this.#sent.push(sent);
  }

  async #settle(waiting: readonly { call: Shareable; pending: Pending<unknown> }[]): Promise<void> {
    const calls = waiting.map(({ call }) => call);
    const outcomes = await this.#core.scoreMany(calls, this.#core.control(this.#options));
    waiting.forEach(({ pending }, index) => (pending.outcome = outcomes[index]));
  }

  #check(): void {
    if (this.#done) throw new Error("the batch was already sent");
  }
}
