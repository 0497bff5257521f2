"""Development environments: a cluster and a Weaviate as processes of this machine.

An environment has a folder with its data, its logs and `state.json`: ports, pids and start times.
All of it listens on loopback, but for Weaviate's gRPC and cluster ports: it has no setting for
their address and listens on all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import secrets
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig

from telecine.dev import binaries, components
from telecine.dev.crds import apply_crds
from telecine.dev.processes import Running, free_ports, is_free, spawn, stop, tail
from telecine.dev.s3 import S3Server
from telecine.dev.s3 import start as start_s3
from telecine.settings import cache_dir

READY_SECONDS = 90.0
_TRIES = 3
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_POLL_SECONDS = 0.1
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
    """One development environment, by name.

    Raises:
        ValueError: the name is not a DNS label (RFC 1123), and so no name of a folder here.
    """

    def __init__(self, name: str = "default", root: Path | None = None, say: Say = print) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: the name of an environment is a-z, 0-9 and - (at most 63)")
        self.name = name
        self.root = (root or cache_dir() / "dev").absolute() / name
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
        """The environment of everything that works with this instance, but for PATH."""
        found = {
            "KUBECONFIG": str(self.kubeconfig),
            "TELECINE_WEAVIATE_ENDPOINT": self.weaviate,
            "TELECINE_WEAVIATE_GRPC_PORT": str(self.state.ports["grpc"]),
            "TELECINE_STATE_DIR": str(self.state_dir),
        }
        if self.state.api_key:
            found["TELECINE_WEAVIATE_API_KEY"] = self.state.api_key
        return found

    @property
    def bin(self) -> Path:
        """A folder for PATH that has `kubectl`, which in the cache is named with its version."""
        return self.root / "bin"

    def client(self) -> Client:
        return Client(config=KubeConfig.from_file(str(self.kubeconfig)), trust_env=False)

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def probe(self, name: str) -> str:
        """The URL that answers 200 when a part is ready."""
        ports = self.state.ports
        return {
            "etcd": f"http://127.0.0.1:{ports['etcd']}/readyz",
            "apiserver": f"{self.server}/readyz",
            "controller-manager": f"https://127.0.0.1:{ports['controller_manager']}/healthz",
            "weaviate": f"{self.weaviate}/v1/.well-known/ready",
            "s3": f"http://127.0.0.1:{ports.get('s3', 0)}/moto-api/",
        }[name]

    # Up and down

    def up(self, *, api_key: bool = False) -> None:
        """Starts what does not run; returns when all of it is ready and the CRDs are served.

        With `api_key` Weaviate wants a key from now on; it is made once and kept.

        Raises:
            BinaryError: a program cannot be had.
            StartError: a part did not become ready. What this call started is stopped.
        """
        paths = binaries.ensure(components.PROGRAMS, self.say)
        with self._locked():
            before = set(self._alive())
            try:
                self._up(paths, api_key)
            except BaseException:
                # Ctrl-C included: nothing may stay behind that no `up` has reported.
                self._stop([n for n in self._alive() if n not in before])
                self._save()
                raise

    def down(self, *, delete: bool = False) -> list[str]:
        """Stops all, workers included; with `delete` the data goes too.

        Returns the names of what was running.
        """
        with self._locked():
            stopped = stop(self._workers())
            stopped += self._stop(self.state.processes)
            # Those that an operator started while it lost its API server.
            stopped += stop(self._workers())
            self.state.processes.clear()
            if delete:
                shutil.rmtree(self.root, ignore_errors=True)
            elif self.root.exists():
                self._save()
            return stopped

    def s3(self) -> S3Server:
        """An S3 server that `down` stops; the one that runs, or a new one on the same port.

        Raises:
            S3Error: it did not start.
        """
        with self._locked():
            self.root.mkdir(parents=True, exist_ok=True)
            known, port = self.state.processes.get("s3"), self.state.ports.get("s3")
            if known is not None and port is not None and known.alive:
                return S3Server(port, known)
            server = start_s3(self.log("s3"), port if port and is_free(port) else None)
            self.state.ports["s3"] = server.port
            self.state.processes["s3"] = server.process
            self._save()
            return server

    def running(self) -> dict[str, bool]:
        return {name: process.alive for name, process in self.state.processes.items()}

    def ready(self, name: str) -> bool:
        """Whether a part answers now."""
        with self._http() as http:
            return self._answers(http, name)

    # Inside

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time; the state is read anew, another may have changed it."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with (self.root.parent / f".{self.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.state = State.read(self.root / "state.json")
            yield

    def _up(self, paths: Mapping[str, Path], api_key: bool) -> None:
        self._prepare()
        _link(self.bin / "kubectl", paths["kubectl"])
        if api_key and not self.state.api_key:
            self.state.api_key = secrets.token_hex(16)
            self._stop(["weaviate"])
        self._choose_ports()
        for attempt in range(1, _TRIES + 1):
            try:
                self._start(paths)
                break
            except StartError as error:
                if attempt == _TRIES or "address already in use" not in str(error):
                    raise
                self.say("a port was taken in between; trying others")
                self._choose_ports(anew=True)
        try:
            with self.client() as client:
                apply_crds(client)
        except (ApiError, httpx2.HTTPError, OSError) as error:
            raise StartError(f"the CRDs were not applied: {error}") from error

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(exist_ok=True)
        if not self.state.token:
            self.state.token = secrets.token_hex(16)
        key = self.root / "service-account.key"
        if not key.exists():
            _write_private(key, components.service_account_key())
        tokens = f'{self.state.token},admin,admin,"system:masters"\n'
        _write_private(self.root / "tokens.csv", tokens)

    def _choose_ports(self, *, anew: bool = False) -> None:
        """Keeps the ports of before, unless somebody else has one of them now."""
        alive, ports = set(self._alive()), self.state.ports
        taken = [
            port
            for name, keys in components.PORTS.items()
            for port in keys
            if port not in ports or (name not in alive and not is_free(ports[port]))
        ]
        if anew or taken:
            # All together: the parts know of each other's ports.
            self._stop([name for name in alive if name != "s3"])
            names = [port for keys in components.PORTS.values() for port in keys]
            ports |= dict(zip(names, free_ports(len(names)), strict=True))
        config = components.kubeconfig(self.name, self.server, self.state.token)
        _write_private(self.kubeconfig, yaml.safe_dump(config))
        self._save()

    def _start(self, paths: Mapping[str, Path]) -> None:
        commands = components.commands(paths, self.root, self.state.ports, self.state.api_key)
        for name in ("etcd", "weaviate", "apiserver"):
            self._spawn(name, commands[name])
        # It ends when its first question to the API server is not answered.
        self._wait("apiserver")
        self._spawn("controller-manager", commands["controller-manager"])
        for name in ("etcd", "weaviate", "controller-manager"):
            self._wait(name)
        self._expect_alive()

    def _spawn(self, name: str, command: components.Command) -> None:
        known = self.state.processes.get(name)
        if known is not None and known.alive:
            return
        self.state.processes[name] = spawn(name, command.line, self.log(name), command.env)
        self._save()

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with self._http() as http:
            while not self._answers(http, name):
                self._expect_alive()
                if time.monotonic() > deadline:
                    end = tail(self.log(name))
                    raise StartError(f"{name} was not ready in {READY_SECONDS:.0f} s:\n{end}")
                time.sleep(_POLL_SECONDS)

    def _expect_alive(self) -> None:
        for name in components.PORTS:
            process = self.state.processes.get(name)
            if process is not None and not process.alive:
                raise StartError(f"{name} ended:\n{tail(self.log(name))}")

    def _answers(self, http: httpx2.Client, name: str) -> bool:
        try:
            return http.get(self.probe(name)).status_code == 200
        except httpx2.HTTPError:
            return False

    def _http(self) -> httpx2.Client:
        # The API server's certificate is its own, made at its start; the token goes to it only.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {self.state.token}"}
        return httpx2.Client(verify=context, timeout=2.0, trust_env=False, headers=headers)

    def _alive(self) -> list[str]:
        return [name for name, process in self.state.processes.items() if process.alive]

    def _stop(self, names: Mapping[str, Running] | list[str]) -> list[str]:
        """etcd last: an API server without it does not end in time."""
        stopped: list[str] = []
        for last in (False, True):
            chosen = [n for n in names if (n == "etcd") is last and n in self.state.processes]
            stopped += stop([self.state.processes[name] for name in chosen])
        return stopped

    def _workers(self) -> list[Running]:
        found = []
        for path in sorted((self.state_dir / "workers").glob("*.json")):
            try:
                record = json.loads(path.read_text())
                name, pid, started = record.get("name", path.stem), record["pid"], record["started"]
            except (OSError, ValueError, KeyError) as error:
                self.say(f"{path} is no worker's record ({error}); it was passed over")
                continue
            if started is not None:
                found.append(Running(name, int(pid), float(started)))
        return found

    def _save(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        _write_private(self.root / "state.json", json.dumps(asdict(self.state), indent=2))


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target.absolute())


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
