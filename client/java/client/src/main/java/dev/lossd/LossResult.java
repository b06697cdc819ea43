// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * The answer to a call: a {@link Loss}, or an {@link UnreducedLoss} if the reduction is {@link
 * Reduction#NONE}.
 */
public sealed interface LossResult permits Loss, UnreducedLoss {
  /**
   * What is needed to merge the loss with others.
   *
   * @return the statistics
   */
  Statistics statistics();

  /**
   * How the call was computed.
   *
   * @return the execution
   */
  Execution execution();
}
