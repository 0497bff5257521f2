"""What a runner is started with: its environment and its limits."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from telecine.pipelines import processes

_OURS = ("TELECINE_", "KUBERNETES_", "KUBECONFIG")
_PUBLIC = frozenset(
    {
        "PATH", "LANG", "LANGUAGE", "HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "HOSTNAME", "TERM",
        "TZ", "USER", "LOGNAME", "_", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    }
)  # fmt: skip
_KEPT = ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""What the interpreter and numpy may need to start at all on this machine."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEADROOM = 1 << 30


@dataclass(frozen=True)
class HandlerLimits:
    """What one asset may cost its handler; what goes over one fails that asset alone."""

    seconds: float = 600.0
    """Wall clock of one asset, without the time in which its documents wait to be taken."""
    memory: int = 2 << 30
    """Bytes resident in the handler's process and all below it."""
    processes: int = 256
    """At once, the handler's own one included."""
    documents: int = 100_000
    file_bytes: int = 8 << 30
    """Of each file it writes."""
    open_files: int = 1024
    connect_seconds: float = 60.0
    """How long a supervisor in another container is waited for."""

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_wire(cls, given: Mapping[str, Any]) -> HandlerLimits:
        """Raises TypeError or ValueError when a field is missing or no number."""
        known = asdict(cls())
        return cls(**{name: type(value)(given[name]) for name, value in known.items()})


def started_with(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a supervisor that a worker starts: nothing of the worker's own that may
    be secret."""
    own = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        "PATH": os.environ.get("PATH", _PATH),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **own,
        **environment,
    }


def of_runner(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """What a supervisor's environment is for the handler."""
    given = {k: v for k, v in environment.items() if not k.startswith(_OURS)}
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        **given,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables whose values are not to be seen: all that were given."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _PUBLIC and not name.startswith((*_OURS, "LC_", "PYTHON"))
    }


def confine(limits: HandlerLimits) -> None:
    """For a new process, before it becomes the runner."""
    processes.end_with_parent(signal.SIGKILL)
    processes.never_gain()
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    # Reserved memory counts here, touched or not: the watcher is the stricter one.
    _lower(resource.RLIMIT_DATA, 2 * limits.memory + _HEADROOM)


def offer_to_be_killed() -> None:
    """Where memory runs out for all, the kernel is to choose this process."""
    # Not every container has that file.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (most, most))
