#!/usr/bin/env bash
# Installs missing Debian packages that the test cluster and the images need.
set -euo pipefail
missing=()
for package in containerd runc containernetworking-plugins iptables ipset conntrack iproute2 openssl mmdebstrap buildah binutils; do
  dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "missing packages: ${missing[*]}; run this as root" >&2; exit 1; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}"
