// SPDX-License-Identifier: Apache-2.0
// A client's options, checked: addresses, credentials, metadata and channel arguments.

#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "lossd/error.h"
#include "lossd/options.h"
#include "stream.h"

namespace lossd::detail {

struct Connection {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  Metadata metadata;  // of every RPC
};

/// The channels to the servers that `address`, or LOSSD_ADDRESS if it is empty, names. kInvalidArgument for options that cannot work.
Result<Connection> connect(const std::string& address, const ClientOptions& options);

}  // namespace lossd::detail
