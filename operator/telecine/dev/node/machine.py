"""The first process of a node: a machine of namespaces, whose processes all end with it.

    unshare --net --mount --pid --fork --mount-proc python -m telecine.dev.node.machine FOLDER

FOLDER/machine.json tells its addresses, the control groups to remove at the end, and what to run.
Its end, and with it that of everything it started, is the end of its stdin or SIGTERM: nothing
outlives whoever wanted the node, however that one ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

_INTERFACE = "eth0"
_RESTART_SECONDS = 1.0
_END_SECONDS = 10.0


@dataclass
class Program:
    """A process of the node; when it ends it is started again, as a service manager does."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    started: float = 0.0


@dataclass
class Machine:
    """What `machine.json` says."""

    address: str
    """With its prefix length, as `10.1.2.2/30`."""
    gateway: str
    extra: list[str]
    """Further addresses, on the loopback interface."""
    programs: list[Program]
    cgroups: list[str]

    def write(self, folder: Path) -> None:
        (folder / "machine.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Machine:
        raw = json.loads((folder / "machine.json").read_text())
        return cls(**{**raw, "programs": [Program(**p) for p in raw["programs"]]})


def run(folder: Path) -> None:
    """Sets the machine up, says so (`folder/up`), and keeps its programs running to its end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    machine = Machine.read(folder)
    _mounts(folder)
    _network(machine)
    try:
        (folder / "up").touch()
        _supervise(machine, folder)
    finally:
        _end(machine)


def _mounts(folder: Path) -> None:
    """A /run and logs of its own: sockets, Pods' network namespaces and logs of containers."""
    _call("mount", "--make-rprivate", "/")
    for name in ("/var/log", "/var/lib"):
        (folder / name[1:]).mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "tmpfs", "/run")
    _call("mount", "--bind", str(folder / "var/log"), "/var/log")
    _call("mount", "--bind", str(folder / "var/lib"), "/var/lib")


def _network(machine: Machine) -> None:
    """Waits for the interface that the one outside moves in, and addresses it."""
    _call("ip", "link", "set", "lo", "up")
    until = time.monotonic() + _END_SECONDS
    while subprocess.run(["ip", "link", "show", _INTERFACE], capture_output=True).returncode:
        if time.monotonic() > until:
            sys.exit("no interface was moved into the node")
        time.sleep(0.02)
    _call("ip", "addr", "add", machine.address, "dev", _INTERFACE)
    _call("ip", "link", "set", _INTERFACE, "up")
    _call("ip", "route", "add", "default", "via", machine.gateway)
    for address in machine.extra:
        _call("ip", "addr", "add", address, "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _supervise(machine: Machine, folder: Path) -> None:
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                for program in machine.programs:
                    if program.pid == ended:
                        program.pid = 0
        for program in machine.programs:
            if not program.pid and time.monotonic() - program.started > _RESTART_SECONDS:
                _start(program, folder)
        readable, _, _ = select.select([sys.stdin], [], [], 0.1)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            return


def _start(program: Program, folder: Path) -> None:
    with (folder / f"{program.name}.log").open("ab") as log:
        process = subprocess.Popen(
            program.command,
            env={**os.environ, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    process.returncode = 0  # Collected in `_supervise`, with the orphans of containers.
    program.pid, program.started = process.pid, time.monotonic()


def _end(machine: Machine) -> None:
    """Kills all that is left in this machine, and removes its control groups."""
    until = time.monotonic() + _END_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            break
        time.sleep(0.05)
    for root in machine.cgroups:
        remove_cgroup(Path(root))


def remove_cgroup(root: Path) -> None:
    """Removes a control group and those below it, once nothing runs in them."""
    for folder, _, _ in os.walk(root, topdown=False):
        for _ in range(50):
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.rmdir(folder)
                except OSError:
                    time.sleep(0.05)
                    continue
            break


def _call(*command: str) -> Sequence[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return command


if __name__ == "__main__":
    run(Path(sys.argv[1]))
