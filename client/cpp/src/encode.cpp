// SPDX-License-Identifier: Apache-2.0

#include "encode.h"

#include <google/protobuf/descriptor.h>
#include <grpc/slice.h>

#include <bit>
#include <cstring>
#include <functional>

#include "lossd/v1/embedding.pb.h"
#include "lossd/v1/evaluation_service.pb.h"
#include "lossd/v1/vocabulary.pb.h"

namespace lossd::detail {
namespace {

enum WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2 };

using Bytes = std::span<const std::byte>;

Bytes bytes_of(const grpc::Slice& slice) { return std::as_bytes(std::span(slice.begin(), slice.size())); }

/// Writes fields to `out`, or only counts their bytes if `out` is null. So each message is described once, for its size and its content.
class Writer {
 public:
  explicit Writer(std::byte* out) : out_(out) {}

  std::size_t size() const { return size_; }

  void varint(std::uint64_t value) {
    while (value >= 0x80) {
      put(static_cast<std::byte>(value | 0x80));
      value >>= 7;
    }
    put(static_cast<std::byte>(value));
  }

  void raw(Bytes bytes) {
    if (out_ != nullptr && !bytes.empty()) std::memcpy(out_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }

  void integer(int number, std::int64_t value) {
    tag(number, kVarint);
    varint(static_cast<std::uint64_t>(value));
  }

  void real(int number, double value) {
    tag(number, kFixed64);
    raw(std::as_bytes(std::span(&value, 1)));
  }

  void bytes(int number, Bytes value) {
    tag(number, kBytes);
    varint(value.size());
    raw(value);
  }

  void integers(int number, std::span<const std::int64_t> values) {
    if (values.empty()) return;
    message(number, [&](Writer& writer) {
      for (const std::int64_t value : values) writer.varint(static_cast<std::uint64_t>(value));
    });
  }

  /// A field whose content `write` writes to a Writer.
  template <typename Write>
  void message(int number, const Write& write) {
    Writer counter(nullptr);
    write(counter);
    tag(number, kBytes);
    varint(counter.size());
    if (out_ == nullptr) {
      size_ += counter.size();
    } else {
      write(*this);
    }
  }

  void tensor(int number, const Tensor& tensor) {
    message(number, [&](Writer& writer) {
      writer.integers(v1::Tensor::kShapeFieldNumber, {std::to_address(tensor.shape().begin()), tensor.shape().rank()});
      const int member = static_cast<int>(tensor.dtype());
      const bool typed = member <= static_cast<int>(DType::kBool);
      if (typed) {
        writer.message(member, [&](Writer& list) {
          if (!tensor.bytes().empty()) list.payload(v1::Float32Values::kValuesFieldNumber, tensor.bytes());
        });
      } else {
        writer.payload(member, tensor.bytes());
      }
    });
  }

  /// The places of the tensors' bytes, in the order in which they were written.
  const std::vector<Bytes>& payloads() const { return payloads_; }

 private:
  void tag(int number, WireType type) { varint(static_cast<std::uint64_t>(number) << 3 | type); }

  void put(std::byte byte) {
    if (out_ != nullptr) out_[size_] = byte;
    ++size_;
  }

  void payload(int number, Bytes value) {
    bytes(number, value);
    if (out_ != nullptr) payloads_.emplace_back(out_ + size_ - value.size(), value.size());
  }

  std::byte* out_;
  std::size_t size_ = 0;
  std::vector<Bytes> payloads_;
};

/// Writes one field of a request.
struct FieldWriter {
  Writer& writer;
  int number;

  void operator()(const Tensor& value) const { writer.tensor(number, value); }
  void operator()(const std::vector<std::int64_t>& value) const { writer.integers(number, value); }
  void operator()(std::int64_t value) const { writer.integer(number, value); }
  void operator()(bool value) const { writer.integer(number, value ? 1 : 0); }
  void operator()(double value) const { writer.real(number, value); }

  void operator()(const std::vector<TailCluster>& clusters) const {
    for (const TailCluster& cluster : clusters) {
      writer.message(number, [&](Writer& fields) {
        if (cluster.projection) fields.tensor(v1::AdaptiveTailCluster::kProjectionFieldNumber, cluster.projection);
        if (cluster.output) fields.tensor(v1::AdaptiveTailCluster::kOutputFieldNumber, cluster.output);
      });
    }
  }

  void operator()(const Distance& distance) const {
    writer.message(number, [&](Writer& fields) {
      if (const auto* pairwise = std::get_if<PairwiseDistance>(&distance)) {
        fields.real(v1::PairwiseDistance::kPFieldNumber, pairwise->p);
        fields.real(v1::PairwiseDistance::kEpsFieldNumber, pairwise->eps);
      } else if (const auto* cosine = std::get_if<CosineDistance>(&distance)) {
        fields.real(v1::CosineDistance::kEpsFieldNumber, cosine->eps);
      }
    });
  }
};

void write(Writer& writer, const Request& request) {
  using M = v1::CrossEntropyLossRequest;  // the numbers of these three are the same in every request
  for (const Field& field : request.fields) std::visit(FieldWriter{writer, field.number}, field.value);
  writer.integer(M::kReductionFieldNumber, request.reduction);
  if (request.call.precision == Precision::kFloat64) writer.integer(M::kPrecisionFieldNumber, v1::PRECISION_FLOAT64);
  if (request.call.reject_non_finite) writer.integer(M::kRejectNonFiniteFieldNumber, 1);
}

void write_call(Writer& writer, int number, const Encoded& call) {
  writer.message(number, [&](Writer& fields) { fields.bytes(call.loss->member, bytes_of(call.message)); });
}

/// One slice with what `write` writes.
template <typename Write>
grpc::Slice slice_of(const Write& write, std::vector<Bytes>* payloads = nullptr) {
  Writer counter(nullptr);
  write(counter);
  grpc_slice slice = grpc_slice_malloc_large(counter.size());
  Writer writer(reinterpret_cast<std::byte*>(const_cast<std::uint8_t*>(GRPC_SLICE_START_PTR(slice))));
  write(writer);
  if (payloads != nullptr) *payloads = writer.payloads();
  return {slice, grpc::Slice::STEAL_REF};
}

}  // namespace

std::string field_name(const LossInfo& loss, int number) { return std::string(loss.descriptor()->FindFieldByNumber(number)->name()); }

std::size_t encoded_size(const Request& request) {
  Writer counter(nullptr);
  write(counter, request);
  return counter.size();
}

Encoded encode(const Request& request) {
  return {request.loss, slice_of([&](Writer& writer) { write(writer, request); })};
}

Encoded encode_and_own(Request& request) {
  std::vector<Bytes> payloads;
  Encoded encoded{request.loss, slice_of([&](Writer& writer) { write(writer, request); }, &payloads)};
  const auto owner = std::make_shared<grpc::Slice>(encoded.message);
  auto place = payloads.begin();
  for (Field& field : request.fields) {
    if (auto* tensor = std::get_if<Tensor>(&field.value)) {
      *tensor = tensor->over(tensor->bytes().empty() ? Bytes{} : *place++, owner);
    } else if (auto* clusters = std::get_if<std::vector<TailCluster>>(&field.value)) {
      for (TailCluster& cluster : *clusters) {
        for (Tensor* tensor : {&cluster.projection, &cluster.output}) {
          if (*tensor) *tensor = tensor->over(tensor->bytes().empty() ? Bytes{} : *place++, owner);
        }
      }
    }
  }
  return encoded;
}

grpc::ByteBuffer batch_message(std::span<const Encoded* const> calls) {
  const grpc::Slice slice = slice_of([&](Writer& writer) {
    for (const Encoded* call : calls) write_call(writer, v1::ScoreBatchRequest::kCallsFieldNumber, *call);
  });
  return {&slice, 1};
}

grpc::ByteBuffer stream_message(std::span<const StreamItem> calls, std::span<const std::uint64_t> cancelled_ids) {
  const grpc::Slice slice = slice_of([&](Writer& writer) {
    for (const StreamItem& item : calls) {
      writer.message(v1::ScoreStreamRequest::kCallsFieldNumber, [&](Writer& fields) {
        fields.integer(v1::StreamCall::kIdFieldNumber, static_cast<std::int64_t>(item.id));
        write_call(fields, v1::StreamCall::kCallFieldNumber, item.call);
        if (item.timeout_seconds) fields.real(v1::StreamCall::kTimeoutSecondsFieldNumber, *item.timeout_seconds);
      });
    }
    if (!cancelled_ids.empty()) {
      writer.message(v1::ScoreStreamRequest::kCancelledIdsFieldNumber, [&](Writer& ids) {
        for (const std::uint64_t id : cancelled_ids) ids.varint(id);
      });
    }
  });
  return {&slice, 1};
}

}  // namespace lossd::detail
