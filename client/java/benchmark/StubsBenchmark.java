// SPDX-License-Identifier: Apache-2.0

import dev.lossd.v1.CrossEntropyLossRequest;
import dev.lossd.v1.Float32Values;
import dev.lossd.v1.Int64Values;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.MseLossRequest;
import dev.lossd.v1.Tensor;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/**
 * The figures of what one would write by hand on code generated from proto/, whose lists are filled
 * element by element.
 */
final class StubsBenchmark {
  // As the generator of grpc-java writes them.
  private static final MethodDescriptor<CrossEntropyLossRequest, LossResponse> CROSS_ENTROPY =
      method("CrossEntropyLoss", CrossEntropyLossRequest.getDefaultInstance());
  private static final MethodDescriptor<MseLossRequest, LossResponse> MSE =
      method("MseLoss", MseLossRequest.getDefaultInstance());

  public static void main(String[] arguments) throws InterruptedException {
    var measure = new Measure(Double.parseDouble(arguments[1]));
    float[] logits = new float[32 * 10];
    long[] labels = new long[32];
    float[] large = new float[524_288];
    ManagedChannel channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    double[] lone =
        measure.alone(
            () ->
                ClientCalls.blockingUnaryCall(
                    channel, CROSS_ENTROPY, options(), crossEntropy(logits, labels)));
    double unary = measure.rate(done -> start(channel, crossEntropy(logits, labels), done));
    double[] big =
        measure.alone(() -> ClientCalls.blockingUnaryCall(channel, MSE, options(), mse(large)));
    System.out.printf(
        Locale.ROOT,
        "{\"lone_p50_seconds\": %.9f, \"unary_calls_per_second\": %.1f, \"large_call_seconds\":"
            + " %.9f, \"large_call_cpu_seconds\": %.9f}%n",
        lone[0],
        unary,
        big[0],
        big[1]);
    channel.shutdownNow();
  }

  private static <Q extends com.google.protobuf.Message> MethodDescriptor<Q, LossResponse> method(
      String name, Q request) {
    return MethodDescriptor.<Q, LossResponse>newBuilder()
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName(MethodDescriptor.generateFullMethodName("lossd.v1.LossService", name))
        .setSampledToLocalTracing(true)
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(LossResponse.getDefaultInstance()))
        .build();
  }

  private static CallOptions options() {
    return CallOptions.DEFAULT.withDeadlineAfter(30, TimeUnit.SECONDS);
  }

  private static void start(Channel channel, CrossEntropyLossRequest request, Runnable done) {
    ClientCalls.asyncUnaryCall(
        channel.newCall(CROSS_ENTROPY, options()),
        request,
        new StreamObserver<LossResponse>() {
          @Override
          public void onNext(LossResponse response) {}

          @Override
          public void onError(Throwable error) {
            error.printStackTrace();
          }

          @Override
          public void onCompleted() {
            done.run();
          }
        });
  }

  private static CrossEntropyLossRequest crossEntropy(float[] logits, long[] labels) {
    var indices = Int64Values.newBuilder();
    for (long label : labels) {
      indices.addValues(label);
    }
    return CrossEntropyLossRequest.newBuilder()
        .setInput(tensor(logits, List.of(32L, 10L)))
        .setClassIndices(Tensor.newBuilder().addShape(labels.length).setInt64Values(indices))
        .build();
  }

  private static MseLossRequest mse(float[] values) {
    List<Long> shape = List.of((long) values.length);
    return MseLossRequest.newBuilder()
        .setInput(tensor(values, shape))
        .setTarget(tensor(values, shape))
        .build();
  }

  private static Tensor tensor(float[] values, List<Long> shape) {
    var list = Float32Values.newBuilder();
    for (float value : values) {
      list.addValues(value);
    }
    return Tensor.newBuilder().addAllShape(shape).setFloat32Values(list).build();
  }
}
