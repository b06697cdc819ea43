// SPDX-License-Identifier: Apache-2.0
// Errors of statuses and of messages.

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "lossd/error.h"

namespace lossd::v1 {
class Error;
}

namespace lossd::detail {

/// The error of a failed RPC.
Error error_of(const grpc::Status& status, const grpc::ClientContext& context);

/// The error of a call in a message of many.
Error error_of(const v1::Error& error);

/// The error of calls in flight when their client is closed, and of calls of a closed client.
Error closed_error();

Error cancelled_error();
Error deadline_error();

}  // namespace lossd::detail
