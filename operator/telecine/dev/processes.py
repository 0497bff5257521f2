"""Long-lived child processes: free ports, records by pid and start time, and an end for sure."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from telecine.execution.process import start_time

TERM_SECONDS = 10.0
_KILL_SECONDS = 10.0
_LOWEST_PORT, _TRIES = 20_000, 1_000


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
    """Loopback ports that are free now, all different.

    They are below the range that the kernel gives to outgoing connections (ip(7)), which could
    take a port between this call and the start of its process, or while an environment is down.
    """
    end = _first_ephemeral_port()
    if end - _LOWEST_PORT < 10 * count:
        return _kernel_ports(count)
    ports: set[int] = set()
    for port in random.sample(range(_LOWEST_PORT, end), min(_TRIES, end - _LOWEST_PORT)):
        if len(ports) == count:
            break
        if is_free(port):
            ports.add(port)
    return list(ports) if len(ports) == count else _kernel_ports(count)


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def _kernel_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


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
    """Starts a process in a session of its own, so that a terminal's Ctrl-C does not end it.

    The log of the start before is kept beside it, as `NAME.log.1`.
    """
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
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
    """Ends processes, SIGTERM first, SIGKILL after `seconds`.

    Returns the names of those that were running. A pid that another process got since is left
    alone.

    Raises:
        TimeoutError: one is still there after SIGKILL (it waits inside the kernel).
    """
    alive = [p for p in processes if p.alive]
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, _KILL_SECONDS)):
        for process in alive:
            _signal(process, number)
        if _gone(alive, patience):
            return [p.name for p in alive]
    left = ", ".join(f"{p.name} (pid {p.pid})" for p in alive if p.alive)
    raise TimeoutError(f"{left} did not end after SIGKILL")


def _gone(processes: Sequence[Running], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(p.alive for p in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    _reap(processes)
    return True


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
