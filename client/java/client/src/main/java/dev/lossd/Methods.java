// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.lossd.v1.GetServerInfoRequest;
import dev.lossd.v1.GetServerInfoResponse;
import dev.lossd.v1.LossCall;
import dev.lossd.v1.LossResponse;
import dev.lossd.v1.LossServiceOuterClass;
import dev.lossd.v1.ScoreBatchResponse;
import dev.lossd.v1.ScoreStreamResponse;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * The RPCs. A request is any message: its type names the RPC of a loss, and its member of LossCall.
 */
final class Methods {
  static final MethodDescriptor<Message, GetServerInfoResponse> SERVER_INFO =
      unary("lossd.v1.LossService", "GetServerInfo", GetServerInfoResponse.getDefaultInstance());
  static final MethodDescriptor<Message, ScoreBatchResponse> SCORE_BATCH =
      unary("lossd.v1.EvaluationService", "ScoreBatch", ScoreBatchResponse.getDefaultInstance());
  static final MethodDescriptor<Message, ScoreStreamResponse> SCORE_STREAM =
      method(
          MethodDescriptor.MethodType.BIDI_STREAMING,
          "lossd.v1.EvaluationService",
          "ScoreStream",
          ScoreStreamResponse.getDefaultInstance());

  private static final Map<Descriptor, MethodDescriptor<Message, LossResponse>> LOSSES =
      LossServiceOuterClass.getDescriptor().findServiceByName("LossService").getMethods().stream()
          .filter(method -> method.getOutputType().equals(LossResponse.getDescriptor()))
          .collect(
              Collectors.toUnmodifiableMap(
                  method -> method.getInputType(),
                  method ->
                      unary(
                          method.getService().getFullName(),
                          method.getName(),
                          LossResponse.getDefaultInstance())));
  private static final Map<Descriptor, FieldDescriptor> MEMBERS =
      LossCall.getDescriptor().getFields().stream()
          .collect(
              Collectors.toUnmodifiableMap(FieldDescriptor::getMessageType, Function.identity()));

  private Methods() {}

  /** The RPC of a request. */
  static MethodDescriptor<Message, LossResponse> of(Message request) {
    return LOSSES.get(request.getDescriptorForType());
  }

  /** The name of a request's RPC, such as "CrossEntropyLoss". */
  static String nameOf(Message request) {
    String type = request.getDescriptorForType().getName();
    return type.substring(0, type.length() - "Request".length());
  }

  /** A request as a call in a message with others. */
  static LossCall lossCall(Message request) {
    return LossCall.newBuilder()
        .setField(MEMBERS.get(request.getDescriptorForType()), request)
        .build();
  }

  private static <A extends Message> MethodDescriptor<Message, A> unary(
      String service, String name, A answer) {
    return method(MethodDescriptor.MethodType.UNARY, service, name, answer);
  }

  private static <A extends Message> MethodDescriptor<Message, A> method(
      MethodDescriptor.MethodType type, String service, String name, A answer) {
    // The client only writes requests, and this marshaller writes messages of any type.
    MethodDescriptor.Marshaller<Message> requests =
        ProtoUtils.marshaller(GetServerInfoRequest.getDefaultInstance());
    return MethodDescriptor.<Message, A>newBuilder()
        .setType(type)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(service, name))
        .setRequestMarshaller(requests)
        .setResponseMarshaller(ProtoUtils.marshaller(answer))
        .setIdempotent(true)
        .setSampledToLocalTracing(true)
        .build();
  }
}
