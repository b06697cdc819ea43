// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.ScoreStreamRequest;
import dev.lossd.v1.StreamCall;
import io.grpc.Deadline;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The calls of one ScoreStream: what the next message holds, and who waits for an answer. It knows
 * no thread and no channel; its owner locks it.
 *
 * <p>There is no timer and no batch size to wait for. Each time the stream can take a message, its
 * owner takes the calls that wait, unless {@link #MESSAGES_UNDER_WAY} messages have had no answer
 * at all. So a lone call is sent at once, and calls made while the stream is busy are sent
 * together.
 */
final class Outbox {
  /**
   * Enough that the server computes some calls while others are prepared, and few enough that calls
   * share messages.
   */
  static final int MESSAGES_UNDER_WAY = 4;

  /**
   * Larger calls gain nothing from sharing a message, and would delay the others: each is sent as a
   * unary RPC.
   */
  static final int LARGEST_CALL_BYTES = 256 << 10;

  // A message holds at most MESSAGE_BYTES, and at most 1/MESSAGES_UNDER_WAY of the waiting calls or
  // MESSAGE_CALLS, whichever is more.
  private static final int MESSAGE_BYTES = 1 << 20;
  private static final int MESSAGE_CALLS = 32;
  // Maximum calls, and maximum cancellations, in a message, however small they are: a server
  // refuses more than 16,384.
  private static final int MOST_CALLS = 1 << 13;

  private record Waiting(Pending<LossResponse> waiter, Message request, Deadline deadline) {}

  /** A message that was sent; silent until one of its calls is answered or cancelled. */
  private static final class Sent {
    private boolean silent = true;
  }

  private record Unanswered(Pending<LossResponse> waiter, Sent message) {}

  private final Map<Long, Waiting> waiting = new LinkedHashMap<>();
  private final Map<Long, Unanswered> unanswered = new HashMap<>();
  private final List<Long> cancelled = new ArrayList<>();
  private long ids;
  private int silent;

  /** Queues a call; returns its id. */
  long add(Pending<LossResponse> waiter, Message request, Deadline deadline) {
    ids++;
    waiting.put(ids, new Waiting(waiter, request, deadline));
    return ids;
  }

  /** Drops a call for which nobody waits any more. Does nothing if the call was answered. */
  void cancel(long id) {
    if (waiting.remove(id) == null && settle(id) != null) {
      cancelled.add(id);
    }
  }

  /** Whether there is something to take now. */
  boolean isReady() {
    return !cancelled.isEmpty() || (!waiting.isEmpty() && silent < MESSAGES_UNDER_WAY);
  }

  /** The next message: calls in order of arrival, and cancellations, each up to the limits. */
  ScoreStreamRequest take() {
    var message = ScoreStreamRequest.newBuilder();
    if (silent < MESSAGES_UNDER_WAY) {
      takeCalls(message);
    }
    List<Long> gone = cancelled.subList(0, Math.min(cancelled.size(), MOST_CALLS));
    message.addAllCancelledIds(gone);
    gone.clear();
    return message.build();
  }

  /** The waiter of an answered call; null if the call was cancelled. */
  Pending<LossResponse> settle(long id) {
    Unanswered call = unanswered.remove(id);
    if (call == null) {
      return null;
    }
    if (call.message.silent) {
      call.message.silent = false;
      silent--;
    }
    return call.waiter;
  }

  /** Removes every call, because the stream has ended. Returns the waiters. */
  List<Pending<LossResponse>> clear() {
    List<Pending<LossResponse>> waiters = new ArrayList<>();
    waiting.values().forEach(call -> waiters.add(call.waiter));
    unanswered.values().forEach(call -> waiters.add(call.waiter));
    waiting.clear();
    unanswered.clear();
    cancelled.clear();
    silent = 0;
    return waiters;
  }

  private void takeCalls(ScoreStreamRequest.Builder message) {
    int share = Math.min(MOST_CALLS, Math.max(MESSAGE_CALLS, waiting.size() / MESSAGES_UNDER_WAY));
    int bytes = 0;
    Sent sent = new Sent();
    Iterator<Map.Entry<Long, Waiting>> next = waiting.entrySet().iterator();
    while (next.hasNext() && message.getCallsCount() < share) {
      var entry = next.next();
      Waiting call = entry.getValue();
      bytes += call.request.getSerializedSize();
      if (message.getCallsCount() > 0 && bytes > MESSAGE_BYTES) {
        break;
      }
      double seconds = Math.max(0, call.deadline.timeRemaining(TimeUnit.NANOSECONDS) * 1e-9);
      message.addCalls(
          StreamCall.newBuilder()
              .setId(entry.getKey())
              .setCall(Methods.lossCall(call.request))
              .setTimeoutSeconds(seconds));
      unanswered.put(entry.getKey(), new Unanswered(call.waiter, sent));
      next.remove();
    }
    if (message.getCallsCount() > 0) {
      silent++;
    }
  }
}
