#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# static.sh SOURCE BUILD: examples/gpt built with MESHLOOM_STATIC=ON needs no shared library, and trains. Exits with 77
# (skipped) if the machine has no static OpenBLAS. What is asked is how it is linked, so it is hardly optimized.
set -euo pipefail
source=$1 build=$2

compgen -G '/usr/lib/*/libopenblas.a' > /dev/null || compgen -G '/usr/lib/*/*/libopenblas.a' > /dev/null || {
  echo "static.sh: there is no static OpenBLAS here (Debian: libopenblas-dev)"
  exit 77
}
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
  -DMESHLOOM_STATIC=ON -DMESHLOOM_NATIVE=OFF -DMESHLOOM_EXAMPLES=ON -DMESHLOOM_TESTS=OFF -DMESHLOOM_BENCH=OFF \
  -DMESHLOOM_INSTALL=OFF
cmake --build "$build" --target gpt

linked=$(ldd "$build/examples/gpt" 2>&1 || true)
[[ $linked == *"not a dynamic executable"* ]] || { echo "static.sh: gpt is linked with: $linked" >&2; exit 1; }
"$build/examples/gpt" --layers 2 --embed 32 --seq 32 --batch 8 --steps 30 --ranks 2 --json > "$build/steps.json"
awk -F'[:,]' '/"event":"step"/ { if (!n++) first = $6; last = $6 } END { exit !(n == 30 && last < first) }' "$build/steps.json" ||
  { echo "static.sh: the loss did not fall:" >&2; cat "$build/steps.json" >&2; exit 1; }
ls -l "$build/examples/gpt"
