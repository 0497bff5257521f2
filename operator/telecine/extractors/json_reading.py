"""JSON and JSON Lines to plain text: one entry `path: string` for each leaf."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from telecine.extractors.base import ExtractionError

_SPACE = re.compile(r"\s*+")
_UNPRINTABLE = re.compile(r"[\x00\ud800-\udfff]")


class _Number(str):
    """A number as it was written: no limit of digits, no rounding."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    parse_int=_Number, parse_float=_Number, parse_constant=_Number, strict=False
)


def json_text(text: str, fields: Sequence[str] | None, name: str) -> str:
    """The strings of one or several JSON documents, each with its dotted path.

    Lists do not show in paths: `authors.name: Ada`. With `fields`, only what lies at or below
    one of those paths, numbers and booleans included. Documents are set apart by a blank line.

    Raises:
        ExtractionError: InvalidJson with line and column, or nested too deeply to read.
    """
    wanted = None if fields is None else [tuple(field.split(".")) for field in fields]
    blocks = []
    for document in _documents(text, name):
        lines = "\n".join(_lines(document, wanted))
        if lines:
            blocks.append(lines)
    return "\n\n".join(blocks)


def _documents(text: str, name: str) -> Iterator[Any]:
    position = _after_space(text, 0)
    while position < len(text):
        try:
            document, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ExtractionError(
                "InvalidJson",
                f"{name} is not valid JSON: {error.msg} at line {error.lineno}, "
                f"column {error.colno}; mend it, or let a Bucket of type text take it under "
                "another ending",
                permanent=True,
            ) from error
        except RecursionError as error:
            raise ExtractionError(
                "InvalidJson",
                f"{name} is nested too deeply to be read; flatten it",
                permanent=True,
            ) from error
        yield document
        position = _after_space(text, position)


def _after_space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]


def _lines(document: Any, wanted: list[tuple[str, ...]] | None) -> Iterator[str]:
    # A stack of our own: a document may be nested as deeply as the parser allows.
    stack: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack.extend(((*path, key), value[key]) for key in reversed(value))
        elif isinstance(value, list):
            stack.extend((path, item) for item in reversed(value))
        elif (leaf := _leaf(value, everything=wanted is not None)) and _selected(path, wanted):
            key = _printable(".".join(path))
            yield f"{key}: {leaf}" if key else leaf


def _leaf(value: Any, *, everything: bool) -> str:
    if type(value) is str:
        return _printable(value).strip()
    if not everything or value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _selected(path: tuple[str, ...], wanted: list[tuple[str, ...]] | None) -> bool:
    if wanted is None:
        return True
    # A key may hold dots itself, so dotted forms are compared as well.
    dotted = ".".join(path)
    return any(
        path[: len(field)] == field or f"{dotted}.".startswith(".".join(field) + ".")
        for field in wanted
    )


def _printable(text: str) -> str:
    """Escapes such as a lone surrogate name no character; neither UTF-8 nor an index takes it."""
    return _UNPRINTABLE.sub("\ufffd", text)
