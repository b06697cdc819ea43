// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import io.grpc.Deadline;
import io.grpc.Status;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;

/**
 * The exact loss over a data set, from mini-batches in any order, overall and by named series.
 * {@link LossdClient#evaluation} makes one:
 *
 * <pre>{@code
 * var evaluation = client.evaluation();
 * for (var batch : batches) {
 *   evaluation.series(batch.region()).crossEntropy(batch.logits(), batch.labels());
 * }
 * evaluation.compute().get("north").value();
 * evaluation.total().value();
 * }</pre>
 *
 * <p>Methods have the names of the losses and return nothing; on the evaluation itself they update
 * the series "". The result is the loss over all rows at once, and the order of updates and merges
 * does not change a bit of it. All updates of a series must have the same loss and reduction.
 *
 * <p>Updates up to 1 MiB are sent many at a time, so a later update or {@link #compute} throws
 * their errors; an invalid update does not count. Updates that failed because no server was reached
 * are kept and sent again.
 *
 * <p>Use an evaluation from one thread at a time. If several threads evaluate, give each its own
 * evaluation and merge them.
 */
public final class Evaluation extends LossUpdates {
  // Updates are sent when they reach this many bytes, or this number.
  private static final int SEND_BYTES = 1 << 20;
  private static final int SEND_CALLS = 1024;
  private static final int MESSAGES_UNDER_WAY = 2;

  private record Update(String series, Message request) {}

  private record Sent(List<Update> updates, Future<List<Messages.Outcome>> outcomes) {}

  private final Scoring scoring;
  private final Messages messages;
  private final Map<String, SeriesState> states = new LinkedHashMap<>();
  private final Deque<Sent> underWay = new ArrayDeque<>();
  private List<Update> waiting = new ArrayList<>();
  private int waitingBytes;

  Evaluation(Scoring scoring) {
    this.scoring = scoring;
    this.messages = new Messages(scoring);
  }

  /**
   * The losses as updates of a named series.
   *
   * @param name the name of the series
   * @return the losses
   */
  public LossUpdates series(String name) {
    return new LossUpdates() {
      @Override
      void update(Call<Loss> call) {
        Evaluation.this.update(name, call);
      }
    };
  }

  /**
   * Updates a series with the result of a call. The caller must ensure that the result is of the
   * series' loss.
   *
   * @param series the name of the series
   * @param result the result
   * @param reduction the reduction of the series
   */
  public void add(String series, LossResult result, Reduction<Loss> reduction) {
    merge(series, "", reduction.toString(), Totals.NONE.plus(result.statistics()));
  }

  /**
   * The names of the series that were updated, in the order of their first update.
   *
   * @return a view
   */
  public Set<String> names() {
    return Collections.unmodifiableSet(states.keySet());
  }

  /**
   * The result of every series.
   *
   * @return the results by name, in the order of the series' first updates
   * @throws LossdException if an update failed
   */
  public Map<String, SeriesResult> compute() {
    flush();
    Map<String, SeriesResult> results = new LinkedHashMap<>();
    states.forEach((name, state) -> results.put(name, state.result()));
    return results;
  }

  /**
   * The result over all series, which must have the same loss and reduction.
   *
   * @return the result
   * @throws LossdException if an update failed
   * @throws IllegalStateException if there are no updates
   */
  public SeriesResult total() {
    flush();
    SeriesState total = null;
    for (var entry : states.entrySet()) {
      total = total == null ? entry.getValue() : total.plus(entry.getValue(), entry.getKey());
    }
    if (total == null) {
      throw new IllegalStateException("the evaluation has no updates");
    }
    return total.result();
  }

  /**
   * Adds everything that another evaluation holds.
   *
   * @param other the other evaluation
   * @throws LossdException if an update of the other evaluation failed
   */
  public void merge(Evaluation other) {
    merge(other.state());
  }

  /**
   * Adds everything that the state of another evaluation holds.
   *
   * @param state what {@link #state} of the other evaluation returned
   */
  public void merge(Map<String, SeriesState> state) {
    state.forEach(
        (name, other) ->
            states.compute(name, (same, mine) -> mine == null ? other : mine.plus(other, name)));
  }

  /**
   * The exact statistics of every series, for {@link #merge(Map)} in another process.
   *
   * @return the states by name
   * @throws LossdException if an update failed
   */
  public Map<String, SeriesState> state() {
    flush();
    return new LinkedHashMap<>(states);
  }

  @Override
  void update(Call<Loss> call) {
    update("", call);
  }

  private void update(String series, Call<Loss> call) {
    if (call.timeout() != null) {
      throw new IllegalArgumentException(
          "an update cannot have its own timeout: the client has one");
    }
    Message request = call.request();
    int bytes = request.getSerializedSize();
    merge(series, Methods.nameOf(request), call.reduction().toString(), Totals.NONE);
    if (bytes > Messages.BYTES) {
      count(series, Messages.Outcome.of(scoring.score(request, scoring.deadline(null))));
      return;
    }
    waiting.add(new Update(series, request));
    waitingBytes += bytes;
    if (waitingBytes >= SEND_BYTES || waiting.size() >= SEND_CALLS) {
      while (underWay.size() >= MESSAGES_UNDER_WAY) {
        settle();
      }
      send();
    }
  }

  private void merge(String series, String loss, String reduction, Totals more) {
    states.compute(
        series,
        (name, state) ->
            state == null
                ? new SeriesState(loss, reduction, more)
                : state.plus(loss, reduction, more, name));
  }

  private void count(String series, Messages.Outcome outcome) {
    Totals one = Totals.NONE.plus(Statistics.of(outcome.response().getStatistics()));
    states.computeIfPresent(series, (name, state) -> state.plus(one));
  }

  private void send() {
    List<Update> updates = waiting;
    Deadline deadline = scoring.deadline(null);
    waiting = new ArrayList<>();
    waitingBytes = 0;
    List<Message> requests = updates.stream().map(Update::request).toList();
    underWay.add(
        new Sent(updates, scoring.workers().submit(() -> messages.score(requests, deadline))));
  }

  /** Processes the answers to the oldest message. Throws the first error among them. */
  private void settle() {
    Sent oldest = underWay.remove();
    List<Messages.Outcome> outcomes;
    try {
      outcomes = Workers.wait(oldest.outcomes);
    } catch (LossdException error) { // the thread was interrupted, or the client closed
      oldest.updates.forEach(this::again);
      throw error;
    }
    LossdException first = null;
    for (int i = 0; i < outcomes.size(); i++) {
      Update update = oldest.updates.get(i);
      LossdException error = outcomes.get(i).error();
      if (error == null) {
        count(update.series, outcomes.get(i));
        continue;
      }
      if (first == null) {
        String description =
            "%s; in an update of series \"%s\"".formatted(error.description(), update.series);
        first = error.with(description, error.fieldViolations());
      }
      if (error.code() == Status.Code.UNAVAILABLE
          || error.code() == Status.Code.DEADLINE_EXCEEDED) {
        again(update);
      }
    }
    if (first != null) {
      throw first;
    }
  }

  private void again(Update update) {
    waiting.add(update);
    waitingBytes += update.request.getSerializedSize();
  }

  /** Waits until every update is answered. */
  private void flush() {
    while (!waiting.isEmpty() || !underWay.isEmpty()) {
      if (underWay.isEmpty()) {
        send();
      }
      settle();
    }
  }
}
