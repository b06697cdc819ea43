// SPDX-License-Identifier: Apache-2.0
// The golden vectors of tests/golden through the public API.

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

#include "golden_arguments.h"
#include "server.h"

namespace lossd::testing {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

Struct read(const std::string& file) {
  std::ifstream in(std::string(LOSSD_GOLDEN_DIR) + "/" + file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  Struct read;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, &read).ok()) << file;
  return read;
}

std::vector<std::string> files(const std::string& kind) {
  const Struct index = read("index.json");
  std::vector<std::string> names;
  for (const Value& name : index.fields().at(kind).list_value().values()) names.push_back(name.string_value());
  return names;
}

/// Vectors that the API cannot express, by file and name, each with the reason.
const std::map<std::string, std::string>& left_out() {
  static const std::map<std::string, std::string> reasons = {};
  return reasons;
}

void expect_near(double found, double expected, double tolerance, const std::string& what) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << what << " is " << found;
  } else if (std::isinf(expected)) {
    EXPECT_EQ(found, expected) << what;
  } else {
    EXPECT_LE(std::abs(found - expected), tolerance * std::abs(expected) + tolerance / 10) << what << ": " << found << ", not " << expected;
  }
}

void expect_statistics(const Statistics& found, const Struct& expected, double tolerance) {
  const auto& fields = expected.fields();
  expect_near(found.sum, number(fields.at("sum")), tolerance, "sum");
  expect_near(found.mean_numerator, number(fields.at("mean_numerator")), tolerance, "mean_numerator");
  expect_near(found.mean_denominator, number(fields.at("mean_denominator")), tolerance, "mean_denominator");
  EXPECT_EQ(found.element_count, static_cast<std::int64_t>(number(fields.at("element_count"))));
  EXPECT_EQ(found.ignored_count, static_cast<std::int64_t>(number(fields.at("ignored_count"))));
}

template <typename T>
void expect_values(const Array& found, const std::vector<std::byte>& expected, double tolerance) {
  std::vector<T> values(expected.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), expected.data(), expected.size());
  ASSERT_TRUE(std::holds_alternative<std::vector<T>>(found.values));
  ASSERT_EQ(found.get<T>().size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) expect_near(found.get<T>()[i], values[i], tolerance, "value " + std::to_string(i));
}

void expect_array(const Array& found, const Struct& expected, double tolerance) {
  const auto& fields = expected.fields();
  std::vector<std::int64_t> shape;
  for (const Value& extent : fields.at("shape").list_value().values()) shape.push_back(static_cast<std::int64_t>(extent.number_value()));
  EXPECT_EQ(found.shape, Shape(shape));
  const std::vector<std::byte> bytes = decoded(fields.at("data").string_value());
  if (fields.at("dtype").string_value() == "float64") {
    expect_values<double>(found, bytes, tolerance);
  } else {
    expect_values<float>(found, bytes, tolerance);
  }
}

std::string in_arguments(std::string field) {
  static const std::map<std::string, std::string> names = {{"class_indices", "target"},
                                                           {"class_probabilities", "target"},
                                                           {"padded_targets", "targets"},
                                                           {"concatenated_targets", "targets"},
                                                           {"variance_values", "var"},
                                                           {"variance_scalar", "var"},
                                                           {"pairwise_distance", "distance_function"},
                                                           {"cosine_distance", "distance_function"},
                                                           {"squared_euclidean_distance", "distance_function"}};
  const std::size_t end = std::min(field.find('.'), field.size());
  const auto name = names.find(field.substr(0, end));
  return name == names.end() ? field : name->second + field.substr(end);
}

void expect_error(const Error& found, const Struct& expected) {
  const auto& fields = expected.fields();
  EXPECT_EQ(name(found.code), fields.at("code").string_value()) << found;
  EXPECT_EQ(found.reason, fields.at("reason").string_value()) << found;
  std::vector<std::string> named;
  std::vector<std::string> expected_names;
  for (const FieldViolation& violation : found.field_violations) named.push_back(violation.field);
  for (const Value& violation : fields.at("field_violations").list_value().values()) {
    expected_names.push_back(in_arguments(violation.struct_value().fields().at("field").string_value()));
  }
  EXPECT_EQ(named, expected_names) << found;
  for (const auto& [key, value] : fields.at("metadata").struct_value().fields()) {
    EXPECT_TRUE(found.metadata.contains(key) && found.metadata.at(key) == value.string_value()) << key << ": " << found;
  }
}

void check(Client& client, const std::string& loss, const Struct& vector) {
  const auto& fields = vector.fields();
  GoldenCall call(loss, fields.at("arguments").struct_value());
  const std::string key = loss + ": " + fields.at("name").string_value();
  if (left_out().contains(key) || !call.inexpressible().empty()) return;
  SCOPED_TRACE(key);
  const Outcome outcome = call.make(client);
  const bool failed = std::visit([](const auto& result) { return !result.has_value(); }, outcome);
  if (fields.contains("error")) {
    ASSERT_TRUE(failed);
    std::visit([&](const auto& result) { expect_error(result.error(), fields.at("error").struct_value()); }, outcome);
    return;
  }
  ASSERT_FALSE(failed) << std::visit([](const auto& result) { return std::string(result.error().what()); }, outcome);
  const auto& response = fields.at("response").struct_value().fields();
  const double tolerance = response.at("tolerance").number_value();
  std::visit([&](const auto& result) { expect_statistics(result->statistics, response.at("statistics").struct_value(), tolerance); },
             outcome);
  if (const auto* loss_result = std::get_if<Result<Loss>>(&outcome)) {
    expect_near((*loss_result)->value, number(response.at("value")), tolerance, "value");
  } else {
    expect_array(*std::get<Result<Array>>(outcome), response.at("values").struct_value(), tolerance);
  }
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, VectorsHoldThroughThePublicApi) {
  const Struct file = read(GetParam());
  const auto& fields = file.fields();
  std::vector<std::string> flags;
  ClientOptions options;
  std::optional<Server> limited;
  if (fields.contains("settings")) {
    for (const auto& [name, value] : fields.at("settings").struct_value().fields()) {
      std::string flag = "--" + name;
      std::ranges::replace(flag, '_', '-');
      flags.insert(flags.end(), {flag, std::to_string(static_cast<std::int64_t>(value.number_value()))});
    }
    limited.emplace(flags);
    options.split = false;
  }
  Client client(limited ? limited->address() : shared_server().address(), options);
  std::size_t count = 0;
  for (const Value& vector : fields.at("vectors").list_value().values()) {
    if (vector.struct_value().fields().contains("raw")) continue;
    check(client, fields.at("loss").string_value(), vector.struct_value());
    ++count;
  }
  EXPECT_GT(count, 0U);
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) { return info.param.substr(0, info.param.find('.')); }

INSTANTIATE_TEST_SUITE_P(Losses, Golden, ::testing::ValuesIn(files("files")), test_name);
INSTANTIATE_TEST_SUITE_P(Limits, Golden, ::testing::ValuesIn(files("limited_files")), test_name);

}  // namespace
}  // namespace lossd::testing
