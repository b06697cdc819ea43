// SPDX-License-Identifier: Apache-2.0
/// @file
/// What calls and clients can be told.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace lossd {

/// How the elements of a loss become one number.
enum class Reduction : std::uint8_t {
  kMean,  ///< As torch defines it for the loss.
  kSum,   ///< The sum over all elements.
};

/// The reductions of kl_div.
enum class KlReduction : std::uint8_t {
  kMean,       ///< Divides by the number of elements, which is not the KL divergence.
  kSum,        ///< The sum over all elements.
  kBatchMean,  ///< Divides by the first extent, which is the KL divergence.
};

/// The type of kNone.
struct None {};

/// No reduction: a method that is given `.reduction = lossd::kNone` returns an Array.
inline constexpr None kNone{};

/// The type that a loss is computed in.
enum class Precision : std::uint8_t {
  kDefault,  ///< 16-bit inputs in float32, others as given.
  kFloat64,  ///< Everything in float64.
};

/// Seconds, of any std::chrono duration.
using Seconds = std::chrono::duration<double>;

/// A timeout that never passes.
inline constexpr Seconds kNoTimeout{std::numeric_limits<double>::infinity()};

/// Options that every loss has, as `.call`.
struct CallOptions {
  /// The time for this call, with all retries. By default the client's.
  std::optional<Seconds> timeout{};
  /// Cancels the call: it then fails with kCancelled.
  std::stop_token stop{};
  Precision precision = Precision::kDefault;
  /// True refuses NaN and infinities in float tensors; by default they propagate as in torch.
  bool reject_non_finite = false;
};

/// Options of a Client.
struct ClientOptions {
  /// The time for a call, with all retries, unless the call has its own.
  Seconds timeout{30.0};
  /// Retry calls that reach no server, or one that is full or draining, until they succeed or the next attempt would come after the
  /// timeout. The pauses double from 50 ms up to 1 s, minus a random part of up to half, plus the time that the server asks for. So no
  /// call fails if a server restarts within the timeout.
  bool retry = true;
  /// Concurrent calls share a stream, which costs the client and the server less. Each call keeps its own timeout, cancellation, error
  /// and answer. A lone call is sent at once.
  bool coalesce = false;
  /// Split calls above the message limit along their batch dimension, and merge the answers exactly.
  bool split = true;
  /// Use TLS, and trust the certificate authorities that gRPC trusts, or those of `ca_file`.
  bool tls = false;
  /// A PEM file with certificate authorities. Implies `tls`.
  std::string ca_file{};
  /// PEM files with the client's certificate chain and private key, for mutual TLS. Imply `tls`.
  std::string certificate_file{};
  std::string key_file{};
  /// The bearer token of every call. By default the variable LOSSD_TOKEN.
  std::optional<std::string> token{};
  /// Sent with every call, for example {{"x-tenant", "a"}}.
  std::vector<std::pair<std::string, std::string>> metadata{};
  /// Connections to each server. A server with `--workers` gives each connection to one worker.
  int connections = 1;
  /// The largest request or response, in bytes; the server's limit applies too.
  std::size_t max_message_bytes = std::size_t{64} << 20;
};

}  // namespace lossd
