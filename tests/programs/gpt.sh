#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gpt.sh PROGRAM: the example as its users run it. Good runs do what they say; every bad input gives one sentence that
# names what is wrong, and a non-zero exit.
set -uo pipefail
gpt=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
small=(--layers 2 --embed 16 --heads 2 --seq 16 --batch 4 --steps 2 --sample 8)
failures=0

fail() { echo "gpt.sh: $*" >&2; failures=$((failures + 1)); }

# works NAME OPTION...: exits with 0; its output is kept in $folder/NAME.
works() {
  "$gpt" "${small[@]}" "${@:2}" > "$folder/$1" 2> "$folder/$1.err" || fail "$1: exit $?: $(cat "$folder/$1.err")"
}

# refuses TEXT OPTION...: a non-zero exit, one line on stderr with TEXT in it, no crash.
refuses() {
  local said status
  said=$("$gpt" "${small[@]}" "${@:2}" 2>&1 > /dev/null); status=$?
  (( status > 0 && status < 126 )) || fail "'${*:2}' exits with $status"
  [[ $said == *"$1"* && $(wc -l <<< "$said") == 1 ]] || fail "'${*:2}' says: $said"
}

works plain
grep -q "held-out loss" "$folder/plain" || fail "a run prints no held-out loss"

works json --json --ranks 2 --plan data
[[ $(head -n 1 "$folder/json") == '{"event":"plan","predicted_step_seconds":'*'"peak_bytes":['* ]] || fail "the first line of --json is no plan"
[[ $(grep -c '"event":"step"' "$folder/json") == 2 ]] || fail "--json does not print a line per step"
[[ $(tail -n 1 "$folder/json") == '{"event":"held_out","loss":'* ]] || fail "the last line of --json is no held-out loss"
grep -qv '^{.*}$' "$folder/json" && fail "--json prints something else than objects"

losses_of() { grep -o '"step":[0-9]*,"loss":[0-9.]*' "$folder/$1"; }
works recomputing --json --ranks 2 --plan data --recompute
cmp -s <(losses_of json) <(losses_of recomputing) || fail "a run that recomputes trains differently"
[[ $(head -n 1 "$folder/json") != $(head -n 1 "$folder/recomputing") ]] || fail "--recompute changes nothing"

works saving --ranks 4 --plan data=2,tensor=2 --save-plan "$folder/plan" --json
works loading --ranks 4 --plan "$folder/plan" --json
cmp -s <(losses_of saving) <(losses_of loading) || fail "a saved plan trains differently"

works tracing --ranks 2 --plan pipeline --micro-batches 2 --trace "$folder/trace"
grep -q '"traceEvents"' "$folder/trace" || fail "--trace writes no timeline"
works simulating --backend simulate --ranks 8 --plan tensor=2,pipeline=4 --trace "$folder/simulated"
grep -q "simulated:" "$folder/simulating" || fail "the simulator says nothing"

works auto --json --ranks 4 --plan auto
[[ $(head -n 1 "$folder/auto") == *'"bound_seconds":'*'"gap":'* ]] || fail "an automatic plan says nothing of its bound"
works lean --json --ranks 2 --plan auto --recompute
works explaining --explain --ranks 2 --cluster local:2
grep -q "no plan of the searched space takes less" "$folder/explaining" || fail "--explain says nothing of the bound"
grep -q "The space that was searched" "$folder/explaining" || fail "--explain does not say what was searched"
works measuring --explain --ranks 2 --plan data
grep -q "above the bound of the free space" "$folder/measuring" || fail "a plan by hand is not measured"
grep -q "step " "$folder/explaining" && grep -q "held-out" "$folder/explaining" && fail "--explain trains"

works deep --ranks 6 --layers 1 --plan pipeline

refuses "ranks" --ranks 3 --plan data=2,tensor=2
refuses "has 4 ranks" --ranks 3 --cluster local:4
refuses "cluster" --cluster nowhere:4
refuses "no such preset" --ranks 2 --plan megatron
refuses "stages" --ranks 64 --plan pipeline
refuses "model" --ranks 4 --plan "$folder/plan" --layers 3
refuses "ranks" --ranks 2 --plan "$folder/plan"
refuses "says which blocks recompute" --ranks 4 --plan "$folder/plan" --recompute
refuses "embed" --ranks 4 --plan "$folder/plan" --embed 32
refuses "micro-batches" --micro-batches 3
refuses "fewer than" --ranks 8 --plan data
refuses "divided" --heads 3
: > "$folder/empty"
refuses "empty" --data "$folder/empty"
refuses "cannot read" --data "$folder/missing"
refuses "bytes up to" --vocab 40
refuses "unknown" --colour blue
refuses "needs a value" --steps
refuses "not possible" --ranks zero
refuses "at least one byte" --prompt ""
refuses "not in this binary" --backend cuda

echo "gpt.sh: $failures failures"
exit $(( failures > 0 ))
