"""The processes below one process: found, measured, ended. Linux, by /proc."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PATIENCE = 30.0


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: int) -> None:
    """Gets a signal when the thread that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def hide() -> None:
    """Processes of the same user cannot look into this one; the superuser still can."""
    _prctl(_PR_SET_DUMPABLE, 0)


def never_gain() -> None:
    """Programs with the set-user-ID bit give no rights any more."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def children(pid: int) -> list[int]:
    found: list[int] = []
    # It may end while it is looked at.
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def descendants(pid: int, spare: Collection[int] = ()) -> Iterator[int]:
    """Parents before children; of those in `spare` neither they nor theirs."""
    waiting = [pid]
    seen = {pid}
    while waiting:
        for child in children(waiting.pop()):
            if child not in seen and child not in spare:
                seen.add(child)
                yield child
                waiting.append(child)


def resident(pid: int) -> int:
    """Bytes in memory; 0 of one that is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def end_descendants(pid: int, reap: Callable[[], None], spare: Collection[int] = ()) -> bool:
    """Kills everything below a process, also what forks faster than one can look.

    Each is stopped before its children are read, so that it cannot have more of them.

    Args:
        pid: this process.
        reap: collects children that ended.

    Returns:
        Whether all of them are gone, which takes up to 30 s.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        found: list[int] = []
        for child in descendants(pid, spare):
            _signal(child, signal.SIGSTOP)
            found.append(child)
        for child in found:
            _signal(child, signal.SIGKILL)
        reap()
        if not found:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.002)


def _signal(pid: int, number: int) -> None:
    # Not ours to signal: it runs a program that changed its user. It may be gone as well.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
