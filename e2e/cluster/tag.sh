#!/usr/bin/env bash
# Adds another tag to every Arks image of the node, to simulate the next version. usage: tag.sh dev next
set -euo pipefail
. "$(dirname "$0")/env.sh"
tag() { ctr -a "$KUBE_DIR/run/containerd.sock" -n k8s.io images tag --force "$1" "$2" >/dev/null; }
ctr -a "$KUBE_DIR/run/containerd.sock" -n k8s.io images ls -q | sed -n "s|^\(.*/arks/.*\):$1\$|\1|p" | while read -r name; do
  tag "$name:$1" "$name:$2"
done
