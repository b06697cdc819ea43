// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * How the requests of each RPC are cut. Fields that no rule names (per-class weights, output
 * layers, hyper-parameters) go with every part.
 */
final class SplitRules {
  /** How a field is cut if the batch is cut along an extent. */
  enum Cut {
    /** Along the same extent. */
    ROWS,
    /** Along the extent after it: (T, N, C). */
    ROWS_AFTER_TIME,
    /** Along the same extent, unless that is missing or 1. */
    LEFT_BROADCAST,
    /** The same, extents aligned on the right. */
    RIGHT_BROADCAST,
    /** A list with one item per row. */
    ITEMS,
    /** Rows whose lengths are the list `lengths`, one after the other. */
    CONCATENATED
  }

  /**
   * How the requests of one RPC are cut.
   *
   * @param lead the tensor whose leading extents are the batch
   * @param rowRank the minimum number of trailing extents of `lead` in a row
   * @param oneAxis whether the batch has one extent, and all later extents belong to the row
   * @param lengths the list of lengths by which CONCATENATED is cut
   */
  record Rule(String lead, Map<String, Cut> cuts, int rowRank, boolean oneAxis, String lengths) {
    Rule with(String field, Cut cut) {
      Map<String, Cut> more = new HashMap<>(cuts);
      more.put(field, cut);
      return new Rule(lead, more, rowRank, oneAxis, lengths);
    }
  }

  private static final Rule TRIPLET = rows(1, false, "anchor", "positive", "negative");
  private static final Rule CTC =
      new Rule("log_probs", Map.of(), 2, true, "target_lengths")
          .with("log_probs", Cut.ROWS_AFTER_TIME)
          .with("padded_targets", Cut.ROWS)
          .with("concatenated_targets", Cut.CONCATENATED)
          .with("input_lengths", Cut.ITEMS)
          .with("target_lengths", Cut.ITEMS);

  private static final Map<String, Rule> RULES =
      Map.ofEntries(
          Map.entry("L1Loss", elements("input", "target", "weight")),
          Map.entry("MseLoss", elements("input", "target", "weight")),
          Map.entry("SmoothL1Loss", elements("input", "target")),
          Map.entry("HuberLoss", elements("input", "target", "weight")),
          Map.entry("KlDivLoss", elements("input", "target")),
          Map.entry("PoissonNllLoss", elements("input", "target")),
          Map.entry(
              "GaussianNllLoss",
              elements("input")
                  .with("target", Cut.RIGHT_BROADCAST)
                  .with("variance_values", Cut.LEFT_BROADCAST)),
          Map.entry("NllLoss", rows(1, true, "input", "target")),
          Map.entry(
              "CrossEntropyLoss", rows(1, true, "input", "class_indices", "class_probabilities")),
          Map.entry("BceLoss", elements("input", "target").with("weight", Cut.RIGHT_BROADCAST)),
          Map.entry(
              "BceWithLogitsLoss",
              elements("input", "target")
                  .with("weight", Cut.RIGHT_BROADCAST)
                  .with("pos_weight", Cut.RIGHT_BROADCAST)),
          Map.entry("SoftMarginLoss", elements("input").with("target", Cut.RIGHT_BROADCAST)),
          Map.entry("MultiMarginLoss", rows(1, true, "input", "target")),
          Map.entry("MultiLabelMarginLoss", rows(1, true, "input", "target")),
          Map.entry(
              "MultiLabelSoftMarginLoss",
              rows(1, false, "input", "target").with("weight", Cut.RIGHT_BROADCAST)),
          Map.entry(
              "MarginRankingLoss",
              elements("input1")
                  .with("input2", Cut.LEFT_BROADCAST)
                  .with("target", Cut.LEFT_BROADCAST)),
          Map.entry("HingeEmbeddingLoss", elements("input").with("target", Cut.RIGHT_BROADCAST)),
          Map.entry("CosineEmbeddingLoss", rows(1, true, "input1", "input2", "target")),
          Map.entry("TripletMarginLoss", TRIPLET),
          Map.entry("TripletMarginWithDistanceLoss", TRIPLET),
          Map.entry("CtcLoss", CTC),
          Map.entry("AdaptiveLogSoftmaxWithLoss", rows(1, true, "input", "target")),
          Map.entry(
              "LinearCrossEntropyLoss",
              rows(1, true, "input", "class_indices", "class_probabilities")));

  private SplitRules() {}

  static Rule of(Message request) {
    return RULES.get(Methods.nameOf(request));
  }

  private static Rule elements(String... names) {
    return rows(0, false, names);
  }

  private static Rule rows(int rowRank, boolean oneAxis, String... names) {
    Map<String, Cut> cuts = new HashMap<>();
    Arrays.stream(names).forEach(name -> cuts.put(name, Cut.ROWS));
    return new Rule(names[0], cuts, rowRank, oneAxis, "");
  }
}
