"""A user's traceback, of their own files only."""

from __future__ import annotations

import traceback
from pathlib import Path

_MOST = 16 << 10


def user_trace(error: BaseException, folder: Path) -> str:
    """The exception with those of its frames that are in the folder, whose paths are told
    relative to it; at most 16 KiB, of which the end counts."""
    told = traceback.TracebackException.from_exception(error)
    _keep(told, f"{folder}/", set())
    text = "".join(told.format()).rstrip()
    return text if len(text) <= _MOST else f"…{text[-_MOST:]}"


def _keep(told: traceback.TracebackException | None, folder: str, seen: set[int]) -> None:
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack = traceback.StackSummary.from_list(
        [
            traceback.FrameSummary(
                frame.filename.removeprefix(folder),
                frame.lineno,
                frame.name,
                lookup_line=False,
                line=frame.line,
            )
            for frame in told.stack
            if frame.filename.startswith(folder)
        ]
    )
    if isinstance(getattr(told, "filename", None), str):
        told.filename = told.filename.removeprefix(folder)
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        _keep(other, folder, seen)
