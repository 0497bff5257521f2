"""Handlers of tests: run on several assets in one chunk, and what is left of them afterwards."""

from __future__ import annotations

import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from telecine.pipelines.bundle import Bundle
from telecine.pipelines.faults import HandlerError
from telecine.pipelines.host import Handler
from telecine.pipelines.surroundings import HandlerLimits

SMALL = HandlerLimits(seconds=20, memory=400 << 20, processes=24)
"""Limits that tests reach quickly."""


def bundle(code: str, **others: str) -> Bundle:
    files = {"handler.py": textwrap.dedent(code).encode()}
    files |= {f"{name}.py": textwrap.dedent(text).encode() for name, text in others.items()}
    return Bundle(files, "inline-0123456789ab")


@dataclass
class Chunk:
    """An open handler, what it printed, and its processes."""

    handler: Handler
    mark: str
    content: Path
    printed: list[tuple[str, str]] = field(default_factory=list)

    def documents(self, key: str, *, name: str = "", mime: str = "text/plain") -> list[Any]:
        """Of one asset. Raises HandlerError."""
        event = {"bucket": "shelf", "key": key}
        return list(self.handler.call(event, self.content, name or f"{key}.txt", mime))

    def failure(self, key: str) -> HandlerError:
        """Of an asset on which it fails."""
        try:
            found = self.documents(key)
        except HandlerError as error:
            return error
        raise AssertionError(f"the handler succeeded: {found!r:.300}")

    def said(self, asset: str) -> list[str]:
        return [line for name, line in self.printed if name == asset]

    def processes(self) -> dict[int, str]:
        return marked(self.mark)


@contextmanager
def chunk(
    code: str | Bundle,
    content: Path,
    *,
    limits: HandlerLimits = SMALL,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Chunk]:
    """A handler; when it is closed, no process of it is left, which this proves."""
    mark = f"mark-{uuid.uuid4().hex}"
    given = {"TEST_MARK": mark, **(environment or {})}
    made = bundle(code) if isinstance(code, str) else code
    printed: list[tuple[str, str]] = []
    with Handler(
        made,
        environment=given,
        limits=limits,
        log=lambda asset, line: printed.append((asset, line)),
        **options,
    ) as handler:
        yield Chunk(handler, mark, content, printed)
    assert marked(mark) == {}


def marked(mark: str) -> dict[int, str]:
    """Command lines of the processes whose environment has the mark, but for zombies."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
        except OSError:
            # Gone meanwhile.
            continue
    return found


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)
