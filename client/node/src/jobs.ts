// SPDX-License-Identifier: Apache-2.0

import { CONCURRENT_MESSAGES } from "./outbox.js";

/** The jobs' results in order; CONCURRENT_MESSAGES run at a time. Rejects with the first error, and then starts no more. @internal */
export async function all<T>(jobs: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = new Array<T>(jobs.length);
  const waiting = jobs.entries();
  let failed = false;
  const work = async (): Promise<void> => {
    for (const [index, job] of waiting) {
      try {
        results[index] = await job();
      } catch (error) {
        failed = true;
        throw error;
      }
      if (failed) return;
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT_MESSAGES, jobs.length) }, work));
  return results;
}
