"""Ends a process with SIGKILL at a chosen call; on PYTHONPATH of the processes under test only.

`TELECINE_TEST_KILL` is `ROLE MODULE CLASS.METHOD NTH WHEN`: ROLE is part of the command line,
NTH counts calls from 1, WHEN is `before` or `after`. It happens once: the file named by
`TELECINE_TEST_KILL_DONE` is made just before, and where it exists nothing is done.
Without `TELECINE_TEST_KILL` the same is read, at the start of each process, from the file named
by `TELECINE_TEST_KILL_ORDER`: so one operator can start workers with different orders.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ORDER = os.environ.get("TELECINE_TEST_KILL", "")
ORDER_FILE = Path(os.environ.get("TELECINE_TEST_KILL_ORDER", "/nonexistent/order"))
if not ORDER and ORDER_FILE.is_file():
    ORDER = ORDER_FILE.read_text()
DONE = Path(os.environ.get("TELECINE_TEST_KILL_DONE", "/nonexistent/done"))


def arm(module: ModuleType, path: str, nth: int, when: str) -> None:
    *parents, name = path.split(".")
    owner: Any = module
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = 0

    def die() -> None:
        if not DONE.exists():
            DONE.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            die()
        result = original(*args, **kwargs)
        if calls == nth and when == "after":
            die()
        return result

    setattr(owner, name, wrapped)


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the loading of one module."""

    def __init__(self, module: str, path: str, nth: int, when: str) -> None:
        self.module, self.path, self.nth, self.when = module, path, nth, when

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        original = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            original(module)
            arm(module, self.path, self.nth, self.when)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if ORDER:
    role, module_name, target_path, nth_call, moment = ORDER.split()
    if role in " ".join(sys.orig_argv) and not DONE.exists():
        sys.meta_path.insert(0, Finder(module_name, target_path, int(nth_call), moment))
