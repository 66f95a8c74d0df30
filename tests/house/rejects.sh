#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rejects.sh COMPILER...: headers.sh and check.sh find planted faults, and find none where there is none.
set -euo pipefail

here=$(dirname "$0")
headers=$here/headers.sh
check=$here/../compile_fail/check.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/meshloom"

faults=0
expect() {  # expect EXIT_CODE TEXT COMMAND...
  local code=0 wanted=$1 text=$2 shown
  shift 2
  shown=$("$@" 2>&1) || code=$?
  if [[ $code == "$wanted" && $shown == *"$text"* ]]; then return; fi
  echo "expected exit code $wanted and '$text', got $code from: $*"
  echo "$shown"
  faults=1
}
header() { cat > "$folder/meshloom/$1"; }
pair() { printf '%s\n' "$1" '#if defined(MESHLOOM_MUST_FAIL)' "$2" '#else' "$3" '#endif' > "$folder/pair.cpp"; }

header sound.hpp <<< $'#pragma once\n#include <string>\ninline std::string f() { return {}; }'
header leaning.hpp <<< $'#pragma once\ninline std::string g() { return {}; }'
header unguarded.hpp <<< 'struct twice {};'
header narrow.hpp <<< $'#pragma once\ninline char h(int x) { return x; }'
header defined.hpp <<< $'#pragma once\nint k() { return 1; }'
header split.hpp <<< $'#pragma once\nstd::size_t m();\n#if !defined(MESHLOOM_COMPILED)\n#include <meshloom/split.inl>\n#endif'
header split.inl <<< 'inline std::size_t m() { return 0; }'
sed -i '1a #if !defined(MESHLOOM_COMPILED)\n#include <cstddef>\n#endif' "$folder/meshloom/split.hpp"
header full.hpp <<< $'#pragma once\nint n();\n#if !defined(MESHLOOM_COMPILED)\n#include <meshloom/full.inl>\n#endif'
header full.inl <<< $'#pragma once\n#include <string>\ninline int n() { return 0; }'
header idle.hpp <<< $'#pragma once\nint o();\n#if !defined(MESHLOOM_COMPILED)\n#include <meshloom/idle.inl>\n#endif'
header idle.inl <<< $'#include <meshloom/full.hpp>\ninline int o() { return static_cast<int>(std::string().size()); }'
header inside.hpp <<< $'#pragma once\n#if !defined(MESHLOOM_COMPILED)\ninline std::string p() { return {}; }\n#endif'
header vendor.hpp <<< $'#pragma once\n#include <absent/vendor.h>'
header over_vendor.hpp <<< $'#pragma once\n#include <meshloom/vendor.hpp>'

for compiler in "$@"; do
  with=("$folder" "$compiler" -std=c++20 -Wall -Wextra -Wconversion -Werror --)
  expect 0 "" "$headers" alone "${with[@]}" meshloom/sound.hpp
  expect 0 "" "$headers" units "${with[@]}" meshloom/sound.hpp
  expect 0 "" "$headers" together "${with[@]}" meshloom/sound.hpp meshloom/leaning.hpp
  expect 1 "leaning.hpp" "$headers" alone "${with[@]}" meshloom/sound.hpp meshloom/leaning.hpp
  expect 1 "redefinition" "$headers" alone "${with[@]}" meshloom/unguarded.hpp
  expect 1 "narrow.hpp" "$headers" alone "${with[@]}" meshloom/narrow.hpp
  expect 1 "size_t" "$headers" alone "${with[@]}" meshloom/split.hpp
  expect 1 "idle.inl" "$headers" alone "${with[@]}" meshloom/full.hpp meshloom/idle.hpp
  expect 1 "inside.hpp" "$headers" whole "${with[@]}" meshloom/sound.hpp meshloom/inside.hpp
  expect 1 "multiple definition" "$headers" units "${with[@]}" meshloom/defined.hpp
  expect 77 "needs <absent/vendor.h>" "$headers" alone "${with[@]}" meshloom/over_vendor.hpp
  expect 0 "needs <absent/vendor.h>" "$headers" alone "${with[@]}" meshloom/vendor.hpp meshloom/sound.hpp

  with=("$folder/pair.cpp" "$compiler" -std=c++20)
  refused='static_assert(false, "grain: give one");'
  pair '// expected: grain: give one' "$refused" ''
  expect 0 "" "$check" "${with[@]}"
  pair '// expected: grain: give two' "$refused" ''
  expect 1 "must contain: grain: give two" "$check" "${with[@]}"
  pair '// expected: grain: give one' "int x = \"\"; $refused" ''
  expect 1 "the first error must contain" "$check" "${with[@]}"
  pair '// expected: grain: give one' '' ''
  expect 1 "compiles, and must not" "$check" "${with[@]}"
  pair '// expected: grain: give one' "$refused" "$refused"
  expect 1 "the twin that must compile does not" "$check" "${with[@]}"
  pair '// nothing expected' "$refused" ''
  expect 1 "one line '// expected: ...'" "$check" "${with[@]}"
done
exit $faults
