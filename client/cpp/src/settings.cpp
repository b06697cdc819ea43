// SPDX-License-Identifier: Apache-2.0

#include "settings.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lossd::detail {
namespace {

Error wrong(const std::string& message) { return {Code::kInvalidArgument, message}; }

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<std::vector<std::string>> addresses(const std::string& given) {
  const std::string list = given.empty() ? variable("LOSSD_ADDRESS") : given;
  std::vector<std::string> found;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t end = std::min(list.find(',', start), list.size());
    const std::size_t first = list.find_first_not_of(' ', start);
    const std::size_t last = list.find_last_not_of(' ', end == 0 ? 0 : end - 1);
    if (first >= end || last == std::string::npos) {
      return wrong("no server address: give \"host:port\", several as \"a:1,b:2\", or set LOSSD_ADDRESS");
    }
    found.push_back(list.substr(first, last - first + 1));
    start = end + 1;
  }
  return found;
}

Result<Metadata> metadata_of(const ClientOptions& options) {
  const std::string token = options.token ? *options.token : variable("LOSSD_TOKEN");
  const auto sendable = [](char c) { return c > ' ' && c <= '~'; };
  if (!std::ranges::all_of(token, sendable)) {
    return wrong(std::string(options.token ? "token" : "LOSSD_TOKEN") +
                 " holds a space, a line break or another character that cannot be sent: strip a token that was read from a file");
  }
  Metadata metadata = options.metadata;
  if (!token.empty()) metadata.emplace_back("authorization", "Bearer " + token);
  return metadata;
}

/// The content of a file; empty if no file is named.
Result<std::string> content(const std::string& file, const char* option) {
  if (file.empty()) return std::string();
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in || text.empty()) return wrong(std::string(option) + ": cannot read " + file);
  return text;
}

Result<std::shared_ptr<grpc::ChannelCredentials>> credentials_of(const ClientOptions& options) {
  const Result<std::string> authorities = content(options.ca_file, "ca_file");
  const Result<std::string> certificate = content(options.certificate_file, "certificate_file");
  const Result<std::string> key = content(options.key_file, "key_file");
  for (const auto* file : {&authorities, &certificate, &key}) {
    if (!*file) return file->error();
  }
  if (certificate->empty() != key->empty()) return wrong("mutual TLS needs both certificate_file and key_file");
  if (!options.tls && authorities->empty() && certificate->empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({.pem_root_certs = *authorities, .pem_private_key = *key, .pem_cert_chain = *certificate});
}

grpc::ChannelArguments arguments_of(const ClientOptions& options, bool alone) {
  const int limit = static_cast<int>(std::min<std::size_t>(options.max_message_bytes, 2047U << 20)) + 4096;  // lossd's error is clearer
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(limit);
  arguments.SetMaxReceiveMessageSize(limit);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // Core retries up to the call's deadline; gRPC gives up after five attempts
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetServiceConfigJSON(R"({"loadBalancingConfig": [{"round_robin": {}}]})");
  arguments.SetUserAgentPrefix("lossd-cpp");
  if (!alone) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return arguments;
}

}  // namespace

Result<Connection> connect(const std::string& address, const ClientOptions& options) {
  if (options.connections < 1) return wrong("connections is " + std::to_string(options.connections) + "; it must be at least 1");
  const Result<std::vector<std::string>> servers = addresses(address);
  if (!servers) return servers.error();
  Result<Metadata> metadata = metadata_of(options);
  if (!metadata) return metadata.error();
  const Result<std::shared_ptr<grpc::ChannelCredentials>> credentials = credentials_of(options);
  if (!credentials) return credentials.error();
  Connection connection{{}, std::move(*metadata)};
  const grpc::ChannelArguments arguments = arguments_of(options, servers->size() == 1 && options.connections == 1);
  for (int i = 0; i < options.connections; ++i) {
    for (const std::string& server : *servers) {
      connection.channels.push_back(grpc::CreateCustomChannel(server, *credentials, arguments));
    }
  }
  return connection;
}

}  // namespace lossd::detail
