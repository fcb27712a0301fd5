#!/usr/bin/env bash
# Runs the journeys on the test cluster: three files at a time, then, one after the other, those that need it alone, then
# those that start a bare one.
# ARKS_E2E_KEEP=1 uses a running cluster and keeps it. Exits with 5, as pytest does, when no journey was selected.
# usage: journeys.sh PYTEST [OPTION]...
set -uo pipefail
cd "$(dirname "$0")/.."
NONE_SELECTED=5
if [ "${ARKS_E2E_KEEP:-}" != 1 ]; then
  e2e/cluster/down.sh
  trap e2e/cluster/down.sh EXIT
fi
pytest=$1 result=$NONE_SELECTED
shift

run() { # MARK OPTION...
  local status=0
  "$pytest" -m "e2e and $1" "${@:2}" "${files[@]}" "${selection[@]}" || status=$?
  if [ "$result" -eq "$NONE_SELECTED" ] || { [ "$result" -eq 0 ] && [ "$status" -ne "$NONE_SELECTED" ]; }; then result=$status; fi
}

selection=("$@")
files=(e2e/kubernetes/test_{scaling,groups}.py e2e/kubernetes/test_*.py) # the longest first
run "not bare and not alone" -n 3 --dist loadfile --no-loadscope-reorder
run alone
run bare
exit "$result"
