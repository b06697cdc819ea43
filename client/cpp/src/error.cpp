// SPDX-License-Identifier: Apache-2.0

#include "lossd/error.h"

#include <ostream>

namespace lossd {

std::string_view name(Code code) {
  constexpr std::string_view kNames[] = {"OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
                                         "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                                         "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
                                         "DATA_LOSS", "UNAUTHENTICATED"};
  return kNames[static_cast<std::size_t>(code)];
}

Error::Error(Code code, std::string message, std::string reason) : code(code), reason(std::move(reason)), message(std::move(message)) {}

const char* Error::what() const noexcept {
  what_ = message + " [" + (reason.empty() ? std::string(name(code)) : reason) + "]";
  return what_.c_str();
}

std::ostream& operator<<(std::ostream& out, const Error& error) { return out << error.what(); }

}  // namespace lossd
