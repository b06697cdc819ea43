// SPDX-License-Identifier: Apache-2.0
/// @file
/// What the methods of losses need of the class that has them.

#pragma once

#include <utility>

#include "lossd/request.h"

namespace lossd {

/// Makes calls. `Reduced` is what a method returns for a reduced loss and `Unreduced` what it returns for kNone: Result<Loss> and
/// Result<Array> for Client, futures of these for Async and Batch, Result<void> and void, which excludes kNone, for Series.
template <typename Reduced, typename Unreduced>
class Caller {
 public:
  virtual ~Caller() = default;

 protected:
  Caller() = default;
  Caller(const Caller&) = default;
  Caller(Caller&&) noexcept = default;
  Caller& operator=(const Caller&) = default;
  Caller& operator=(Caller&&) noexcept = default;

  virtual Reduced reduced(detail::Request request) = 0;
  virtual Unreduced unreduced(detail::Request request) = 0;
};

/// Of a class whose losses cannot be unreduced.
template <typename Reduced>
class Caller<Reduced, void> {
 public:
  virtual ~Caller() = default;

 protected:
  Caller() = default;
  Caller(const Caller&) = default;
  Caller(Caller&&) noexcept = default;
  Caller& operator=(const Caller&) = default;
  Caller& operator=(Caller&&) noexcept = default;

  virtual Reduced reduced(detail::Request request) = 0;
};

}  // namespace lossd
