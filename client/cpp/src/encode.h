// SPDX-License-Identifier: Apache-2.0
// Requests and messages of calls in protobuf's encoding, written into one buffer without any copy of a tensor in between.

#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "loss_info.h"
#include "lossd/request.h"

namespace lossd::detail {

/// An encoded request. Copies share the bytes.
struct Encoded {
  const LossInfo* loss = nullptr;
  grpc::Slice message;
};

/// A call of a ScoreStream, with the seconds that are left to it.
struct StreamItem {
  std::uint64_t id;
  Encoded call;
  std::optional<double> timeout_seconds;
};

/// The size of the request message in bytes.
std::size_t encoded_size(const Request& request);

Encoded encode(const Request& request);

/// Encodes the request, and makes its tensors views of the encoded bytes, so that it no longer needs the caller's arrays.
Encoded encode_and_own(Request& request);

/// A ScoreBatchRequest.
grpc::ByteBuffer batch_message(std::span<const Encoded* const> calls);

/// A ScoreStreamRequest.
grpc::ByteBuffer stream_message(std::span<const StreamItem> calls, std::span<const std::uint64_t> cancelled_ids);

}  // namespace lossd::detail
