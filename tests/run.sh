#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs the tests: the quick ones, or with --all also the full matrices (doctest
# suites named "all", and every header alone with all bodies inside, also under nvcc). With --untimed the benchmarks are
# not optimized, and the tests of kernels less than programs are released. Builds in $BUILD_DIR, build/tests if unset.
set -euo pipefail
cd "$(dirname "$0")/.."

configuration=Release full_speed=ON
for option in "$@"; do
  case $option in
    --all) configuration=All ;;
    --untimed) full_speed=OFF ;;
    *) echo "usage: bash tests/run.sh [--all] [--untimed]" >&2; exit 2 ;;
  esac
done

bash tests/packages.sh cmake ninja-build g++ doctest-dev libfmt-dev libopenblas-dev clang-19? libglpk-dev? libdnnl-dev? zlib1g-dev?

build=${BUILD_DIR:-build/tests}
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMESHLOOM_FULL_SPEED="$full_speed"
cmake --build "$build" -j "$(nproc)"
ctest --test-dir "$build" -C "$configuration" -j "$(nproc)" --output-on-failure
