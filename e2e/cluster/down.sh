#!/usr/bin/env bash
# Stops the test cluster and deletes its files. Images stay for the next start, unless --purge is given.
set -uo pipefail
. "$(dirname "$0")/env.sh"
hub_pid=$(cat "$KUBE_DIR/run/hub.pid" 2>/dev/null)
if [ -n "$hub_pid" ] && grep -qa e2e.support.hub "/proc/$hub_pid/cmdline" 2>/dev/null; then kill "$hub_pid"; fi
if [ -e "$KUBE_DIR/node.pid" ]; then
  unshare_pid=$(cat "$KUBE_DIR/node.pid")
  if grep -qa node.sh "/proc/$unshare_pid/cmdline" 2>/dev/null; then
    kill -KILL $(cat "/proc/$unshare_pid/task/$unshare_pid/children") 2>/dev/null # process 1: the kernel kills the others
    for _ in $(seq 100); do
      kill -0 "$unshare_pid" 2>/dev/null || break
      sleep 0.05
    done
  fi
  rm -f "$KUBE_DIR/node.pid"
fi
ip link del "${NODE}0" 2>/dev/null # deletes its routes too
ip netns del "$NODE" 2>/dev/null
for _ in $(seq 20); do
  find /sys/fs/cgroup/*/"$NODE" -depth -type d -exec rmdir {} + 2>/dev/null
  ls -d /sys/fs/cgroup/*/"$NODE" >/dev/null 2>&1 || break
  sleep 0.1
done
rm -rf "$KUBE_DIR"/{etcd,kubelet,run,cni-ipam,pod-logs,pki,volumes}
[ "${1:-}" != --purge ] || rm -rf "$KUBE_DIR"
exit 0
