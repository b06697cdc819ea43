// SPDX-License-Identifier: Apache-2.0

// The driver for gRPC C++: tests/support/drivers.py says what a driver does.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using grpc::ByteBuffer;
using grpc::Status;

struct Scenario {
  std::string name, kind, path;
  int count, parallel, pause;
  std::vector<std::string> requests;
};

static ByteBuffer ToBuffer(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return ByteBuffer(&slice, 1);
}

static std::string ToString(const ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  buffer.Dump(&slices);
  std::string bytes;
  bytes.reserve(buffer.Length());
  for (const auto& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

static std::string Length(size_t length) {
  return {char(length >> 24), char(length >> 16), char(length >> 8), char(length)};
}

static std::vector<std::string> Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string data((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> messages;
  for (size_t at = 0; at < data.size();) {
    size_t length = 0;
    for (int byte = 0; byte < 4; byte++) length = length << 8 | uint8_t(data[at++]);
    messages.push_back(data.substr(at, length));
    at += length;
  }
  return messages;
}

// The next completed operation of the queue, and whether it succeeded.
static std::pair<void*, bool> Next(grpc::CompletionQueue& queue) {
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  return {tag, ok};
}

static Status Unary(grpc::GenericStub& stub, grpc::ClientContext& context, const std::string& path, const std::string& request,
                    std::vector<std::string>* replies) {
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, path, ToBuffer(request), &queue);
  ByteBuffer reply;
  Status status;
  call->StartCall();
  call->Finish(&reply, &status, nullptr);
  Next(queue);
  if (status.ok()) replies->push_back(ToString(reply));
  return status;
}

// Writes and reads at the same time: a message is written when the one before it has left.
static Status Streaming(grpc::GenericStub& stub, grpc::ClientContext& context, const Scenario& scenario, std::vector<std::string>* replies) {
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(&context, scenario.path, &queue);
  call->StartCall(nullptr);
  void* const reading = &queue;
  void* const writing = call.get();
  if (Next(queue).second) {
    size_t next = 0;
    auto write = [&] {
      if (next == scenario.requests.size()) {
        call->WritesDone(writing);
      } else {
        if (next) std::this_thread::sleep_for(std::chrono::seconds(scenario.pause));
        call->Write(ToBuffer(scenario.requests[next]), writing);
      }
      next++;
    };
    ByteBuffer reply;
    call->Read(&reply, reading);
    write();
    for (int outstanding = 2; outstanding > 0; outstanding--) {
      auto [tag, ok] = Next(queue);
      if (ok && tag == reading) {
        replies->push_back(ToString(reply));
        call->Read(&reply, reading);
        outstanding++;
      } else if (ok && next <= scenario.requests.size()) {
        write();
        outstanding++;
      }
    }
  }
  Status status;
  call->Finish(&status, nullptr);
  Next(queue);
  return status;
}

static Status Call(grpc::GenericStub& stub, const Scenario& scenario, int index, std::vector<std::string>* replies) {
  grpc::ClientContext context;
  int seconds = 30 + scenario.pause * int(scenario.requests.size());
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  if (scenario.kind == "unary" || scenario.kind == "load") {
    return Unary(stub, context, scenario.path, scenario.requests[index % scenario.requests.size()], replies);
  }
  return Streaming(stub, context, scenario, replies);
}

static void Run(grpc::GenericStub& stub, const Scenario& scenario, const std::string& out) {
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  Status failure;
  auto worker = [&] {
    struct stat unused;
    while (!failed) {
      bool load = scenario.kind == "load";
      if (load && stat((out + "/stop").c_str(), &unused) == 0) return;
      int index = next++;
      if (!load && index >= scenario.count) return;
      std::vector<std::string> replies;
      Status status = Call(stub, scenario, index, &replies);
      if (!status.ok()) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!failed.exchange(true)) failure = status;
      } else if (!load) {
        std::ofstream file(out + "/" + scenario.name + "." + std::to_string(index), std::ios::binary);
        for (const auto& reply : replies) file << Length(reply.size()) << reply;
      }
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < scenario.parallel; i++) workers.emplace_back(worker);
  for (auto& thread : workers) thread.join();
  std::string detail = failure.ok() ? std::to_string(next) + " calls" : failure.error_message();
  for (char& c : detail)
    if (c == '"' || c == '\\' || uint8_t(c) < ' ') c = ' ';
  std::cout << "{\"name\": \"" << scenario.name << "\", \"code\": " << failure.error_code() << ", \"detail\": \"" << detail << "\"}"
            << std::endl;
}

int main(int, char** arguments) {
  grpc::ChannelArguments options;
  options.SetMaxReceiveMessageSize(-1);
  if (const char* seconds = std::getenv("KEEPALIVE_SECONDS")) options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 1000 * std::atoi(seconds));
  grpc::GenericStub stub(grpc::CreateCustomChannel(arguments[1], grpc::InsecureChannelCredentials(), options));
  std::ifstream plan(arguments[2]);
  for (std::string line; std::getline(plan, line);) {
    std::istringstream fields(line);
    Scenario scenario;
    std::string file;
    fields >> scenario.name >> scenario.kind >> scenario.path >> scenario.count >> scenario.parallel >> scenario.pause >> file;
    scenario.requests = Read(file);
    Run(stub, scenario, arguments[3]);
  }
}
