// SPDX-License-Identifier: Apache-2.0
// The arithmetic that this bench was built with.
#pragma once

#include <meshloom/meshloom.hpp>
#if defined(EXAMPLE_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#if defined(EXAMPLE_WITH_CBLAS)
using products = meshloom::cblas;
#else
using products = meshloom::plain;
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
using arithmetic = meshloom::onednn_with<products>;
#else
using arithmetic = products;
#endif
