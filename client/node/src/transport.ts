// SPDX-License-Identifier: Apache-2.0

// Encoded messages to and from the servers, over one connection to each of them.

import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";

import {
  Client,
  credentials,
  Metadata,
  type ChannelCredentials,
  type ChannelOptions,
  type ClientUnaryCall,
  type Interceptor,
} from "@grpc/grpc-js";

import { remaining, now, type Control } from "./control.js";
import { closedError, deadlineError, errorOfRpc } from "./errors.js";
import type { Rpc } from "./stream.js";
import { VERSION } from "./version.js";

/** Certificates and keys: each is the path of a PEM file, or the PEM data itself as bytes. */
export interface TlsOptions {
  /** The certificate authority that signed the server's certificate. By default those that Node trusts. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate chain, for servers that require one. Needs `key`. */
  readonly cert?: string | Uint8Array;
  /** The client's private key. */
  readonly key?: string | Uint8Array;
}

/** How servers are reached. */
export interface ConnectionOptions {
  /** True trusts the certificate authorities that Node trusts. By default the connection is plaintext. */
  readonly tls?: boolean | TlsOptions;
  /**
   * The bearer token to send with every call; by default the variable LOSSD_TOKEN. Without TLS, anyone who can read the network
   * traffic can use the token.
   */
  readonly token?: string;
  /** Sent with every RPC, for example `{ "x-tenant": "a" }`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * The number of connections to each server, by default 1. A server with `--workers` assigns each connection to one worker, so
   * one client can keep at most as many workers busy as it has connections.
   */
  readonly connections?: number;
  /** Maximum size of a request or response message in bytes, by default 64 MiB; the server's limit applies too. */
  readonly maxMessageBytes?: number;
  /** gRPC interceptors, for example for traces. */
  readonly interceptors?: readonly Interceptor[];
  /** Further channel options of `@grpc/grpc-js`; they override the client's. */
  readonly channelOptions?: ChannelOptions;
}

/** The server's default limit. @internal */
export const MAX_MESSAGE_BYTES = 64 << 20;

/** The channels of one client. @internal */
export class Transport {
  readonly #clients: readonly Client[];
  readonly #metadata: Metadata;
  readonly #active = new Set<ClientUnaryCall>();
  readonly #closing = new AbortController();
  // Until when each server is left out, because it was not reached.
  readonly #outUntil: number[];
  #turn = 0;

  constructor(target: string | readonly string[] | undefined, options: ConnectionOptions) {
    const connections = options.connections ?? 1;
    if (!Number.isInteger(connections) || connections < 1)
      throw new RangeError(`connections is ${connections}; it must be at least 1`);
    const targets = Array.from({ length: connections }, () => addresses(target)).flat();
    const secure = channelCredentials(options.tls ?? false);
    this.#metadata = callMetadata(options);
    setMaxListeners(0, this.closing);
    this.#clients = targets.map((address) => new Client(address, secure, channelOptions(options, targets.length === 1)));
    this.#outUntil = targets.map(() => 0);
  }

  /** Aborted when the client is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** How many channels there are: `next` is below it. */
  get size(): number {
    return this.#clients.length;
  }

  /** The channel of the next call. Channels take turns; one whose server was not reached is skipped for a second. */
  next(): number {
    const at = now();
    for (let tries = 0; tries < this.size; tries++) {
      this.#turn = (this.#turn + 1) % this.size;
      if ((this.#outUntil[this.#turn] ?? 0) <= at) break;
    }
    return this.#turn;
  }

  /** One attempt of a unary RPC. Rejects with a LossdError, or with the signal's reason. */
  async unary(path: string, message: Uint8Array, { deadline, signal }: Control): Promise<Buffer> {
    signal?.throwIfAborted();
    if (this.closing.aborted) throw closedError();
    const turn = this.next();
    const options = deadline === Infinity ? {} : { deadline: Date.now() + remaining(deadline) };
    return new Promise((resolve, reject) => {
      const call = this.#client(turn).makeUnaryRequest(path, asBuffer, asIs, message, this.#metadata, options, (error, answer) => {
        this.#active.delete(call);
        signal?.removeEventListener("abort", abort);
        if (error === null && answer !== undefined) return resolve(answer);
        if (signal?.aborted) return reject(signal.reason as Error);
        if (this.closing.aborted) return reject(closedError());
        if (error === null) return reject(new Error("an RPC ended without an answer"));
        const failure = errorOfRpc(error);
        if (failure.code === "UNAVAILABLE") this.#outUntil[turn] = now() + LEFT_OUT_MILLISECONDS;
        // grpc-js describes the connection in the message of a deadline.
        reject(failure.code === "DEADLINE_EXCEEDED" && failure.reason === "" ? deadlineError() : failure);
      });
      const abort = (): void => call.cancel();
      this.#active.add(call);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Opens a bidirectional stream on a channel. */
  stream(turn: number, path: string): Rpc {
    return this.#client(turn).makeBidiStreamRequest(path, asBuffer, asIs, this.#metadata);
  }

  /** Cancels calls in flight, and closes the connections. */
  close(): void {
    this.#closing.abort();
    for (const call of this.#active) call.cancel();
    for (const client of this.#clients) client.close();
  }

  // Implementation details follow.

  #client(turn: number): Client {
    const client = this.#clients[turn];
    if (client === undefined) throw new RangeError(`there is no channel ${turn}`);
    return client;
  }
}

const LEFT_OUT_MILLISECONDS = 1000;

function asBuffer(message: Uint8Array): Buffer {
  return Buffer.from(message.buffer, message.byteOffset, message.length);
}

function asIs(message: Buffer): Buffer {
  return message;
}

/** The servers that `target` names or, without it, LOSSD_ADDRESS. Throws TypeError if no server is named. */
function addresses(target: string | readonly string[] | undefined): string[] {
  const given = target ?? process.env.LOSSD_ADDRESS ?? "";
  const found = (typeof given === "string" ? given.split(",") : given).map((address) => address.trim());
  if (found.length === 0 || found.includes("")) {
    throw new TypeError('no server address: give "host:port", several as "a:1,b:2", or set LOSSD_ADDRESS');
  }
  const url = found.find((address) => /^https?:/i.test(address));
  if (url !== undefined) throw new TypeError(`${url} is a URL: give host:port, and the option tls for TLS`);
  return found;
}

function channelCredentials(tls: boolean | TlsOptions): ChannelCredentials {
  if (tls === false) return credentials.createInsecure();
  const { ca, cert, key } = tls === true ? {} : tls;
  return credentials.createSsl(pem(ca), pem(key), pem(cert));
}

function pem(given: string | Uint8Array | undefined): Buffer | null {
  if (given === undefined) return null;
  return typeof given === "string" ? readFileSync(given) : Buffer.from(given);
}

function callMetadata(options: ConnectionOptions): Metadata {
  const metadata = new Metadata();
  const name = options.token === undefined ? "LOSSD_TOKEN" : "token";
  const token = options.token ?? process.env.LOSSD_TOKEN ?? "";
  if (!/^[!-~]*$/.test(token)) {
    throw new TypeError(
      `${name} holds a space, a line break or another character that cannot be sent: call trim() on a token from a file`,
    );
  }
  if (token !== "") metadata.set("authorization", `Bearer ${token}`);
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  return metadata;
}

function channelOptions(options: ConnectionOptions, alone: boolean): ChannelOptions & { interceptors: Interceptor[] } {
  // Slightly larger, so that lossd's clearer error comes before gRPC's.
  const transportLimit = (options.maxMessageBytes ?? MAX_MESSAGE_BYTES) + 4096;
  return {
    "grpc.max_send_message_length": transportLimit,
    "grpc.max_receive_message_length": transportLimit,
    "grpc.enable_retries": 0, // `retried` retries up to the call's deadline; gRPC gives up after five attempts, however short
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.primary_user_agent": `lossd-node/${VERSION}`,
    "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW_BYTES,
    ...(alone ? {} : { "grpc.use_local_subchannel_pool": 1 }), // a connection of its own for each channel
    ...options.channelOptions,
    interceptors: [...(options.interceptors ?? [])],
  };
}

// With Node's default of 64 KiB, the server waits for the client 64 times in an answer of 4 MiB.
const FLOW_CONTROL_WINDOW_BYTES = 4 << 20;
