# Settings of the test cluster, sourced by its scripts and by users. The environment overrides each of them.
CLUSTER_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export KUBE_BIN=${KUBE_BIN:-$HOME/.cache/arks-kube/bin}
export KUBE_DIR=${KUBE_DIR:-/var/lib/arks-e2e}    # short, because it contains containerd's sockets
export NODE=${NODE:-arks-e2e}                     # name of the node, its network namespace, its control group
export NODE_IP=10.97.0.1 HOST_IP=10.97.0.2        # the two ends of the cable between the node and this machine
export POD_RANGE=10.245.0.0/16 NODE_POD_RANGE=10.245.0.0/24 SERVICE_RANGE=10.112.0.0/16 API_IP=10.112.0.1 DNS_IP=10.112.0.10
export KUBECONFIG=$KUBE_DIR/admin.kubeconfig
case ":$PATH:" in *":$KUBE_BIN:"*) ;; *) export PATH=$KUBE_BIN:$PATH ;; esac

images_import() { ctr -a "$KUBE_DIR/run/containerd.sock" -n k8s.io images import --no-unpack "$1"; }
has_image() { ctr -a "$KUBE_DIR/run/containerd.sock" -n k8s.io images ls -q | grep -q "/$1\$"; }
in_node() { nsenter --net="/run/netns/$NODE" "$@"; }
