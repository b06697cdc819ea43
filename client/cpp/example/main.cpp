// SPDX-License-Identifier: Apache-2.0
// A service that serves predictions, and scores each of them when the truth is known. The loss goes into its metrics; a server of losses
// that is down or slow costs it a warning, never a request.
//
//     lossd_example [ADDRESS]      by default LOSSD_ADDRESS

#include <chrono>
#include <cstdint>
#include <future>
#include <iostream>
#include <random>
#include <utility>
#include <vector>

#include "lossd/lossd.h"

namespace {

constexpr std::size_t kRows = 32;
constexpr std::size_t kClasses = 10;
constexpr int kRequests = 200;

struct Batch {
  std::vector<float> logits;
  std::vector<std::int64_t> labels;  // the truth, which arrives later
};

/// Stands for the model.
Batch serve(std::mt19937& random) {
  std::normal_distribution<float> noise;
  std::uniform_int_distribution<std::int64_t> label(0, kClasses - 1);
  Batch batch{std::vector<float>(kRows * kClasses), std::vector<std::int64_t>(kRows)};
  for (float& logit : batch.logits) logit = noise(random);
  for (std::size_t row = 0; row < kRows; ++row) {
    batch.labels[row] = label(random);
    batch.logits[row * kClasses + static_cast<std::size_t>(batch.labels[row])] += 3.0F;
  }
  return batch;
}

}  // namespace

int main(int count, char** arguments) {
  using namespace std::chrono_literals;
  // Calls of all threads share a stream, and none outlives what it is worth.
  lossd::Client client(count > 1 ? arguments[1] : "", {.timeout = 10s, .coalesce = true});
  if (const auto ready = client.wait_until_ready(); !ready) {
    std::cerr << ready.error() << '\n';
    return 1;
  }
  std::mt19937 random(1);
  std::vector<std::future<lossd::Result<lossd::Loss>>> scores;
  for (int i = 0; i < kRequests; ++i) {
    const Batch batch = serve(random);
    scores.push_back(client.async().cross_entropy({batch.logits, {kRows, kClasses}}, batch.labels, {.label_smoothing = 0.1}));
  }
  double sum = 0.0;
  int scored = 0;
  int together = 0;
  for (auto& score : scores) {
    const lossd::Result<lossd::Loss> loss = score.get();
    if (!loss) {
      std::cerr << "not scored: " << loss.error() << '\n';
      continue;
    }
    sum += loss->value;
    ++scored;
    together += loss->execution.calls_in_batch > 1 ? 1 : 0;
  }
  std::cout << "scored " << scored << " of " << kRequests << " batches, " << together << " together with others; mean loss " << sum / scored
            << '\n';
  return scored == kRequests ? 0 : 1;
}
