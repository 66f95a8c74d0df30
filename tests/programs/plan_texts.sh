#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# plan_texts.sh SOURCE BUILD COMPILER...: plan_texts.cpp, built by each compiler, writes the same plans byte by byte, and
# each build reads those of the others as its own. Exits with 77 (skipped) if there is one compiler only.
set -euo pipefail
source=$1 build=$2
shift 2

(( $# > 1 )) || { echo "plan_texts.sh: there is one compiler here, and nothing to compare (Debian: clang-19)"; exit 77; }
rm -rf "$build"
builds=()
for compiler in "$@"; do
  folder=$build/$(basename "$compiler")
  mkdir -p "$folder/plans"
  "$compiler" -std=c++20 -O1 -I "$source/include" "$source/tests/programs/plan_texts.cpp" -o "$folder/plan_texts"
  "$folder/plan_texts" write "$folder/plans"
  builds+=("$folder")
done

failures=0
fail() { echo "plan_texts.sh: $*" >&2; failures=$((failures + 1)); }

for one in "${builds[@]}"; do
  for other in "${builds[@]}"; do
    [[ $one == "$other" ]] && continue
    diff -rq "$one/plans" "$other/plans" || fail "$one and $other write different plans"
    "$one/plan_texts" compare "$one/plans" "$other/plans" || fail "$one reads other plans than its own from $other"
  done
done

# One plan that predicts another time is found.
first=${builds[0]}
changed=$build/changed
cp -r "$first/plans" "$changed"
sed -i 's/^predicted /predicted 1/' "$changed/vectors.local.2.auto"
found=$("$first/plan_texts" compare "$first/plans" "$changed") && fail "a changed plan is not found"
[[ $found == "vectors.local.2.auto: another plan"* ]] || fail "of a changed plan it says: $found"

echo "plan_texts.sh: $failures failures"
exit $(( failures > 0 ))
