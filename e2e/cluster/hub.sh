#!/usr/bin/env bash
# Starts the hub of the journeys on HOST_IP of the running cluster, unless it runs; down.sh stops it.
# usage: hub.sh PYTHON PORT
set -euo pipefail
. "$(dirname "$0")/env.sh"
socket=$KUBE_DIR/run/hub.sock pid_file=$KUBE_DIR/run/hub.pid log=$KUBE_DIR/log/hub.log
if [ -S "$socket" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; then exit 0; fi
rm -f "$socket"
cd "$CLUSTER_SCRIPTS/../.."
setsid "$1" -m e2e.support.hub "$HOST_IP" "$2" "$socket" </dev/null >"$log" 2>&1 &
echo $! >"$pid_file"
for ((tries = 0; tries < 300; tries++)); do
  [ ! -S "$socket" ] || exit 0
  kill -0 "$(cat "$pid_file")" 2>/dev/null || break
  sleep 0.1
done
echo "the hub did not start:" >&2
tail -n 20 "$log" >&2
exit 1
