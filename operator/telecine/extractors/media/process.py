"""One decoder process: started bare, read with a clock, always ended and reaped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from telecine.extractors.media import wire
from telecine.extractors.media.events import Event
from telecine.extractors.media.faults import MediaError, UnavailableError
from telecine.extractors.media.limits import MediaLimits

_PIPE_BYTES = 1 << 20
_KEPT = ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""What the interpreter and numpy may need to start at all on this machine."""


class Decoder:
    """A running decoder. Whoever makes one calls `end`."""

    def __init__(
        self, file: int, arguments: Sequence[str], order: dict[str, Any], limits: MediaLimits
    ) -> None:
        """Starts it, with `file` as its standard input.

        Args:
            order: what it is to do; becomes its last argument, so nothing secret.

        Raises:
            OSError: no process can be started.
        """
        self._limits = limits
        self._waited = 0.0
        self._complaints, stderr = os.pipe()
        for end in (self._complaints, stderr):
            os.set_blocking(end, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", *arguments, json.dumps(order)],
                stdin=file,
                stdout=subprocess.PIPE,
                # Non-blocking: a decoder that complains without end is not held up by it.
                stderr=stderr,
                env=_environment(),
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._complaints)
            raise
        finally:
            os.close(stderr)
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        # Linux's alone, and refused beyond a user's share of pipe memory; 64 KiB do, too.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def pid(self) -> int:
        return self._process.pid

    def events(self, frame_size: int) -> Iterator[Event]:
        """What it tells, until it says that it is done.

        Raises:
            MediaError: what it gives as its reason, or DecoderHangs, TooSlow, DecoderCrashed,
                DecoderOutOfMemory.
            UnavailableError: it lacks its libraries.
        """
        while True:
            try:
                message = wire.receive(self._fill)
                if message is None:
                    raise self._death()
                kind, fields, raw = message
                if kind == "done":
                    return
                if kind == "fault":
                    raise MediaError(str(fields["reason"])[:64], str(fields["message"])[:2000])
                if kind == "unavailable":
                    raise UnavailableError(str(fields["message"])[:2000])
                event = wire.event_of(kind, fields, raw, frame_size)
            except EOFError:
                raise self._death() from None
            except (wire.WireError, KeyError) as error:
                raise MediaError(
                    "DecoderCrashed", f"its decoder told nonsense ({error}); the file is malformed"
                ) from None
            yield event

    def end(self) -> None:
        """Kills it, with whatever it started, and reaps it. Once is enough; twice is harmless."""
        if self._process.returncode is None:
            # Its session is its own; it exists until it is reaped below.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.stdout.close()
            os.close(self._complaints)

    def _fill(self, buffer: memoryview) -> bool:
        filled = 0
        while filled < len(buffer):
            self._await()
            count = os.readv(self._pipe, [buffer[filled:]])
            if count == 0:
                if filled:
                    raise EOFError("the pipe ended within a message")
                return False
            filled += count
        return True

    def _await(self) -> None:
        """Waits until the pipe has something; counts the time."""
        limits = self._limits
        left = limits.max_seconds - self._waited
        since = time.monotonic()
        ready = self._poll.poll(max(0.0, min(left, limits.max_silence)) * 1000)
        self._waited += time.monotonic() - since
        if ready:
            return
        if self._waited >= limits.max_seconds:
            raise _too_slow(limits)
        raise MediaError(
            "DecoderHangs",
            f"its decoder told nothing for {limits.max_silence:g} s and was ended; "
            "the file is likely malformed, encode it again",
        )

    def _death(self) -> MediaError:
        """Why it went away without a word."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return MediaError("DecoderCrashed", "its decoder closed its pipe and did not end")
        said = self._said()
        words = f" ({said.splitlines()[-1][:300]})" if said else ""
        if code == -signal.SIGXCPU:
            return _too_slow(self._limits)
        if code == -signal.SIGKILL or any(sign in said for sign in _NO_MEMORY):
            return MediaError(
                "DecoderOutOfMemory",
                f"its decoder ran out of memory{words}; its limit is "
                f"{self._limits.max_memory >> 20} MiB: raise parameter max_memory_mib, "
                "and the worker's own memory if that is less",
            )
        how = f"died by {_name(-code)}" if code < 0 else f"ended with code {code}"
        return MediaError(
            "DecoderCrashed",
            f"its decoder {how}{words}; the file is likely malformed, encode it again",
        )

    def _said(self) -> str:
        try:
            return os.read(self._complaints, 1 << 16).decode(errors="replace").strip()
        except BlockingIOError:
            return ""


_NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "out of memory")


def _too_slow(limits: MediaLimits) -> MediaError:
    return MediaError(
        "TooSlow",
        f"decoding took longer than {limits.max_seconds:g} s; raise parameter max_seconds, "
        "or give the worker more of a processor",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """Nothing of the worker's own: that may hold secrets. One thread for linear algebra and few
    malloc arenas, since each counts as address space."""
    quiet = {
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    return quiet | {name: os.environ[name] for name in _KEPT if name in os.environ}
