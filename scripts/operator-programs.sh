#!/bin/sh
# Adds to the operator's image what reads Pipelines' repositories: git, ssh, and a name for the
# user 65532, without which ssh does not start. A base that has them is left as it is: no network.
set -eu

if ! command -v git >/dev/null || ! command -v ssh >/dev/null; then
  if command -v apt-get >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ca-certificates git openssh-client >/dev/null
    rm -rf /var/lib/apt/lists/*
  elif command -v apk >/dev/null; then
    apk add --no-cache --quiet ca-certificates git openssh-client
  elif command -v dnf >/dev/null; then
    dnf install -y -q --setopt=install_weak_deps=False git-core openssh-clients
    dnf clean all
  elif command -v microdnf >/dev/null; then
    microdnf install -y --setopt=install_weak_deps=0 git-core openssh-clients
    microdnf clean all
  else
    echo "operator-programs.sh: install git and an ssh client in the base image (BASE)" >&2
    exit 1
  fi
fi
if ! grep -q '^[^:]*:[^:]*:65532:' /etc/passwd; then
  echo 'telecine:x:65532:65532:Telecine:/tmp:/usr/sbin/nologin' >>/etc/passwd
fi
