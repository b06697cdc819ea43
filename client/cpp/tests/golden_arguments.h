// SPDX-License-Identifier: Apache-2.0
// Calls the public API with the arguments of a golden vector.

#pragma once

#include <google/protobuf/struct.pb.h>

#include <cstddef>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "lossd/lossd.h"

namespace lossd::testing {

using Outcome = std::variant<Result<Loss>, Result<Array>>;

/// The bytes of a tensor of a vector.
std::vector<std::byte> decoded(const std::string& base64);

/// A number of a vector, which may be one of "NaN", "Infinity" and "-Infinity".
double number(const google::protobuf::Value& value);

class GoldenCall {
 public:
  GoldenCall(std::string loss, const google::protobuf::Struct& arguments) : loss_(std::move(loss)), arguments_(arguments) {}

  /// Why C++'s types cannot express the call; empty if they can.
  std::string inexpressible() const;

  Outcome make(Client& client);

 private:
  bool has(const std::string& name) const { return arguments_.fields().contains(name); }
  const google::protobuf::Value& at(const std::string& name) const { return arguments_.fields().at(name); }
  Tensor tensor(const google::protobuf::Value& value);
  Tensor tensor(const std::string& name);
  std::vector<std::int64_t> integers(const std::string& name) const;
  void set(Tensor& option, const std::string& name);
  void set(double& option, const std::string& name) const;
  void set(bool& option, const std::string& name) const;
  void set(std::int64_t& option, const std::string& name) const;
  void set(Reduction& option) const;
  void set(KlReduction& option) const;
  void set(None& /*option*/) const {}
  CallOptions call() const;
  template <typename Options>
  void common(Options& options) const;

  std::string loss_;
  const google::protobuf::Struct& arguments_;
  std::deque<std::vector<std::byte>> arrays_;
};

}  // namespace lossd::testing
