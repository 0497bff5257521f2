#!/usr/bin/env bash
# Installs what a node of the tests needs, from Debian's packages: `make e2e` says when it is missing.
set -euo pipefail

readonly packages=(
  containerd runc containernetworking-plugins iproute2 iptables util-linux mount buildah debootstrap
)

if ! command -v apt-get >/dev/null; then
  echo "needed, by the names of Debian's packages: ${packages[*]}" >&2
  exit 1
fi
apt-get update -qq
apt-get install -y --no-install-recommends "${packages[@]}"
