"""Films and sounds to documents: one decode feeds key frames, speech, captions and segments.

Documents come in the order of time, each segment's when everything up to its end is known. An
attempt that goes on after a killed one passes over what that one wrote: it decodes again, which
is cheap, and neither reads frames nor transcribes what is written already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, Document
from telecine.extractors.hearing import Hearing, Sentence
from telecine.extractors.image_extractor import (
    frames_as_documents,
    limits_of,
    not_a_picture,
    opened,
    picture_request,
)
from telecine.extractors.media.captions import caption_language
from telecine.extractors.media_models import MediaModels
from telecine.extractors.parameters import MultimodalParameters
from telecine.extractors.seeing import Seen, Watching
from telecine.extractors.sidecar import sentences_of
from telecine.extractors.splitting import Span, SplitMethod, Splitter, splitter

if TYPE_CHECKING:
    from telecine.extractors.media.events import Event, MediaRequest, Probe

_SAMPLES = 32
"""Segments and frames of which the document of the whole is made, spread over the film."""
_MOST_TEXT = 200_000
"""Characters of the whole's transcript."""


def film_documents(
    content: Content, given: MultimodalParameters, models: MediaModels
) -> Iterator[Document]:
    """The documents of a film or sound.

    Raises:
        ExtractionError: nothing of it can be decoded, or it is over a limit; permanent.
    """
    still = content.blob_type is BlobType.IMAGE
    beside = sentences_of(content.captions) if given.use_captions and content.captions else []
    request = picture_request() if still else _request(given, captions=not beside)
    limits = limits_of(given, duration=given.max_duration)
    with opened(content, request, limits) as (probe, events):
        if probe.kind == "picture":
            yield from frames_as_documents(probe, events, given, models)
        elif still:
            raise not_a_picture(content, probe)
        else:
            yield from _Film(content, given, models, probe, beside).documents(events)


def _request(given: MultimodalParameters, *, captions: bool) -> MediaRequest:
    from telecine.extractors.media.events import MediaRequest

    looks = given.run_ocr or given.run_multimodal_embedding or given.enable_thumbnails
    scenes = given.split_method == "scene"
    return MediaRequest(
        frames=("accurate" if given.accurate else "key") if looks or scenes else "none",
        sound=given.run_transcription or given.split_method == "silence",
        captions=given.use_captions and captions,
        cuts=scenes,
        scene_threshold=given.scene_detection_threshold,
    )


@dataclass
class _Summary:
    """What the document of the whole is made of."""

    segments: int = 0
    transcript: list[str] = field(default_factory=list)
    characters: int = 0
    pictures: list[Any] = field(default_factory=list)
    every: int = 1
    frames: int = 0

    def said(self, text: str) -> None:
        self.segments += 1
        if text and self.characters < _MOST_TEXT:
            self.transcript.append(text)
            self.characters += len(text)

    def saw(self, picture: Any) -> None:
        """Keeps every n-th picture; n doubles when there are too many."""
        if self.frames % self.every == 0:
            self.pictures.append(picture)
            if len(self.pictures) > _SAMPLES:
                self.pictures = self.pictures[::2]
                self.every *= 2
        self.frames += 1


class _Film:
    """One film on its way through."""

    def __init__(
        self,
        content: Content,
        given: MultimodalParameters,
        models: MediaModels,
        probe: Probe,
        beside: list[Sentence],
    ) -> None:
        """`beside` are the captions of the source, which go before those in the film."""
        self.content, self.given, self.models, self.probe = content, given, models, probe
        self.written = [d for d in content.written() if "segment" in d.properties]
        done = [d for d in self.written if d.properties.get("kind") == "segment"]
        self.known_until = float(done[-1].properties["end_time"]) if done else 0.0
        self.captions = beside
        self.splitter = self._splitter()
        self.watching = Watching(
            models.recognizer,
            most=given.frames_per_segment,
            every=given.time_split_interval,
            thumbnail=given.enable_thumbnails,
            known_until=self.known_until,
        )
        captioned = bool(beside) or (given.use_captions and bool(probe.captions))
        speech = models.speech() if probe.audio_codec and not captioned else None
        self.hearing: Hearing | None = None
        if speech is not None:
            self.hearing = Hearing(
                lambda: speech,
                language=given.transcription_language,
                known_until=self.known_until,
                said=self._report,
            )
        self.language = ""
        if beside and content.captions is not None:
            self.language = caption_language(content.captions.language)
        elif captioned:
            self.language = probe.captions[0]
        self.decoded = 0.0
        self.damage = ""
        self.summary = _Summary()

    @property
    def spoken(self) -> str:
        """The language as far as it is known."""
        return self.hearing.language if self.hearing is not None else self.language

    def _splitter(self) -> Splitter:
        method = SplitMethod(self.given.split_method)
        if method is SplitMethod.SILENCE and not self.probe.audio_codec:
            method = SplitMethod.TIME
        return splitter(
            method,
            interval=self.given.time_split_interval,
            silence_db=self.given.silence_db_threshold,
        )

    def documents(self, events: Iterator[Event]) -> Iterator[Document]:
        for event in events:
            self._take(event)
            until = self.decoded if self.hearing is None else min(self.decoded, self.hearing.until)
            for span in self.splitter.closed(until):
                yield from self._segment(span)
        if self.hearing is not None:
            self.hearing.finish()
        # What was decoded counts: a header may claim hours that are not there.
        for span in self.splitter.finish(self.decoded or self.probe.duration):
            yield from self._segment(span)
        yield self._whole()

    def _take(self, event: Event) -> None:
        from telecine.extractors.media.events import (
            Caption,
            Cut,
            Damage,
            Frame,
            Position,
            Sound,
        )

        if isinstance(event, Sound):
            self.splitter.sound(event.start, event.samples)
            if self.hearing is not None:
                self.hearing.add(event.samples)
        elif isinstance(event, Frame):
            self.watching.add(event)
        elif isinstance(event, Cut):
            self.splitter.cut(event.time)
        elif isinstance(event, Caption):
            self.captions.append(Sentence(event.start, event.end, event.text))
        elif isinstance(event, Position):
            self.decoded = max(self.decoded, event.time)
            self._report(self.decoded if self.hearing is None else self.hearing.until)
        elif isinstance(event, Damage):
            self.damage = f"{event.message} (at {event.time:.1f} s)"

    def _report(self, seconds: float) -> None:
        self.content.progress(seconds, self.probe.duration)

    def _segment(self, span: Span) -> Iterator[Document]:
        number = self.summary.segments
        frames = self.watching.take(span)
        sentences = self._said(span)
        for seen in frames:
            self.summary.saw(seen.small)
        if span.end <= self.known_until:
            mine = [d for d in self.written if d.properties["segment"] == number]
            self.summary.said(str(mine[-1].properties.get("transcription") or "") if mine else "")
            self.language = self.language or _language_of(mine)
            yield from mine
            return
        for seen in frames:
            yield self._frame(number, span, seen)
        text = " ".join(s.text for s in sentences)
        self.summary.said(text)
        yield self._spoken(number, span, frames, sentences, text)

    def _said(self, span: Span) -> list[Sentence]:
        if self.hearing is not None:
            return self.hearing.take(span)
        mine = [c for c in self.captions if c.middle < span.end]
        self.captions = [c for c in self.captions if c.middle >= span.end]
        return mine

    def _frame(self, number: int, span: Span, seen: Seen) -> Document:
        return Document(
            text="",
            properties={
                "kind": "frame",
                "segment": number,
                "time": round(seen.time, 3),
                "start_time": round(span.start, 3),
                "end_time": round(span.end, 3),
                "ocr_text": seen.text,
                "thumbnail": seen.thumbnail,
                "width": self.probe.width,
                "height": self.probe.height,
            },
            texts={"ocr": [seen.text]} if seen.text else {},
            pictures=[seen.small] if self.given.run_multimodal_embedding else [],
        )

    def _spoken(
        self, number: int, span: Span, frames: list[Seen], sentences: list[Sentence], text: str
    ) -> Document:
        embed = text and self.given.run_transcription_embedding
        words = [word for s in sentences for word in s.words]
        return Document(
            text="",
            properties={
                "kind": "segment",
                "segment": number,
                "start_time": round(span.start, 3),
                "end_time": round(span.end, 3),
                "transcription": text,
                "language": self.spoken if text else "",
                "sentences": json.dumps([[s.start, s.end, s.text] for s in sentences]),
                "words": json.dumps(words) if words else "",
                "key_frames": json.dumps([round(s.time, 3) for s in frames]),
                "thumbnail": frames[0].thumbnail if frames else "",
                "duration": round(self.probe.duration, 3),
            },
            texts={"transcription": [text]} if embed else {},
        )

    def _whole(self) -> Document:
        summary, probe = self.summary, self.probe
        told = summary.transcript
        end = round(self.decoded or probe.duration, 3)
        step = max(-(-len(told) // _SAMPLES), 1)
        return Document(
            text="",
            properties={
                "kind": "whole",
                "start_time": 0.0,
                "end_time": end,
                "duration": end,
                "language": self.spoken if told else "",
                "transcription": " ".join(told)[:_MOST_TEXT],
                "width": probe.width,
                "height": probe.height,
                "media": json.dumps(
                    {
                        "format": probe.format,
                        "video_codec": probe.video_codec,
                        "audio_codec": probe.audio_codec,
                        "fps": round(probe.fps, 3),
                        "rotation": probe.rotation,
                        "tags": probe.tags,
                        **({"damage": self.damage} if self.damage else {}),
                    }
                ),
            },
            texts={"transcription": told[::step]} if told else {},
            pictures=summary.pictures if self.given.run_multimodal_embedding else [],
        )


def _language_of(documents: list[Document]) -> str:
    return next(
        (str(d.properties["language"]) for d in documents if d.properties.get("language")), ""
    )
