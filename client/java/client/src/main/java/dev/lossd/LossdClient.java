// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import io.grpc.ChannelCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;

/**
 * A connection to a lossd server: the losses of PyTorch as methods.
 *
 * <pre>{@code
 * try (var client = LossdClient.connect("127.0.0.1:50051")) {
 *   double loss = client.crossEntropy(Tensor.of(logits), Tensor.of(labels)).value();
 * }
 * }</pre>
 *
 * <p>Threads may share it. Methods block, and throw {@link LossdException} if the call fails;
 * {@link #async} has the same methods without blocking. If the thread is interrupted, its call is
 * cancelled. A call inherits the deadline of the gRPC context that it is made in, if that is
 * earlier than its own.
 */
public final class LossdClient extends Losses implements AutoCloseable {
  private final Connections connections;
  private final List<ScoreStream> streams = new ArrayList<>();
  private final ScheduledThreadPoolExecutor timer;
  private final Retries retries;
  private final Scoring scoring;
  private final AsyncLosses async;

  LossdClient(
      LossdClientBuilder builder,
      List<String> targets,
      ChannelCredentials credentials,
      Metadata headers) {
    timer =
        new ScheduledThreadPoolExecutor(
            1,
            task -> {
              Thread thread = new Thread(task, "lossd-timer");
              thread.setDaemon(true);
              return thread;
            },
            new ThreadPoolExecutor.DiscardPolicy());
    timer.setRemoveOnCancelPolicy(true);
    retries = new Retries(timer);
    connections =
        new Connections(
            targets, credentials, headers, builder.interceptors, builder.maxMessageBytes);
    for (int turn = 0; builder.coalesce && turn < connections.count(); turn++) {
      int channel = turn;
      streams.add(new ScoreStream(listener -> connections.stream(channel, listener), timer));
    }
    scoring =
        new Scoring(
            connections,
            Collections.unmodifiableList(streams),
            retries,
            new Workers(),
            builder.timeout,
            builder.retry,
            builder.split,
            builder.maxMessageBytes);
    async =
        new AsyncLosses() {
          @Override
          <R extends LossResult> CompletableFuture<R> score(Call<R> call) {
            return scoring.scoreLater(call);
          }
        };
  }

  /**
   * A client of the server that the variable LOSSD_ADDRESS names.
   *
   * @return the client; close it
   * @throws IllegalArgumentException if the variable is not set
   */
  public static LossdClient connect() {
    return builder().build();
  }

  /**
   * A client of this server, over plaintext.
   *
   * @param address "host:port", or several as "a:1,b:2"
   * @return the client; close it
   */
  public static LossdClient connect(String address) {
    return builder().address(address).build();
  }

  /**
   * A client with options.
   *
   * @return the options
   */
  public static LossdClientBuilder builder() {
    return new LossdClientBuilder();
  }

  /**
   * The losses as methods that do not block.
   *
   * @return the losses; their futures complete on a thread of the client, where continuations may
   *     block
   */
  public AsyncLosses async() {
    return async;
  }

  /**
   * Collects calls, and sends many of them in one message.
   *
   * @return a batch whose time limit is the client's
   */
  public Batch batch() {
    return new Batch(scoring, null);
  }

  /**
   * Collects calls, and sends many of them in one message.
   *
   * @param timeout the time limit of all calls together
   * @return a batch
   */
  public Batch batch(Duration timeout) {
    return new Batch(scoring, timeout);
  }

  /**
   * The loss over many mini-batches, exact, overall and by named series.
   *
   * @return an evaluation
   */
  public Evaluation evaluation() {
    return new Evaluation(scoring);
  }

  /**
   * Versions, devices, losses and limits of the server.
   *
   * @return the information
   * @throws LossdException if the call fails
   */
  public ServerInfo serverInfo() {
    return ServerInfo.of(scoring.serverInfo(scoring.deadline(null), true));
  }

  /**
   * Returns when the server answers.
   *
   * @param timeout the longest time to wait
   * @throws LossdException UNAVAILABLE with the cause, if no server answers in time
   */
  public void waitUntilReady(Duration timeout) {
    try {
      scoring.serverInfo(scoring.deadline(timeout), true);
    } catch (LossdException error) {
      if (error.code() != Status.Code.DEADLINE_EXCEEDED) {
        throw error;
      }
      throw Errors.of(
          Status.Code.UNAVAILABLE,
          "no server answered within the timeout: " + error.description(),
          "");
    }
  }

  /** Closes the connections; calls in flight fail with CANCELLED. */
  @Override
  public void close() {
    retries.close();
    streams.forEach(ScoreStream::close);
    connections.close();
    timer.shutdownNow();
  }

  @Override
  <R extends LossResult> R score(Call<R> call) {
    return call.reduction().read(scoring.score(call.request(), scoring.deadline(call.timeout())));
  }
}
