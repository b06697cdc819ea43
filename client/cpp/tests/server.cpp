// SPDX-License-Identifier: Apache-2.0

#include "server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

extern char** environ;

namespace lossd::testing {

Server::Server(std::vector<std::string> flags) : flags_(std::move(flags)) {
  spawn("127.0.0.1:0");
  read_address();
}

Server::~Server() { kill(); }

void Server::kill() {
  if (process_ < 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  ::close(output_);
  process_ = -1;
}

void Server::restart() {
  begin_restart();
  read_address();
}

void Server::begin_restart() {
  kill();
  spawn(address_);
}

void Server::spawn(const std::string& listen) {
  const char* command = std::getenv("LOSSD");
  std::vector<std::string> words = {
      command == nullptr ? "lossd" : command, "serve", "--listen", listen, "--admin-listen", "", "--log-level", "error"};
  words.insert(words.end(), flags_.begin(), flags_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int failure = ::posix_spawnp(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  output_ = ends[0];
  if (failure != 0) throw std::runtime_error("cannot run " + words[0] + "; set LOSSD");
}

/// Reads the first line, "lossd listens on HOST:PORT", until the process ends.
void Server::read_address() {
  std::string line;
  char c = 0;
  while (::read(output_, &c, 1) == 1 && c != '\n') line += c;
  const std::string prefix = "lossd listens on ";
  if (!line.starts_with(prefix)) throw std::runtime_error("the server did not start: " + line);
  address_ = line.substr(prefix.size());
}

const Server& shared_server() {
  static const Server server;
  return server;
}

}  // namespace lossd::testing
