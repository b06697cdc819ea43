// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import dev.lossd.v1.LossOutcome;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.ScoreBatchRequest;
import dev.lossd.v1.ScoreBatchResponse;
import io.grpc.Deadline;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;

/** Many calls in few messages. */
final class Messages {
  /** A message is sent when its calls have this many bytes; a larger call is sent by itself. */
  static final int BYTES = 1 << 20;

  private final Scoring scoring;

  /** The outcome of a call: its answer, or its error. */
  record Outcome(LossResponse response, LossdException error) {
    static Outcome of(LossResponse response) {
      return new Outcome(response, null);
    }

    static Outcome of(LossdException error) {
      return new Outcome(null, error);
    }
  }

  Messages(Scoring scoring) {
    this.scoring = scoring;
  }

  /** The outcomes of requests in order. Blocks. */
  List<Outcome> score(List<Message> requests, Deadline deadline) {
    List<Callable<List<Outcome>>> jobs = new ArrayList<>();
    List<int[]> indices = new ArrayList<>();
    List<Integer> message = new ArrayList<>();
    int bytes = 0;
    for (int i = 0; i < requests.size(); i++) {
      Message request = requests.get(i);
      int size = request.getSerializedSize();
      if (size > BYTES) {
        indices.add(new int[] {i});
        jobs.add(() -> List.of(alone(request, deadline)));
        continue;
      }
      if (!message.isEmpty() && bytes + size > Math.min(BYTES, scoring.limitBytes() / 2)) {
        addJob(jobs, indices, requests, message, deadline);
        message = new ArrayList<>();
        bytes = 0;
      }
      message.add(i);
      bytes += size + 16;
    }
    if (!message.isEmpty()) {
      addJob(jobs, indices, requests, message, deadline);
    }
    Outcome[] outcomes = new Outcome[requests.size()];
    List<List<Outcome>> answers = jobs.isEmpty() ? List.of() : scoring.workers().all(jobs);
    for (int job = 0; job < answers.size(); job++) {
      for (int i = 0; i < indices.get(job).length; i++) {
        outcomes[indices.get(job)[i]] = answers.get(job).get(i);
      }
    }
    return List.of(outcomes);
  }

  private void addJob(
      List<Callable<List<Outcome>>> jobs,
      List<int[]> indices,
      List<Message> requests,
      List<Integer> message,
      Deadline deadline) {
    indices.add(message.stream().mapToInt(Integer::intValue).toArray());
    List<Message> together = message.stream().map(requests::get).toList();
    jobs.add(() -> together(together, deadline));
  }

  private Outcome alone(Message request, Deadline deadline) {
    try {
      return Outcome.of(scoring.score(request, deadline));
    } catch (LossdException error) {
      return Outcome.of(error);
    }
  }

  /**
   * The outcomes of requests that are sent as one message, or in halves if the message is too
   * large.
   */
  private List<Outcome> together(List<Message> requests, Deadline deadline) {
    Outcome[] outcomes = new Outcome[requests.size()];
    List<Integer> todo = new ArrayList<>();
    for (int i = 0; i < outcomes.length; i++) {
      todo.add(i);
    }
    try {
      scoring.retried(() -> attempt(requests, outcomes, todo, deadline), deadline).await();
    } catch (LossdException error) {
      if (error.code() == Status.Code.RESOURCE_EXHAUSTED && todo.size() > 1) {
        int middle = todo.size() / 2;
        List<Outcome> halves = new ArrayList<>();
        for (List<Integer> half :
            List.of(todo.subList(0, middle), todo.subList(middle, todo.size()))) {
          halves.addAll(together(half.stream().map(requests::get).toList(), deadline));
        }
        for (int i = 0; i < halves.size(); i++) {
          outcomes[todo.get(i)] = halves.get(i);
        }
      } else {
        todo.forEach(i -> outcomes[i] = Outcome.of(error));
      }
    }
    return List.of(outcomes);
  }

  /**
   * Sends the calls that are still to do. Fails with the error of a call that asks for a retry, if
   * there is one.
   */
  private Pending<Void> attempt(
      List<Message> requests, Outcome[] outcomes, List<Integer> todo, Deadline deadline) {
    var message = ScoreBatchRequest.newBuilder();
    todo.forEach(i -> message.addCalls(Methods.lossCall(requests.get(i))));
    Pending<Void> done = new Pending<>();
    Pending<ScoreBatchResponse> answer =
        scoring.connections().unary(Methods.SCORE_BATCH, message.build(), deadline);
    done.onCancel(() -> answer.cancel(true));
    answer.whenComplete(
        (response, failure) -> {
          if (failure != null) {
            done.completeExceptionally(failure);
          } else if (response.getOutcomesCount() != todo.size()) {
            String text =
                "the server answered %d of %d calls"
                    .formatted(response.getOutcomesCount(), todo.size());
            done.completeExceptionally(Errors.of(Status.Code.INTERNAL, text, ""));
          } else {
            List<LossdException> later = new ArrayList<>();
            List<Integer> again = new ArrayList<>();
            for (int i = 0; i < response.getOutcomesCount(); i++) {
              Outcome outcome = outcome(response.getOutcomes(i), requests.get(todo.get(i)));
              outcomes[todo.get(i)] = outcome;
              if (outcome.error != null && outcome.error.isRetryable()) {
                later.add(outcome.error);
                again.add(todo.get(i));
              }
            }
            todo.clear();
            todo.addAll(again);
            later.stream()
                .max(
                    Comparator.comparing(
                        error -> error.retryAfter().map(Retries::nanos).orElse(0L)))
                .ifPresentOrElse(done::completeExceptionally, () -> done.complete(null));
          }
        });
    return done;
  }

  private static Outcome outcome(LossOutcome outcome, Message request) {
    if (outcome.hasResponse()) {
      return Outcome.of(outcome.getResponse());
    }
    LossdException error = Errors.of(outcome.getError());
    return Outcome.of(
        error.code() == Status.Code.INVALID_ARGUMENT ? Explain.explained(error, request) : error);
  }
}
