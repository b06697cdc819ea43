// SPDX-License-Identifier: Apache-2.0

import type { ClientDuplexStream } from "@grpc/grpc-js";

import type { Encoded, LossResult } from "./codec.js";
import { now, type Control } from "./control.js";
import { closedError, deadlineError, LossdError } from "./errors.js";
import { Outbox } from "./outbox.js";

/** A ScoreStream of encoded messages. @internal */
export type Rpc = ClientDuplexStream<Uint8Array, Buffer>;

/**
 * The stream broke before it answered the call: make the call as a unary RPC.
 *
 * So the same rules for retries and errors hold for a call whose stream broke as for any other call. If one call made the stream
 * fail, only that call fails again; if all calls fail, each of them gets its own error.
 *
 * @internal
 */
export const ALONE = Symbol("alone");

interface Waiter {
  readonly resolve: (result: LossResult | typeof ALONE) => void;
  readonly reject: (error: Error) => void;
}

/** The ScoreStream that concurrent calls share. The first call opens it; if it breaks, the next call opens it again. @internal */
export class Stream {
  readonly #open: () => Rpc;
  readonly #outbox = new Outbox<Waiter>();
  #rpc: Rpc | undefined;
  #writing = false;
  #scheduled = false;
  #closed = false;
  // One timer for all calls; none of them has an earlier deadline.
  #timer: NodeJS.Timeout | undefined;
  #expiresAt = Infinity;

  constructor(open: () => Rpc) {
    this.#open = open;
  }

  /** The answer to a call. Rejects with its error. */
  score(encoded: Encoded, { deadline, signal }: Control): Promise<LossResult | typeof ALONE> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#outbox.cancel(id);
        this.#schedule();
        reject(signal?.reason as Error);
      };
      const done = (): void => signal?.removeEventListener("abort", abort);
      const waiter: Waiter = {
        resolve: (result) => {
          done();
          resolve(result);
        },
        reject: (error) => {
          done();
          this.#outbox.cancel(id); // does nothing if the call was answered
          reject(error);
        },
      };
      const id = this.#outbox.add(waiter, encoded, deadline);
      signal?.addEventListener("abort", abort, { once: true });
      if (deadline < this.#expiresAt) this.#expireAt(deadline);
      this.#schedule();
    });
  }

  /** Ends the stream; calls in flight are rejected as cancelled. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const waiter of this.#outbox.clear()) waiter.reject(closedError());
    this.#rpc?.cancel();
  }

  // Implementation details follow.

  /** Writes once the calls that are being made now are there, so that they share a message. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#write();
    });
  }

  #write(): void {
    if (this.#writing || this.#closed || !this.#outbox.ready) return;
    const rpc = (this.#rpc ??= this.#connect());
    this.#writing = true;
    rpc.write(this.#outbox.take(now()), () => {
      if (this.#rpc !== rpc) return;
      this.#writing = false;
      this.#write();
    });
  }

  #connect(): Rpc {
    const rpc = this.#open();
    rpc.on("data", (message: Buffer) => {
      for (const { waiter, outcome } of this.#outbox.answer(message)) {
        if (outcome instanceof LossdError) waiter.reject(outcome);
        else waiter.resolve(outcome);
      }
      this.#write();
    });
    rpc.on("end", () => this.#ended(rpc));
    rpc.on("error", () => this.#ended(rpc)); // each call is made again as a unary RPC, which has its own error
    return rpc;
  }

  #ended(rpc: Rpc): void {
    if (this.#rpc !== rpc) return;
    rpc.cancel();
    this.#rpc = undefined;
    this.#writing = false;
    for (const waiter of this.#outbox.clear()) waiter.resolve(ALONE);
  }

  #expireAt(deadline: number): void {
    clearTimeout(this.#timer);
    this.#expiresAt = deadline;
    const milliseconds = Math.min(LONGEST_TIMER_MILLISECONDS, Math.max(0, deadline - now()));
    this.#timer = setTimeout(() => this.#expire(), Math.ceil(milliseconds));
    this.#timer.unref();
  }

  #expire(): void {
    const at = now();
    let later = Infinity;
    for (const { deadline, waiter } of this.#outbox.deadlines()) {
      if (deadline <= at) waiter.reject(deadlineError());
      else later = Math.min(later, deadline);
    }
    this.#schedule(); // the server is told which calls nobody waits for
    this.#expiresAt = Infinity;
    if (later < Infinity) this.#expireAt(later);
  }
}

const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;
