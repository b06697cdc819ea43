// SPDX-License-Identifier: Apache-2.0

#include "split.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>

#include "encode.h"
#include "lossd/v1/options.pb.h"
#include "totals.h"

namespace lossd::detail {
namespace {

using Ints = std::vector<std::int64_t>;

/// The extent along which a batch is cut, and its rows.
struct Batch {
  std::size_t axis;
  std::int64_t rows;
};

const Field* find(const Request& request, int number) {
  const auto field = std::ranges::find(request.fields, number, &Field::number);
  return field == request.fields.end() ? nullptr : &*field;
}

Shape lead_shape(const Request& request) {
  const Field* lead = find(request, request.loss->rule.lead);
  return lead == nullptr ? Shape() : std::get<Tensor>(lead->value).shape();
}

Error uncuttable(const Request& request, const std::string& why) {
  return {Code::kResourceExhausted, "the " + request.loss->rpc + " request is too large, and it cannot be split: " + why,
          "REQUEST_TOO_LARGE"};
}

Result<Batch> batch_of(const Request& request) {
  const Rule& rule = request.loss->rule;
  const Shape shape = lead_shape(request);
  const std::size_t first = rule.how(rule.lead) == Cut::kRowsAfterTime ? 1 : 0;
  std::size_t end = shape.rank() > rule.row_rank ? shape.rank() - rule.row_rank : 0;
  if (rule.one_axis && shape.rank() > rule.row_rank) end = first + 1;
  for (std::size_t axis = first; axis < end; ++axis) {
    if (shape[axis] > 1) return Batch{axis - first, shape[axis]};
  }
  return uncuttable(request, end > first ? "it is a single row" : "there is no batch dimension");
}

/// The extent along which a tensor is cut; nothing if the tensor goes with every part.
std::optional<std::size_t> axis_of(const Request& request, const Field& field, std::size_t axis) {
  const Rule& rule = request.loss->rule;
  const std::optional<Cut> how = rule.how(field.number);
  const auto* tensor = std::get_if<Tensor>(&field.value);
  if (!how || tensor == nullptr) return std::nullopt;
  const Shape& shape = tensor->shape();
  auto along = static_cast<std::ptrdiff_t>(axis);
  switch (*how) {
    case Cut::kRows:
      return axis;
    case Cut::kRowsAfterTime:
      return axis + 1;
    case Cut::kRightBroadcast:
      along -= static_cast<std::ptrdiff_t>(lead_shape(request).rank()) - static_cast<std::ptrdiff_t>(shape.rank());
      break;
    case Cut::kLeftBroadcast:
      break;
    default:
      return std::nullopt;
  }
  const auto found = static_cast<std::size_t>(along);
  return along >= 0 && found < shape.rank() && shape[found] != 1 ? std::optional(found) : std::nullopt;
}

bool is_cut(const Request& request, const Field& field, std::size_t axis) {
  const std::optional<Cut> how = request.loss->rule.how(field.number);
  return how == Cut::kItems || how == Cut::kConcatenated || axis_of(request, field, axis).has_value();
}

/// The product of shape[begin, end).
std::size_t product(const Shape& shape, std::size_t begin, std::size_t end) {
  std::size_t count = 1;
  for (std::size_t i = begin; i < end; ++i) count *= static_cast<std::size_t>(std::max<std::int64_t>(0, shape[i]));
  return count;
}

/// The tensor's elements [start, stop) along an extent. A copy only if extents before it are not 1.
Tensor slice(const Tensor& tensor, std::size_t axis, std::int64_t start, std::int64_t stop) {
  const Shape& shape = tensor.shape();
  Ints extents(shape.begin(), shape.end());
  const std::size_t outer = product(shape, 0, axis);
  const std::size_t inner = product(shape, axis + 1, shape.rank()) * size_of(tensor.dtype());
  const std::size_t row = static_cast<std::size_t>(extents[axis]) * inner;
  const std::size_t offset = static_cast<std::size_t>(start) * inner;
  const std::size_t length = static_cast<std::size_t>(stop - start) * inner;
  extents[axis] = stop - start;
  const Tensor whole(tensor.dtype(), {}, Shape(std::move(extents)));
  if (outer == 1) return whole.over(tensor.bytes().subspan(offset, length), tensor.owner());
  const auto copy = std::make_shared<std::vector<std::byte>>(outer * length);
  for (std::size_t i = 0; i < outer && length > 0; ++i) {
    std::memcpy(copy->data() + i * length, tensor.bytes().data() + i * row + offset, length);
  }
  return whole.over(*copy, copy);
}

std::optional<Error> unless_equal(const Request& request, int number, std::int64_t found, std::int64_t expected) {
  if (found == expected) return std::nullopt;
  const std::string field = field_name(*request.loss, number);
  const std::string description = "has " + std::to_string(found) + " where " + std::to_string(expected) + " are expected";
  Error error(Code::kInvalidArgument, field + ": " + description, "SHAPE_MISMATCH");
  error.field_violations.push_back({field, description});
  return error;
}

/// The error for fields that do not fit together, so that they cannot be cut.
std::optional<Error> mismatch(const Request& request, const Batch& batch) {
  for (const Field& field : request.fields) {
    const auto* tensor = std::get_if<Tensor>(&field.value);
    if (tensor != nullptr) {
      const auto actual = static_cast<std::int64_t>(tensor->bytes().size() / size_of(tensor->dtype()));
      const auto expected = static_cast<std::int64_t>(product(tensor->shape(), 0, tensor->shape().rank()));
      if (auto error = unless_equal(request, field.number, actual, expected)) return error;
    }
    if (!is_cut(request, field, batch.axis)) continue;
    const auto along = axis_of(request, field, batch.axis);
    const auto* items = std::get_if<Ints>(&field.value);
    std::int64_t found = 0;
    std::int64_t expected = batch.rows;
    if (along) {
      found = *along < tensor->shape().rank() ? tensor->shape()[*along] : 0;
    } else if (items != nullptr) {
      found = static_cast<std::int64_t>(items->size());
    } else {
      const Field* lengths = find(request, request.loss->rule.lengths);
      const Ints none;
      const Ints& given = lengths == nullptr ? none : std::get<Ints>(lengths->value);
      if (std::ranges::any_of(given, [](std::int64_t length) { return length < 0; })) return unless_equal(request, lengths->number, -1, 0);
      found = static_cast<std::int64_t>(tensor->bytes().size() / size_of(tensor->dtype()));
      expected = std::accumulate(given.begin(), given.end(), std::int64_t{0});
    }
    if (auto error = unless_equal(request, field.number, found, expected)) return error;
  }
  return std::nullopt;
}

/// The sum of the first `rows` lengths by which concatenated targets are cut.
std::int64_t length_before(const Request& request, std::int64_t rows) {
  const Field* lengths = find(request, request.loss->rule.lengths);
  const Ints& given = std::get<Ints>(lengths->value);
  return std::accumulate(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(rows), std::int64_t{0});
}

/// The value of a field for the rows [start, stop).
FieldValue selected(const Request& request, const Field& field, std::size_t axis, std::int64_t start, std::int64_t stop) {
  if (!is_cut(request, field, axis)) return field.value;
  if (const auto along = axis_of(request, field, axis)) return slice(std::get<Tensor>(field.value), *along, start, stop);
  if (const auto* items = std::get_if<Ints>(&field.value)) {
    return Ints(items->begin() + static_cast<std::ptrdiff_t>(start), items->begin() + static_cast<std::ptrdiff_t>(stop));
  }
  return slice(std::get<Tensor>(field.value), 0, length_before(request, start), length_before(request, stop));
}

/// The size of a request in bytes, approximately and never too small, of the fields for which `counts` is true.
template <typename Counts>
std::size_t size_of_fields(const Request& request, const Counts& counts) {
  Request some = request;
  std::erase_if(some.fields, [&](const Field& field) { return !counts(field); });
  return encoded_size(some) + 16 * (1 + some.fields.size());
}

template <typename T>
std::vector<T> concatenated(const std::vector<Answer>& answers, std::size_t axis) {
  const std::size_t outer = product(answers.front().shape, 0, axis);
  std::vector<T> values;
  for (std::size_t i = 0; i < outer; ++i) {
    for (const Answer& answer : answers) {
      const auto& part = std::get<std::vector<T>>(answer.values);
      const auto row = static_cast<std::ptrdiff_t>(part.size() / outer);
      values.insert(values.end(), part.begin() + static_cast<std::ptrdiff_t>(i) * row,
                    part.begin() + static_cast<std::ptrdiff_t>(i + 1) * row);
    }
  }
  return values;
}

}  // namespace

Result<std::int64_t> count_rows(const Request& request) {
  const Result<Batch> batch = batch_of(request);
  if (!batch) return batch.error();
  return batch->rows;
}

Result<std::vector<Request>> cut(const Request& request, std::int64_t parts) {
  const Result<Batch> batch = batch_of(request);
  if (!batch) return batch.error();
  if (auto error = mismatch(request, *batch)) return std::move(*error);
  std::vector<Request> cut;
  std::int64_t start = 0;
  for (std::int64_t i = 1; i <= parts; ++i) {
    const std::int64_t stop = batch->rows * i / parts;
    if (stop == start) continue;
    Request& part = cut.emplace_back(request);
    for (Field& field : part.fields) field.value = selected(request, *find(request, field.number), batch->axis, start, stop);
    start = stop;
  }
  return cut;
}

std::int64_t rows_in(const Request& request, const Request& part) {
  const Result<Batch> batch = batch_of(request);
  const Field* lead = find(request, request.loss->rule.lead);
  return lead_shape(part)[*axis_of(request, *lead, batch->axis)];
}

std::optional<std::pair<std::size_t, std::int64_t>> offset_of(const Request& request, int number, std::int64_t start) {
  const Result<Batch> batch = batch_of(request);
  const Field* field = find(request, number);
  if (!batch || field == nullptr || !is_cut(request, *field, batch->axis)) return std::nullopt;
  if (request.loss->rule.how(number) == Cut::kConcatenated) return std::pair(std::size_t{0}, length_before(request, start));
  return std::pair(axis_of(request, *field, batch->axis).value_or(0), start);
}

Answer merge(const Request& request, std::vector<Answer> answers) {
  Totals totals;
  Answer merged;
  merged.execution.device = answers.front().execution.device;
  for (const Answer& answer : answers) {
    totals.add(answer.statistics);
    merged.execution.queue_seconds = std::max(merged.execution.queue_seconds, answer.execution.queue_seconds);
    merged.execution.compute_seconds += answer.execution.compute_seconds;
    merged.execution.calls_in_batch = std::max(merged.execution.calls_in_batch, answer.execution.calls_in_batch);
  }
  merged.statistics = totals.statistics();
  if (request.reduction == v1::REDUCTION_BATCH_MEAN) {  // the parts' sum is the first extent only if the first extent was cut
    merged.statistics.mean_denominator = static_cast<double>(lead_shape(request)[0]);
    merged.value = merged.statistics.mean_numerator / merged.statistics.mean_denominator;
  } else if (request.reduction != v1::REDUCTION_NONE) {
    merged.value = totals.value(request.reduction);
  } else {
    // A target of a higher rank broadcasts with the lead: the extents of both are aligned on the right.
    const bool broadcasts = std::ranges::any_of(request.loss->rule.fields, [&](const auto& field) {
      return field.second == Cut::kRightBroadcast && field_name(*request.loss, field.first) == "target";
    });
    const std::size_t missing = broadcasts ? answers.front().shape.rank() - lead_shape(request).rank() : 0;
    const std::size_t axis = batch_of(request)->axis + missing;
    Ints extents(answers.front().shape.begin(), answers.front().shape.end());
    extents[axis] = 0;
    for (const Answer& answer : answers) extents[axis] += answer.shape[axis];
    if (std::holds_alternative<std::vector<double>>(answers.front().values)) {
      merged.values = concatenated<double>(answers, axis);
    } else {
      merged.values = concatenated<float>(answers, axis);
    }
    merged.shape = Shape(std::move(extents));
  }
  return merged;
}

Result<std::int64_t> parts_needed(const Request& request, std::size_t limit) {
  const Result<Batch> batch = batch_of(request);
  if (!batch) return batch.error();
  const auto goes_with_every_part = [&](const Field& field) { return !is_cut(request, field, batch->axis); };
  const std::size_t rest = size_of_fields(request, goes_with_every_part);
  const std::size_t whole = size_of_fields(request, [](const Field&) { return true; });
  if (rest >= limit) {
    const Field* largest = nullptr;
    std::size_t most = 0;
    for (const Field& field : request.fields) {
      const std::size_t size = size_of_fields(request, [&](const Field& other) { return other.number == field.number; });
      if (goes_with_every_part(field) && size > most) {
        most = size;
        largest = &field;
      }
    }
    return uncuttable(request, field_name(*request.loss, largest->number) + " of about " + std::to_string(most) +
                                   " bytes must go with every part, and " + std::to_string(limit) + " bytes are allowed");
  }
  const double rows = static_cast<double>(batch->rows);
  const double rows_a_part = std::floor(static_cast<double>(limit - rest) * rows / static_cast<double>(whole - rest));
  return static_cast<std::int64_t>(std::ceil(rows / std::max(1.0, rows_a_part)));
}

Result<Refusal> refusal_of(std::int64_t rows, const Error& error) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  constexpr std::string_view kPrefix = "limit_";
  for (const auto& [key, limit] : error.metadata) {
    if (!key.starts_with(kPrefix)) continue;
    const auto actual = error.metadata.find("actual_" + key.substr(kPrefix.size()));
    return Refusal{rows, std::strtod(limit.c_str(), nullptr),
                   actual == error.metadata.end() ? kUnknown : std::strtod(actual->second.c_str(), nullptr), error};
  }
  if (!refused_by_grpc(error)) return error;
  return Refusal{rows, kUnknown, kUnknown, error};
}

Result<std::int64_t> rows_that_fit(const Request& request, const std::vector<Refusal>& refusals) {
  // A request needs a fixed amount for the fields that go with every part, and the same amount for each row. One refusal bounds the rows,
  // and two give both amounts.
  const Refusal& last = refusals.back();
  const auto last_rows = static_cast<double>(last.rows);
  double rows = last_rows * last.limit / last.actual;
  if (refusals.size() > 1 && refusals[refusals.size() - 2].limit == last.limit) {
    const Refusal& before = refusals[refusals.size() - 2];
    const double a_row = (before.actual - last.actual) / static_cast<double>(before.rows - last.rows);
    const double every_part = last.actual - a_row * last_rows;
    if (a_row <= 0 || every_part >= last.limit) {
      return uncuttable(request, "what goes with every part is above the limit by itself. " + last.error.message);
    }
    rows = (last.limit - every_part) / a_row;
  }
  return std::max<std::int64_t>(1, rows < last_rows ? static_cast<std::int64_t>(rows) : last.rows / 2);
}

bool refused_by_grpc(const Error& error) { return error.message.find("larger than max") != std::string::npos; }

Error too_large(const Request& request, std::size_t limit) {
  const std::string actual = std::to_string(encoded_size(request));
  Error error(Code::kResourceExhausted,
              "the " + request.loss->rpc + " request has " + actual + " bytes; " + std::to_string(limit) + " are allowed: split the batch",
              "REQUEST_TOO_LARGE");
  error.metadata = {{"limit_bytes", std::to_string(limit)}, {"actual_bytes", actual}};
  return error;
}

}  // namespace lossd::detail
