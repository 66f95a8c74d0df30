#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# contest.sh CONTEST FOLDER: bench/contest proves the optima of problems of the contest, with certificates, and says what
# is wrong with other files. Exits with 77, which skips the test, where FOLDER has no problems.
set -euo pipefail
contest=$1 folder=$2

fail() {
  echo "contest.sh: $*" >&2
  exit 1
}

# field NAME: its number in the row that is read.
field() { sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"; }

# refuses WORDS FILE: bench/contest names WORDS in what it says of FILE.
refuses() {
  local said
  if said=$("$contest" "$2" 2>&1); then fail "$2 was taken"; fi
  [[ $said == *"$1"* ]] || fail "of $2 is said: $said"
}

own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
echo '{"problem": {"name": "cut", "nodes": {' > "$own/cut.json"
refuses "cut.json" "$own/cut.json"
refuses "none.json" "$own/none.json"

if [[ ! -f $folder/B.json.gz ]]; then
  echo "contest.sh: $folder has no problems of the contest; only refusals were tested" >&2
  exit 77
fi
while read -r name optimum; do
  row=$("$contest" "$folder/$name.json.gz" --seconds 60 --json)
  for what in cost bound certified_bound; do
    found=$(field "$what" <<< "$row")
    [[ $found == "$optimum" ]] || fail "$name: $what is $found and not $optimum"
  done
done <<< "B 532843
G 217039
A 6548553650
P 651833115436"
