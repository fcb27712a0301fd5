#!/usr/bin/env bash
# Process 1 of the node's namespaces: starts and restarts Kubernetes' programs. Called by up.sh.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$KUBE_DIR"
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mkdir -p volumes /tmp/hostpath_pv
mount --bind volumes /tmp/hostpath_pv # the provisioner's fixed path; its contents belong to this node
hostname "$NODE"
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.ipv4.conf.all.rp_filter=0

part() { # NAME COMMAND...
  local name=$1
  shift
  while :; do
    "$@" || echo "$name ended with status $?"
    sleep 0.5
  done >>"log/$name.log" 2>&1 &
}

part containerd containerd -c containerd.toml
part etcd etcd --data-dir etcd --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
part apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$NODE_IP" --secure-port=6443 \
  --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=pki/sa.pub \
  --service-account-signing-key-file=pki/sa.key --service-cluster-ip-range="$SERVICE_RANGE" \
  --kubelet-certificate-authority=pki/ca.crt --kubelet-client-certificate=pki/kubelet-client.crt \
  --kubelet-client-key=pki/kubelet-client.key --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file=pki/front-ca.crt --requestheader-allowed-names=front-proxy \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file=pki/front-proxy.crt --proxy-client-key-file=pki/front-proxy.key

# Wait for the API server's default roles: without them the others would fail and back off for long.
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done

as() { echo "--kubeconfig=$1.kubeconfig --authentication-kubeconfig=$1.kubeconfig --authorization-kubeconfig=$1.kubeconfig --leader-elect=false --kube-api-qps=1000 --kube-api-burst=2000"; }
part controller-manager kube-controller-manager $(as controller-manager) --use-service-account-credentials \
  --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt \
  --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key \
  --allocate-node-cidrs --cluster-cidr="$POD_RANGE" --service-cluster-ip-range="$SERVICE_RANGE" --enable-hostpath-provisioner \
  --horizontal-pod-autoscaler-sync-period=1s # default 15s
part scheduler kube-scheduler $(as scheduler)
part kubelet kubelet --config=kubelet.yaml --kubeconfig=kubelet.kubeconfig --node-ip="$NODE_IP" --hostname-override="$NODE" \
  --root-dir="$KUBE_DIR/kubelet"
part proxy kube-proxy --config=proxy.yaml
part network-policies kube-router --kubeconfig=admin.kubeconfig --hostname-override="$NODE" \
  --run-firewall=true --run-router=false --run-service-proxy=false --enable-cni=false \
  --service-cluster-ip-range="$SERVICE_RANGE" --health-port=0
part volumes python3 "$CLUSTER_SCRIPTS/volumes.py" /tmp/hostpath_pv
wait
