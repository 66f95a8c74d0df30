#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a bare machine to a trained model: installs what is missing, builds the examples, and trains a small GPT on the
# sources of this repository for about two minutes. quickstart.sh [OPTION...]: the options go to the program, after ours.
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/packages.sh cmake ninja-build g++ libfmt-dev libopenblas-dev libdnnl-dev?

build=${BUILD_DIR:-build/quickstart}
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DMESHLOOM_EXAMPLES=ON -DMESHLOOM_TESTS=OFF -DMESHLOOM_BENCH=OFF -DMESHLOOM_INSTALL=OFF
cmake --build "$build" -j "$(nproc)"

"$build/examples/gpt" --ranks 2 --steps 1000 "$@"
