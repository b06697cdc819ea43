// SPDX-License-Identifier: Apache-2.0

// The client keeps the statistics, and sends many small updates in one message while it prepares the next ones. So nothing is lost
// if a connection breaks: the next `compute` sends the updates again that a failed server did not answer.

import type { Outcome } from "./calls.js";
import { request, type Encoded, type Fields, type LossResult, type Request, type Rpc, type Statistics } from "./codec.js";
import { shareable, type Core } from "./core.js";
import { LossdError, reworded, type Code } from "./errors.js";
import type { AnyOptions, Answer } from "./losses/caller.js";
import { LossMethods } from "./losses/index.js";
import { SeriesTotals, type EvaluationState, type SeriesResult } from "./series.js";

/** The methods of an evaluation are updates. */
export interface EvaluationAnswers {
  readonly control: object;
  readonly reduced: Promise<void>;
  /** The result of an evaluation is that of whole series. */
  readonly unreduced: never;
  readonly reducedResult: Promise<void>;
  readonly unreducedResult: never;
}

// Updates are sent when they reach this many bytes, or this number.
const SEND_BYTES = 1 << 20;
const SEND_CALLS = 1024;
const MESSAGES_UNDER_WAY = 2;
const MAY_SUCCEED_LATER: ReadonlySet<Code> = new Set<Code>(["UNAVAILABLE", "DEADLINE_EXCEEDED"]);

interface Update {
  readonly series: string;
  readonly call: Encoded;
}

interface Sent {
  readonly updates: readonly Update[];
  readonly outcomes: Promise<readonly Outcome[]>;
}

/** The losses, as updates of one series of an {@link Evaluation}. */
export class Series extends LossMethods<EvaluationAnswers> {
  readonly #update: (request: Request) => Promise<void>;

  /** @internal */
  constructor(update: (request: Request) => Promise<void>) {
    super();
    this.#update = update;
  }

  /** @internal */
  protected override call<R, S>(rpc: Rpc, options: AnyOptions, fields: () => Fields): Answer<EvaluationAnswers, R, S> {
    const update = async (): Promise<void> => this.#update(request(rpc, fields(), options));
    return update() as Answer<EvaluationAnswers, R, S>;
  }
}

/**
 * The loss over a data set, updated by mini-batches. {@link Client.evaluation} makes one.
 *
 * ```ts
 * const evaluation = client.evaluation();
 * for (const { region, logits, labels } of batches) await evaluation.series(region).crossEntropy(logits, labels);
 * (await evaluation.compute()).get("north")?.value, (await evaluation.total()).value;
 * ```
 *
 * On the evaluation itself, the losses update the series `""`. The result is the loss over all rows at once, and the order of
 * updates and merges does not change a bit of it. All updates of a series must have the same loss and reduction, which is not
 * `"none"`.
 *
 * Await every update. Updates up to 1 MiB are copied and sent many at a time, so a later update or `compute` rejects with their
 * errors; an invalid update does not count. Updates that failed because no server was reached are kept and sent again.
 */
export class Evaluation extends Series {
  readonly #core: Core;
  readonly #series = new Map<string, SeriesTotals>();
  #waiting: Update[] = [];
  #waitingBytes = 0;
  readonly #underWay: Sent[] = [];

  /** @internal */
  constructor(core: Core) {
    super((request) => this.#update("", request));
    this.#core = core;
  }

  /** The losses, as updates of the series with this name. */
  series(name: string): Series {
    return new Series((request) => this.#update(name, request));
  }

  /** The names of the series that were updated, in the order of their first update. */
  get names(): string[] {
    return [...this.#series.keys()];
  }

  /**
   * Updates a series with the result of a call that was made with `returnStatistics: true`. The caller must ensure that the result
   * is of the series' loss. `reduction` is that of the series, by default `"mean"`.
   */
  add(
    result: Statistics,
    { series = "", reduction = "mean" }: { series?: string; reduction?: "mean" | "sum" | "batchmean" } = {},
  ): void {
    this.#totals(series, "", reduction).totals.add(result);
  }

  /** The result of every series by name. */
  async compute(): Promise<Map<string, SeriesResult>> {
    await this.#flush();
    return new Map([...this.#series].map(([name, series]) => [name, series.result()]));
  }

  /** The result over all series, which must have the same loss and reduction. */
  async total(): Promise<SeriesResult> {
    await this.#flush();
    const [first] = this.#series.values();
    if (first === undefined) throw new Error("the evaluation has no updates");
    const total = new SeriesTotals(first.loss, first.reduction);
    for (const [name, series] of this.#series) total.merge(series, name);
    return total.result();
  }

  /** Adds everything that another evaluation, or its `state()`, holds. */
  async merge(other: Evaluation | EvaluationState): Promise<void> {
    const state = other instanceof Evaluation ? await other.state() : other;
    for (const [name, given] of Object.entries(state)) {
      const series = SeriesTotals.of(given);
      this.#totals(name, series.loss, series.reduction).merge(series, name);
    }
  }

  /** The exact statistics of every series, for `merge` in another process: `JSON.stringify` takes them. */
  async state(): Promise<EvaluationState> {
    await this.#flush();
    return Object.fromEntries([...this.#series].map(([name, series]) => [name, series.toJSON()]));
  }

  /** Discards everything, including updates that were not answered. */
  reset(): void {
    this.#series.clear();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#underWay.length = 0;
  }

  // Implementation details follow.

  #totals(name: string, loss: Rpc, reduction: string): SeriesTotals {
    if (reduction === "none") throw new TypeError('an evaluation has no reduction: "none": its results are those of whole series');
    const series = this.#series.get(name) ?? new SeriesTotals(loss, reduction);
    series.expect(loss, reduction, name);
    this.#series.set(name, series);
    return series;
  }

  async #update(name: string, request: Request): Promise<void> {
    const call = shareable(request);
    const series = this.#totals(name, request.rpc, request.reduction);
    if ("fields" in call) {
      series.totals.add(await this.#core.score(call, this.#core.control()));
      return;
    }
    this.#keep({ series: name, call });
    if (this.#waitingBytes < SEND_BYTES && this.#waiting.length < SEND_CALLS) return;
    while (this.#underWay.length >= MESSAGES_UNDER_WAY) await this.#settle();
    this.#send();
  }

  #keep(update: Update): void {
    this.#waiting.push(update);
    this.#waitingBytes += update.call.message.length;
  }

  #send(): void {
    const updates = this.#waiting;
    if (updates.length === 0) return; // another update has sent them
    this.#waiting = [];
    this.#waitingBytes = 0;
    const calls = updates.map(({ call }) => call);
    this.#underWay.push({ updates, outcomes: this.#core.scoreMany(calls, this.#core.control()) });
  }

  /** Processes the answers to the oldest message. Throws the first error among them. */
  async #settle(): Promise<void> {
    const [sent] = this.#underWay;
    const outcomes = await sent?.outcomes;
    if (sent === undefined || outcomes === undefined || this.#underWay[0] !== sent) return; // reset, or settled by another update
    this.#underWay.shift();
    const failed: { series: string; error: LossdError }[] = [];
    sent.updates.forEach((update, index) => {
      const outcome = outcomes[index] as LossResult | LossdError;
      if (!(outcome instanceof LossdError)) {
        this.#series.get(update.series)?.totals.add(outcome);
        return;
      }
      failed.push({ series: update.series, error: outcome });
      if (MAY_SUCCEED_LATER.has(outcome.code)) this.#keep(update);
    });
    const [first] = failed;
    if (first === undefined) return;
    const where = `in an update of series ${JSON.stringify(first.series)}; ${failed.length} of ${outcomes.length} sent together failed`;
    throw reworded(first.error, `${first.error.message} (${where})`);
  }

  /** Waits until every update is answered. */
  async #flush(): Promise<void> {
    while (this.#waiting.length > 0 || this.#underWay.length > 0) {
      if (this.#underWay.length === 0) this.#send();
      await this.#settle();
    }
  }
}
