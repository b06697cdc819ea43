// SPDX-License-Identifier: Apache-2.0

// How calls are made: one call, the parts of a large one, and many in one message. Nothing here depends on a loss.

import { setMaxListeners } from "node:events";

import { fromBinary } from "@bufbuild/protobuf";

import { batchMessage, batchOutcomes, type Outcome } from "./calls.js";
import { decode, encode, resultOf, sizeInBytes, type Encoded, type LossResult, type Request } from "./codec.js";
import { now, retried, type Control } from "./control.js";
import { isInvalid, isTooLarge, LossdError } from "./errors.js";
import { checkShapes, explained, inWhole } from "./explain.js";
import { GetServerInfoResponseSchema, type GetServerInfoResponse } from "./gen/lossd/v1/loss_service_pb.js";
import { all } from "./jobs.js";
import { LARGEST_CALL_BYTES, MESSAGE_BYTES } from "./outbox.js";
import { partsNeeded, refusal, refusedByGrpc, rowsThatFit, type Refusal } from "./parts.js";
import { Scratch } from "./scratch.js";
import { countRows, cut, merge, rowsIn, tooLarge } from "./split.js";
import { ALONE, Stream } from "./stream.js";
import { MAX_MESSAGE_BYTES, Transport, type ConnectionOptions } from "./transport.js";

const SERVICE = "/lossd.v1.LossService";
const EVALUATION_SERVICE = "/lossd.v1.EvaluationService";

/** The options of a client. */
export interface ClientOptions extends ConnectionOptions {
  /** Maximum seconds for a call, including retries; Infinity means no limit. By default 30. A call's own timeout overrides it. */
  readonly timeoutSeconds?: number;
  /**
   * Retry calls that reach no server, or an overloaded one, until they succeed or the next attempt would come after their
   * timeout. The pauses double from 50 ms up to 1 s, minus a random part of up to half, plus the time that the server asks for. So
   * no call fails if a server restarts within the timeout. By default true; false rejects with the first error.
   */
  readonly retry?: boolean;
  /**
   * Concurrent calls share a stream, which costs the client and the server less. Each call keeps its own timeout, cancellation,
   * error and answer. A lone call is sent at once. The stream keeps the process alive until the client is closed. By default false.
   */
  readonly coalesce?: boolean;
  /**
   * Calls above the message limit are split along their batch dimension, and the answers are merged exactly. By default true;
   * false rejects them with RESOURCE_EXHAUSTED.
   */
  readonly split?: boolean;
}

/** A call of a batch or an evaluation: encoded, or a request that is large enough to be sent by itself. @internal */
export type Shareable = Encoded | Request;

/** The call for a message with others. @internal */
export function shareable(request: Request): Shareable {
  return sizeInBytes(request.fields) > MESSAGE_BYTES ? request : encode(request);
}

/** @internal */
export class Core {
  readonly #transport: Transport;
  readonly #streams: readonly Stream[];
  readonly #timeoutSeconds: number;
  readonly #retry: boolean;
  readonly #split: boolean;
  readonly #scratch = new Scratch();
  #limit: number;

  constructor(target: string | readonly string[] | undefined, options: ClientOptions) {
    const transport = new Transport(target, options);
    this.#transport = transport;
    const streams = options.coalesce === true ? transport.size : 0;
    this.#streams = Array.from(
      { length: streams },
      (_, turn) => new Stream(() => transport.stream(turn, `${EVALUATION_SERVICE}/ScoreStream`)),
    );
    this.#timeoutSeconds = options.timeoutSeconds ?? 30;
    this.#retry = options.retry ?? true;
    this.#split = options.split ?? true;
    this.#limit = options.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  }

  /** What ends a call that begins now. */
  control(options: { timeoutSeconds?: number | undefined; signal?: AbortSignal | undefined } = {}): Control {
    const seconds = options.timeoutSeconds ?? this.#timeoutSeconds;
    // Any number of calls may share a signal.
    if (options.signal !== undefined) setMaxListeners(0, options.signal);
    return { deadline: now() + seconds * 1000, signal: options.signal };
  }

  /** The answer to a call, merged from the answers to its parts if it is too large. */
  async score(request: Request, control: Control): Promise<LossResult> {
    let refused: LossdError;
    try {
      checkShapes(request);
      if (sizeInBytes(request.fields) > this.#limit) throw tooLarge(request, this.#limit);
      return await this.#respond(request, control);
    } catch (error) {
      if (isInvalid(error)) throw explained(error, request);
      if (!isTooLarge(error)) throw error;
      refused = error;
    }
    return this.#scoreParts(request, control, refused);
  }

  /** The outcomes of the calls in order. Encoded calls share messages; each Request is sent by itself. */
  async scoreMany(calls: readonly Shareable[], control: Control): Promise<Outcome[]> {
    const outcomes: Outcome[] = new Array<Outcome>(calls.length);
    const jobs: (() => Promise<void>)[] = [];
    let shared: { index: number; call: Encoded }[] = [];
    let bytes = 0;
    const send = (): void => {
      const message = shared;
      jobs.push(async () => {
        const answers = await this.#scoreMessage(
          message.map(({ call }) => call),
          control,
        );
        answers.forEach((answer, i) => (outcomes[message[i]?.index ?? -1] = answer));
      });
      [shared, bytes] = [[], 0];
    };
    calls.forEach((call, index) => {
      if ("fields" in call) {
        jobs.push(async () => {
          outcomes[index] = await this.score(call, control).catch(asOutcome);
        });
        return;
      }
      if (shared.length > 0 && bytes + call.message.length > Math.min(MESSAGE_BYTES, this.#limit / 2)) send();
      shared.push({ index, call });
      bytes += call.message.length + 16;
    });
    if (shared.length > 0) send();
    await all(jobs);
    return outcomes;
  }

  async serverInfo(control: Control, retry = this.#retry): Promise<GetServerInfoResponse> {
    const answer = await this.#unary(`${SERVICE}/GetServerInfo`, new Uint8Array(), control, retry);
    return fromBinary(GetServerInfoResponseSchema, answer);
  }

  /** Ends everything in flight. */
  close(): void {
    for (const stream of this.#streams) stream.close();
    this.#transport.close();
  }

  // Implementation details follow.

  #unary(path: string, message: Uint8Array, control: Control, retry = this.#retry): Promise<Buffer> {
    return retried(() => this.#transport.unary(path, message, control), control, this.#transport.closing, retry);
  }

  async #respond(request: Request, control: Control): Promise<LossResult> {
    const call = encode(request, (length) => this.#scratch.take(length));
    try {
      return await this.#scoreOne(call, control);
    } finally {
      this.#scratch.give(call.message);
    }
  }

  #scoreOne(call: Encoded, control: Control): Promise<LossResult> {
    const path = `${SERVICE}/${call.rpc}`;
    let shared = call.message.length <= LARGEST_CALL_BYTES;
    const attempt = async (): Promise<LossResult> => {
      const stream = shared ? this.#streams[this.#transport.next()] : undefined;
      shared = false;
      const answer = (await stream?.score(call, control)) ?? ALONE;
      return answer === ALONE ? resultOf(decode(await this.#transport.unary(path, call.message, control))) : answer;
    };
    return retried(attempt, control, this.#transport.closing, this.#retry);
  }

  /** The result merged from the parts of a request that is too large. Throws `refused` if splitting is disabled or cannot help. */
  async #scoreParts(request: Request, control: Control, refused: LossdError): Promise<LossResult> {
    if (!this.#split) throw refused;
    await this.#learnLimit(request, refused, control);
    if (sizeInBytes(request.fields) > this.#limit) {
      const parts = cut(request, partsNeeded(request, this.#limit));
      return merge(request, await this.#scoreAll(request, parts, 0, control));
    }
    return this.#scoreFitting(request, control, refused);
  }

  /** Only the server can measure its other limits. One part is cut until the server accepts it, then the rest. */
  async #scoreFitting(request: Request, control: Control, refused: LossdError): Promise<LossResult> {
    const total = countRows(request);
    let [rows, first, rest]: [number, Request, Request[]] = [total, request, []];
    let before: Refusal | undefined;
    for (;;) {
      const last = refusal(rows, refused);
      if (rows === 1) {
        const ahead = await this.#scoreParts(first, control, refused); // cut along the next extent
        return merge(request, [ahead, ...(await this.#scoreAll(request, rest, rows, control))]);
      }
      const count = Math.ceil(total / rowsThatFit(request, last, before));
      const parts = cut(request, count);
      [first, rest] = [parts[0] ?? request, parts.slice(1)];
      rows = Math.floor(total / count);
      before = last;
      try {
        const ahead = await this.#respond(first, control);
        return merge(request, [ahead, ...(await this.#scoreAll(request, rest, rows, control))]);
      } catch (error) {
        if (isInvalid(error)) throw inWhole(explained(error, first), request, 0, rows);
        if (!isTooLarge(error)) throw error;
        refused = error;
      }
    }
  }

  /** The results of parts of a request; the first part begins at row `start`. */
  #scoreAll(request: Request, parts: readonly Request[], start: number, control: Control): Promise<LossResult[]> {
    const jobs = parts.map((part) => {
      const from = start;
      start += rowsIn(request, part);
      const to = start;
      return () =>
        this.score(part, control).catch((error: unknown) => {
          throw isInvalid(error) ? inWhole(error, request, from, to) : error;
        });
    });
    return all(jobs);
  }

  /** Adopts the server's limit on the bytes of a request, if the server refused the request for that limit. */
  async #learnLimit(request: Request, refused: LossdError, control: Control): Promise<void> {
    const limit = refused.metadata.limit_bytes;
    if (refused.reason === "REQUEST_TOO_LARGE" && limit !== undefined) {
      this.#limit = Math.min(this.#limit, Number(limit));
    } else if (sizeInBytes(request.fields) <= this.#limit && refusedByGrpc(refused)) {
      this.#limit = Math.min(this.#limit, Number((await this.serverInfo(control)).maxRequestBytes));
    }
  }

  /** The outcomes of calls that are sent as one message, or in halves if the message is too large. */
  async #scoreMessage(calls: readonly Encoded[], control: Control): Promise<Outcome[]> {
    const outcomes: Outcome[] = new Array<Outcome>(calls.length);
    let todo = calls.map((_, index) => index);
    const encoded = (indices: readonly number[]): Encoded[] => indices.map((index) => calls[index]!);
    const settle = (answers: readonly Outcome[]): void => {
      todo.forEach((index, i) => (outcomes[index] = answers[i]!));
    };
    const attempt = async (): Promise<void> => {
      const sent = encoded(todo);
      const answer = await this.#transport.unary(`${EVALUATION_SERVICE}/ScoreBatch`, batchMessage(sent), control);
      const answers = batchOutcomes(answer, sent.length);
      settle(answers.map((outcome, i) => (isInvalid(outcome) ? explained(outcome, sent[i]!) : outcome)));
      todo = todo.filter((index) => isUnavailable(outcomes[index]));
      const failed = todo.map((index) => outcomes[index] as LossdError);
      if (failed.length > 0) throw failed.reduce((a, b) => ((b.retryAfterSeconds ?? 0) > (a.retryAfterSeconds ?? 0) ? b : a));
    };
    try {
      await retried(attempt, control, this.#transport.closing, this.#retry);
    } catch (error) {
      if (isTooLarge(error) && todo.length > 1) {
        const middle = todo.length >> 1;
        const first = await this.#scoreMessage(encoded(todo.slice(0, middle)), control);
        settle([...first, ...(await this.#scoreMessage(encoded(todo.slice(middle)), control))]);
      } else {
        const failure = asOutcome(error);
        settle(todo.map(() => failure));
      }
    }
    return outcomes;
  }
}

/** Until a server answers. Rejects with UNAVAILABLE, and the cause, if none does. @internal */
export async function untilReady(core: Core, control: Control): Promise<void> {
  try {
    await core.serverInfo(control, true);
  } catch (error) {
    if (!(error instanceof LossdError) || error.code !== "DEADLINE_EXCEEDED") throw error;
    const message = `no server answered within the timeout: ${error.message}`;
    throw new LossdError({ code: "UNAVAILABLE", message }, { cause: error });
  }
}

// Implementation details follow.

function isUnavailable(outcome: Outcome | undefined): boolean {
  return outcome instanceof LossdError && outcome.code === "UNAVAILABLE";
}

function asOutcome(error: unknown): LossdError {
  if (error instanceof LossdError) return error;
  throw error;
}
