// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** A result that is being made. Cancelling it stops what makes it. */
final class Pending<T> extends CompletableFuture<T> {
  private volatile Runnable stop = () -> {};

  static <T> Pending<T> failed(Throwable error) {
    Pending<T> pending = new Pending<>();
    pending.completeExceptionally(error);
    return pending;
  }

  /** What `cancel` runs from now on: at once if it was called already. */
  void onCancel(Runnable stop) {
    this.stop = stop;
    if (isCancelled()) {
      stop.run();
    }
  }

  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    boolean cancelled = super.cancel(mayInterruptIfRunning);
    if (cancelled) {
      stop.run();
    }
    return cancelled;
  }

  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new CompletableFuture<>();
  }

  /**
   * The result, once it is there. If the thread is interrupted, the call is cancelled and the
   * thread stays interrupted.
   */
  T await() {
    try {
      return get();
    } catch (InterruptedException interruption) {
      cancel(true);
      Thread.currentThread().interrupt();
      throw Errors.interrupted();
    } catch (ExecutionException failure) {
      if (failure.getCause() instanceof LossdException error) {
        throw error.here();
      }
      if (failure.getCause() instanceof RuntimeException error) {
        throw error;
      }
      throw new IllegalStateException(failure.getCause());
    }
  }

  /** Completes with the outcome of another result. */
  void settle(T value, Throwable error) {
    if (error == null) {
      complete(value);
    } else {
      completeExceptionally(error);
    }
  }
}
