// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * A tail cluster of {@code torch.nn.AdaptiveLogSoftmaxWithLoss}.
 *
 * @param projection the module's {@code tail.i.0.weight}: (h, F); float
 * @param output the module's {@code tail.i.1.weight}: (classes of the cluster, h); float
 */
public record AdaptiveTailCluster(Tensor projection, Tensor output) {

  dev.lossd.v1.AdaptiveTailCluster proto() {
    return dev.lossd.v1.AdaptiveTailCluster.newBuilder()
        .setProjection(projection.proto())
        .setOutput(output.proto())
        .build();
  }
}
