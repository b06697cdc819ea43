// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * How a call was computed. The same call may be computed in another batch next time.
 *
 * @param queueSeconds the time in the server's queue, in seconds
 * @param computeSeconds the time of the batch's computation, in seconds
 * @param callsInBatch the number of calls that were computed together
 * @param device the device's name in torch, such as "cpu" or "cuda:0"
 */
public record Execution(
    double queueSeconds, double computeSeconds, int callsInBatch, String device) {

  static Execution of(dev.lossd.v1.Execution proto) {
    return new Execution(
        proto.getQueueSeconds(),
        proto.getComputeSeconds(),
        proto.getCallsInBatch(),
        proto.getDevice());
  }
}
