#!/usr/bin/env bash
# Adds to the environment of the image what workers need: worker-packages.sh TORCH EXTRA...
#
# TORCH: none, lock (that of uv.lock), or a build by PyTorch's name (cpu, cu130, ...).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly torch=$1
shift

options=(--quiet --frozen --no-dev --no-install-project --compile-bytecode)
for extra in "$@"; do options+=(--extra "$extra"); done

locked_version() { awk '$0 == "name = \"torch\"" { getline; gsub(/"/, ""); print $3; exit }' uv.lock; }

# torch and what only its CUDA build needs, by the names in the lock.
if [[ $torch != lock ]]; then
  while read -r name; do options+=(--no-install-package "$name"); done < <(
    sed -nE 's/^name = "((torch|triton|nvidia-.*|cuda-.*))"$/\1/p' uv.lock
  )
fi
uv sync "${options[@]}"
if [[ $torch != lock && $torch != none ]]; then
  uv pip install --quiet --python "$UV_PROJECT_ENVIRONMENT" --torch-backend "$torch" \
    "torch==$(locked_version)"
fi
