// SPDX-License-Identifier: Apache-2.0

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Times calls for a number of seconds each, after a warm-up of as long, and at least {@link
 * #WARM_UP_SECONDS}.
 */
final class Measure {
  static final int IN_FLIGHT = 64;

  /** Until the JIT compiler has done most of its work on two cores. */
  private static final double WARM_UP_SECONDS = 3;

  /** Starts a call, and runs `done` once it is answered. */
  interface AsyncCall {
    void start(Runnable done);
  }

  private final double seconds;

  Measure(double seconds) {
    this.seconds = seconds;
  }

  /** The median time of a call, in seconds, and the CPU seconds of this process for each call. */
  double[] alone(Runnable call) {
    times(call, Math.max(WARM_UP_SECONDS, seconds));
    var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    long cpu = system.getProcessCpuTime();
    double[] times = times(call, seconds);
    double used = (system.getProcessCpuTime() - cpu) * 1e-9;
    Arrays.sort(times);
    return new double[] {times[times.length / 2], used / times.length};
  }

  private static double[] times(Runnable call, double seconds) {
    double[] times = new double[1 << 20];
    int count = 0;
    long end = System.nanoTime() + (long) (seconds * 1e9);
    do {
      long start = System.nanoTime();
      call.run();
      times[count++] = (System.nanoTime() - start) * 1e-9;
    } while (System.nanoTime() < end && count < times.length);
    return Arrays.copyOf(times, count);
  }

  /** Calls a second with 64 in flight. */
  double rate(AsyncCall call) throws InterruptedException {
    run(call, Math.max(WARM_UP_SECONDS, seconds));
    return run(call, seconds);
  }

  private static double run(AsyncCall call, double seconds) throws InterruptedException {
    AtomicLong answered = new AtomicLong();
    Semaphore room = new Semaphore(IN_FLIGHT);
    long start = System.nanoTime();
    long end = start + (long) (seconds * 1e9);
    while (System.nanoTime() < end) {
      room.acquire();
      call.start(
          () -> {
            answered.incrementAndGet();
            room.release();
          });
    }
    double rate = answered.get() / ((System.nanoTime() - start) * 1e-9);
    room.acquire(IN_FLIGHT);
    return rate;
  }
}
