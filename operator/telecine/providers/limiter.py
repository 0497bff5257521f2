"""A rate limit that all threads and processes of a machine keep together."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from telecine.settings import cache_dir

_SLOTS = 4096
_SLOT = struct.Struct("<dd8s")
"""The two times, and the boot of the machine whose clock they are of."""
_LONGEST = 3600.0
"""Seconds that a pause may last. What a file tells beyond is of another boot of the machine."""
_lock = threading.Lock()
_memory: dict[tuple[Path, int], list[float]] = {}


class RateLimiter:
    """At most `rate` calls a second for whatever bears one name, after a burst of `burst` at once.

    What is known of a name lies in one slot of a small file in Telecine's cache directory: two
    times of the machine's monotonic clock, the next regular call's (GCRA) and the end of a pause.
    Two names may share a slot; then they share the limit as well, which is safe. Where the
    directory cannot be written, or its disk is full, the limit holds within the process alone.
    """

    def __init__(
        self,
        name: str,
        rate: float,
        burst: int = 1,
        *,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`rate` in calls a second."""
        self._interval, self._ahead = 1.0 / rate, (burst - 1) / rate
        self._slot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % _SLOTS
        self._folder = folder or cache_dir()
        self._place = self._folder, self._slot
        self._clock, self._sleep = clock, sleep

    def wait(self, most: float = _LONGEST) -> float:
        """Returns when a call may be made; gives the seconds waited.

        Raises:
            TimeoutError: that would take longer than `most` seconds; nothing was waited for.
        """
        waited = 0.0
        while True:
            with self._state() as state:
                now = self._clock()
                regular, paused = (t if t <= now + _LONGEST else float("-inf") for t in state)
                at = max(max(regular, now) - self._ahead, paused)
                if at <= now:
                    state[:] = [max(regular, now) + self._interval, paused]
                    return waited
            if at - now > most:
                raise TimeoutError(f"the next call may be made in {at - now:.0f} s")
            self._sleep(at - now)
            waited += at - now

    def pause(self, seconds: float) -> None:
        """Nobody calls for so long: the other side said so."""
        with self._state() as state:
            until = self._clock() + min(max(seconds, 0.0), _LONGEST)
            state[1] = max(state[1] if state[1] <= self._clock() + _LONGEST else 0.0, until)

    @contextmanager
    def _state(self) -> Iterator[list[float]]:
        """The slot's two times, written back at the end, with everyone else kept out."""
        file = self._opened()
        if file is None:
            with _lock:
                yield _memory.setdefault(self._place, [0.0, 0.0])
            return
        try:
            state = self._read(file)
            yield state
            self._write(file, state)
        finally:
            os.close(file)  # and with it the lock

    def _read(self, file: int) -> list[float]:
        raw = os.pread(file, _SLOT.size, self._slot * _SLOT.size)
        times = [0.0, 0.0]
        if len(raw) == _SLOT.size:
            *found, boot = _SLOT.unpack(raw)
            # The clock began anew with the boot: times of an earlier one may look like waits.
            times = found if boot == _boot() else times
        return [max(pair) for pair in zip(times, _memory.get(self._place, times), strict=True)]

    def _write(self, file: int, state: list[float]) -> None:
        try:
            os.pwrite(file, _SLOT.pack(*state, _boot()), self._slot * _SLOT.size)
            _memory.pop(self._place, None)
        except OSError:
            _memory[self._place] = state

    def _opened(self) -> int | None:
        """The file, locked."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / "rates.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            # Bound to this opening of the file, so that it keeps out other threads as well.
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            os.close(file)
            return None
        return file


@functools.cache
def _boot() -> bytes:
    """What tells this boot of the machine from others (Linux, random(4)); zeros elsewhere."""
    try:
        told = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return bytes(8)
    return hashlib.sha256(told).digest()[:8]
