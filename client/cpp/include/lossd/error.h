// SPDX-License-Identifier: Apache-2.0
/// @file
/// What a call returns: a value, or an Error that says why there is none. The library throws nothing by itself.

#pragma once

#include <cstdint>
#include <exception>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace lossd {

/// gRPC's status codes, with its numbers.
enum class Code : std::uint8_t {
  kCancelled = 1,         ///< Cancelled on this side, or the client was closed.
  kUnknown = 2,           ///< The server failed.
  kInvalidArgument = 3,   ///< An argument is wrong; Error::field_violations names it.
  kDeadlineExceeded = 4,  ///< Not answered within the call's timeout.
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,   ///< The token or certificate does not permit the call.
  kResourceExhausted = 8,  ///< Above a limit of the server; Error::metadata has it.
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,     ///< The server failed, which is a bug of the server.
  kUnavailable = 14,  ///< With a reason, the server is full or draining; without one, no server was reached.
  kDataLoss = 15,
  kUnauthenticated = 16,  ///< The token or certificate is missing or wrong.
};

/// gRPC's name of a code, such as "INVALID_ARGUMENT".
std::string_view name(Code code);

/// What is wrong with one argument.
struct FieldViolation {
  std::string field;  ///< The argument's name, or a path that begins with it, such as "tail[1].output".
  std::string description;

  bool operator==(const FieldViolation&) const = default;
};

/// Why a call failed. It is an exception, so that Result::value can throw it.
class Error : public std::exception {
 public:
  Error(Code code, std::string message, std::string reason = {});

  Code code = Code::kUnknown;
  std::string reason;                            ///< The server's reason, such as "SHAPE_MISMATCH"; empty if no server gave one.
  std::string message;                           ///< For people.
  std::vector<FieldViolation> field_violations;  ///< The arguments at fault, if code is kInvalidArgument.
  std::optional<double> retry_after_seconds;     ///< When the server asks to try again. Infinity: never.
  std::map<std::string, std::string> metadata;   ///< Limits and estimates by name, such as "limit_bytes".

  /// "message [reason]", or "message [CODE]".
  const char* what() const noexcept override;

 private:
  mutable std::string what_;
};

/// Writes what().
std::ostream& operator<<(std::ostream& out, const Error& error);

/// A T, or the Error instead. It has the members of C++23's std::expected<T, Error>, except that a wrong access throws the Error:
///
///     auto loss = client.mse_loss(predictions, targets);
///     if (!loss) return report(loss.error());
///     use(loss->value);
template <typename T>
class [[nodiscard]] Result {
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
  using value_type = T;
  using error_type = Error;

  Result(Value value) : outcome_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : outcome_(std::in_place_index<1>, std::move(error)) {}
  Result() requires std::is_void_v<T> : outcome_(std::in_place_index<0>) {}

  bool has_value() const { return outcome_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  /// The value. Throws the Error if there is none.
  Value& value() & { return checked(), std::get<0>(outcome_); }
  const Value& value() const& { return checked(), std::get<0>(outcome_); }
  Value&& value() && { return checked(), std::get<0>(std::move(outcome_)); }

  Value& operator*() & { return value(); }
  const Value& operator*() const& { return value(); }
  Value&& operator*() && { return std::move(*this).value(); }
  Value* operator->() { return &value(); }
  const Value* operator->() const { return &value(); }

  /// The error. There must be one.
  Error& error() { return std::get<1>(outcome_); }
  const Error& error() const { return std::get<1>(outcome_); }

  template <typename U>
  Value value_or(U&& other) const {
    return has_value() ? std::get<0>(outcome_) : static_cast<Value>(std::forward<U>(other));
  }

 private:
  void checked() const {
    if (!has_value()) throw error();
  }

  std::variant<Value, Error> outcome_;
};

}  // namespace lossd
