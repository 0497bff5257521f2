"""What the decoder gives up before it looks at the first byte of an asset. Linux only, in part:
elsewhere, or where the kernel refuses, the resource limits alone remain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys

from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.seccomp import refuse_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 32


def bind_to(parent: int) -> None:
    """Dies with the parent, and can never gain privileges.

    Raises:
        SystemExit: the parent is gone already.
    """
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def confine(limits: MediaLimits) -> None:
    """Limits on memory, time and files, and no more files, connections or processes.

    To be called when everything needed is imported: nothing can be imported after it.
    """
    seconds = int(limits.max_seconds * (os.cpu_count() or 1)) + 10
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_CPU, seconds)
    _lower(resource.RLIMIT_AS, _address_space() + limits.max_memory)
    refuse_calls()


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # macOS refuses a limit on address space.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (most, most))


def _address_space() -> int:
    """Bytes that this process has mapped."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 28
