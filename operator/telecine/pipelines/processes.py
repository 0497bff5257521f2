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
_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Whether this kernel lists the children of a process (CONFIG_PROC_CHILDREN)."""


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
    if not _LISTED:
        return [child for child in _pids() if _parent(child) == pid]
    found: list[int] = []
    # It may end while it is looked at.
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int:
    """0 of one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # Its name, in parentheses, may hold anything.
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def end_marked(mark: str) -> None:
    """Kills the processes that have a text in their environment, and those alone."""
    for pid in _pids():
        # Of another user, or gone: not ours.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if mark.encode() in file.read():
                _signal(pid, signal.SIGKILL)


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
