// SPDX-License-Identifier: Apache-2.0

// A buffer for messages that is used again. V8 collects all garbage each time that some tens of megabytes of buffers were made,
// which costs more than a large call.

const SMALLEST_BYTES = 64 << 10;
const LARGEST_BYTES = 8 << 20;

/** Keeps one buffer, of at most 8 MiB, between calls. @internal */
export class Scratch {
  #free: Uint8Array | undefined;

  /** A buffer of this length for one message. Its contents are undefined. */
  take(length: number): Uint8Array {
    const free = this.#free;
    if (length < SMALLEST_BYTES || free === undefined || free.length < length) return Buffer.allocUnsafeSlow(length);
    this.#free = undefined;
    return free.subarray(0, length);
  }

  /** Takes a buffer back that nobody reads any more. */
  give({ buffer }: Uint8Array): void {
    if (buffer.byteLength < SMALLEST_BYTES || buffer.byteLength > LARGEST_BYTES) return;
    if (this.#free === undefined || this.#free.length < buffer.byteLength) this.#free = new Uint8Array(buffer);
  }
}
