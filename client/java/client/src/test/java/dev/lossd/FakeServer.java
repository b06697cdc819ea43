// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.protobuf.Empty;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.lossd.v1.LossResponse;
import io.grpc.HandlerRegistry;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** A server that refuses or ignores calls, which a healthy lossd server does not do on demand. */
final class FakeServer implements AutoCloseable {
  /** One permit for each call that started, and that was cancelled. */
  final Semaphore started = new Semaphore(0);

  final Semaphore cancelled = new Semaphore(0);

  /** When each call started, in nanoseconds. */
  final List<Long> starts = new CopyOnWriteArrayList<>();

  private final Server server;

  private interface Behaviour {
    void start(int call, ServerCall<Message, LossResponse> rpc);
  }

  private FakeServer(Behaviour behaviour) {
    ServerCallHandler<Message, LossResponse> handler =
        (rpc, headers) -> {
          starts.add(System.nanoTime());
          rpc.request(1);
          started.release();
          behaviour.start(starts.size(), rpc);
          return new ServerCall.Listener<>() {
            @Override
            public void onCancel() {
              cancelled.release();
            }
          };
        };
    HandlerRegistry registry =
        new HandlerRegistry() {
          @Override
          public ServerMethodDefinition<?, ?> lookupMethod(String name, String authority) {
            var type =
                name.endsWith("Stream")
                    ? MethodDescriptor.MethodType.BIDI_STREAMING
                    : MethodDescriptor.MethodType.UNARY;
            MethodDescriptor.Marshaller<Message> requests =
                ProtoUtils.marshaller(Empty.getDefaultInstance());
            var method =
                MethodDescriptor.<Message, LossResponse>newBuilder()
                    .setType(type)
                    .setFullMethodName(name)
                    .setRequestMarshaller(requests)
                    .setResponseMarshaller(ProtoUtils.marshaller(LossResponse.getDefaultInstance()))
                    .build();
            return ServerMethodDefinition.create(method, handler);
          }
        };
    try {
      server = ServerBuilder.forPort(0).fallbackHandlerRegistry(registry).build().start();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  /** Answers nothing. */
  static FakeServer silent() {
    return new FakeServer((call, rpc) -> {});
  }

  /**
   * Answers the first calls UNAVAILABLE with this trailer, or with RetryInfo if the trailer is
   * null, and then a loss of 1.
   */
  static FakeServer overloaded(int refusals, long retryMillis, String pushback) {
    return new FakeServer(
        (call, rpc) -> {
          if (call > refusals) {
            rpc.sendHeaders(new Metadata());
            rpc.sendMessage(LossResponse.newBuilder().setValue(1).build());
            rpc.close(Status.OK, new Metadata());
            return;
          }
          var status =
              com.google.rpc.Status.newBuilder()
                  .setCode(Status.Code.UNAVAILABLE.value())
                  .setMessage("full");
          status.addDetails(Any.pack(ErrorInfo.newBuilder().setReason("QUEUE_FULL").build()));
          if (pushback == null) {
            var delay =
                Duration.newBuilder().setNanos((int) TimeUnit.MILLISECONDS.toNanos(retryMillis));
            status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
          }
          Metadata trailers = StatusProto.toStatusRuntimeException(status.build()).getTrailers();
          if (pushback != null) {
            trailers.put(
                Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER),
                pushback);
          }
          rpc.close(Status.UNAVAILABLE.withDescription("full"), trailers);
        });
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
