// SPDX-License-Identifier: Apache-2.0
// stubs ADDRESS SECONDS: the figures of what one would write by hand on code generated from proto/, as a JSON object.

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "lossd/v1/loss_service.grpc.pb.h"
#include "measure.h"

namespace {

using namespace bench;
namespace v1 = lossd::v1;

void set_deadline(grpc::ClientContext& context) { context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30)); }

void check(const grpc::Status& status) {
  if (status.ok()) return;
  std::cerr << status.error_message() << '\n';
  std::exit(1);
}

void small_call(v1::LossService::Stub& stub, const Inputs& inputs) {
  v1::CrossEntropyLossRequest request;
  request.mutable_input()->add_shape(kRows);
  request.mutable_input()->add_shape(kClasses);
  request.mutable_input()->mutable_float32_values()->mutable_values()->Add(inputs.logits.begin(), inputs.logits.end());
  request.mutable_class_indices()->add_shape(kRows);
  request.mutable_class_indices()->mutable_int64_values()->mutable_values()->Add(inputs.labels.begin(), inputs.labels.end());
  grpc::ClientContext context;
  set_deadline(context);
  v1::LossResponse response;
  check(stub.CrossEntropyLoss(&context, request, &response));
}

void large_call(v1::LossService::Stub& stub, const Inputs& inputs) {
  v1::MseLossRequest request;
  request.mutable_input()->add_shape(kLarge);
  request.mutable_input()->mutable_float32_values()->mutable_values()->Add(inputs.predictions.begin(), inputs.predictions.end());
  request.mutable_target()->add_shape(kLarge);
  request.mutable_target()->mutable_float32_values()->mutable_values()->Add(inputs.targets.begin(), inputs.targets.end());
  grpc::ClientContext context;
  set_deadline(context);
  v1::LossResponse response;
  check(stub.MseLoss(&context, request, &response));
}

double calls_per_second(v1::LossService::Stub& stub, const Inputs& inputs, double seconds) {
  std::atomic<std::size_t> count = 0;
  std::atomic<bool> ended = false;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kInFlight; ++i) {
    threads.emplace_back([&] {
      while (!ended) {
        small_call(stub, inputs);
        ++count;
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.2, seconds)));
  const std::size_t before = count;
  const Clock::time_point start = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const double rate = static_cast<double>(count - before) / seconds_since(start);
  ended = true;
  for (std::thread& thread : threads) thread.join();
  return rate;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 1;
  const double seconds = std::stod(arguments[2]);
  const Inputs inputs;
  const auto stub = v1::LossService::NewStub(grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials()));
  const Timing lone = one_at_a_time(seconds, [&] { small_call(*stub, inputs); });
  const double unary = calls_per_second(*stub, inputs, seconds);
  const Timing large = one_at_a_time(seconds, [&] { large_call(*stub, inputs); });
  std::cout << "{\"lone_p50_seconds\": " << lone.median_seconds << ", \"unary_calls_per_second\": " << unary
            << ", \"large_call_seconds\": " << large.median_seconds << ", \"large_call_cpu_seconds\": " << large.cpu_seconds << "}\n";
}
