// SPDX-License-Identifier: Apache-2.0
/// @file
/// Tensors: views of the caller's arrays. Nothing is converted, and elements are copied once, into the request.

#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace lossd {

static_assert(std::endian::native == std::endian::little, "elements go to the wire as they lie in memory, which must be little-endian");

/// The bits of an IEEE 754 binary16 number.
struct Float16 {
  std::uint16_t bits;
};

/// The upper half of the bits of an IEEE 754 binary32 number.
struct BFloat16 {
  std::uint16_t bits;
};

/// The element types of tensors. The values are the members' numbers in lossd.v1.Tensor.
enum class DType : std::uint8_t {
  kFloat32 = 2,
  kFloat64 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kBool = 6,
  kFloat16 = 7,
  kBFloat16 = 8,
  kUint8 = 9,
};

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    default:
      return 1;
  }
}

/// Which element type of the server a C++ type is. Specialize it for another library's 16-bit type:
///
///     template <> struct lossd::Element<Eigen::half> : lossd::Element<lossd::Float16> {};
template <typename T>
struct Element;

template <>
struct Element<float> : std::integral_constant<DType, DType::kFloat32> {};
template <>
struct Element<double> : std::integral_constant<DType, DType::kFloat64> {};
template <>
struct Element<bool> : std::integral_constant<DType, DType::kBool> {};
template <>
struct Element<std::uint8_t> : std::integral_constant<DType, DType::kUint8> {};
template <>
struct Element<Float16> : std::integral_constant<DType, DType::kFloat16> {};
template <>
struct Element<BFloat16> : std::integral_constant<DType, DType::kBFloat16> {};
// int, long and long long by their size: std::int32_t and std::int64_t name different ones on different systems.
template <typename T>
requires(std::same_as<T, int> || std::same_as<T, long> || std::same_as<T, long long>) struct Element<T>
    : std::integral_constant<DType, sizeof(T) == 4 ? DType::kInt32 : DType::kInt64> {
};

/// What an integer type that the server lacks is converted to, element by element.
template <typename T>
struct Widened;
template <>
struct Widened<signed char> : std::type_identity<std::int32_t> {};
template <>
struct Widened<short> : std::type_identity<std::int32_t> {};
template <>
struct Widened<unsigned short> : std::type_identity<std::int32_t> {};
template <>
struct Widened<unsigned> : std::type_identity<std::int64_t> {};

/// A type that can be an element of a tensor: float, double, Float16, BFloat16, bool, std::uint8_t, std::int32_t, std::int64_t.
template <typename T>
concept TensorElement = std::is_trivially_copyable_v<T> && requires {
  Element<T>::value;
} && sizeof(T) == size_of(Element<T>::value);

/// The extents of a tensor, outermost first; none for a 0-d tensor. `{rows, classes}` takes any integer types.
class Shape {
 public:
  Shape() = default;

  template <std::integral... Extents>
  requires(sizeof...(Extents) > 0) Shape(Extents... extents) : extents_{static_cast<std::int64_t>(extents)...} {}

  /// Of a rank that is known only at run time.
  Shape(std::vector<std::int64_t> extents) : extents_(std::move(extents)) {}

  std::size_t rank() const { return extents_.size(); }
  std::int64_t operator[](std::size_t axis) const { return extents_[axis]; }
  auto begin() const { return extents_.begin(); }
  auto end() const { return extents_.end(); }
  bool operator==(const Shape&) const = default;

 private:
  std::vector<std::int64_t> extents_;
};

/// A view of a dense, row-major array and its shape. The array must live until the method that takes the tensor returns; methods that
/// return before the answer is there have copied it by then. A default-constructed Tensor stands for an argument that is not given.
///
///     client.cross_entropy({logits, {rows, classes}}, labels);
class Tensor {
 public:
  Tensor() = default;

  /// The elements of a vector, std::array, std::span or another contiguous range, with one extent. std::vector<bool> is not contiguous.
  template <std::ranges::contiguous_range Range>
  requires(std::ranges::sized_range<Range>&& TensorElement<std::ranges::range_value_t<Range>>) Tensor(const Range& elements)
      : Tensor(elements, Shape(static_cast<std::int64_t>(std::ranges::size(elements)))) {}

  /// The same with any shape. The server refuses a shape whose product is not the number of elements.
  template <std::ranges::contiguous_range Range>
  requires(std::ranges::sized_range<Range>&& TensorElement<std::ranges::range_value_t<Range>>) Tensor(const Range& elements, Shape shape)
      : Tensor(Element<std::ranges::range_value_t<Range>>::value, std::as_bytes(std::span(elements)), std::move(shape)) {}

  /// Of an integer type that the server lacks: the tensor holds a converted copy.
  template <std::ranges::contiguous_range Range>
  requires(requires { typename Widened<std::ranges::range_value_t<Range>>::type; }) Tensor(const Range& elements, Shape shape) {
    using Wide = typename Widened<std::ranges::range_value_t<Range>>::type;
    const auto copy = std::make_shared<std::vector<Wide>>(std::ranges::begin(elements), std::ranges::end(elements));
    *this = Tensor(*copy, std::move(shape));
    owner_ = copy;
  }
  template <std::ranges::contiguous_range Range>
  requires(requires { typename Widened<std::ranges::range_value_t<Range>>::type; }) Tensor(const Range& elements)
      : Tensor(elements, Shape(static_cast<std::int64_t>(std::ranges::size(elements)))) {}

  /// Elements of this type as bytes, little-endian.
  Tensor(DType dtype, std::span<const std::byte> bytes, Shape shape)
      : dtype_(dtype), bytes_(bytes), shape_(std::move(shape)), given_(true) {}

  /// False if the argument is not given.
  explicit operator bool() const { return given_; }

  DType dtype() const { return dtype_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  const Shape& shape() const { return shape_; }

  bool is_float() const {
    return dtype_ == DType::kFloat32 || dtype_ == DType::kFloat64 || dtype_ == DType::kFloat16 || dtype_ == DType::kBFloat16;
  }

  /// What keeps the bytes alive, if they are not the caller's.
  const std::shared_ptr<const void>& owner() const { return owner_; }

  /// The same tensor over bytes that `owner` keeps alive.
  Tensor over(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) const {
    Tensor moved(dtype_, bytes, shape_);
    moved.owner_ = std::move(owner);
    return moved;
  }

 private:
  DType dtype_ = DType::kFloat32;
  std::span<const std::byte> bytes_;
  Shape shape_;
  bool given_ = false;
  std::shared_ptr<const void> owner_;
};

}  // namespace lossd
