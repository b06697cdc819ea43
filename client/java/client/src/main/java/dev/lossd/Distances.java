// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import dev.lossd.v1.CosineDistance;
import dev.lossd.v1.PairwiseDistance;
import dev.lossd.v1.SquaredEuclideanDistance;
import dev.lossd.v1.TripletMarginWithDistanceLossRequest;

/** Distances as messages. */
final class Distances {
  private Distances() {}

  static void set(TripletMarginWithDistanceLossRequest.Builder request, Distance distance) {
    if (distance instanceof Distance.Pairwise pairwise) {
      request.setPairwiseDistance(
          PairwiseDistance.newBuilder().setP(pairwise.p()).setEps(pairwise.eps()));
    } else if (distance instanceof Distance.Cosine cosine) {
      request.setCosineDistance(CosineDistance.newBuilder().setEps(cosine.eps()));
    } else {
      request.setSquaredEuclideanDistance(SquaredEuclideanDistance.getDefaultInstance());
    }
  }
}
