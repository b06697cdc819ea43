// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import io.grpc.Deadline;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;

/**
 * Calls that are collected and sent together, many in one message. {@link LossdClient#batch} makes
 * one:
 *
 * <pre>{@code
 * var batch = client.batch();
 * var a = batch.crossEntropy(logits, labels);
 * var b = batch.mseLoss(predictions, targets);
 * batch.send();
 * a.join().value();
 * }</pre>
 *
 * <p>Every method returns at once. Its future completes during {@link #send} at the latest; if a
 * call fails, its future does, and the other calls are unaffected. A call that is cancelled before
 * it is sent is not made. Use a batch from one thread at a time.
 */
public final class Batch extends AsyncLosses {
  // Calls are sent when they reach this many bytes, so that the server computes them while the
  // caller prepares the rest.
  private static final int SEND_BYTES = 256 << 10;

  private record Collected<R extends LossResult>(Call<R> call, Pending<R> pending) {
    void settle(Messages.Outcome outcome) {
      if (outcome.error() != null) {
        pending.completeExceptionally(outcome.error());
      } else {
        pending.complete(call.reduction().read(outcome.response()));
      }
    }
  }

  private final Scoring scoring;
  private final Messages messages;
  private final Duration timeout;
  private final List<Future<?>> sent = new ArrayList<>();
  private List<Collected<?>> waiting = new ArrayList<>();
  private int waitingBytes;
  private int size;
  private boolean done;

  Batch(Scoring scoring, Duration timeout) {
    this.scoring = scoring;
    this.messages = new Messages(scoring);
    this.timeout = timeout;
  }

  /**
   * The number of calls.
   *
   * @return the number of calls collected, sent or not
   */
  public int size() {
    return size;
  }

  /**
   * Sends the calls, and returns when each has its answer or its error. The futures hold them.
   *
   * @throws IllegalStateException if the batch was already sent
   */
  public void send() {
    checkOpen();
    done = true;
    List<Collected<?>> rest = waiting;
    send(rest, scoring.deadline(timeout));
    sent.forEach(Workers::wait);
  }

  @Override
  <R extends LossResult> CompletableFuture<R> score(Call<R> call) {
    checkOpen();
    if (call.timeout() != null) {
      throw new IllegalArgumentException(
          "a call of a batch cannot have its own timeout: the batch has one");
    }
    Pending<R> pending = new Pending<>();
    waiting.add(new Collected<>(call, pending));
    size++;
    int bytes = call.request().getSerializedSize();
    waitingBytes += bytes > Messages.BYTES ? 0 : bytes;
    if (waitingBytes >= SEND_BYTES
        && sent.stream().filter(future -> !future.isDone()).count() < Workers.CONCURRENT_MESSAGES) {
      List<Collected<?>> now = waiting;
      Deadline deadline = scoring.deadline(timeout);
      waiting = new ArrayList<>();
      waitingBytes = 0;
      sent.add(scoring.workers().submit(() -> send(now, deadline)));
    }
    return pending;
  }

  private void send(List<Collected<?>> calls, Deadline deadline) {
    List<Collected<?>> wanted =
        calls.stream().filter(collected -> !collected.pending.isDone()).toList();
    try {
      List<Message> requests =
          wanted.stream().<Message>map(collected -> collected.call.request()).toList();
      List<Messages.Outcome> outcomes = messages.score(requests, deadline);
      for (int i = 0; i < outcomes.size(); i++) {
        wanted.get(i).settle(outcomes.get(i));
      }
    } catch (RuntimeException failure) { // the thread was interrupted
      wanted.forEach(collected -> collected.pending.completeExceptionally(failure));
      throw failure;
    }
  }

  private void checkOpen() {
    if (done) {
      throw new IllegalStateException("the batch was already sent");
    }
  }
}
