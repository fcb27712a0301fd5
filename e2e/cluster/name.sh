#!/usr/bin/env bash
# Adds a name to an image of the node, as if the node had pulled it. usage: name.sh arks/nats:dev nats:2.15.1-alpine
set -euo pipefail
. "$(dirname "$0")/env.sh"
images() { ctr -a "$KUBE_DIR/run/containerd.sock" -n k8s.io images "$@"; }
found=$(images ls -q | grep "/$1\$")
defaults=${found%"/$1"} # where containerd looks for images whose name has no host
case ${2%%/*} in
  "$2") name=$defaults/library/$2 ;;
  *.* | *:*) name=$2 ;;
  *) name=$defaults/$2 ;;
esac
images tag --force "$found" "$name" >/dev/null
