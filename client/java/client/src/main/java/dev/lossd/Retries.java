// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import io.grpc.Deadline;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Repeats what fails with UNAVAILABLE until it succeeds or the next attempt would come after the
 * deadline. All RPCs are idempotent.
 *
 * <p>Pauses double, a random part of up to half is left out, and the time that the server asks for
 * is added.
 */
final class Retries {
  private static final long FIRST_PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(50);
  private static final long LONGEST_PAUSE_NANOS = TimeUnit.SECONDS.toNanos(1);

  /**
   * An attempt fails with this to be repeated at once, in another way: its stream broke, so the
   * call is made as a unary RPC. So the same rules hold for a call whose stream broke as for any
   * other call, and each of several gets its own error.
   */
  static final class Alone extends RuntimeException {
    static final Alone INSTANCE = new Alone();
    private static final long serialVersionUID = 1;

    private Alone() {
      super("the stream broke", null, false, false);
    }
  }

  private final ScheduledExecutorService timer;
  private final Set<Loop<?>> asleep = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  Retries(ScheduledExecutorService timer) {
    this.timer = timer;
  }

  /** The result of the first attempt that succeeds. It fails at once if `retry` is false. */
  <T> Pending<T> run(Supplier<Pending<T>> attempt, Deadline deadline, boolean retry) {
    Loop<T> loop = new Loop<>(attempt, deadline, retry);
    loop.attempt();
    return loop.result;
  }

  /** Fails what waits for its next attempt, and whatever starts later. */
  void close() {
    closed = true;
    asleep.forEach(Loop::attempt);
  }

  private final class Loop<T> {
    private final Supplier<Pending<T>> next;
    private final Deadline deadline;
    private final boolean retry;
    private final Pending<T> result = new Pending<>();
    private long pauseNanos = FIRST_PAUSE_NANOS;

    Loop(Supplier<Pending<T>> next, Deadline deadline, boolean retry) {
      this.next = next;
      this.deadline = deadline;
      this.retry = retry;
    }

    void attempt() {
      asleep.remove(this);
      if (result.isDone()) {
        return; // cancelled
      }
      if (closed) {
        result.completeExceptionally(Errors.closed());
        return;
      }
      if (deadline.isExpired()) {
        result.completeExceptionally(Errors.deadline("the call's timeout has passed"));
        return;
      }
      Pending<T> attempt;
      try {
        attempt = next.get();
      } catch (RuntimeException failure) {
        result.completeExceptionally(failure);
        return;
      }
      result.onCancel(() -> attempt.cancel(true));
      attempt.whenComplete(this::answered);
    }

    private void answered(T value, Throwable error) {
      if (error instanceof Alone) {
        attempt();
      } else if (error != null && closed) {
        result.completeExceptionally(Errors.closed());
      } else if (error instanceof LossdException failure && failure.isRetryable() && retry) {
        again(failure);
      } else {
        result.settle(value, error);
      }
    }

    private void again(LossdException failure) {
      long asked = failure.retryAfter().map(Retries::nanos).orElse(0L);
      long pause = (long) (pauseNanos * ThreadLocalRandom.current().nextDouble(0.5, 1.0));
      pauseNanos = Math.min(2 * pauseNanos, LONGEST_PAUSE_NANOS);
      long wait = asked + pause;
      if (wait >= deadline.timeRemaining(TimeUnit.NANOSECONDS)) {
        result.completeExceptionally(failure);
        return;
      }
      asleep.add(this);
      result.onCancel(() -> asleep.remove(this));
      timer.schedule(this::attempt, wait, TimeUnit.NANOSECONDS);
      if (closed) {
        attempt();
      }
    }
  }

  /** A duration in nanoseconds, of a century at most. */
  static long nanos(Duration duration) {
    long seconds = Math.min(duration.getSeconds(), TimeUnit.DAYS.toSeconds(36_525));
    return TimeUnit.SECONDS.toNanos(seconds) + duration.getNano();
  }
}
