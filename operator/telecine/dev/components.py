"""What an environment runs: command lines, variables and files of each process.

Flags of kube-apiserver and kube-controller-manager: their reference pages on kubernetes.io.
Variables of Weaviate: its page "Environment variables".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: The programs of an environment.
PROGRAMS = ("kubectl", "etcd", "kube-apiserver", "kube-controller-manager", "weaviate")
#: The ports of each process, in `state.json` under these names.
PORTS = {
    "etcd": ("etcd", "etcd_peer"),
    "apiserver": ("apiserver",),
    "controller-manager": ("controller_manager",),
    "weaviate": ("weaviate", "grpc", "gossip", "data", "raft", "raft_rpc"),
}


@dataclass(frozen=True)
class Command:
    """A command line, and variables on top of the environment."""

    line: list[str]
    env: dict[str, str] = field(default_factory=dict)


def commands(
    paths: Mapping[str, Path], root: Path, ports: Mapping[str, int], api_key: str | None
) -> dict[str, Command]:
    """The command of each process of an environment whose folder is `root`."""
    etcd, peer = (f"http://127.0.0.1:{ports[port]}" for port in PORTS["etcd"])
    key = root / "service-account.key"
    return {
        "etcd": Command([
            str(paths["etcd"]), "--unsafe-no-fsync", f"--data-dir={root / 'etcd'}", "--name=etcd",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=etcd={peer}", "--log-level=warn",
        ]),
        "apiserver": Command([
            str(paths["kube-apiserver"]), f"--etcd-servers={etcd}",
            f"--secure-port={ports['apiserver']}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--cert-dir={root / 'certs'}",
            "--service-account-issuer=https://telecine.invalid",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
            f"--token-auth-file={root / 'tokens.csv'}", "--endpoint-reconciler-type=none",
        ]),
        "controller-manager": Command([
            str(paths["kube-controller-manager"]), f"--kubeconfig={root / 'kubeconfig'}",
            f"--secure-port={ports['controller_manager']}", "--bind-address=127.0.0.1",
            f"--cert-dir={root / 'certs-cm'}", "--leader-elect=false",
            "--use-service-account-credentials=false",
            "--authorization-always-allow-paths=/healthz",
            f"--service-account-private-key-file={key}", "--concurrent-namespace-syncs=5",
        ]),
        "weaviate": Command([
            str(paths["weaviate"]), "--host", "127.0.0.1", "--port", str(ports["weaviate"]),
            "--scheme", "http",
        ], weaviate_variables(root, ports, api_key)),
    }  # fmt: skip


def weaviate_variables(root: Path, ports: Mapping[str, int], api_key: str | None) -> dict[str, str]:
    """Weaviate's environment; its data are in `root/weaviate`."""
    env = {
        "PERSISTENCE_DATA_PATH": str(root / "weaviate"),
        "CLUSTER_HOSTNAME": "telecine",
        "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
        "CLUSTER_BIND_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": str(ports["gossip"]),
        "CLUSTER_DATA_BIND_PORT": str(ports["data"]),
        "RAFT_PORT": str(ports["raft"]),
        "RAFT_INTERNAL_RPC_PORT": str(ports["raft_rpc"]),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "GRPC_PORT": str(ports["grpc"]),
        # Its port is the same, 6060, for every Weaviate of a machine.
        "GO_PROFILING_DISABLE": "true",
        "DISABLE_TELEMETRY": "true",
        "LOG_LEVEL": "warning",
        "LIMIT_RESOURCES": "false",
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false" if api_key else "true",
    }
    if api_key:
        env |= {
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": api_key,
            "AUTHENTICATION_APIKEY_USERS": "telecine",
            "AUTHORIZATION_ADMINLIST_ENABLED": "true",
            "AUTHORIZATION_ADMINLIST_USERS": "telecine",
        }
    return env


def kubeconfig(name: str, server: str, token: str) -> dict[str, Any]:
    """A kubeconfig with one context, `telecine-NAME`, whose user may do everything.

    The certificate is not checked: the API server makes it at its first start, on loopback.
    """
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    context = {"cluster": name, "user": "admin", "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": f"telecine-{name}", "context": context}],
        "current-context": f"telecine-{name}",
    }


def service_account_key() -> str:
    """A new RSA key as PEM, with which the API server signs service accounts' tokens."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
