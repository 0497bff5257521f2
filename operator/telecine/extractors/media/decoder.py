"""The child: `python -I -m telecine.extractors.media.decoder ORDER`, the asset as its standard
input, messages of `wire` as its output. It looks at the asset only when it is confined."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from io import FileIO
from typing import Any

from telecine.extractors.media import film, picture, sandbox, wire
from telecine.extractors.media.events import Event, MediaRequest
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.limits import MediaLimits

_INPUT, _OUTPUT = 0, 1


def main(order: dict[str, Any]) -> None:
    """Tells one asset's events, then `done`; or `fault` with the reason."""
    sandbox.bind_to(order["parent"])
    limits = MediaLimits(**order["limits"])
    try:
        _load(order["kind"], order["format"])
    except ImportError as error:
        message = f"{error.name or error} is not installed here"
        wire.send(_OUTPUT, "unavailable", {"message": message})
        return
    sandbox.confine(limits)
    try:
        for event in _events(order, limits):
            wire.send_event(_OUTPUT, event)
        wire.send(_OUTPUT, "done", {})
    except MediaError as fault:
        wire.send(_OUTPUT, "fault", {"reason": fault.reason, "message": str(fault)})
    except MemoryError:
        wire.send(_OUTPUT, "fault", {"reason": "DecoderOutOfMemory", "message": _no_memory(limits)})


def _load(kind: str, form: str) -> None:
    if kind == "picture":
        picture.load(form)
    else:
        film.load()


def _events(order: dict[str, Any], limits: MediaLimits) -> Iterator[Event]:
    file = FileIO(_INPUT, closefd=False)
    request = MediaRequest(**order["request"])
    tell = picture.picture_events if order["kind"] == "picture" else film.film_events
    return tell(file, order["format"], request, limits)


def _no_memory(limits: MediaLimits) -> str:
    return (
        f"decoding it takes more than {limits.max_memory >> 20} MiB of memory; "
        "raise parameter max_memory_mib"
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[-1]))
