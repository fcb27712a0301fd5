#!/usr/bin/env bash
# Starts the test cluster in network, process and mount namespaces of its own.
# Pods, services and node ports are reachable from this machine; KUBECONFIG=$KUBE_DIR/admin.kubeconfig.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_SCRIPTS/pki.sh"
. "$CLUSTER_SCRIPTS/configs.sh"
[ "$(id -u)" = 0 ] || { echo "up.sh needs root" >&2; exit 1; }
[ ! -e "$KUBE_DIR/node.pid" ] || { echo "the cluster is running or was not cleaned up: run down.sh first" >&2; exit 1; }
[ -x "$KUBE_BIN/hyperkube" ] || { echo "no Kubernetes in $KUBE_BIN: run build.py first" >&2; exit 1; }
began=$(date +%s%N)
progress() { printf '%5d ms  %s\n' $((($(date +%s%N) - began) / 1000000)) "$1"; }

rm -rf "$KUBE_DIR"/{etcd,kubelet,run,log,pki,cni-ipam,volumes}
mkdir -p "$KUBE_DIR"/{pki,log,run,cni,kubelet,containerd}

# The kernel has no dummy interface: one end of a veth pair has the node's address, the other this machine's.
ip netns add "$NODE"
ip link add "${NODE}0" type veth peer name node0 netns "$NODE"
ip addr add "$HOST_IP/24" dev "${NODE}0"
ip link set "${NODE}0" up
ip -n "$NODE" addr add "$NODE_IP/24" dev node0
ip -n "$NODE" link set node0 up
ip -n "$NODE" link set lo up
ip -n "$NODE" route add default via "$HOST_IP"
ip route add "$SERVICE_RANGE" via "$NODE_IP"
ip route add "$POD_RANGE" via "$NODE_IP"
for controller in /sys/fs/cgroup/*/; do
  [ ! -e "$controller/cgroup.procs" ] || mkdir -p "$controller/$NODE"
done
if [ -e /sys/fs/cgroup/cpuset ]; then
  for file in cpuset.cpus cpuset.mems; do cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$NODE/$file"; done
fi

cd "$KUBE_DIR/pki"
authority ca
authority front-ca
certificate apiserver /CN=kube-apiserver ca "IP:$NODE_IP,IP:127.0.0.1,IP:$API_IP,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
certificate kubelet "/O=system:nodes/CN=system:node:$NODE" ca "IP:$NODE_IP,DNS:$NODE"
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client ca
certificate front-proxy /CN=front-proxy front-ca
certificate admin /O=system:masters/CN=admin ca
for name in controller-manager scheduler proxy; do certificate "$name" "/CN=system:kube-$name" ca; done
new_key sa
openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
for name in admin kubelet controller-manager scheduler proxy; do kubeconfig "$name" "../$name.kubeconfig"; done

cd "$KUBE_DIR"
containerd_config >containerd.toml
pod_network_config >cni/10-pods.conflist
kubelet_config >kubelet.yaml
proxy_config >proxy.yaml
: >resolv.conf

setsid nsenter --net="/run/netns/$NODE" unshare --pid --fork --kill-child --mount --mount-proc --uts --ipc \
  "$CLUSTER_SCRIPTS/node.sh" </dev/null >log/node.log 2>&1 &
echo $! >node.pid

until_true() { # WHAT COMMAND...
  local what=$1 tries
  shift
  for ((tries = 0; tries < 900; tries++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    kill -0 "$(cat "$KUBE_DIR/node.pid")" 2>/dev/null || { echo "the node ended before: $what" >&2; tail -n 5 log/*.log >&2; exit 1; }
    sleep 0.1
  done
  echo "timed out: $what" >&2
  tail -n 5 log/*.log >&2
  exit 1
}
node_ready() { kubectl get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }

until_true "containerd answers" ctr -a run/containerd.sock version
python3 "$CLUSTER_SCRIPTS/image.py" local/pause:1 run/pause.tar --file "$KUBE_BIN/pause=/pause" --user 65535:65535 --entrypoint /pause
images_import run/pause.tar >/dev/null
until_true "the API server is ready" kubectl get --raw /readyz
progress "API server ready"
kubectl apply -f "$CLUSTER_SCRIPTS/manifests/base.yaml" >log/apply.log
until_true "the node is ready" node_ready
progress "node ready"
until_true "the default account exists" kubectl get serviceaccount default # pods are rejected before it exists
has_image local/coredns:1 || {
  python3 "$CLUSTER_SCRIPTS/image.py" local/coredns:1 run/coredns.tar --file "$KUBE_BIN/coredns=/coredns" --user 65535:65535 --entrypoint /coredns
  images_import run/coredns.tar >/dev/null
  rm run/coredns.tar
}
sed "s/@DNS_IP@/$DNS_IP/" "$CLUSTER_SCRIPTS/manifests/dns.yaml" | kubectl apply -f - >>log/apply.log
kubectl -n kube-system rollout status deployment/coredns --timeout=60s >>log/apply.log
progress "cluster DNS ready"
echo "export KUBECONFIG=$KUBECONFIG"
