#!/usr/bin/env bash
# Installs LeaderWorkerSet from its own chart into the running cluster. Without options it does not wait until it is ready.
# usage: HELM=PROGRAM lws.sh [OPTION OF HELM INSTALL]...
set -euo pipefail
. "$(dirname "$0")/env.sh"
has_image local/lws:1 || {
  archive=$KUBE_DIR/run/lws.tar
  python3 "$CLUSTER_SCRIPTS/image.py" local/lws:1 "$archive" --file "$KUBE_BIN/lws-manager=/manager" --user 65532:65532 --entrypoint /manager
  images_import "$archive" >/dev/null
  rm "$archive"
}
"${HELM:-helm}" upgrade --install lws "$KUBE_BIN/lws-chart" --namespace lws-system --create-namespace \
  --set resources.requests.cpu=10m --set resources.requests.memory=64Mi "$@" \
  --set image.manager.repository=local/lws --set-string image.manager.tag=1 --set image.manager.pullPolicy=Never >/dev/null
