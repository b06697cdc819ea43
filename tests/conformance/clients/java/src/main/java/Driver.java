// SPDX-License-Identifier: Apache-2.0

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** The driver for grpc-java: tests/support/drivers.py says what a driver does. */
public final class Driver {
  record Scenario(String name, String kind, String path, int count, int parallel, int pause, List<byte[]> requests) {}

  /** Messages are bytes already. */
  static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
          return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException error) {
            throw new IllegalStateException(error);
          }
        }
      };

  public static void main(String[] arguments) throws Exception {
    var builder = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().maxInboundMessageSize(1 << 30);
    String seconds = System.getenv("KEEPALIVE_SECONDS");
    if (seconds != null) {
      builder.keepAliveTime(Long.parseLong(seconds), TimeUnit.SECONDS);
    }
    ManagedChannel channel = builder.build();
    for (String line : Files.readAllLines(Path.of(arguments[1]))) {
      String[] fields = line.split(" ");
      run(
          channel,
          new Scenario(
              fields[0],
              fields[1],
              fields[2],
              Integer.parseInt(fields[3]),
              Integer.parseInt(fields[4]),
              Integer.parseInt(fields[5]),
              read(Path.of(fields[6]))),
          Path.of(arguments[2]));
    }
    channel.shutdownNow();
  }

  static void run(Channel channel, Scenario scenario, Path out) throws InterruptedException {
    var next = new AtomicInteger();
    var failure = new AtomicReference<Status>();
    var workers = new ArrayList<Thread>();
    boolean load = scenario.kind.equals("load");
    for (int worker = 0; worker < scenario.parallel; worker++) {
      Thread thread =
          new Thread(
              () -> {
                while (failure.get() == null && !(load && Files.exists(out.resolve("stop")))) {
                  int index = next.getAndIncrement();
                  if (!load && index >= scenario.count) {
                    return;
                  }
                  try {
                    List<byte[]> replies = call(channel, scenario, index);
                    if (!load) {
                      write(out.resolve(scenario.name + "." + index), replies);
                    }
                  } catch (Exception error) {
                    failure.compareAndSet(null, Status.fromThrowable(error));
                  }
                }
              });
      thread.start();
      workers.add(thread);
    }
    for (Thread worker : workers) {
      worker.join();
    }
    Status status = failure.get();
    String detail = status == null ? next.get() + " calls" : status.getDescription() + " " + status.getCause();
    System.out.printf(
        "{\"name\": \"%s\", \"code\": %d, \"detail\": \"%s\"}%n",
        scenario.name, status == null ? 0 : status.getCode().value(), detail.replaceAll("[\"\\\\\\p{Cntrl}]", " "));
  }

  static List<byte[]> call(Channel channel, Scenario scenario, int index) throws Exception {
    CallOptions options =
        CallOptions.DEFAULT.withDeadlineAfter(30L + (long) scenario.pause * scenario.requests.size(), TimeUnit.SECONDS);
    var type =
        switch (scenario.kind) {
          case "client_stream" -> MethodDescriptor.MethodType.CLIENT_STREAMING;
          case "bidi" -> MethodDescriptor.MethodType.BIDI_STREAMING;
          default -> MethodDescriptor.MethodType.UNARY;
        };
    var method =
        MethodDescriptor.<byte[], byte[]>newBuilder(BYTES, BYTES).setType(type).setFullMethodName(scenario.path.substring(1)).build();
    if (type == MethodDescriptor.MethodType.UNARY) {
      byte[] request = scenario.requests.get(index % scenario.requests.size());
      return List.of(ClientCalls.blockingUnaryCall(channel, method, options, request));
    }
    var collector = new Collector();
    var call = channel.newCall(method, options);
    var requests =
        type == MethodDescriptor.MethodType.BIDI_STREAMING
            ? ClientCalls.asyncBidiStreamingCall(call, collector)
            : ClientCalls.asyncClientStreamingCall(call, collector);
    for (int i = 0; i < scenario.requests.size(); i++) {
      if (i > 0) {
        Thread.sleep(1000L * scenario.pause);
      }
      collector.awaitReady();
      requests.onNext(scenario.requests.get(i));
    }
    requests.onCompleted();
    return collector.replies.get();
  }

  /** Gathers the replies of one call, and waits until its transport takes more. */
  static final class Collector implements ClientResponseObserver<byte[], byte[]> {
    final CompletableFuture<List<byte[]>> replies = new CompletableFuture<>();
    private final List<byte[]> received = new ArrayList<>();
    private ClientCallStreamObserver<byte[]> call;

    @Override
    public void beforeStart(ClientCallStreamObserver<byte[]> stream) {
      call = stream;
      stream.setOnReadyHandler(this::wake);
    }

    private synchronized void wake() {
      notifyAll();
    }

    synchronized void awaitReady() throws InterruptedException {
      while (!call.isReady() && !replies.isDone()) {
        wait();
      }
    }

    @Override
    public void onNext(byte[] reply) {
      received.add(reply);
    }

    @Override
    public void onError(Throwable error) {
      replies.completeExceptionally(error);
      wake();
    }

    @Override
    public void onCompleted() {
      replies.complete(received);
      wake();
    }
  }

  static List<byte[]> read(Path path) throws IOException {
    var messages = new ArrayList<byte[]>();
    try (var data = new DataInputStream(new BufferedInputStream(Files.newInputStream(path)))) {
      for (long left = Files.size(path); left > 0; ) {
        byte[] message = data.readNBytes(data.readInt());
        messages.add(message);
        left -= 4 + message.length;
      }
    }
    return messages;
  }

  static void write(Path path, List<byte[]> messages) throws IOException {
    try (var data = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(path)))) {
      for (byte[] message : messages) {
        data.writeInt(message.length);
        data.write(message);
      }
    }
  }
}
