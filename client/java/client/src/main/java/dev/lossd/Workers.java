// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The client's threads for work that may block, and for the continuations of its callers. They are
 * daemons, and end when idle.
 */
final class Workers {
  /** Parts of a request, or messages of a batch, that are in flight at a time. */
  static final int CONCURRENT_MESSAGES = Outbox.MESSAGES_UNDER_WAY;

  private final AtomicInteger count = new AtomicInteger();
  private final ExecutorService threads =
      Executors.newCachedThreadPool(
          task -> {
            Thread thread = new Thread(task, "lossd-" + count.incrementAndGet());
            thread.setDaemon(true);
            return thread;
          });

  Future<?> submit(Runnable task) {
    FutureTask<Void> future = new FutureTask<>(task, null);
    threads.execute(future);
    return future;
  }

  <T> Future<T> submit(Callable<T> task) {
    return threads.submit(task);
  }

  /**
   * The results of jobs in order. Runs CONCURRENT_MESSAGES jobs at a time; after the first failure
   * it starts no more, and throws that.
   */
  <T> List<T> all(List<Callable<T>> jobs) {
    if (jobs.size() == 1) {
      return List.of(call(jobs.get(0)));
    }
    List<FutureTask<T>> tasks = new ArrayList<>();
    jobs.forEach(job -> tasks.add(new FutureTask<>(job)));
    AtomicInteger next = new AtomicInteger();
    List<Future<?>> runners = new ArrayList<>();
    for (int i = 0; i < Math.min(CONCURRENT_MESSAGES, jobs.size()); i++) {
      runners.add(
          submit(
              () -> {
                for (int job = next.getAndIncrement();
                    job < tasks.size();
                    job = next.getAndIncrement()) {
                  tasks.get(job).run();
                }
              }));
    }
    try {
      List<T> results = new ArrayList<>();
      for (FutureTask<T> task : tasks) {
        results.add(wait(task));
      }
      return results;
    } finally {
      tasks.forEach(task -> task.cancel(true));
      runners.forEach(runner -> runner.cancel(false));
    }
  }

  /**
   * The result of a task. If the thread is interrupted, the task is cancelled and the thread stays
   * interrupted.
   */
  static <T> T wait(Future<T> task) {
    try {
      return task.get();
    } catch (InterruptedException interruption) {
      task.cancel(true);
      Thread.currentThread().interrupt();
      throw Errors.interrupted();
    } catch (CancellationException cancelled) {
      throw Errors.closed();
    } catch (ExecutionException failure) {
      if (failure.getCause() instanceof LossdException error) {
        throw error.here();
      }
      throw new IllegalStateException(failure.getCause());
    }
  }

  private static <T> T call(Callable<T> job) {
    FutureTask<T> task = new FutureTask<>(job);
    task.run();
    return wait(task);
  }
}
