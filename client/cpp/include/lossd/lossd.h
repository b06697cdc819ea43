// SPDX-License-Identifier: Apache-2.0
/// @file
/// The C++ client of lossd. See lossd::Client.

#pragma once

#include "lossd/batch.h"
#include "lossd/client.h"
#include "lossd/error.h"
#include "lossd/evaluation.h"
#include "lossd/losses.h"
#include "lossd/options.h"
#include "lossd/result.h"
#include "lossd/tensor.h"
