// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * The distances of {@code triplet_margin_with_distance_loss}: a function cannot be sent, so the set
 * is closed.
 */
public sealed interface Distance {
  /**
   * The p-norm of u - v + eps: {@code torch.nn.PairwiseDistance}.
   *
   * @param p &gt; 0; infinity is allowed
   * @param eps finite, &gt;= 0
   */
  record Pairwise(double p, double eps) implements Distance {
    /** With torch's defaults: a p of 2 and an eps of 1e-6. */
    public Pairwise() {
      this(2, 1e-6);
    }
  }

  /**
   * 1 - cosine similarity.
   *
   * @param eps finite, &gt; 0
   */
  record Cosine(double eps) implements Distance {
    /** With torch's default: an eps of 1e-8. */
    public Cosine() {
      this(1e-8);
    }
  }

  /** The sum over the last extent of (u - v)^2. */
  record SquaredEuclidean() implements Distance {}
}
