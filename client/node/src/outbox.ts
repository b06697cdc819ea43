// SPDX-License-Identifier: Apache-2.0

// The calls of one ScoreStream: what the next message holds, and which waiter an answer is for. Pure: no clock, timer or channel.
//
// There is no timer and no batch size to wait for. Each time a write completes, the stream takes the calls that wait, unless
// MESSAGES_UNDER_WAY messages have had no answer at all. So a lone call is sent at once, and calls made while the stream is busy
// are sent together.

import { streamMessage, streamOutcomes, type Outcome, type StreamCall } from "./calls.js";
import type { Encoded } from "./codec.js";

/** Enough that the server computes some calls while others are prepared, and few enough that calls share messages. @internal */
export const MESSAGES_UNDER_WAY = 4;
/** A message holds at most this many bytes, unless one call has more. @internal */
export const MESSAGE_BYTES = 1 << 20;
/** Larger calls gain nothing from sharing a message, and would delay the others: each is sent as a unary RPC. @internal */
export const LARGEST_CALL_BYTES = 256 << 10;
/** Parts of a request, or messages of a batch, that are in flight at a time. @internal */
export const CONCURRENT_MESSAGES = MESSAGES_UNDER_WAY;

// A message holds at most 1/MESSAGES_UNDER_WAY of the waiting calls or MESSAGE_CALLS, whichever is more.
const MESSAGE_CALLS = 32;
// Maximum calls, and maximum cancellations, in a message, however small they are: a server refuses more than 16,384.
const MOST_CALLS = 1 << 13;

interface Call<T> {
  readonly waiter: T;
  readonly encoded: Encoded;
  readonly deadline: number;
}

/** A message that was sent; `silent` until one of its calls is answered or cancelled. */
interface Message {
  silent: boolean;
}

/** Calls that wait to be sent, and sent calls that wait for their answers. Deadlines are in milliseconds of one clock. @internal */
export class Outbox<T> {
  #ids = 0;
  #waiting = new Map<number, Call<T>>();
  #unanswered = new Map<number, { call: Call<T>; message: Message }>();
  #cancelled: number[] = [];
  #silent = 0;

  /** Whether there is something to `take` now. */
  get ready(): boolean {
    return this.#cancelled.length > 0 || (this.#waiting.size > 0 && this.#silent < MESSAGES_UNDER_WAY);
  }

  /** Queues a call; returns its id. `waiter` is what waits for the answer. */
  add(waiter: T, encoded: Encoded, deadline: number): number {
    this.#ids += 1;
    this.#waiting.set(this.#ids, { waiter, encoded, deadline });
    return this.#ids;
  }

  /** Drops a call for which nobody waits any more. Does nothing if the call was answered. */
  cancel(id: number): void {
    if (!this.#waiting.delete(id) && this.#settle(id) !== undefined) this.#cancelled.push(id);
  }

  /** The next message: calls in order of arrival, and cancellations, each up to the limits. */
  take(now: number): Uint8Array {
    const calls: StreamCall[] = [];
    const message: Message = { silent: true };
    let bytes = 0;
    const share = Math.min(MOST_CALLS, Math.max(MESSAGE_CALLS, Math.floor(this.#waiting.size / MESSAGES_UNDER_WAY)));
    const room = this.#silent >= MESSAGES_UNDER_WAY ? 0 : share;
    for (const [id, call] of this.#waiting) {
      bytes += call.encoded.message.length;
      if (calls.length === room || (calls.length > 0 && bytes > MESSAGE_BYTES)) break;
      calls.push({ id, encoded: call.encoded, timeoutSeconds: Math.max(0, call.deadline - now) / 1000 });
      this.#waiting.delete(id);
      this.#unanswered.set(id, { call, message });
    }
    if (calls.length > 0) this.#silent += 1;
    return streamMessage(calls, this.#cancelled.splice(0, MOST_CALLS));
  }

  /** The waiters that a message answers, each with its outcome. */
  answer(message: Uint8Array): { waiter: T; outcome: Outcome }[] {
    return streamOutcomes(message).flatMap(({ id, outcome }) => {
      const call = this.#settle(id);
      return call === undefined ? [] : [{ waiter: call.waiter, outcome }];
    });
  }

  /** Removes every call, because the stream has ended. Returns the waiters. */
  clear(): T[] {
    const waiters = [...this.#calls()].map((call) => call.waiter);
    this.#waiting.clear();
    this.#unanswered.clear();
    this.#cancelled = [];
    this.#silent = 0;
    return waiters;
  }

  /** The deadline and the waiter of every call. */
  deadlines(): { deadline: number; waiter: T }[] {
    return [...this.#calls()];
  }

  // Implementation details follow.

  *#calls(): Generator<Call<T>> {
    yield* this.#waiting.values();
    for (const { call } of this.#unanswered.values()) yield call;
  }

  /** Removes a call that was sent, and returns it; undefined if the call was already answered or cancelled. */
  #settle(id: number): Call<T> | undefined {
    const sent = this.#unanswered.get(id);
    if (sent === undefined) return undefined;
    this.#unanswered.delete(id);
    if (sent.message.silent) {
      sent.message.silent = false;
      this.#silent -= 1;
    }
    return sent.call;
  }
}
