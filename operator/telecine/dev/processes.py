"""Long-lived child processes: free ports, records by pid and start time, and an end for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from telecine.execution.process import start_time

TERM_SECONDS = 10.0


@dataclass(frozen=True)
class Running:
    """A process as it was started; a recycled pid has another start time."""

    name: str
    pid: int
    started: float

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free just now, all different."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            ports.append(int(sock.getsockname()[1]))
        return ports


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def spawn(
    name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
) -> Running:
    """Starts a process in a session of its own, so that a terminal's Ctrl-C does not end it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=log.parent,
            start_new_session=True,
        )
    # Popen would warn of a child that is still running when it is collected.
    process.returncode = 0
    return Running(name, process.pid, start_time(process.pid) or 0.0)


def stop(processes: Sequence[Running], seconds: float = TERM_SECONDS) -> list[str]:
    """Ends processes, SIGTERM first; returns the names of those that were running."""
    alive = [p for p in processes if p.alive]
    for process in alive:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(p.alive for p in alive):
        if time.monotonic() > deadline:
            for process in alive:
                _signal(process, signal.SIGKILL)
        _reap(alive)
        time.sleep(0.02)
    _reap(alive)
    return [p.name for p in alive]


def _signal(process: Running, number: signal.Signals) -> None:
    if process.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _reap(processes: Sequence[Running]) -> None:
    """Collects those that are children of this process, which would stay as zombies."""
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
