// SPDX-License-Identifier: Apache-2.0
// A lossd server of the tests, as a process.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lossd::testing {

class Server {
 public:
  /// Starts `lossd serve` with these flags on a free port, and waits until it listens. The command is $LOSSD, by default lossd.
  explicit Server(std::vector<std::string> flags = {});
  Server(const Server&) = delete;
  ~Server();

  const std::string& address() const { return address_; }

  /// Ends the process at once.
  void kill();

  /// Starts a server again, at the same address.
  void restart();

  /// Starts a server again, at the same address, and returns before it listens.
  void begin_restart();

 private:
  void spawn(const std::string& listen);
  void read_address();

  std::vector<std::string> flags_;
  std::string address_;
  pid_t process_ = -1;
  int output_ = -1;
};

/// A server with the default settings that all tests share.
const Server& shared_server();

}  // namespace lossd::testing
