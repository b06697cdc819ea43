// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import dev.lossd.v1.LossOutcome;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.ScoreStreamResponse;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;

/**
 * The ScoreStream that the calls on one channel share. The {@link Outbox} decides what is sent
 * when. The first call opens the stream; if it breaks, the next call opens another.
 */
final class ScoreStream {
  /** One RPC. */
  private final class Session extends ClientCall.Listener<ScoreStreamResponse> {
    private final AtomicInteger work = new AtomicInteger(1); // the start
    private ClientCall<Message, ScoreStreamResponse> rpc;
    private volatile boolean ended;

    @Override
    public void onReady() {
      send(this);
    }

    @Override
    public void onMessage(ScoreStreamResponse message) {
      answer(message);
      rpc.request(1);
      send(this);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      ended = true;
      forgetSession(this);
    }
  }

  private final Function<
          ClientCall.Listener<ScoreStreamResponse>, ClientCall<Message, ScoreStreamResponse>>
      open;
  private final ScheduledExecutorService timer;
  private final Object lock = new Object();
  private final Outbox outbox = new Outbox(); // under the lock
  private Session session; // under the lock
  private boolean closed; // under the lock

  ScoreStream(
      Function<ClientCall.Listener<ScoreStreamResponse>, ClientCall<Message, ScoreStreamResponse>>
          open,
      ScheduledExecutorService timer) {
    this.open = open;
    this.timer = timer;
  }

  /** The answer to a call. Fails with LossdException, or with Retries.Alone if the stream broke. */
  Pending<LossResponse> score(Message request, Deadline deadline) {
    Pending<LossResponse> waiter = new Pending<>();
    Session current;
    long id;
    boolean fresh = false;
    synchronized (lock) {
      if (closed) {
        return Pending.failed(Errors.closed());
      }
      if (session == null) {
        session = new Session();
        fresh = true;
      }
      current = session;
      id = outbox.add(waiter, request, deadline);
    }
    waiter.onCancel(() -> forget(id));
    Future<?> alarm =
        timer.schedule(
            () -> {
              waiter.completeExceptionally(Errors.deadline("no answer within the call's timeout"));
              forget(id);
            },
            Math.max(0, deadline.timeRemaining(TimeUnit.NANOSECONDS)),
            TimeUnit.NANOSECONDS);
    waiter.whenComplete((answer, error) -> alarm.cancel(false));
    if (fresh) {
      start(current);
    }
    send(current);
    return waiter;
  }

  /** Ends the stream; calls in flight fail. */
  void close() {
    Session last;
    List<Pending<LossResponse>> waiters;
    synchronized (lock) {
      closed = true;
      last = session;
      session = null;
      waiters = outbox.clear();
    }
    waiters.forEach(waiter -> waiter.completeExceptionally(Errors.closed()));
    if (last != null) {
      last.ended = true;
    }
  }

  private void start(Session fresh) {
    fresh.rpc = open.apply(fresh);
    drain(fresh);
  }

  /**
   * gRPC takes one message at a time, so one thread sends: the others only count, and the sender
   * looks again before it leaves.
   */
  private void send(Session current) {
    if (current.work.getAndIncrement() == 0) {
      drain(current);
    }
  }

  private void drain(Session current) {
    int seen = current.work.get();
    while (seen != 0) {
      for (Message message = take(current); message != null; message = take(current)) {
        current.rpc.sendMessage(message);
      }
      seen = current.work.addAndGet(-seen);
    }
  }

  /**
   * The next message, or null if there is nothing to send, or if gRPC has not yet sent enough of
   * what it has.
   */
  private Message take(Session current) {
    if (current.ended || !current.rpc.isReady()) {
      return null;
    }
    synchronized (lock) {
      return session == current && outbox.isReady() ? outbox.take() : null;
    }
  }

  private void answer(ScoreStreamResponse message) {
    List<Pending<LossResponse>> waiters = new ArrayList<>(message.getOutcomesCount());
    synchronized (lock) {
      message.getOutcomesList().forEach(outcome -> waiters.add(outbox.settle(outcome.getId())));
    }
    for (int i = 0; i < waiters.size(); i++) {
      LossOutcome outcome = message.getOutcomes(i).getOutcome();
      if (waiters.get(i) == null) {
        continue; // cancelled
      }
      if (outcome.hasResponse()) {
        waiters.get(i).complete(outcome.getResponse());
      } else {
        waiters.get(i).completeExceptionally(Errors.of(outcome.getError()));
      }
    }
  }

  private void forget(long id) {
    Session current;
    synchronized (lock) {
      outbox.cancel(id);
      current = session;
    }
    if (current != null) {
      send(current);
    }
  }

  private void forgetSession(Session over) {
    List<Pending<LossResponse>> waiters = List.of();
    synchronized (lock) {
      if (session == over) {
        session = null;
        waiters = outbox.clear();
      }
    }
    waiters.forEach(waiter -> waiter.completeExceptionally(Retries.Alone.INSTANCE));
  }
}
