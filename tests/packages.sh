#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# packages.sh PACKAGE...: installs the Debian packages that are missing, and says which. `PACKAGE?` is worth having but
# not needed: if it cannot be had, the sentence says so and the script goes on.
set -euo pipefail

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

if ! command -v dpkg-query >/dev/null; then
  echo "packages.sh: no Debian packages here; please see that these are installed: ${*%\?}"
  exit 0
fi

needed=() wanted=()
for package in "$@"; do
  installed "${package%\?}" && continue
  if [[ $package == *\? ]]; then wanted+=("${package%\?}"); else needed+=("$package"); fi
done
if (( ${#needed[@]} + ${#wanted[@]} == 0 )); then exit 0; fi

as_root=()
if (( EUID != 0 )); then
  if ! command -v sudo >/dev/null; then
    echo "packages.sh: please install as root: apt-get install ${needed[*]} ${wanted[*]}"
    if (( ${#needed[@]} )); then exit 1; else exit 0; fi
  fi
  as_root=(sudo)
fi
fetch() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" >/dev/null; }

echo "packages.sh: installing ${needed[*]} ${wanted[*]}"
fetch update || echo "packages.sh: apt-get update failed; trying with the package lists that are here"
if (( ${#needed[@]} )); then fetch install "${needed[@]}"; fi
for package in "${wanted[@]}"; do
  fetch install "$package" || echo "packages.sh: $package cannot be installed; going on without it"
done
