// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import dev.lossd.v1.ScoreStreamResponse;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The channels to the servers. Channels take turns; one whose server was not reached is skipped for
 * a second.
 *
 * <p>gRPC calls back on its network threads, so what happens there must not block.
 */
final class Connections {
  private static final long SKIP_NANOS = TimeUnit.SECONDS.toNanos(1);
  // gRPC waits up to two minutes between attempts to connect. A retry of a call asks for one at
  // once, but not more often than this.
  private static final long RECONNECT_NANOS = TimeUnit.MILLISECONDS.toNanos(100);
  // gRPC's own limit is slightly larger, so that lossd's clearer error comes first.
  private static final int TRANSPORT_SLACK_BYTES = 4096;

  private final List<ManagedChannel> channels;
  private final Metadata headers;
  private final AtomicInteger turns = new AtomicInteger();
  private final AtomicLongArray outUntil;
  private final AtomicLongArray reconnectedAt;

  Connections(
      List<String> targets,
      ChannelCredentials credentials,
      Metadata headers,
      List<ClientInterceptor> interceptors,
      int maxMessageBytes) {
    this.headers = headers;
    this.outUntil = new AtomicLongArray(targets.size());
    this.reconnectedAt = new AtomicLongArray(targets.size());
    int limit = (int) Math.min(Integer.MAX_VALUE, (long) maxMessageBytes + TRANSPORT_SLACK_BYTES);
    this.channels =
        targets.stream().map(target -> channel(target, credentials, interceptors, limit)).toList();
    long now = System.nanoTime();
    for (int turn = 0; turn < targets.size(); turn++) {
      outUntil.set(turn, now);
      reconnectedAt.set(turn, now - RECONNECT_NANOS);
    }
  }

  private static ManagedChannel channel(
      String target,
      ChannelCredentials credentials,
      List<ClientInterceptor> interceptors,
      int limit) {
    return Grpc.newChannelBuilder(target, credentials)
        .defaultLoadBalancingPolicy("round_robin")
        .disableRetry() // Retries retries up to the call's deadline; gRPC gives up after five
        // attempts, however short
        .intercept(interceptors)
        .keepAliveTime(60, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS)
        .maxInboundMessageSize(limit)
        .userAgent("lossd-java")
        .build();
  }

  int count() {
    return channels.size();
  }

  /** The channel for the next call. */
  int next() {
    int count = channels.size();
    if (count == 1) {
      return 0;
    }
    long now = System.nanoTime();
    for (int i = 0; i < count; i++) {
      int turn = Math.floorMod(turns.getAndIncrement(), count);
      if (outUntil.get(turn) - now <= 0) {
        return turn;
      }
    }
    return Math.floorMod(turns.getAndIncrement(), count);
  }

  /** One attempt of a unary RPC. Fails with LossdException. */
  <A> Pending<A> unary(MethodDescriptor<Message, A> method, Message request, Deadline deadline) {
    int turn = next();
    Pending<A> answer = new Pending<>();
    ClientCall<Message, A> call =
        channels
            .get(turn)
            .newCall(
                method, CallOptions.DEFAULT.withDeadline(deadline).withExecutor(Runnable::run));
    call.start(
        new ClientCall.Listener<A>() {
          private A message;

          @Override
          public void onMessage(A received) {
            message = received;
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            if (status.isOk()) {
              answer.complete(message);
              return;
            }
            if (status.getCode() == Status.Code.UNAVAILABLE) {
              outUntil.set(turn, System.nanoTime() + SKIP_NANOS);
              reconnect(turn);
            }
            answer.completeExceptionally(Errors.of(status, trailers));
          }
        },
        newHeaders());
    answer.onCancel(() -> call.cancel("the caller cancelled", null));
    try {
      call.request(2);
      call.sendMessage(request);
      call.halfClose();
    } catch (RuntimeException | java.lang.Error failure) {
      call.cancel("the request could not be sent", failure);
      throw failure;
    }
    return answer;
  }

  /**
   * Starts a ScoreStream on a channel. It belongs to no caller, so the caller's gRPC context does
   * not apply to it.
   */
  ClientCall<Message, ScoreStreamResponse> stream(
      int turn, ClientCall.Listener<ScoreStreamResponse> listener) {
    Context caller = Context.ROOT.attach();
    try {
      ClientCall<Message, ScoreStreamResponse> call =
          channels
              .get(turn)
              .newCall(Methods.SCORE_STREAM, CallOptions.DEFAULT.withExecutor(Runnable::run));
      call.start(listener, newHeaders());
      call.request(1);
      return call;
    } finally {
      Context.ROOT.detach(caller);
    }
  }

  void close() {
    channels.forEach(ManagedChannel::shutdownNow);
  }

  private void reconnect(int turn) {
    long now = System.nanoTime();
    long last = reconnectedAt.get(turn);
    if (now - last >= RECONNECT_NANOS && reconnectedAt.compareAndSet(turn, last, now)) {
      channels.get(turn).resetConnectBackoff();
    }
  }

  private Metadata newHeaders() {
    Metadata copy = new Metadata();
    copy.merge(headers);
    return copy;
  }
}
