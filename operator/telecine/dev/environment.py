"""A cluster's control plane and a Weaviate as processes of this machine.

An instance has a folder with its data, its logs and `state.json`: ports, pids and start times.
Everything listens on loopback only.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

from telecine.api.crds import definitions
from telecine.dev import binaries
from telecine.dev.processes import Running, free_ports, spawn, stop, tail
from telecine.settings import cache_dir

READY_SECONDS = 90.0
_TRIES = 3
_PORTS = (
    "etcd", "etcd_peer", "apiserver", "controller_manager", "weaviate", "grpc",
    "gossip", "data", "raft", "raft_rpc",
)  # fmt: skip
Say = Callable[[str], None]


class StartError(Exception):
    """A part did not start; `str()` names it and shows the end of its log."""


@dataclass
class State:
    """What `state.json` holds."""

    ports: dict[str, int] = field(default_factory=dict)
    token: str = ""
    api_key: str | None = None
    processes: dict[str, Running] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> State:
        if not path.exists():
            return cls()
        raw: dict[str, Any] = json.loads(path.read_text())
        processes = {name: Running(**value) for name, value in raw.pop("processes").items()}
        return cls(**raw, processes=processes)


class Instance:
    """One development environment, by name."""

    def __init__(self, name: str = "default", root: Path | None = None, say: Say = print) -> None:
        self.name = name
        self.root = (root or cache_dir() / "dev") / name
        self.say = say
        self.state = State.read(self.root / "state.json")

    # Where things are

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def state_dir(self) -> Path:
        """The process executor's folder."""
        return self.root / "state"

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.state.ports['apiserver']}"

    @property
    def weaviate(self) -> str:
        return f"http://127.0.0.1:{self.state.ports['weaviate']}"

    def variables(self) -> dict[str, str]:
        """The environment of everything that works with this instance."""
        found = {
            "KUBECONFIG": str(self.kubeconfig),
            "TELECINE_WEAVIATE_ENDPOINT": self.weaviate,
            "TELECINE_WEAVIATE_GRPC_PORT": str(self.state.ports["grpc"]),
            "TELECINE_STATE_DIR": str(self.state_dir),
        }
        if self.state.api_key:
            found["TELECINE_WEAVIATE_API_KEY"] = self.state.api_key
        return found

    def client(self) -> Client:
        return Client(config=KubeConfig.from_file(str(self.kubeconfig)), trust_env=False)

    # Up and down

    def up(self, *, api_key: bool = False) -> None:
        """Starts what does not run; returns when all of it is ready and the CRDs are served.

        Raises:
            BinaryError: a program cannot be had.
            StartError: a process did not become ready; what was started is stopped.
        """
        paths = binaries.ensure(say=self.say)
        self._prepare(api_key)
        for attempt in range(1, _TRIES + 1):
            try:
                self._start(paths)
                break
            except StartError as error:
                self.down()
                if attempt == _TRIES or "in use" not in str(error):
                    raise
                self.say("a port was taken in between; trying others")
                self.state.ports = {}
                self._prepare(api_key)
        apply_crds(self.client())

    def down(self, *, delete: bool = False) -> list[str]:
        """Stops all, workers included; with `delete` the data goes too."""
        order = list(self._workers()) + [
            self.state.processes[name]
            for name in ("s3", "controller-manager", "apiserver", "weaviate", "etcd")
            if name in self.state.processes
        ]
        stopped: list[str] = []
        for process in order:
            stopped += stop([process])
        self.state.processes.clear()
        if delete:
            shutil.rmtree(self.root, ignore_errors=True)
        elif self.root.exists():
            self._save()
        return stopped

    def running(self) -> dict[str, bool]:
        return {name: process.alive for name, process in self.state.processes.items()}

    def keep(self, process: Running) -> None:
        """Makes `down` stop this process as well."""
        self.state.processes[process.name] = process
        self._save()

    def _workers(self) -> list[Running]:
        found = []
        for path in (self.state_dir / "workers").glob("*.json"):
            record = json.loads(path.read_text())
            if record.get("started") is not None:
                found.append(Running(record["name"], record["pid"], record["started"]))
        return found

    # The parts

    def _prepare(self, api_key: bool) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(exist_ok=True)
        if not self.state.token:
            self.state.token = secrets.token_hex(16)
        if api_key and not self.state.api_key:
            self.state.api_key = secrets.token_hex(16)
        if not self.state.ports:
            self.state.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        key = self.root / "service-account.key"
        if not key.exists():
            key.write_text(_rsa_key())
            key.chmod(0o600)
        tokens = self.root / "tokens.csv"
        tokens.write_text(f'{self.state.token},admin,admin,"system:masters"\n')
        tokens.chmod(0o600)
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig()))
        self.kubeconfig.chmod(0o600)
        self._save()

    def _save(self) -> None:
        temporary = self.root / ".state.json"
        temporary.write_text(json.dumps(asdict(self.state), indent=2))
        temporary.chmod(0o600)
        temporary.replace(self.root / "state.json")

    def _kubeconfig(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": self.name,
                    "cluster": {"server": self.server, "insecure-skip-tls-verify": True},
                }
            ],
            "users": [{"name": "admin", "user": {"token": self.state.token}}],
            "contexts": [
                {
                    "name": f"telecine-{self.name}",
                    "context": {"cluster": self.name, "user": "admin", "namespace": "default"},
                }
            ],
            "current-context": f"telecine-{self.name}",
        }

    def _start(self, paths: dict[str, Path]) -> None:
        commands = self._commands(paths)
        for name in ("etcd", "weaviate", "apiserver"):
            self._spawn(name, *commands[name])
        self._wait("apiserver", f"{self.server}/readyz", headers=self._bearer())
        self._spawn("controller-manager", *commands["controller-manager"])
        self._wait("weaviate", f"{self.weaviate}/v1/.well-known/ready")
        manager = f"https://127.0.0.1:{self.state.ports['controller_manager']}/healthz"
        self._wait("controller-manager", manager)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.state.token}"}

    def _spawn(self, name: str, command: list[str | Path], env: dict[str, str]) -> None:
        known = self.state.processes.get(name)
        if known is not None and known.alive:
            return
        self.state.processes[name] = spawn(name, command, self.root / f"{name}.log", env)
        self._save()

    def _wait(self, name: str, url: str, headers: dict[str, str] | None = None) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with httpx2.Client(verify=_unverified(), timeout=2.0, trust_env=False) as http:
            while time.monotonic() < deadline:
                for part, process in self.state.processes.items():
                    if not process.alive:
                        log = tail(self.root / f"{part}.log")
                        raise StartError(f"{part} ended:\n{log}")
                try:
                    if http.get(url, headers=headers).status_code == 200:
                        return
                except httpx2.HTTPError:
                    pass  # not listening yet: what the loop is for
                time.sleep(0.1)
        log = tail(self.root / f"{name}.log")
        raise StartError(f"{name} was not ready in {READY_SECONDS:.0f} s:\n{log}")

    def _commands(
        self, paths: dict[str, Path]
    ) -> dict[str, tuple[list[str | Path], dict[str, str]]]:
        p, root = self.state.ports, self.root
        etcd, peer = (f"http://127.0.0.1:{p[port]}" for port in ("etcd", "etcd_peer"))
        key = root / "service-account.key"
        return {
            "etcd": ([
                paths["etcd"], "--unsafe-no-fsync", f"--data-dir={root / 'etcd'}", "--name=etcd",
                f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=etcd={peer}", "--log-level=warn",
            ], {}),
            "apiserver": ([
                paths["kube-apiserver"], f"--etcd-servers={etcd}",
                f"--secure-port={p['apiserver']}", "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1", f"--cert-dir={root / 'certs'}",
                "--service-account-issuer=https://telecine.invalid",
                f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
                f"--token-auth-file={root / 'tokens.csv'}", "--endpoint-reconciler-type=none",
            ], {}),
            "controller-manager": ([
                paths["kube-controller-manager"], f"--kubeconfig={self.kubeconfig}",
                f"--secure-port={p['controller_manager']}", "--bind-address=127.0.0.1",
                f"--cert-dir={root / 'certs-cm'}", "--leader-elect=false",
                "--use-service-account-credentials=false",
                "--authorization-always-allow-paths=/healthz",
                f"--service-account-private-key-file={key}",
                "--concurrent-namespace-syncs=5",
            ], {}),
            "weaviate": ([
                paths["weaviate"], "--host", "127.0.0.1", "--port", str(p["weaviate"]),
                "--scheme", "http",
            ], self._weaviate_env()),
        }  # fmt: skip

    def _weaviate_env(self) -> dict[str, str]:
        p = self.state.ports
        env = {
            "PERSISTENCE_DATA_PATH": str(self.root / "weaviate"),
            "CLUSTER_HOSTNAME": "telecine",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": str(p["gossip"]),
            "CLUSTER_DATA_BIND_PORT": str(p["data"]),
            "RAFT_PORT": str(p["raft"]),
            "RAFT_INTERNAL_RPC_PORT": str(p["raft_rpc"]),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "GRPC_PORT": str(p["grpc"]),
            "DISABLE_TELEMETRY": "true",
            "LOG_LEVEL": "warning",
            "LIMIT_RESOURCES": "false",
            "GOMAXPROCS": str(os.cpu_count() or 2),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false" if self.state.api_key else "true",
        }
        if self.state.api_key:
            env |= {
                "AUTHENTICATION_APIKEY_ENABLED": "true",
                "AUTHENTICATION_APIKEY_ALLOWED_KEYS": self.state.api_key,
                "AUTHENTICATION_APIKEY_USERS": "telecine",
                "AUTHORIZATION_ADMINLIST_ENABLED": "true",
                "AUTHORIZATION_ADMINLIST_USERS": "telecine",
            }
        return env


def apply_crds(client: Client, seconds: float = 30.0) -> None:
    """Applies the CRDs of the five kinds and returns when they are served."""
    names = []
    for body in definitions():
        crd = cast("CustomResourceDefinition", CustomResourceDefinition.from_dict(body))
        client.apply(crd, field_manager="telecine-dev", force=True)
        names.append(body["metadata"]["name"])
    deadline = time.monotonic() + seconds
    while names:
        found = client.get(CustomResourceDefinition, names[0])
        conditions = (found.status.conditions if found.status else None) or []
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            names.pop(0)
        elif time.monotonic() > deadline:
            raise StartError(f"CRD {names[0]} was not established in {seconds:.0f} s")
        else:
            time.sleep(0.05)


def check_cluster(weaviate: str) -> str:
    """`--cluster current`: proves that cluster and the given Weaviate, and applies the CRDs."""
    client = Client(field_manager="telecine-dev")
    try:
        apply_crds(client)
        answer = httpx2.get(f"{weaviate.rstrip('/')}/v1/.well-known/ready", timeout=5.0)
        answer.raise_for_status()
    except ApiError as error:
        raise StartError(f"the current cluster refuses: {error}") from error
    except httpx2.HTTPError as error:
        raise StartError(f"not reachable: {error}") from error
    return str(client.config.cluster.server)


def _unverified() -> ssl.SSLContext:
    """The API server's own certificate is made at its start and known to nobody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _rsa_key() -> str:
    made = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
    return made.stdout
