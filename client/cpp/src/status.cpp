// SPDX-License-Identifier: Apache-2.0

#include "status.h"

#include <charconv>
#include <limits>

#include "lossd/v1/evaluation_service.pb.h"
#include "lossd_status.pb.h"

namespace lossd::detail {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct Cure {
  std::string_view symptom;
  std::string_view cure;
};

// Parts of gRPC's messages about failed connections, each with the likely cause and what to do.
constexpr Cure kCures[] = {
    {"WRONG_VERSION_NUMBER", "the server does not use TLS: leave tls and ca_file out, or connect to its TLS port"},
    {"CERTIFICATE_VERIFY_FAILED",
     "the server's certificate is not signed by an authority that this client trusts: give the authority's certificate as ca_file"},
    {"Tls handshake failed",
     "the server's certificate may be for another host, or not signed by an authority that this client trusts (ca_file), or the server may "
     "require a client certificate (certificate_file and key_file)"},
    {"Socket closed", "the connection was closed: the server stopped, or it uses TLS and this client does not: set tls or ca_file"},
    {"Connection refused", "nothing listens at this address: check it, and check that the server has started"},
    {"DNS resolution failed", "there is no such host: check the address, host:port"},
};

/// The code of a status, or kUnknown.
Code code_of(int number) { return number >= 1 && number <= 16 ? static_cast<Code>(number) : Code::kUnknown; }

/// Whether TLS failed, so that another attempt would fail, too.
bool is_lasting(std::string_view message) { return message.find("andshake failed") != std::string_view::npos; }

std::string with_cure(std::string_view message) {
  for (const auto& [symptom, cure] : kCures) {
    if (message.find(symptom) != std::string_view::npos) return std::string(message) + "; " + std::string(cure);
  }
  return std::string(message);
}

void read_details(const std::string& encoded, Error& error) {
  status::Status read;
  if (!read.ParseFromString(encoded)) return;
  error.message = read.message();
  for (const auto& detail : read.details()) {
    const std::string_view type = std::string_view(detail.type_url()).substr(detail.type_url().rfind('/') + 1);
    status::ErrorInfo info;
    status::BadRequest request;
    status::RetryInfo retry;
    if (type == "google.rpc.ErrorInfo" && info.ParseFromString(detail.value())) {
      error.reason = info.reason();
      error.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (type == "google.rpc.BadRequest" && request.ParseFromString(detail.value())) {
      for (const auto& violation : request.field_violations())
        error.field_violations.push_back({violation.field(), violation.description()});
    } else if (type == "google.rpc.RetryInfo" && retry.ParseFromString(detail.value())) {
      error.retry_after_seconds = static_cast<double>(retry.retry_delay().seconds()) + 1e-9 * retry.retry_delay().nanos();
    }
  }
}

}  // namespace

Error error_of(const grpc::Status& status, const grpc::ClientContext& context) {
  Error error(code_of(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    read_details(status.error_details(), error);
  } else if (error.code == Code::kUnavailable) {
    error.message = with_cure(error.message);
    if (is_lasting(status.error_message())) error.retry_after_seconds = kNever;
  }
  if (error.message.empty()) error.message = name(error.code);
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  if (!error.retry_after_seconds && pushback != trailers.end()) {
    unsigned milliseconds = 0;
    const char* end = pushback->second.data() + pushback->second.size();
    const auto [read, failure] = std::from_chars(pushback->second.data(), end, milliseconds);
    error.retry_after_seconds = failure == std::errc() && read == end ? milliseconds * 1e-3 : kNever;  // other text asks for no retry
  }
  return error;
}

Error error_of(const v1::Error& error) {
  Error read(code_of(error.code()), error.message(), error.reason());
  for (const auto& violation : error.field_violations()) read.field_violations.push_back({violation.field(), violation.description()});
  if (error.has_retry_after_seconds()) read.retry_after_seconds = error.retry_after_seconds();
  read.metadata.insert(error.metadata().begin(), error.metadata().end());
  return read;
}

Error closed_error() { return {Code::kCancelled, "the client is closed"}; }
Error cancelled_error() { return {Code::kCancelled, "the call was cancelled"}; }
Error deadline_error() { return {Code::kDeadlineExceeded, "no answer within the call's timeout"}; }

}  // namespace lossd::detail
