"""A real one-node cluster in namespaces of this machine: no engine, registry or virtual machine.

Control plane, kubelet, kube-proxy and containerd run in one set of namespaces (network, mounts,
processes) whose first process is `machine.py`. From outside it has one address. Needs root, and
from the distribution: containerd, runc, the CNI plugins, iproute2 and util-linux.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.core_v1 import Node as KubeNode

from telecine.dev import binaries, components
from telecine.dev.node import config
from telecine.dev.node.machine import Machine, remove_cgroup
from telecine.dev.processes import tail
from telecine.dev.progress import Say, say, stage

BINARIES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
    "kubectl", "helm",
)  # fmt: skip
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "ctr": "containerd",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
    "mount": "mount",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
_CNI = Path("/usr/lib/cni/bridge")
_CGROUPS = Path("/sys/fs/cgroup")
_READY_SECONDS = 120.0


class NodeError(Exception):
    """The node cannot run here, or a part of it did not start; `str()` says why."""


def why_not() -> str | None:
    """Why no node can run on this machine, and what would help; None when one can."""
    if sys.platform != "linux":
        return "a node needs Linux; name another cluster in TELECINE_E2E_KUBECONFIG"
    if os.geteuid() != 0:
        return "a node needs root; name another cluster in TELECINE_E2E_KUBECONFIG"
    missing = {package for name, package in PACKAGES.items() if not shutil.which(name)}
    if not _CNI.exists():
        missing.add("containernetworking-plugins")
    if missing:
        return f"a node needs the packages {' '.join(sorted(missing))}: scripts/node-tools.sh"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
    )
    return f"namespaces cannot be made: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Node:
    """A node that runs."""

    place: config.Place
    paths: dict[str, Path]
    token: str
    machine: subprocess.Popen[bytes]
    outside: str
    """The address of this machine, as Pods see it."""

    @property
    def address(self) -> str:
        return self.place.address

    @property
    def kubeconfig(self) -> Path:
        return self.place.folder / "kubeconfig"

    def client(self) -> Client:
        return Client(config=KubeConfig.from_file(str(self.kubeconfig)), trust_env=False)

    def log(self, name: str) -> str:
        return tail(self.place.folder / f"{name}.log", 40)

    def load(self, archive: Path) -> None:
        """Imports the images of an archive (OCI or docker)."""
        self.ctr("images", "import", str(archive))

    def ctr(self, *arguments: str) -> str:
        line = ["ctr", "--address", str(self.place.socket), "-n", "k8s.io", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise NodeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def node(folder: Path, say: Say = say) -> Iterator[Node]:
    """A node for the block: ready, with the pause image and no other.

    Raises:
        NodeError: it cannot run here, or a part did not become ready; with the end of its log.
        BinaryError: a program cannot be had.
    """
    why = why_not()
    if why:
        raise NodeError(why)
    paths = binaries.ensure(BINARIES, say)
    number = random.randrange(64 * 256)
    base = f"10.{64 + number // 256 % 64}.{number % 256}"
    ident = secrets.token_hex(4)
    place = config.Place(folder, f"{base}.2", f"telecine-{ident}")
    token = secrets.token_hex(16)
    folder.mkdir(parents=True, exist_ok=True)
    config.write_files(place, token, components.service_account_key())
    cgroups = _make_cgroups(place.cgroup)
    Machine(
        address=f"{base}.2/30",
        gateway=f"{base}.1",
        extra=[f"{config.API_ADDRESS}/32"],
        programs=config.programs(place, paths),
        cgroups=[str(path) for path in cgroups],
    ).write(folder)
    machine = _boot(folder)
    try:
        _connect(machine, f"tc{ident}", f"{base}.1/30")
        made = Node(place, paths, token, machine, f"{base}.1")
        with stage("starting a node", say):
            _wait_ready(made)
        yield made
    finally:
        _halt(machine)
        for path in cgroups:
            remove_cgroup(path)


def _boot(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "machine.log").open("wb") as log:
        return subprocess.Popen(
            [
                "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
                sys.executable, "-m", "telecine.dev.node.machine", str(folder),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )  # fmt: skip


def _halt(machine: subprocess.Popen[bytes]) -> None:
    """The end of its stdin is the machine's end; it kills what runs in it."""
    assert machine.stdin is not None
    machine.stdin.close()
    try:
        machine.wait(30)
    except subprocess.TimeoutExpired:
        machine.kill()
        machine.wait()


def _connect(machine: subprocess.Popen[bytes], name: str, address: str) -> None:
    """A pair of interfaces: one here, one as eth0 in the node. They go with the node."""
    child = _eventually(lambda: _child(machine), "the node's first process", machine)
    _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", child)
    _ip("addr", "add", address, "dev", name)
    _ip("link", "set", name, "up")


def _child(machine: subprocess.Popen[bytes]) -> str:
    path = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
    pids = path.read_text().split() if path.exists() else []
    # Before `unshare` has execed, its child may still be in the namespaces of outside.
    inside = [p for p in pids if _namespace(p) not in (None, _namespace("self"))]
    return inside[0] if inside else ""


def _namespace(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def _wait_ready(made: Node) -> None:
    def ready() -> bool:
        try:
            with made.client() as client:
                found = client.get(KubeNode, config.NODE).to_dict()
        except (ApiError, httpx2.HTTPError, OSError):
            return False
        conditions = found["status"].get("conditions") or []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    try:
        _eventually(ready, "the node", made.machine, _READY_SECONDS)
    except NodeError as error:
        names = ("machine", "apiserver", "containerd", "kubelet")
        logs = "\n".join(f"--- {name}\n{made.log(name)}" for name in names)
        raise NodeError(f"{error}\n{logs}") from error


def _eventually(
    look: Callable[[], object], what: str, machine: subprocess.Popen[bytes], seconds: float = 20.0
) -> str:
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return str(found)
        if machine.poll() is not None:
            raise NodeError(f"{what}: the machine ended with code {machine.returncode}")
        if time.monotonic() > until:
            raise NodeError(f"{what} was not there within {seconds:.0f} s")
        time.sleep(0.1)


def _make_cgroups(name: str) -> list[Path]:
    """A control group of the node's own in every hierarchy (v1), or in the only one (v2)."""
    roots = [p for p in sorted(_CGROUPS.iterdir()) if (p / "cgroup.procs").exists() and p.is_dir()]
    if (_CGROUPS / "cgroup.controllers").exists():
        roots = [_CGROUPS]
    made = []
    for root in roots:
        path = root / name
        path.mkdir()
        made.append(path)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # A new set has none, and nothing could run in it.
            if (path / file).exists() and (root / file).exists():
                (path / file).write_text((root / file).read_text())
    return made


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NodeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def main() -> None:
    """`python -m telecine.dev.node.cluster`: makes what images begin with, starts a node and ends
    it; exit code 1, and the reason, where none can run."""
    from telecine.dev.node.images import ImageError, prepare

    why = why_not()
    if why is None:
        folder = Path(tempfile.mkdtemp(prefix="tc-"))
        try:
            prepare()
            with node(folder):
                pass
        except (NodeError, ImageError, binaries.BinaryError) as error:
            why = str(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if why is not None:
        print(why)
        sys.exit(1)


if __name__ == "__main__":
    main()
