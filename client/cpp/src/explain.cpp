// SPDX-License-Identifier: Apache-2.0

#include "explain.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>

#include "loss_info.h"
#include "split.h"

namespace lossd::detail {
namespace {

std::string in_brackets(const std::vector<std::int64_t>& numbers) {
  std::string text = "[";
  for (const std::int64_t number : numbers) text += (text.size() > 1 ? ", " : "") + std::to_string(number);
  return text + "]";
}

std::string text_of(const Shape& shape) { return in_brackets({shape.begin(), shape.end()}); }

const Tensor* tensor_of(const Request& request, int number) {
  for (const Field& field : request.fields) {
    if (field.number == number) return std::get_if<Tensor>(&field.value);
  }
  return nullptr;
}

/// The text with every word that names a field replaced by the argument's name.
std::string in_arguments(const LossInfo& loss, const std::string& text) {
  const auto in_word = [](char c) { return std::islower(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  std::string replaced;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && in_word(text[end])) ++end;
    if (end == i) {
      replaced += text[i++];
      continue;
    }
    const std::string word = text.substr(i, end - i);
    const auto argument = std::ranges::find(loss.arguments, word, &std::pair<std::string, std::string>::first);
    replaced += argument == loss.arguments.end() ? word : argument->second;
    i = end;
  }
  return replaced;
}

Error shape_error(const Request& request, int number, const std::string& description) {
  const std::string field = field_name(*request.loss, number);
  Error error(Code::kInvalidArgument, field + ": " + description, "SHAPE_MISMATCH");
  error.field_violations.push_back({field, description});
  return explained(std::move(error), *request.loss);
}

/// Some losses treat () and (1) as equal: the server decides.
bool may_match(const Shape& a, const Shape& b) {
  const auto single = [](const Shape& shape) { return shape.rank() == 0 || (shape.rank() == 1 && shape[0] == 1); };
  return a == b || (single(a) && single(b));
}

/// Adds `by` to the number at `axis` of "..., the first at index [i, j]", and says of which rows the text is.
std::string moved(const std::string& text, std::size_t axis, std::int64_t by, std::int64_t start, std::int64_t stop) {
  const std::string_view kNot = " are not";
  const std::string_view kFirst = "the first at index [";
  const std::size_t bad = text.find(kNot);
  if (bad == std::string::npos) return text;
  const std::string rows = " of rows " + std::to_string(start) + " to " + std::to_string(stop - 1);
  const std::size_t earlier = text.rfind(" of rows ", bad);  // of a part of the part
  std::string whole = text.substr(0, earlier == std::string::npos ? bad : earlier) + rows + text.substr(bad);
  const std::size_t first = whole.find(kFirst);
  if (first == std::string::npos) return whole;
  const std::size_t open = first + kFirst.size();
  const std::size_t close = whole.find(']', open);
  std::vector<std::int64_t> index;
  const char* next = whole.data() + open;
  while (next < whole.data() + close) {
    const auto [end, failure] = std::from_chars(next, whole.data() + close, index.emplace_back());
    if (failure != std::errc()) return whole;
    next = end + 2;  // ", "
  }
  if (axis >= index.size()) return whole;
  index[axis] += by;
  return whole.substr(0, open - 1) + in_brackets(index) + whole.substr(close + 1);
}

}  // namespace

std::optional<Error> misfit(const Request& request) {
  const LossInfo& loss = *request.loss;
  if (!loss.same_shape.empty()) {
    const Tensor* first = tensor_of(request, loss.same_shape.front());
    for (const int number : loss.same_shape) {
      const Tensor* other = tensor_of(request, number);
      if (first != nullptr && other != nullptr && !may_match(first->shape(), other->shape())) {
        const std::string lead = field_name(loss, loss.same_shape.front());
        return shape_error(request, number,
                           "has shape " + text_of(other->shape()) + "; it must be " + lead + "'s, " + text_of(first->shape()));
      }
    }
  }
  const Tensor* indices = loss.indices == 0 ? nullptr : tensor_of(request, loss.indices);
  const Tensor* input = tensor_of(request, loss.rule.lead);
  if (indices == nullptr || input == nullptr || input->shape().rank() == 0) return std::nullopt;
  std::vector<std::int64_t> expected(input->shape().begin(), input->shape().end());
  expected.erase(expected.begin() + (expected.size() > 1 ? 1 : 0));
  if (indices->shape() == Shape(expected)) return std::nullopt;
  return shape_error(
      request, loss.indices,
      "has shape " + text_of(indices->shape()) + "; input of shape " + text_of(input->shape()) + " makes it " + in_brackets(expected));
}

Error explained(Error error, const LossInfo& loss) {
  if (error.code != Code::kInvalidArgument) return error;
  const bool shape = error.reason == "SHAPE_MISMATCH" && error.field_violations.size() == 1;
  const std::string hint = shape && error.field_violations[0].field == "class_probabilities"
                               ? "; target is of a float type, so it is taken as class probabilities: pass integers for class indices"
                               : "";
  error.message = in_arguments(loss, error.message) + hint;
  for (FieldViolation& violation : error.field_violations) {
    violation = {in_arguments(loss, violation.field), in_arguments(loss, violation.description) + hint};
  }
  return error;
}

Error in_whole(Error error, const Request& request, std::int64_t start, std::int64_t stop) {
  if (error.code != Code::kInvalidArgument || error.field_violations.empty()) return error;
  for (const Field& field : request.fields) {
    const std::string argument = in_arguments(*request.loss, field_name(*request.loss, field.number));
    const auto offset = offset_of(request, field.number, start);
    if (!offset) continue;
    const auto [axis, by] = *offset;
    if (error.field_violations.front().field == argument) error.message = moved(error.message, axis, by, start, stop);
    for (FieldViolation& violation : error.field_violations) {
      if (violation.field == argument) violation.description = moved(violation.description, axis, by, start, stop);
    }
  }
  return error;
}

}  // namespace lossd::detail
