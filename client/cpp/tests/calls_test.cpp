// SPDX-License-Identifier: Apache-2.0
// Calls that share messages, are split, cancelled, refused or retried, against a running server.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "lossd/lossd.h"
#include "server.h"

namespace lossd::testing {
namespace {

using namespace std::chrono_literals;

std::vector<float> numbers(std::size_t count, float first) {
  std::vector<float> found(count);
  for (std::size_t i = 0; i < count; ++i) found[i] = first + static_cast<float>(i % 17);
  return found;
}

/// The mean squared error of numbers that differ by `by`.
double expected(float by) { return static_cast<double>(by) * by; }

TEST(Errors, AWrongTargetIsNamedAsTheArgument) {
  Client client(shared_server().address());
  const std::vector<float> logits(6);
  const std::vector<std::int64_t> labels = {0, 7};
  const auto loss = client.cross_entropy({logits, {2, 3}}, labels);
  ASSERT_FALSE(loss);
  EXPECT_EQ(loss.error().code, Code::kInvalidArgument);
  EXPECT_EQ(loss.error().reason, "TARGET_OUT_OF_RANGE");
  ASSERT_EQ(loss.error().field_violations.size(), 1U);
  EXPECT_EQ(loss.error().field_violations[0].field, "target");
  EXPECT_THROW(static_cast<void>(loss->value), Error);
}

TEST(Errors, WrongOptionsAreReportedByEveryCall) {
  Client client(shared_server().address(), {.token = "line\n"});
  EXPECT_EQ(client.server_info().error().code, Code::kInvalidArgument);
}

TEST(Errors, AServerThatIsNotThereIsUnavailable) {
  Client client("127.0.0.1:1", {.retry = false});
  EXPECT_EQ(client.server_info().error().code, Code::kUnavailable);
  EXPECT_EQ(client.wait_until_ready({.timeout = 300ms}).error().code, Code::kUnavailable);
}

TEST(Cancelling, AStopTokenEndsACallThatWaitsForAServer) {
  for (const bool coalesce : {false, true}) {
    Client client("127.0.0.1:1", {.coalesce = coalesce});
    std::stop_source stop;
    const std::vector<float> ones(4, 1.0F);
    auto loss = client.async().mse_loss(ones, ones, {.call = {.stop = stop.get_token()}});
    stop.request_stop();
    EXPECT_EQ(loss.get().error().code, Code::kCancelled);
  }
}

TEST(Cancelling, ClosingTheClientEndsItsCalls) {
  std::future<Result<Loss>> loss;
  {
    Client client("127.0.0.1:1");
    const std::vector<float> ones(4, 1.0F);
    loss = client.async().mse_loss(ones, ones);
  }
  EXPECT_EQ(loss.get().error().code, Code::kCancelled);
}

TEST(Coalescing, CallsInFlightShareBatchesAndKeepTheirOwnErrors) {
  Client client(shared_server().address(), {.coalesce = true});
  std::vector<std::future<Result<Loss>>> losses;
  std::stop_source stop;
  const std::vector<float> ones(8, 1.0F);
  const std::vector<float> wrong(8, 7.0F);
  auto cancelled = client.async().mse_loss(ones, ones, {.call = {.stop = stop.get_token()}});
  stop.request_stop();
  for (int i = 0; i < 2'000; ++i) {
    const std::vector<float> input(8, static_cast<float>(i % 50));
    losses.push_back(client.async().mse_loss(input, std::vector<float>(8)));
  }
  auto refused = client.async().soft_margin_loss(ones, wrong);
  auto late = client.async().mse_loss(ones, ones, {.call = {.timeout = 0s}});
  int together = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const auto loss = losses[i].get();
    ASSERT_TRUE(loss) << loss.error();
    EXPECT_DOUBLE_EQ(loss->value, expected(static_cast<float>(i % 50)));
    if (loss->execution.calls_in_batch > 1) ++together;
  }
  EXPECT_GT(together, 0);
  EXPECT_EQ(refused.get().error().reason, "TARGET_OUT_OF_RANGE");
  EXPECT_EQ(late.get().error().code, Code::kDeadlineExceeded);
  const auto first = cancelled.get();
  EXPECT_TRUE(first || first.error().code == Code::kCancelled);
}

TEST(Coalescing, ThreadsMayShareAClient) {
  Client client(shared_server().address(), {.coalesce = true});
  std::vector<std::thread> threads;
  for (int t = 1; t <= 8; ++t) {
    threads.emplace_back([&client, t] {
      const std::vector<float> input(16, static_cast<float>(t));
      for (int i = 0; i < 100; ++i) {
        const auto loss = client.mse_loss(input, std::vector<float>(16));
        ASSERT_TRUE(loss) << loss.error();
        EXPECT_DOUBLE_EQ(loss->value, expected(static_cast<float>(t)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Batches, CallsOfABatchHaveTheirOwnAnswers) {
  Client client(shared_server().address());
  const std::vector<float> large = numbers(600'000, 1.0F);
  Batch batch = client.batch();
  std::vector<std::future<Result<Loss>>> losses;
  for (int i = 0; i < 100; ++i) losses.push_back(batch.mse_loss(std::vector<float>(4, static_cast<float>(i)), std::vector<float>(4)));
  auto wrong = batch.mse_loss(std::vector<float>(4), std::vector<float>(5));
  auto each = batch.l1_loss(std::vector<float>{3.0F, 4.0F}, std::vector<float>(2), {.reduction = kNone});
  auto alone = batch.mse_loss(large, large);
  batch.send();
  for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_DOUBLE_EQ(losses[i].get()->value, expected(static_cast<float>(i)));
  EXPECT_EQ(wrong.get().error().reason, "SHAPE_MISMATCH");
  EXPECT_EQ(each.get()->get<float>(), (std::vector<float>{3.0F, 4.0F}));
  EXPECT_EQ(alone.get()->value, 0.0);
}

TEST(Splitting, ALargeCallEqualsTheWhole) {
  const Server small({"--max-request-bytes", "20000"});
  Client whole(shared_server().address());
  Client parts(small.address());
  const std::vector<float> logits = numbers(5'000 * 10, 0.5F);
  std::vector<std::int64_t> labels(5'000);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 10);
  const Tensor input(logits, {5'000, 10});
  const auto a = whole.cross_entropy(input, labels);
  const auto b = parts.cross_entropy(input, labels);
  ASSERT_TRUE(a) << a.error();
  ASSERT_TRUE(b) << b.error();
  EXPECT_NEAR(a->value, b->value, 1e-6);
  EXPECT_EQ(b->statistics.element_count, 5'000);
  const auto each = whole.cross_entropy(input, labels, {.reduction = kNone});
  EXPECT_EQ(parts.async().cross_entropy(input, labels, {.reduction = kNone}).get()->get<float>(), each->get<float>());

  labels[4'999] = 99;
  const auto wrong = parts.cross_entropy(input, labels);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("[4999]"), std::string::npos) << wrong.error();

  const std::vector<float> weight = numbers(40'000, 0.0F);
  const auto uncuttable = parts.linear_cross_entropy({logits, {5'000, 10}}, {weight, {4'000, 10}}, labels);
  ASSERT_FALSE(uncuttable);
  EXPECT_EQ(uncuttable.error().code, Code::kResourceExhausted);
  EXPECT_NE(uncuttable.error().message.find("linear_weight"), std::string::npos) << uncuttable.error();
}

TEST(Evaluations, OrdersAndMergesGiveTheSameBits) {
  Client client(shared_server().address());
  Evaluation forwards = client.evaluation();
  Evaluation first = client.evaluation();
  Evaluation second = client.evaluation();
  const auto update = [](Evaluation& evaluation, int i) {
    const std::vector<float> input = {0.1F * static_cast<float>(i), 1e4F / static_cast<float>(i + 1)};
    const auto updated = evaluation[i % 2 == 0 ? "even" : "odd"].mse_loss(input, std::vector<float>(2));
    ASSERT_TRUE(updated) << updated.error();
  };
  for (int i = 0; i < 3'000; ++i) update(forwards, i);
  for (int i = 2'999; i >= 0; --i) update(i % 3 == 0 ? first : second, i);
  ASSERT_TRUE(second.merge(first));
  const auto a = forwards.compute();
  const auto b = second.compute();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->at("even").value, b->at("even").value);
  EXPECT_EQ(a->at("odd").statistics, b->at("odd").statistics);
  EXPECT_EQ(a->at("odd").call_count, 1'500);
  EXPECT_EQ(forwards.total()->value, second.total()->value);
  EXPECT_EQ(forwards["even"].l1_loss(std::vector<float>(2), std::vector<float>(2)).error().code, Code::kInvalidArgument);
}

TEST(Example, ScoresWhatItHasServed) {
  const std::string command = std::string(LOSSD_EXAMPLE) + " " + shared_server().address();
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(Connecting, ATokenIsSent) {
  const std::string file = ::testing::TempDir() + "lossd_tokens";
  std::ofstream(file) << "tests 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n";
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  const Server guarded({"--tokens-file", file});
  EXPECT_TRUE(Client(guarded.address(), {.token = "secret"}).server_info());
  EXPECT_EQ(Client(guarded.address(), {.token = "wrong"}).server_info().error().code, Code::kUnauthenticated);
}

TEST(Connecting, TlsTrustsTheAuthorityOfAFile) {
  const std::string certificate = ::testing::TempDir() + "lossd_certificate.pem";
  const std::string key = ::testing::TempDir() + "lossd_key.pem";
  const std::string command =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=lossd -addext subjectAltName=IP:127.0.0.1 -keyout " + key + " -out " +
      certificate + " 2>/dev/null";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no openssl to make a certificate";
  const Server server({"--tls-cert-file", certificate, "--tls-key-file", key});
  Client trusting(server.address(), {.ca_file = certificate});
  const auto trusted = trusting.server_info();
  EXPECT_TRUE(trusted) << trusted.error();
  Client distrusting(server.address(), {.timeout = 20s, .tls = true});
  const auto refused = distrusting.server_info();  // at once: another attempt would fail, too
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  Client unreadable(server.address(), {.ca_file = "/no/such/file"});
  EXPECT_EQ(unreadable.server_info().error().code, Code::kInvalidArgument);
}

TEST(Restarting, EveryCallIsAnsweredThroughARestart) {
  for (const bool coalesce : {false, true}) {
    Server server;
    Client client(server.address(), {.timeout = 60s, .coalesce = coalesce});
    std::vector<std::future<Result<Loss>>> losses;
    for (int i = 0; i < 600; ++i) {
      if (i == 200) server.kill();
      losses.push_back(client.async().mse_loss(std::vector<float>(4, static_cast<float>(i % 50)), std::vector<float>(4)));
      if (i == 400) server.begin_restart();
    }
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const auto loss = losses[i].get();
      ASSERT_TRUE(loss) << loss.error();
      EXPECT_DOUBLE_EQ(loss->value, expected(static_cast<float>(i % 50)));
    }
  }
}

}  // namespace
}  // namespace lossd::testing
