// SPDX-License-Identifier: Apache-2.0
// client ADDRESS SECONDS: the figures of the client, as a JSON object.

#include <deque>

#include "lossd/lossd.h"
#include "measure.h"

namespace {

using namespace bench;

void fail_if(bool failed, const std::string& why) {
  if (!failed) return;
  std::cerr << why << '\n';
  std::exit(1);
}

template <typename T>
void check(const lossd::Result<T>& result) {
  if (!result) fail_if(true, result.error().what());
}

double calls_per_second(lossd::Client& client, const Inputs& inputs, double seconds) {
  lossd::Async async = client.async();
  std::deque<std::future<lossd::Result<lossd::Loss>>> in_flight;
  const auto measure = [&](double limit) {
    std::size_t count = 0;
    const Clock::time_point start = Clock::now();
    while (seconds_since(start) < limit) {
      while (in_flight.size() < kInFlight) in_flight.push_back(async.cross_entropy({inputs.logits, {kRows, kClasses}}, inputs.labels));
      check(in_flight.front().get());
      in_flight.pop_front();
      ++count;
    }
    return static_cast<double>(count) / seconds_since(start);
  };
  measure(std::min(0.2, seconds));
  return measure(seconds);
}

}  // namespace

int main(int count, char** arguments) {
  fail_if(count != 3, "client ADDRESS SECONDS");
  const double seconds = std::stod(arguments[2]);
  const Inputs inputs;
  lossd::Client client(arguments[1]);
  lossd::Client coalescing(arguments[1], {.coalesce = true});
  const Timing lone = one_at_a_time(seconds, [&] { check(client.cross_entropy({inputs.logits, {kRows, kClasses}}, inputs.labels)); });
  const double unary = calls_per_second(client, inputs, seconds);
  const double coalesced = calls_per_second(coalescing, inputs, seconds);
  const Timing large = one_at_a_time(seconds, [&] { check(client.mse_loss(inputs.predictions, inputs.targets)); });
  std::cout << "{\"lone_p50_seconds\": " << lone.median_seconds << ", \"unary_calls_per_second\": " << unary
            << ", \"coalesced_calls_per_second\": " << coalesced << ", \"large_call_seconds\": " << large.median_seconds
            << ", \"large_call_cpu_seconds\": " << large.cpu_seconds << "}\n";
}
