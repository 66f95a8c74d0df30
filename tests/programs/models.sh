#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# models.sh MOE LLAMA WIDE_RESNET: the other examples as their users run them, each under plans of its own kind, and on
# bad input. What all examples share is tested by gpt.sh.
set -uo pipefail
moe=$1 llama=$2 wide_resnet=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

fail() { echo "models.sh: $*" >&2; failures=$((failures + 1)); }

# works NAME PROGRAM OPTION...: exits with 0; its output is kept in $folder/NAME.
works() { "${@:2}" --json > "$folder/$1" 2> "$folder/$1.err" || fail "$1: exit $?: $(cat "$folder/$1.err")"; }

# refuses TEXT PROGRAM OPTION...: a non-zero exit, one line on stderr with TEXT in it, no crash.
refuses() {
  local said status
  said=$("${@:2}" 2>&1 > /dev/null); status=$?
  (( status > 0 && status < 126 )) || fail "'${*:2}' exits with $status"
  [[ $said == *"$1"* && $(wc -l <<< "$said") == 1 ]] || fail "'${*:2}' says: $said"
}

# same NAME OTHER: the losses of two runs differ by no more than rounding.
same() {
  paste <(losses_of "$1") <(losses_of "$2") |
    awk 'function abs(x) { return x < 0 ? -x : x } abs($1 - $2) > 1e-4 * abs($1) { exit 1 } END { if (NR == 0) exit 1 }' ||
    fail "$1 and $2 train differently"
}
losses_of() { grep -o '"loss":[0-9.]*' "$folder/$1" | grep -o '[0-9.]*'; }

# idx FILE EXTENT...: an IDX file of random bytes below 10.
idx() {
  local count=1 extent
  { printf '\x00\x00\x08'; printf "\\x0$(($# - 1))"
    for extent in "${@:2}"; do printf '\x00\x00\x00'; printf "\\x$(printf %x "$extent")"; count=$((count * extent)); done
    for ((at = 0; at < count; ++at)); do printf "\\x0$((RANDOM % 10))"; done
  } > "$folder/$1"
}

small=(--layers 2 --embed 16 --heads 2 --seq 16 --batch 4 --steps 3 --sample 8)
works moe "$moe" "${small[@]}" --experts 4 --expert-mlp 16
works moe_expert "$moe" "${small[@]}" --experts 4 --expert-mlp 16 --ranks 2 --plan expert
works moe_auto "$moe" "${small[@]}" --experts 4 --expert-mlp 16 --ranks 4
same moe moe_expert
same moe moe_auto
refuses "pairs of layers" "$moe" "${small[@]}" --layers 3

works llama "$llama" "${small[@]}" --key-heads 1 --mlp 24 --dropout 0.2
works llama_tensor "$llama" "${small[@]}" --key-heads 1 --mlp 24 --dropout 0.2 --ranks 2 --plan tensor
works llama_context "$llama" "${small[@]}" --key-heads 1 --mlp 24 --dropout 0.2 --ranks 2 --plan context
same llama llama_tensor
same llama llama_context
refuses "do not go together" "$llama" "${small[@]}" --key-heads 3

RANDOM=1
idx pixels 60 12 10
idx labels 60
images=("$wide_resnet" --images "$folder/pixels" --labels "$folder/labels" --held-out 50 --batch 4 --base 2 --steps 3)
works images "${images[@]}"
works images_space "${images[@]}" --ranks 3 --plan space
works images_channels "${images[@]}" --ranks 2 --plan tensor
same images images_space
same images images_channels
grep -q '"event":"held_out","accuracy":' "$folder/images" || fail "a run on images says no accuracy"
refuses "no images" "$wide_resnet"
refuses "nowhere" "$wide_resnet" --images "$folder/pixels" --labels "$folder/nowhere"

echo "models.sh: $failures failures"
exit $(( failures > 0 ))
