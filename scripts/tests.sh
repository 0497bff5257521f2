#!/usr/bin/env bash
# Runs pytest: tests.sh PYTEST ARGUMENT... With AGAIN=1 what failed is run a second time, in a new
# process and with new servers: on a machine shared with others a test can be starved for once.
# Both runs are printed. More than five failures are no starvation.
set -euo pipefail
readonly MOST=5
[[ -n ${AGAIN:-} ]] || exec "$@"
printed=$(mktemp)
trap 'rm -f "$printed"' EXIT
code=0
"$@" | tee "$printed" || code=$?
failed=$(grep -cE '^(FAILED|ERROR) ' "$printed" || true)
if ((code != 1 || failed == 0 || failed > MOST)); then
  exit "$code"
fi
printf '\n=== %d failed; once more, alone:\n' "$failed"
"$@" --lf
