#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check.sh FILE COMPILER...: FILE compiles as it is, does not compile with MESHLOOM_MUST_FAIL defined, and then the first
# error that the compiler shows contains the text after `// expected: ` in FILE.
set -euo pipefail

file=$1
shift
fail() { echo "$file: $1"; [[ -z ${2:-} ]] || echo "$2"; exit 1; }

expected=$(sed -n 's|^ *// expected: *||p' "$file")
[[ -n $expected && $expected != *$'\n'* ]] || fail "one line '// expected: ...' must say what the first error says"

"$@" -fsyntax-only "$file" || fail "the twin that must compile does not"
if shown=$("$@" -fsyntax-only -DMESHLOOM_MUST_FAIL "$file" 2>&1); then fail "compiles, and must not"; fi
first=$(grep -m1 'error: ' <<< "$shown") || fail "fails without an error" "$shown"
[[ $first == *"$expected"* ]] || fail "the first error must contain: $expected" "$first"
