"""The parent's side: what one asset holds, as its decoder tells it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from telecine.extractors.base import ExtractionError
from telecine.extractors.media.events import Event, MediaRequest, Probe
from telecine.extractors.media.faults import MediaError, UnavailableError
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.process import Decoder
from telecine.extractors.media.sniffing import sniff
from telecine.extractors.models import ModelUnavailableError

DECODER = ("-m", "telecine.extractors.media.decoder")
"""Arguments of the interpreter that start the child."""


def read_media(
    path: Path,
    name: str,
    request: MediaRequest,
    limits: MediaLimits,
    *,
    decoder: Sequence[str] = DECODER,
) -> Generator[Event, None, None]:
    """What one asset holds, streamed; the first event is its `Probe`, the last a `Position`.

    The decoder runs ahead by no more than what a pipe holds. Closing the iterator ends it. It
    dies with the thread that takes the first event, so take the events in one thread.

    Args:
        name: the asset's path, for messages.
        decoder: arguments of the interpreter that start the child.

    Raises:
        ExtractionError: all permanent, with what was found, the limit and the remedy:
            EmptyContent, NotMedia, Truncated, DamagedMedia, NoUsableStreams, TooManyPixels,
            TooLong, TooManyStreams, TooManyFrames, TooSlow, DecoderHangs, DecoderCrashed,
            DecoderOutOfMemory.
        ModelUnavailableError: the decoding libraries are not installed here.
        OSError: the file cannot be opened, or no process can be started.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _events(file, request, limits, decoder)
    except MediaError as fault:
        raise ExtractionError(fault.reason, f"{name}: {fault}", permanent=True) from None
    except UnavailableError as error:
        raise ModelUnavailableError(
            f"media decoder: {error}; install it with: pip install 'telecine[media]'"
        ) from None
    finally:
        os.close(file)


def _events(
    file: int, request: MediaRequest, limits: MediaLimits, arguments: Sequence[str]
) -> Iterator[Event]:
    form = sniff(lambda count, at: os.pread(file, count, at))
    order = {
        "parent": os.getpid(),
        "kind": form.kind,
        "format": form.format,
        "request": request.fields(),
        "limits": vars(limits),
    }
    child = Decoder(file, arguments, order, limits)
    try:
        events = child.events(request.frame_size)
        first = next(events, None)
        if not isinstance(first, Probe):
            raise MediaError("DecoderCrashed", "its decoder did not tell what the file is")
        yield first
        yield from events
    finally:
        child.end()
