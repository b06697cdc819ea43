// SPDX-License-Identifier: Apache-2.0
// What the library knows of each loss: where it is in the schema, how its requests are cut, and which shapes must match.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace google::protobuf {
class Descriptor;
}

namespace lossd::detail {

/// How a field is cut if the batch is cut along extent `axis`.
enum class Cut {
  kRows,            // along the same extent
  kRowsAfterTime,   // along the extent after it: (T, N, C)
  kLeftBroadcast,   // along the same extent, unless that is missing or 1
  kRightBroadcast,  // the same, extents aligned on the right
  kItems,           // a list with one item for each row
  kConcatenated,    // rows of `lengths`, concatenated
};

/// How requests of a loss are cut. Fields that are not named go with every part.
struct Rule {
  int lead = 0;  // the tensor whose leading extents are the batch
  std::vector<std::pair<int, Cut>> fields{};
  std::size_t row_rank = 0;  // the least number of trailing extents of `lead` in a row
  bool one_axis = false;     // the batch has one extent, and all later extents belong to the row
  int lengths = 0;           // the list of lengths by which kConcatenated is cut

  /// How a field is cut; nothing if it goes with every part.
  std::optional<Cut> how(int number) const {
    for (const auto& [field, cut] : fields) {
      if (field == number) return cut;
    }
    return std::nullopt;
  }
};

struct LossInfo {
  std::string rpc;  // "CrossEntropyLoss"
  int member;       // its number in LossCall
  const google::protobuf::Descriptor* (*descriptor)();
  Rule rule;
  std::vector<int> same_shape{};                                 // tensors that must have the shape of the first
  int indices = 0;                                               // the tensor that must have the shape of `input` without the classes
  std::vector<std::pair<std::string, std::string>> arguments{};  // the names of fields that differ from the arguments that they hold

  std::string path() const { return "/lossd.v1.LossService/" + rpc; }
};

/// The name of a field of the request message.
std::string field_name(const LossInfo& loss, int number);

}  // namespace lossd::detail
