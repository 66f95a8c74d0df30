#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# readme.sh SOURCE: the program that the README shows is examples/first.cpp, to the letter.
set -euo pipefail
shown=$(awk '/^```cpp$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$1/README.md")
diff <(echo "$shown") <(grep -v '^// SPDX' "$1/examples/first.cpp") || {
  echo "readme.sh: README.md shows another program than examples/first.cpp; copy it there" >&2
  exit 1
}
