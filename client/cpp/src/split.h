// SPDX-License-Identifier: Apache-2.0
// Cutting a request that is too large along its batch dimension, and merging the answers of the parts exactly. The rules are in LossInfo.
// Fields that no rule names (per-class weights, output layers, hyper-parameters) go with every part.

#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "answer.h"
#include "loss_info.h"
#include "lossd/error.h"
#include "lossd/request.h"

namespace lossd::detail {

/// A server refused a request of `rows` rows: it needs `actual`, and `limit` is allowed; NaN if the server did not say.
struct Refusal {
  std::int64_t rows;
  double limit;
  double actual;
  Error error;
};

/// The number of rows of the batch along the extent that is cut. REQUEST_TOO_LARGE if the request cannot be cut.
Result<std::int64_t> count_rows(const Request& request);

/// The request in that many parts of about equal size; fewer if it has fewer rows. Fails as count_rows does, and with SHAPE_MISMATCH if
/// its tensors do not fit together. The parts are views of the request's arrays wherever they are contiguous in them.
Result<std::vector<Request>> cut(const Request& request, std::int64_t parts);

/// How many of the request's rows a part has.
std::int64_t rows_in(const Request& request, const Request& part);

/// The extent along which a field is cut and the index in it at which row `start` begins; nothing if the field goes with every part.
std::optional<std::pair<std::size_t, std::int64_t>> offset_of(const Request& request, int number, std::int64_t start);

/// The answer to the request, from the answers to its parts in order.
Answer merge(const Request& request, std::vector<Answer> answers);

/// Into how many parts a request above `limit` bytes must be cut. REQUEST_TOO_LARGE if cutting cannot help. Parts may still be too large,
/// if rows are of unequal length or one row is too large by itself: cut them again.
Result<std::int64_t> parts_needed(const Request& request, std::size_t limit);

/// What the error says about a request of `rows` rows. The error itself if cutting the request cannot help.
Result<Refusal> refusal_of(std::int64_t rows, const Error& error);

/// How many rows a part of the request may have, at least one, from refusals of fewer and fewer of its rows. REQUEST_TOO_LARGE if what
/// goes with every part is above the limit by itself.
Result<std::int64_t> rows_that_fit(const Request& request, const std::vector<Refusal>& refusals);

/// Whether gRPC itself refused the request or the answer for its size. gRPC does not say which.
bool refused_by_grpc(const Error& error);

/// The error for a request above the client's limit.
Error too_large(const Request& request, std::size_t limit);

}  // namespace lossd::detail
