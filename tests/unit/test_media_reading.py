"""Film, sound and pictures through the decoder's process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from telecine.extractors.base import ExtractionError
from telecine.extractors.media.events import (
    SAMPLE_RATE,
    Event,
    Frame,
    MediaRequest,
    Sound,
)
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.reader import read_media


def told(path: Path, request: MediaRequest | None = None, **limits: float) -> list[Event]:
    bounds = MediaLimits(**limits)  # type: ignore[arg-type]
    return list(read_media(path, path.name, request or MediaRequest(), bounds))


def refusal(path: Path, request: MediaRequest | None = None, **limits: float) -> ExtractionError:
    with pytest.raises(ExtractionError) as caught:
        told(path, request, **limits)
    assert caught.value.permanent
    assert path.name in str(caught.value)
    return caught.value


def frames(events: list[Event]) -> list[Frame]:
    return [e for e in events if isinstance(e, Frame)]


def samples(events: list[Event], start: float = 0.0) -> np.ndarray:
    """All sound, after checking that its pieces follow each other."""
    pieces = [e for e in events if isinstance(e, Sound)]
    at = round(start * SAMPLE_RATE)
    for piece in pieces:
        assert round(piece.start * SAMPLE_RATE) == at
        assert piece.samples.dtype == np.float32
        at += len(piece.samples)
    return np.concatenate([p.samples for p in pieces]) if pieces else np.zeros(0, np.float32)
