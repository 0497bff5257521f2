"""What runs on a node and its control plane: command lines and files, in FOLDER.

Sources: the reference pages of the Kubernetes components, the kubelet's configuration
(v1beta1), containerd's `docs/cri/config.md`, and the CNI plugins' pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from telecine.dev.node.machine import Program

API_ADDRESS = "10.96.0.1"
"""Of the Service `kubernetes`: the API server itself listens there, nothing else forwards to it."""
SERVICES, PODS = "10.96.0.0/24", "10.244.0.0/24"
API_PORT = 443
PAUSE = "localhost/pause:node"
NODE = "node"


@dataclass(frozen=True)
class Place:
    """Where a node is."""

    folder: Path
    address: str
    """Of the node, without prefix length."""
    cgroup: str
    """Its control group's name in every hierarchy."""

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"


def write_files(place: Place, token: str, service_account_key: str) -> None:
    """The files that the programs read."""
    folder = place.folder
    (folder / "service-account.key").write_text(service_account_key)
    (folder / "tokens.csv").write_text(
        f'{token},admin,admin,"system:masters"\n{token}-n,system:node:{NODE},node,"system:nodes"\n'
    )
    for name, secret in (("kubeconfig", token), ("kubelet.kubeconfig", f"{token}-n")):
        (folder / name).write_text(yaml.safe_dump(kubeconfig(place, secret)))
    (folder / "containerd.toml").write_text(_containerd(place))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(place)))
    network = folder / "cni" / "10-bridge.conflist"
    network.parent.mkdir(exist_ok=True)
    network.write_text(json.dumps(_network()))


def kubeconfig(place: Place, token: str) -> dict[str, object]:
    """The certificate is not checked: the API server makes it at its first start."""
    cluster = {
        "server": f"https://{place.address}:{API_PORT}",
        "insecure-skip-tls-verify": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": "user"}}],
        "current-context": "node",
    }


def programs(place: Place, paths: Mapping[str, Path]) -> list[Program]:
    """Control plane and node; each waits for what it needs by failing and coming back."""
    folder, config = place.folder, place.folder / "kubeconfig"
    key, etcd = folder / "service-account.key", "http://127.0.0.1:2379"
    return [
        Program("etcd", [
            str(paths["etcd"]), "--unsafe-no-fsync", f"--data-dir={folder / 'etcd'}",
            "--log-level=warn",
        ]),
        Program("apiserver", [
            str(paths["kube-apiserver"]), f"--etcd-servers={etcd}", f"--secure-port={API_PORT}",
            "--bind-address=0.0.0.0", f"--advertise-address={place.address}",
            f"--cert-dir={folder / 'certs'}",
            "--service-account-issuer=https://telecine.invalid",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC",
            f"--token-auth-file={folder / 'tokens.csv'}", "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
        ]),
        Program("controller-manager", [
            str(paths["kube-controller-manager"]), f"--kubeconfig={config}",
            "--leader-elect=false", f"--service-account-private-key-file={key}",
            f"--root-ca-file={folder / 'certs' / 'apiserver.crt'}",
            f"--cert-dir={folder / 'certs-cm'}",
            # A node that does not answer is given up in seconds.
            "--node-monitor-grace-period=20s",
        ]),
        Program("scheduler", [
            str(paths["kube-scheduler"]), f"--kubeconfig={config}", "--leader-elect=false",
            f"--cert-dir={folder / 'certs-scheduler'}",
        ]),
        Program("containerd", ["containerd", "--config", str(folder / "containerd.toml")]),
        Program("kubelet", [
            str(paths["kubelet"]), f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
            f"--config={folder / 'kubelet.yaml'}", f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'kubelet-certs'}", f"--node-ip={place.address}",
            f"--hostname-override={NODE}",
        ]),
        Program("kube-proxy", [
            str(paths["kube-proxy"]), f"--kubeconfig={config}", "--proxy-mode=iptables",
            f"--hostname-override={NODE}", f"--cluster-cidr={PODS}",
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]),
    ]  # fmt: skip


def _containerd(place: Place) -> str:
    return f"""
version = 2
root = "{place.folder / "containerd"}"
state = "/run/containerd"
[grpc]
  address = "{place.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place.folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


def _kubelet(place: Place) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{place.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDomain": "cluster.local",
        # No DNS on the node: addresses are given as such.
        "resolvConf": "",
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "5s",
        "podLogsDir": str(place.folder / "pod-logs"),
        "shutdownGracePeriod": "0s",
    }


def _network() -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "bridge",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni",
                },
            },
        ],
    }
