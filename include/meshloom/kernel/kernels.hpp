// SPDX-License-Identifier: Apache-2.0
// All kernels, in reading order.
#pragma once

#include <meshloom/kernel/adafactor.hpp>      // second moments of matrices as two vectors
#include <meshloom/kernel/attention.hpp>      // and its gradient, block by block
#include <meshloom/kernel/batch_norm.hpp>     // and its gradients
#include <meshloom/kernel/call.hpp>           // what a kernel is told
#include <meshloom/kernel/clip.hpp>           // by the global norm
#include <meshloom/kernel/collapse.hpp>       // fewer and longer loops
#include <meshloom/kernel/contraction.hpp>    // dot as matrix products
#include <meshloom/kernel/convert.hpp>        // between element types
#include <meshloom/kernel/convolution.hpp>    // and its gradients, by columns of the image
#include <meshloom/kernel/cross_entropy.hpp>  // and its gradient
#include <meshloom/kernel/dropout.hpp>        // elements dropped by counter
#include <meshloom/kernel/ema.hpp>            // averages of weights
#include <meshloom/kernel/gemm.hpp>           // our own matrix product
#include <meshloom/kernel/kernel.hpp>         // what a kernel is; the host driver
#include <meshloom/kernel/lamb.hpp>           // steps as long as their parameter says
#include <meshloom/kernel/layer_norm.hpp>     // and its gradients
#include <meshloom/kernel/lookup.hpp>         // and its gradient
#include <meshloom/kernel/math.hpp>           // branch-free exp, tanh, log, erf, sqrt
#include <meshloom/kernel/pointwise.hpp>      // fused expressions, broadcast, fill
#include <meshloom/kernel/pooling.hpp>        // the largest or the mean of a window
#include <meshloom/kernel/random.hpp>         // numbers by counter, initial parameters
#include <meshloom/kernel/rms_norm.hpp>       // and its gradients
#include <meshloom/kernel/rotary.hpp>         // positions as rotations
#include <meshloom/kernel/routing.hpp>        // to experts, and their gradients
#include <meshloom/kernel/rows.hpp>           // a team per row
#include <meshloom/kernel/softmax.hpp>        // and its gradient
#include <meshloom/kernel/stretch.hpp>        // a stretch of elements per team
#include <meshloom/kernel/sum.hpp>            // sums over any axes
#include <meshloom/kernel/team.hpp>           // who runs it
#include <meshloom/kernel/update.hpp>         // sgd and adamw
