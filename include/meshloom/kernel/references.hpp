// SPDX-License-Identifier: Apache-2.0
// Every operator of every family again, obviously right: for tests, which compare kernels with them.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/kernel/reference_attention.hpp>
#include <meshloom/kernel/reference_batch_norm.hpp>
#include <meshloom/kernel/reference_convert.hpp>
#include <meshloom/kernel/reference_convolution.hpp>
#include <meshloom/kernel/reference_pooling.hpp>
#include <meshloom/kernel/reference_routing.hpp>
#include <meshloom/kernel/reference_transformer.hpp>
#include <meshloom/kernel/reference_update.hpp>
