// SPDX-License-Identifier: Apache-2.0
// Configuration: the only macros of the library. None of them changes the layout of a type.
#pragma once

/// major * 10000 + minor * 100 + patch; CMake reads the version from this line.
#define MESHLOOM_VERSION 100

/// In front of every function that may also run on a CUDA device.
#if defined(__CUDACC__)
#define MESHLOOM_DEVICE __host__ __device__
#else
#define MESHLOOM_DEVICE
#endif

/// In front of every body in a `.inl` file that the header beside it declares: `inline` when header-only, nothing when
/// the target `meshloom::compiled` (which defines MESHLOOM_COMPILED for everyone who links it) holds the bodies. What
/// a `.inl` file declares itself, for its own use, is `inline` or a template in either case.
#if defined(MESHLOOM_COMPILED)
#define MESHLOOM_INLINE
#else
#define MESHLOOM_INLINE inline
#endif
