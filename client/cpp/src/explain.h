// SPDX-License-Identifier: Apache-2.0
// Finds mismatched shapes before anything is sent, and words the server's errors in terms of the caller's arguments.

#pragma once

#include <optional>

#include "lossd/error.h"
#include "lossd/request.h"

namespace lossd::detail {

/// The error that the server would give, if shapes do not match. The server decides: only the rules that are broken most often are checked.
std::optional<Error> misfit(const Request& request);

/// The same error with the names of arguments instead of fields.
Error explained(Error error, const LossInfo& loss);

/// The error of the part of a request with the rows [start, stop), in terms of the whole request.
Error in_whole(Error error, const Request& request, std::int64_t start, std::int64_t stop);

}  // namespace lossd::detail
