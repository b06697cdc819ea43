// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import dev.lossd.v1.GetServerInfoRequest;
import dev.lossd.v1.GetServerInfoResponse;
import dev.lossd.v1.LossResponse;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;

/**
 * How a call is made: on the shared stream or by itself, whole or in parts. Nothing here depends on
 * a loss.
 */
final class Scoring {
  private final Connections connections;
  private final List<ScoreStream> streams;
  private final Retries retries;
  private final Workers workers;
  private final Duration timeout;
  private final boolean retry;
  private final boolean split;
  private volatile int limitBytes;

  Scoring(
      Connections connections,
      List<ScoreStream> streams,
      Retries retries,
      Workers workers,
      Duration timeout,
      boolean retry,
      boolean split,
      int limitBytes) {
    this.connections = connections;
    this.streams = streams;
    this.retries = retries;
    this.workers = workers;
    this.timeout = timeout;
    this.retry = retry;
    this.split = split;
    this.limitBytes = limitBytes;
  }

  /**
   * The deadline of a call that starts now, which is never after that of the caller's gRPC context;
   * null means the client's timeout.
   */
  Deadline deadline(Duration timeout) {
    long nanos = Retries.nanos(timeout == null ? this.timeout : timeout);
    Deadline deadline = Deadline.after(nanos, TimeUnit.NANOSECONDS);
    Deadline outer = Context.current().getDeadline();
    return outer == null ? deadline : deadline.minimum(outer);
  }

  int limitBytes() {
    return limitBytes;
  }

  /** The answer to a request, merged from the answers to its parts if it is too large. Blocks. */
  LossResponse score(Message request, Deadline deadline) {
    try {
      return whole(request, deadline).await();
    } catch (LossdException error) {
      return inParts(request, deadline, error);
    }
  }

  /**
   * The same without blocking. Completes on a worker, where the caller's continuation may block.
   */
  <R extends LossResult> Pending<R> scoreLater(Call<R> call) {
    Deadline deadline = deadline(call.timeout());
    Pending<R> result = new Pending<>();
    Pending<LossResponse> whole = whole(call.request(), deadline);
    result.onCancel(() -> whole.cancel(true));
    whole.whenComplete(
        (response, error) -> {
          Future<?> rest =
              workers.submit(
                  () -> {
                    try {
                      LossResponse answer =
                          error instanceof LossdException failure
                              ? inParts(call.request(), deadline, failure)
                              : response;
                      result.settle(
                          answer == null ? null : call.reduction().read(answer),
                          answer == null ? error : null);
                    } catch (RuntimeException failure) {
                      result.completeExceptionally(failure);
                    }
                  });
          result.onCancel(() -> rest.cancel(true));
        });
    return result;
  }

  /** The answer to a request that is sent whole. Fails for what {@link #inParts} may mend. */
  private Pending<LossResponse> whole(Message request, Deadline deadline) {
    try {
      Explain.checkShapes(request);
      if (request.getSerializedSize() > limitBytes) {
        throw Splitting.tooLarge(request, limitBytes);
      }
      return respond(request, deadline);
    } catch (LossdException error) {
      return Pending.failed(error);
    }
  }

  /**
   * What becomes of a call that failed with `error`: its answer from its parts if it was too large,
   * or its error explained.
   */
  private LossResponse inParts(Message request, Deadline deadline, LossdException error) {
    if (error.code() == Status.Code.RESOURCE_EXHAUSTED) {
      return scoreParts(request, deadline, error);
    }
    throw error.code() == Status.Code.INVALID_ARGUMENT ? Explain.explained(error, request) : error;
  }

  private Pending<LossResponse> respond(Message request, Deadline deadline) {
    if (streams.isEmpty() || request.getSerializedSize() > Outbox.LARGEST_CALL_BYTES) {
      return retries.run(
          () -> connections.unary(Methods.of(request), request, deadline), deadline, retry);
    }
    AtomicBoolean alone = new AtomicBoolean();
    return retries.run(
        () ->
            alone.getAndSet(true)
                ? connections.unary(Methods.of(request), request, deadline)
                : streams.get(connections.next()).score(request, deadline),
        deadline,
        retry);
  }

  // Parts. This blocks, on the caller's thread or on a worker: splitting is rare, and always long.

  private LossResponse scoreParts(Message request, Deadline deadline, LossdException refused) {
    if (!split) {
      throw refused;
    }
    learnLimit(request, refused, deadline);
    Splitting splitting = new Splitting(request);
    if (request.getSerializedSize() > limitBytes) {
      return splitting.merge(
          scoreAll(
              splitting, request, splitting.cut(Parts.needed(request, limitBytes)), 0, deadline));
    }
    // Only the server can measure its other limits. One part is cut until the server accepts it,
    // then the rest.
    int total = splitting.rows;
    int rows = total;
    Message first = request;
    List<Message> rest = List.of();
    List<Parts.Refusal> refusals = new ArrayList<>();
    LossdException reason = refused;
    LossResponse ahead;
    while (true) {
      refusals.add(Parts.refusal(rows, reason));
      if (rows == 1) {
        ahead = scoreParts(first, deadline, reason); // cut along the next extent
        break;
      }
      int fitting = Parts.rowsThatFit(request, refusals);
      int count = (total + fitting - 1) / fitting;
      List<Message> parts = splitting.cut(count);
      first = parts.get(0);
      rest = parts.subList(1, parts.size());
      rows = total / count;
      try {
        ahead = respond(first, deadline).await();
        break;
      } catch (LossdException error) {
        if (error.code() == Status.Code.INVALID_ARGUMENT) {
          throw Explain.inWhole(Explain.explained(error, first), request, 0, rows);
        }
        if (error.code() != Status.Code.RESOURCE_EXHAUSTED) {
          throw error;
        }
        reason = error;
      }
    }
    List<LossResponse> answers = new ArrayList<>(List.of(ahead));
    answers.addAll(scoreAll(splitting, request, rest, rows, deadline));
    return splitting.merge(answers);
  }

  /** The answers to parts of a request; the first part begins at row `start`. */
  private List<LossResponse> scoreAll(
      Splitting splitting, Message request, List<Message> parts, int start, Deadline deadline) {
    List<Callable<LossResponse>> jobs = new ArrayList<>();
    int row = start;
    for (Message part : parts) {
      int from = row;
      int to = row + splitting.rowsIn(part);
      jobs.add(
          () -> {
            try {
              return score(part, deadline);
            } catch (LossdException error) {
              throw error.code() == Status.Code.INVALID_ARGUMENT
                  ? Explain.inWhole(error, request, from, to)
                  : error;
            }
          });
      row = to;
    }
    return workers.all(jobs);
  }

  /**
   * Adopts the server's limit on the bytes of a request, if the server refused the request for that
   * limit.
   */
  private void learnLimit(Message request, LossdException refused, Deadline deadline) {
    String limit = refused.metadata().get("limit_bytes");
    if (refused.reason().equals("REQUEST_TOO_LARGE") && limit != null) {
      limitBytes = (int) Math.min(limitBytes, Long.parseLong(limit));
    } else if (request.getSerializedSize() <= limitBytes && Parts.refusedByGrpc(refused)) {
      limitBytes = (int) Math.min(limitBytes, serverInfo(deadline, retry).getMaxRequestBytes());
    }
  }

  // What batches need too.

  /** One unary RPC, retried. */
  <A> Pending<A> retried(Supplier<Pending<A>> attempt, Deadline deadline) {
    return retries.run(attempt, deadline, retry);
  }

  Connections connections() {
    return connections;
  }

  Workers workers() {
    return workers;
  }

  GetServerInfoResponse serverInfo(Deadline deadline, boolean retry) {
    Message request = GetServerInfoRequest.getDefaultInstance();
    return retries
        .run(() -> connections.unary(Methods.SERVER_INFO, request, deadline), deadline, retry)
        .await();
  }
}
