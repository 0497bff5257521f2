"""The process executor: the workers' entry points as subprocesses of this machine.

Workers outlive their operator, as Jobs do: each has a record (`workers/{name}.json` with its pid
and start time) by which an operator that comes back adopts it instead of starting a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Exited = Callable[[str, int | None], None]
"""Called with the worker's name and exit code; None when it was adopted and none is known."""
_POLL_SECONDS = 0.5
_TERM_SECONDS = 10.0


def start_time(pid: int) -> float | None:
    """When a process began, in clock ticks since boot; None when there is none (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else float(fields[19])


class ProcessExecutor:
    """Starts at most `capacity` workers at once and tells when one ends."""

    def __init__(
        self,
        state: Path,
        exited: Exited,
        capacity: int = 2,
        env: dict[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """`scratch` is where workers put content, each in a folder that goes with it however it
        ends; default: below `state`."""
        self._folder = state / "workers"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._scratch = (scratch or state) / "scratch"
        self._exited, self._capacity = exited, capacity
        self._env = env or {}
        self._mutex = threading.Lock()
        self._running: dict[str, int] = {}
        self._known: set[str] = set()
        self._adopt()

    def start(self, name: str, arguments: Sequence[str]) -> bool:
        """Starts `python -m telecine.execution.worker ARGUMENTS` unless it runs already.

        Returns False when `capacity` workers run; ask again when one has ended.
        """
        with self._mutex:
            if name in self._running:
                return True
            if len(self._running) >= self._capacity:
                return False
            scratch = self._scratch / name
            scratch.mkdir(parents=True, exist_ok=True)
            with self._log_path(name).open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "telecine.execution.worker", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._env, "TELECINE_SCRATCH_DIR": str(scratch)},
                    start_new_session=True,
                )
            self._record(name, process.pid)
            self._running[name] = process.pid
            self._known.add(name)
        threading.Thread(target=self._reap, args=(name, process), daemon=True).start()
        log.info("a worker started", worker=name, pid=process.pid)
        return True

    def running(self, name: str) -> bool:
        with self._mutex:
            return name in self._running

    def knew(self, prefix: str) -> bool:
        """Whether a worker whose name begins so was ever started or adopted here."""
        with self._mutex:
            return any(name.startswith(prefix) for name in self._known)

    def names(self) -> list[str]:
        with self._mutex:
            return list(self._running)

    def stop(self, wanted: Callable[[str], bool]) -> None:
        """Ends the workers whose names are wanted, and returns when they are gone."""
        with self._mutex:
            ending = {n: p for n, p in self._running.items() if wanted(n)}
        for pid in ending.values():
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _TERM_SECONDS
        while any(self.running(name) for name in ending):
            if time.monotonic() > deadline:
                for name, pid in ending.items():
                    if self.running(name):
                        _signal(pid, signal.SIGKILL)
            time.sleep(0.05)

    def tail(self, name: str, lines: int = 20) -> str:
        """The end of a worker's log."""
        try:
            return "\n".join(
                self._log_path(name).read_text("utf-8", "replace").splitlines()[-lines:]
            )
        except OSError:
            return ""

    def _log_path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _record(self, name: str, pid: int) -> None:
        record: dict[str, Any] = {"name": name, "pid": pid, "started": start_time(pid)}
        path = self._folder / f"{name}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(record))
        temporary.replace(path)

    def _adopt(self) -> None:
        for path in self._folder.glob("*.json"):
            try:
                record = json.loads(path.read_text())
                name, pid, started = record["name"], int(record["pid"]), record["started"]
            except (OSError, ValueError, KeyError):
                log.warning("a worker's record could not be read", record=path.name)
                path.unlink(missing_ok=True)
                continue
            self._known.add(name)
            if started is None or start_time(pid) != started:
                self._forget(name)
                continue
            self._running[name] = pid
            log.info("a running worker was adopted", worker=name, pid=pid)
            threading.Thread(target=self._watch, args=(name, pid, started), daemon=True).start()

    def _reap(self, name: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        self._ended(name, code)

    def _watch(self, name: str, pid: int, started: float) -> None:
        while start_time(pid) == started:
            time.sleep(_POLL_SECONDS)
        self._ended(name, None)

    def _ended(self, name: str, code: int | None) -> None:
        with self._mutex:
            self._running.pop(name, None)
        if code:
            log.warning("a worker failed", worker=name, code=code, log=self.tail(name))
        else:
            log.info("a worker ended", worker=name, code=code)
        self._forget(name, keep_log=bool(code))
        self._exited(name, code)

    def _forget(self, name: str, *, keep_log: bool = False) -> None:
        shutil.rmtree(self._scratch / name, ignore_errors=True)
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        if not keep_log:
            self._log_path(name).unlink(missing_ok=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
