#!/usr/bin/env bash
# Makes the development environment that uv.lock describes.
#
#   scripts/setup.sh [base]     base: without the extras (no torch)
#
# Where: $UV_PROJECT_ENVIRONMENT, default .venv. A second run does nothing.
#
# sentence-transformers needs torch. On Linux the default index has only its CUDA build, several
# gigabytes; PyTorch's own index has a CPU build of 200 MB. That one is tried first (or the one
# that $UV_TORCH_BACKEND names: cpu, cu130, auto, ...), at the version of uv.lock; where the index
# cannot be reached, torch comes from the lock like everything else.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MIN_UV=0.8.0
readonly stage=${1:-all}
export UV_PROJECT_ENVIRONMENT=${UV_PROJECT_ENVIRONMENT:-.venv}
readonly venv=$UV_PROJECT_ENVIRONMENT
readonly stamp=$venv/.telecine-setup
readonly groups=(--group dev)
readonly extras=(--extra text --extra media --extra offline)

say() { printf 'setup: %s\n' "$*" >&2; }

digest() {
  cat uv.lock pyproject.toml scripts/setup.sh <(printf '%s' "$PWD ${UV_TORCH_BACKEND:-}") |
    cksum
}

is_uv() {
  local version
  version=$("$1" --version 2>/dev/null | awk '{print $2}') || return 1
  [[ -n $version && $(printf '%s\n' "$MIN_UV" "$version" | sort -V | head -n1) == "$MIN_UV" ]]
}

python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  say "Python 3.11 or newer is needed and none was found on PATH"
  exit 1
}

find_uv() {
  local tools=${TELECINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/telecine}/tools candidate
  for candidate in uv "$tools/bin/uv"; do
    if is_uv "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  say "installing uv into $tools"
  if ! "$(python)" -m venv "$tools" >&2; then
    say "python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
    exit 1
  fi
  "$tools/bin/python" -m pip install --quiet --upgrade "uv>=$MIN_UV" >&2 || exit 1
  echo "$tools/bin/uv"
}

locked_version() { awk -v name="name = \"$1\"" '$0 == name { getline; gsub(/"/, ""); print $3; exit }' uv.lock; }

# torch and what only its CUDA build needs, by the names in the lock.
cuda_packages() { sed -nE 's/^name = "((torch|triton|nvidia-.*|cuda-.*))"$/\1/p' uv.lock; }

sync_without_torch() {
  local skipped=() name
  while read -r name; do skipped+=(--no-install-package "$name"); done < <(cuda_packages)
  "$uv" sync --quiet --frozen "${groups[@]}" "${extras[@]}" "${skipped[@]}"
}

# Asks PyTorch's index for the version, without installing; an index out of reach answers quickly.
torch_at_its_index() {
  UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0 "$uv" pip install --quiet --dry-run --no-deps \
    --python "$venv" --reinstall-package torch --torch-backend "$1" "torch==$2" >/dev/null 2>&1
}

install_all() {
  local backend=${UV_TORCH_BACKEND:-cpu} version
  version=$(locked_version torch)
  if [[ $(uname -s) == Linux ]] && torch_at_its_index "$backend" "$version"; then
    say "installing from uv.lock, and torch $version for $backend from PyTorch's index"
    sync_without_torch
    "$uv" pip install --python "$venv" --torch-backend "$backend" "torch==$version"
  else
    say "installing from uv.lock, torch $version included (on Linux several gigabytes)"
    "$uv" sync --frozen "${groups[@]}" "${extras[@]}" 2>&1 | tail -n 3 >&2
  fi
}

main() {
  if [[ -f $stamp && $(<"$stamp") == "$(digest)" ]]; then
    return
  fi
  uv=$(find_uv)
  local started=$SECONDS
  say "$("$uv" --version), environment $venv"
  if [[ ! -x $venv/bin/telecine ]]; then
    say "installing what the operator and the tools need"
    "$uv" sync --quiet --frozen --python "$(python)" "${groups[@]}"
  fi
  if [[ $stage == base ]]; then
    return
  fi
  install_all
  digest >"$stamp"
  say "done in $((SECONDS - started)) s"
}

main
