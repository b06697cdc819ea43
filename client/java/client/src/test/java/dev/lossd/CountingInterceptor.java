// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Records each message that a client sends, by the name of its RPC. */
final class CountingInterceptor implements ClientInterceptor {
  final List<String> sent = new CopyOnWriteArrayList<>();

  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(
      MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
      @Override
      public void sendMessage(Q message) {
        sent.add(method.getBareMethodName());
        super.sendMessage(message);
      }
    };
  }

  long count(String rpc) {
    return sent.stream().filter(rpc::equals).count();
  }
}
