"""Captions that a source keeps beside an asset, in place of transcribing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from telecine.extractors.hearing import Sentence
from telecine.extractors.media.captions import plain
from telecine.planning.types import SideCaptions

if TYPE_CHECKING:
    import webvtt

log = structlog.get_logger(__name__)


def sentences_of(captions: SideCaptions) -> list[Sentence]:
    """The cues in the order of time; none where the text is no WebVTT."""
    import webvtt.errors

    try:
        cues = webvtt.from_string(captions.text)
    except (webvtt.errors.MalformedFileError, webvtt.errors.MalformedCaptionError) as error:
        log.warning("captions are no WebVTT; the sound is transcribed instead", error=str(error))
        return []
    found = [
        Sentence(_seconds(cue.start_time), _seconds(cue.end_time), words)
        for cue in cues.captions
        if (words := plain(cue.text))
    ]
    return sorted(found, key=lambda sentence: sentence.start)


def _seconds(time: webvtt.models.Timestamp) -> float:
    """With its milliseconds, which the library's own `in_seconds` leaves out."""
    hours, minutes, seconds, milliseconds = time.to_tuple()
    return float(hours * 3600 + minutes * 60 + seconds) + milliseconds / 1000
