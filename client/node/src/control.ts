// SPDX-License-Identifier: Apache-2.0

// When a call ends without an answer, and how long to wait before it is made again.

import { closedError, deadlineError, LossdError } from "./errors.js";

/** What ends a call early. `deadline` is in the milliseconds of `now`, Infinity if there is none. @internal */
export interface Control {
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds of a clock that is never set. @internal */
export const now = (): number => performance.now();

/** Milliseconds until the deadline. Throws DEADLINE_EXCEEDED if it has passed. @internal */
export function remaining(deadline: number): number {
  const left = deadline - now();
  if (left <= 0) throw deadlineError();
  return left;
}

// Pauses between attempts of a call double each time. A random part of up to half is left out, and the server's RetryInfo is added.
const FIRST_PAUSE_MILLISECONDS = 50;
const LONGEST_PAUSE_MILLISECONDS = 1000;

/**
 * Makes attempts until one does not fail with UNAVAILABLE, and returns its result. All RPCs are idempotent.
 *
 * Rejects with the error at once if the next attempt would come after the deadline, and if `enabled` is false.
 *
 * @internal
 */
export async function retried<T>(attempt: () => Promise<T>, control: Control, closing: AbortSignal, enabled: boolean): Promise<T> {
  for (let pause = FIRST_PAUSE_MILLISECONDS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MILLISECONDS)) {
    control.signal?.throwIfAborted();
    if (closing.aborted) throw closedError();
    remaining(control.deadline);
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof LossdError) || error.code !== "UNAVAILABLE" || !enabled) throw error;
      const milliseconds = (error.retryAfterSeconds ?? 0) * 1000 + pause * (0.5 + 0.5 * Math.random());
      if (now() + milliseconds >= control.deadline || milliseconds === Infinity) throw error;
      await sleep(milliseconds, [closing, control.signal]);
    }
  }
}

// Implementation details follow.

/** Waits, or returns early when one of the signals is aborted. */
function sleep(milliseconds: number, signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, Math.min(milliseconds, 2 ** 31 - 1));
    for (const signal of signals) signal?.addEventListener("abort", wake, { once: true });
  });
}
