#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# headers.sh alone|whole|together|units INCLUDE COMPILER... -- HEADER...: the compiler, with its options, accepts the
# headers
#   alone     each in a source file of its own, included twice, then its bodies; those of other headers are elsewhere. As
#             includes make no cycle (a rule of the house, too), what stands alone so does also with all bodies inside
#   whole     each in a source file of its own, included twice, with all bodies inside: dear, and all but implied
#   together  all in one source file
#   units     all in two source files that are linked into one program
# A header that needs a vendor's header which is not installed, or which the compiler does not take, cannot be checked
# (oneDNN's crashes nvcc 13); if nothing is left the exit code is 77.
set -euo pipefail

how=$1 include=$2
shift 2
compiler=()
while [[ $1 != -- ]]; do compiler+=("$1"); shift; done
shift
case ${compiler[0]##*/} in nvcc*) language=cu ;; *) language=cpp ;; esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The vendor headers that a header includes, itself or through other headers of the library.
declare -A vendors_of
vendors() {
  [[ -v vendors_of[$1] ]] && return
  vendors_of[$1]=""
  local name found=""
  while read -r name; do
    case $name in
      meshloom/*) vendors "$name"; found+=" ${vendors_of[$name]}" ;;
      *.h | */*) found+=" $name" ;;
    esac
  done < <(sed -n 's/^ *# *include *<\(.*\)>.*/\1/p' "$include/$1" 2>/dev/null || true)
  vendors_of[$1]=$found
}

# Whether the compiler finds, and takes, every vendor header that a header needs.
declare -A present
has_vendors() {
  vendors "$1"
  local name
  for name in ${vendors_of[$1]}; do
    if [[ ! -v present[$name] ]]; then
      echo "#include <$name>" > "$folder/probe.$language"
      if "${compiler[@]}" "${check[@]}" "$folder/probe.$language" >/dev/null 2>&1; then present[$name]=1; else present[$name]=0; fi
    fi
    if (( ! present[$name] )); then echo "$1 needs <$name>, which is not here for this compiler"; return 1; fi
  done
}

check=(-fsyntax-only)
if [[ $language == cu ]]; then check=(-cuda -o "$folder/alone.ii"); fi

headers=()
for header in "$@"; do
  if has_vendors "$header"; then headers+=("$header"); fi
done
if (( ${#headers[@]} == 0 )); then exit 77; fi

bodies() { sed -n 's/^ *# *include *<\(.*[.]inl\)>.*/\1/p' "$include/$1"; }
includes() { printf '#include <%s>\n' "$@"; }
compile() { "${compiler[@]}" -I "$include" "$@"; }

case $how in
  alone)
    for header in "${headers[@]}"; do
      includes "$header" "$header" $(bodies "$header") > "$folder/alone.$language"
      compile -DMESHLOOM_COMPILED "${check[@]}" "$folder/alone.$language"
    done ;;
  whole)
    for header in "${headers[@]}"; do
      includes "$header" "$header" > "$folder/alone.$language"
      compile "${check[@]}" "$folder/alone.$language"
    done ;;
  together)
    includes "${headers[@]}" > "$folder/together.$language"
    compile "${check[@]}" "$folder/together.$language" ;;
  units)
    includes "${headers[@]}" > "$folder/one.$language"
    (includes "${headers[@]}"; echo 'int main() {}') > "$folder/two.$language"
    compile "$folder/one.$language" "$folder/two.$language" -o "$folder/units" ;;
  *) echo "headers.sh: unknown check $how" >&2; exit 2 ;;
esac
