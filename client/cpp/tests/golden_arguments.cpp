// SPDX-License-Identifier: Apache-2.0

#include "golden_arguments.h"

#include <cstring>
#include <limits>
#include <stdexcept>

namespace lossd::testing {
namespace {

DType dtype_of(const std::string& name) {
  static const std::map<std::string, DType, std::less<>> dtypes = {
      {"float32", DType::kFloat32}, {"float64", DType::kFloat64}, {"int32", DType::kInt32}, {"int64", DType::kInt64},
      {"bool", DType::kBool},       {"float16", DType::kFloat16}, {"uint8", DType::kUint8}, {"bfloat16", DType::kBFloat16}};
  return dtypes.at(name);
}

Distance distance(const google::protobuf::Struct& value) {
  const auto& [name, options] = *value.fields().begin();
  const auto& fields = options.struct_value().fields();
  const auto set = [&fields](double& option, const char* key) {
    if (fields.contains(key)) option = number(fields.at(key));
  };
  if (name == "pairwise_distance") {
    PairwiseDistance pairwise;
    set(pairwise.p, "p");
    set(pairwise.eps, "eps");
    return pairwise;
  }
  if (name == "cosine_distance") {
    CosineDistance cosine;
    set(cosine.eps, "eps");
    return cosine;
  }
  return SquaredEuclideanDistance{};
}

}  // namespace

std::vector<std::byte> decoded(const std::string& base64) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : base64) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<unsigned>(alphabet.find(c));
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<std::byte>(bits >> count));
    }
  }
  return bytes;
}

double number(const google::protobuf::Value& value) {
  if (value.has_number_value()) return value.number_value();
  const std::string& text = value.string_value();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  throw std::invalid_argument("not a number: " + text);
}

Tensor GoldenCall::tensor(const google::protobuf::Value& value) {
  const auto& fields = value.struct_value().fields();
  std::vector<std::int64_t> shape;
  for (const auto& extent : fields.at("shape").list_value().values()) shape.push_back(static_cast<std::int64_t>(extent.number_value()));
  return {dtype_of(fields.at("dtype").string_value()), arrays_.emplace_back(decoded(fields.at("data").string_value())), std::move(shape)};
}

Tensor GoldenCall::tensor(const std::string& name) { return tensor(at(name)); }

std::vector<std::int64_t> GoldenCall::integers(const std::string& name) const {
  std::vector<std::int64_t> found;
  for (const auto& value : at(name).list_value().values()) {
    found.push_back(value.has_string_value() ? std::stoll(value.string_value()) : static_cast<std::int64_t>(value.number_value()));
  }
  return found;
}

void GoldenCall::set(Tensor& option, const std::string& name) {
  if (has(name)) option = tensor(name);
}
void GoldenCall::set(double& option, const std::string& name) const {
  if (has(name)) option = number(at(name));
}
void GoldenCall::set(bool& option, const std::string& name) const {
  if (has(name)) option = at(name).bool_value();
}
void GoldenCall::set(std::int64_t& option, const std::string& name) const {
  if (!has(name)) return;
  const google::protobuf::Value& value = at(name);
  option = value.has_string_value() ? std::stoll(value.string_value()) : static_cast<std::int64_t>(value.number_value());
}
void GoldenCall::set(Reduction& option) const {
  if (has("reduction")) option = at("reduction").string_value() == "sum" ? Reduction::kSum : Reduction::kMean;
}
void GoldenCall::set(KlReduction& option) const {
  if (!has("reduction")) return;
  const std::string& reduction = at("reduction").string_value();
  option = reduction == "sum" ? KlReduction::kSum : reduction == "batchmean" ? KlReduction::kBatchMean : KlReduction::kMean;
}

CallOptions GoldenCall::call() const {
  CallOptions call;
  if (has("precision")) call.precision = Precision::kFloat64;
  set(call.reject_non_finite, "reject_non_finite");
  return call;
}

template <typename Options>
void GoldenCall::common(Options& options) const {
  set(options.reduction);
  options.call = call();
}

std::string GoldenCall::inexpressible() const {
  if (has("reduction") && at("reduction").string_value() == "batchmean" && loss_ != "kl_div") return "only KlReduction has kBatchMean";
  return "";
}

Outcome GoldenCall::make(Client& client) {
  const bool none = has("reduction") && at("reduction").string_value() == "none";
  if (loss_ == "l1_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      L1LossOptions<R> options;
      common(options);
      set(options.weight, "weight");
      return client.l1_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "mse_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      MseLossOptions<R> options;
      common(options);
      set(options.weight, "weight");
      return client.mse_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "smooth_l1_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      SmoothL1LossOptions<R> options;
      common(options);
      set(options.beta, "beta");
      return client.smooth_l1_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "huber_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      HuberLossOptions<R> options;
      common(options);
      set(options.delta, "delta");
      set(options.weight, "weight");
      return client.huber_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "kl_div") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      KlDivOptions<R> options;
      common(options);
      set(options.log_target, "log_target");
      return client.kl_div(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(KlReduction{});
  }
  if (loss_ == "poisson_nll_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      PoissonNllLossOptions<R> options;
      common(options);
      set(options.log_input, "log_input");
      set(options.full, "full");
      set(options.eps, "eps");
      return client.poisson_nll_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "gaussian_nll_loss") {
    const Variance var = at("var").has_struct_value() ? Variance(tensor("var")) : Variance(number(at("var")));
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      GaussianNllLossOptions<R> options;
      common(options);
      set(options.full, "full");
      set(options.eps, "eps");
      return client.gaussian_nll_loss(tensor("input"), tensor("target"), var, options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "nll_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      NllLossOptions<R> options;
      common(options);
      set(options.weight, "weight");
      set(options.ignore_index, "ignore_index");
      return client.nll_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "cross_entropy") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      CrossEntropyOptions<R> options;
      common(options);
      set(options.weight, "weight");
      set(options.ignore_index, "ignore_index");
      set(options.label_smoothing, "label_smoothing");
      return client.cross_entropy(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "binary_cross_entropy") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      BinaryCrossEntropyOptions<R> options;
      common(options);
      set(options.weight, "weight");
      return client.binary_cross_entropy(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "binary_cross_entropy_with_logits") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      BinaryCrossEntropyWithLogitsOptions<R> options;
      common(options);
      set(options.weight, "weight");
      set(options.pos_weight, "pos_weight");
      return client.binary_cross_entropy_with_logits(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "soft_margin_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      SoftMarginLossOptions<R> options;
      common(options);
      set(options.allow_any_target, "allow_any_target");
      return client.soft_margin_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "multi_margin_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      MultiMarginLossOptions<R> options;
      common(options);
      set(options.p, "p");
      set(options.margin, "margin");
      set(options.weight, "weight");
      return client.multi_margin_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "multilabel_margin_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      MultilabelMarginLossOptions<R> options;
      common(options);
      return client.multilabel_margin_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "multilabel_soft_margin_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      MultilabelSoftMarginLossOptions<R> options;
      common(options);
      set(options.weight, "weight");
      return client.multilabel_soft_margin_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "margin_ranking_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      MarginRankingLossOptions<R> options;
      common(options);
      set(options.margin, "margin");
      set(options.allow_any_target, "allow_any_target");
      return client.margin_ranking_loss(tensor("input1"), tensor("input2"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "hinge_embedding_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      HingeEmbeddingLossOptions<R> options;
      common(options);
      set(options.margin, "margin");
      set(options.allow_any_target, "allow_any_target");
      return client.hinge_embedding_loss(tensor("input"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "cosine_embedding_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      CosineEmbeddingLossOptions<R> options;
      common(options);
      set(options.margin, "margin");
      set(options.allow_any_target, "allow_any_target");
      return client.cosine_embedding_loss(tensor("input1"), tensor("input2"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "triplet_margin_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      TripletMarginLossOptions<R> options;
      common(options);
      set(options.margin, "margin");
      set(options.p, "p");
      set(options.eps, "eps");
      set(options.swap, "swap");
      return client.triplet_margin_loss(tensor("anchor"), tensor("positive"), tensor("negative"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "triplet_margin_with_distance_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      TripletMarginWithDistanceLossOptions<R> options;
      common(options);
      if (has("distance_function")) options.distance_function = distance(at("distance_function").struct_value());
      set(options.margin, "margin");
      set(options.swap, "swap");
      return client.triplet_margin_with_distance_loss(tensor("anchor"), tensor("positive"), tensor("negative"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "ctc_loss") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      CtcLossOptions<R> options;
      common(options);
      set(options.blank, "blank");
      set(options.zero_infinity, "zero_infinity");
      return client.ctc_loss(tensor("log_probs"), tensor("targets"), integers("input_lengths"), integers("target_lengths"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "linear_cross_entropy") {
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      LinearCrossEntropyOptions<R> options;
      common(options);
      set(options.linear_bias, "linear_bias");
      set(options.weight, "weight");
      if (has("ignore_index")) set(options.ignore_index.emplace(), "ignore_index");
      set(options.label_smoothing, "label_smoothing");
      return client.linear_cross_entropy(tensor("input"), tensor("linear_weight"), tensor("target"), options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  if (loss_ == "adaptive_log_softmax_with_loss") {
    std::vector<TailCluster> tail;
    for (const auto& cluster : at("tail").list_value().values()) {
      const auto& fields = cluster.struct_value().fields();
      tail.push_back({tensor(fields.at("projection")), tensor(fields.at("output"))});
    }
    const auto made = [&]<typename R>(R /*kind*/) -> Outcome {
      AdaptiveLogSoftmaxWithLossOptions<R> options;
      common(options);
      set(options.head_bias, "head_bias");
      return client.adaptive_log_softmax_with_loss(tensor("input"), tensor("target"), tensor("head_weight"), tail, integers("cutoffs"),
                                                   options);
    };
    return none ? made(kNone) : made(Reduction{});
  }
  throw std::invalid_argument("no such loss: " + loss_);
}

}  // namespace lossd::testing
