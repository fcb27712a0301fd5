# Configuration files of the node's programs, written into the current directory. Sourced by up.sh.
# A comment explains what fails without its line.
containerd_config() {
  cat <<TOML
version = 2
root = "$KUBE_DIR/containerd"
state = "$KUBE_DIR/run/containerd"
oom_score = 0
[grpc]
address = "$KUBE_DIR/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "local/pause:1"
restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE every pod fails to start
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$KUBE_DIR/cni"
TOML
}

pod_network_config() {
  cat <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$KUBE_DIR/cni-ipam", "ranges": [[{"subnet": "$NODE_POD_RANGE"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $KUBE_DIR/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $KUBE_DIR/pki/kubelet.crt
tlsPrivateKeyFile: $KUBE_DIR/pki/kubelet.key
containerRuntimeEndpoint: unix://$KUBE_DIR/run/containerd.sock
podLogsDir: $KUBE_DIR/pod-logs
cgroupDriver: cgroupfs
cgroupRoot: /$NODE
failCgroupV1: false
failSwapOn: false
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $KUBE_DIR/resolv.conf
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100   # images are imported: a deleted one cannot be pulled again
serializeImagePulls: false
syncFrequency: 2s                  # a changed Secret reaches its pods in 2 s instead of 60
shutdownGracePeriod: 0s
YAML
}

proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KUBE_DIR/proxy.kubeconfig}
clusterCIDR: $POD_RANGE
hostnameOverride: $NODE
mode: iptables
oomScoreAdj: 0
iptables: {minSyncPeriod: 100ms}   # default 1s, in which connections to a new endpoint fail
conntrack: {maxPerCore: 0, min: 0}
YAML
}
