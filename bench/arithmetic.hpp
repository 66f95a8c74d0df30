// SPDX-License-Identifier: Apache-2.0
// The arithmetic that this bench was built with.
#pragma once

#include <meshloom/meshloom.hpp>
#if defined(EXAMPLE_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
using arithmetic = meshloom::cblas;
#else
using arithmetic = meshloom::plain;
#endif
