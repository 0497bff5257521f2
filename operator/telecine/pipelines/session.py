"""One connection of a host: starts its runner, watches it, ends it. A process of its own."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from telecine.pipelines import processes
from telecine.pipelines.bundle import Bundle, BundleError
from telecine.pipelines.output import Masking, Output
from telecine.pipelines.surroundings import HandlerLimits, confine, of_runner, secrets_of
from telecine.pipelines.wire import READ_BYTES, Frame, Frames, WireError, encode
from telecine.providers.redact import forms

_LOOK_SECONDS = 0.1
_MOST_FDS = 4


class _Runner:
    """A started runner and its output."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], pipe: int) -> None:
        self.number, self.process, self.pipe = number, process, pipe
        self.status: int | None = None
        self.reason = ""
        self.detail = ""


class Session:
    """Everything below this process is one host's and ends with its connection."""

    def __init__(self, connection: socket.socket, scratch: Path) -> None:
        self._connection, self._scratch = connection, scratch
        self._frames, self._unsent = Frames(), bytearray()
        self._fds: list[int] = []
        self._bundle: Bundle | None = None
        self._limits = HandlerLimits()
        self._runner: _Runner | None = None
        self._asset = ""
        self._masking = Masking(forms(secrets_of(os.environ)))
        self._output = Output(self._masking)
        self._open = True
        self._looked = 0.0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serves until the host is gone."""
        processes.adopt_orphans()
        self._connection.setblocking(False)
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._close())
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._woken(woken))
        self._selector.register(self._connection, selectors.EVENT_READ, self._exchange)
        try:
            while self._open:
                self._step()
        finally:
            processes.end_descendants(os.getpid(), self._reap)
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _close(self) -> None:
        self._open = False

    def _step(self) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._connection, wanted, self._exchange)
        for key, _ in self._selector.select(_LOOK_SECONDS if self._runner else None):
            key.data()
        self._reap()
        if self._runner is not None:
            self._watch(self._runner)

    def _woken(self, pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(pipe, 4096)

    def _exchange(self) -> None:
        try:
            if self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
            data, fds, _, _ = socket.recv_fds(
                self._connection, READ_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        self._fds += fds
        if not data:
            self._close()
            return
        try:
            for frame in self._frames.feed(data):
                self._obey(frame)
        except (WireError, BundleError, KeyError, TypeError, ValueError) as error:
            self._tell("failed", message=f"the supervisor was told nonsense: {error}")
            self._close()

    def _tell(self, kind: str, **fields: Any) -> None:
        self._unsent += encode(kind, fields)

    def _obey(self, frame: Frame) -> None:
        match frame.kind:
            case "bundle":
                self._bundle = Bundle.unpack(frame.blob, str(frame.fields["commit"]))
                self._limits = HandlerLimits.of_wire(frame.fields["limits"])
            case "start":
                self._start(int(frame.fields["number"]))
            case "asset":
                # The host is to know of a runner's end before it gives it an asset.
                self._reap()
                self._drain()
                self._asset = str(frame.fields["asset"])
                self._output.begin()
                self._tell("begun", asset=self._asset)
            case "finish":
                self._finish()
            case "kill" if self._runner is not None:
                self._end(str(frame.fields["reason"]), "")

    def _start(self, number: int) -> None:
        if self._bundle is None or not self._fds:
            raise WireError("a start without a bundle or a socket")
        inner = self._fds.pop(0)
        folder = self._scratch / str(number)
        code, home = folder / "code", folder / "home"
        try:
            for made in (code, home):
                made.mkdir(parents=True)
            self._bundle.write(code)
            self._runner = _Runner(number, *self._spawn(inner, code, home))
        except (OSError, subprocess.SubprocessError) as error:
            self._tell("failed", message=f"no runner can be started: {error}")
            return
        finally:
            os.close(inner)
        self._selector.register(self._runner.pipe, selectors.EVENT_READ, self._drain)
        self._tell("started", number=number, pid=self._runner.process.pid)

    def _spawn(self, inner: int, code: Path, home: Path) -> tuple[subprocess.Popen[bytes], int]:
        pipe, end = os.pipe()
        os.set_blocking(pipe, False)
        names = ",".join(secrets_of(os.environ))
        limits = self._limits
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "telecine.pipelines.runner", str(inner), names],
                stdin=subprocess.DEVNULL,
                stdout=end,
                stderr=end,
                cwd=code,
                env=of_runner(os.environ, home),
                pass_fds=(inner,),
                start_new_session=True,
                # No other thread runs here that could hold a lock.
                preexec_fn=lambda: confine(limits),
            )
        except BaseException:
            os.close(pipe)
            raise
        finally:
            os.close(end)
        return process, pipe

    def _drain(self) -> None:
        """Hands on what is printed by now; no more at once than what a pipe holds."""
        if self._runner is None:
            return
        for _ in range(16):
            try:
                data = os.read(self._runner.pipe, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                # Nobody can write any more; its end is told by its parent's signal.
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._runner.pipe)
                return
            self._log(self._output.feed(data))

    def _log(self, lines: list[str]) -> None:
        if lines:
            self._tell("log", asset=self._asset, lines=lines)

    def _finish(self) -> None:
        """The asset is done: nothing of it goes on but the runner and what is below it."""
        spare = {self._runner.process.pid} if self._runner is not None else set()
        processes.end_descendants(os.getpid(), self._reap, spare)
        self._drain()
        self._log(self._output.flush())
        self._tell("finished", asset=self._asset)

    def _watch(self, runner: _Runner) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS / 2:
            return
        self._looked = now
        limits, used, count = self._limits, 0, 0
        for pid in processes.descendants(os.getpid()):
            used += processes.resident(pid)
            count += 1
            if count > limits.processes:
                self._end("processes", f"more than {limits.processes} processes")
                return
        if used > limits.memory:
            held = f"{used >> 20} MiB in {count} {'process' if count == 1 else 'processes'}"
            self._end("memory", held)

    def _end(self, reason: str, detail: str) -> None:
        if self._runner is not None and not self._runner.reason:
            self._runner.reason, self._runner.detail = reason, detail
        processes.end_descendants(os.getpid(), self._reap)

    def _reap(self) -> None:
        """Collects whatever ended; when the runner did, everything else of it ends, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._runner is not None and pid == self._runner.process.pid:
                self._runner.status = status
        runner = self._runner
        if runner is not None and runner.status is not None:
            self._runner_ended(runner, runner.status)

    def _runner_ended(self, runner: _Runner, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        # Its parent knows by now, so that Popen need not ask.
        runner.process.returncode = code
        self._drain()
        self._runner = None
        processes.end_descendants(os.getpid(), self._reap)
        self._drain_rest(runner)
        shutil.rmtree(self._scratch / str(runner.number), ignore_errors=True)
        self._tell(
            "ended",
            number=runner.number,
            code=max(code, 0),
            signal=max(-code, 0),
            reason=runner.reason,
            detail=runner.detail,
        )

    def _drain_rest(self, runner: _Runner) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(runner.pipe)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(runner.pipe, READ_BYTES):
                self._log(self._output.feed(data))
        os.close(runner.pipe)
        self._log(self._output.flush())
