"""Cuts an asset into chunks, in the handler's process; the sandboxed decoder decodes."""

from __future__ import annotations

import mimetypes
import os
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from telecine.pipelines.chunks import (
    MOST_SECONDS,
    SAMPLE_RATE,
    AudioChunk,
    ImageChunk,
    TextChunk,
    VideoChunk,
    VideoFrame,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telecine.extractors.media.events import Event, MediaRequest
    from telecine.extractors.splitting import Span, TimeSplitter

_MOST_FRAMES = 64
"""Of one chunk: memory stays bounded however long it is."""
_CONNECT_SECONDS = 30.0


class MediaError(Exception):
    """A file cannot be read as what it was taken for; `str()` says why."""


class _Given(NamedTuple):
    """The asset that the host gave: its URLs are read from its file, not copied."""

    base: str
    path: Path


_given: _Given | None = None


def give(base: str, descriptor: int) -> None:
    """For the runner: `base` is what all URLs of the asset begin with."""
    global _given
    _given = _Given(base, Path(f"/proc/self/fd/{descriptor}"))


class FileTools:
    """Takes URLs of `Mixpeek.file_url`, other http(s) URLs, and paths of files."""

    @staticmethod
    def split_video(
        url: str | os.PathLike[str],
        frame_interval: float = 10,
        *,
        frames_per_second: float = 1.0,
        frame_size: int = 640,
    ) -> Iterator[VideoChunk]:
        """Spans of a film, one after another: only one of them is in memory.

        Args:
            frame_interval: seconds of a span, above 0 and at most 600.
            frames_per_second: that a span brings with it; of a long one at most 64 in all.
            frame_size: pixels of a frame's longer side, at most.

        Raises:
            MediaError: it is no film, or damaged so that nothing of it can be decoded.
            ValueError: an argument is out of bounds.
        """
        _bounded("frame_interval", frame_interval, MOST_SECONDS)
        _bounded("frames_per_second", frames_per_second, 60)
        _bounded("frame_size", frame_size, 4096)
        rate = min(frames_per_second, _MOST_FRAMES / frame_interval)
        return _film(url, frame_interval, rate, int(frame_size))

    @staticmethod
    def split_audio(url: str | os.PathLike[str], interval: float = 10) -> Iterator[AudioChunk]:
        """Spans of sound, also of a film's, `interval` seconds each (above 0, at most 600).

        Raises:
            MediaError: it has no sound, or cannot be decoded.
            ValueError: the interval is out of bounds.
        """
        _bounded("interval", interval, MOST_SECONDS)
        return _sound(url, interval)

    @staticmethod
    def split_image(url: str | os.PathLike[str], *, frame_size: int = 1280) -> Iterator[ImageChunk]:
        """The picture, or the frames of an animation; `frame_size` is the longer side's pixels.

        Raises:
            MediaError: it is no picture, or damaged.
        """
        _bounded("frame_size", frame_size, 4096)
        return _pictures(url, int(frame_size))

    @staticmethod
    def load_image(url: str | os.PathLike[str], *, frame_size: int = 1280) -> NDArray[np.uint8]:
        """The picture's pixels, RGB (height, width, 3) uint8, upright.

        Raises:
            MediaError: it is no picture, or damaged.
        """
        with closing(_pictures(url, frame_size)) as pictures:
            for picture in pictures:
                return picture.pixels
        raise MediaError(f"{url}: it holds no picture")

    @staticmethod
    def split_text(
        url: str | os.PathLike[str], chunk_size: int = 1000, overlap: int = 0
    ) -> Iterator[TextChunk]:
        """Whole sentences of a text, HTML, XML or JSON file.

        Args:
            chunk_size: characters of a chunk, at most.
            overlap: characters that a chunk may share with the one before it; at most half.

        Raises:
            MediaError: it is no text.
            ValueError: an argument is out of bounds.
        """
        if chunk_size < 1 or not 0 <= overlap <= chunk_size // 2:
            raise ValueError(
                f"chunk_size is {chunk_size} and overlap {overlap}: give a positive size, and an "
                "overlap of at most half of it"
            )
        return _texts(url, chunk_size, overlap)


def _bounded(name: str, value: float, most: float) -> None:
    if isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"{name} is {value!r}: give a number above 0 and at most {most:g}")


def _film(
    url: str | os.PathLike[str], interval: float, rate: float, size: int
) -> Iterator[VideoChunk]:
    from telecine.extractors.media.events import MediaRequest

    request = MediaRequest(
        frames="accurate", captions=False, frame_size=size, frames_per_second=rate
    )
    cutting = _Cutting(interval)
    with _events(url, request) as (events, name):
        for event in events:
            if getattr(event, "kind", "film") in ("sound", "picture"):
                kind = getattr(event, "kind", "")
                raise MediaError(f"{name}: it is a {kind} and no film; use split_" + (
                    "audio" if kind == "sound" else "image"
                ))  # fmt: skip
            for index, span in cutting.take(event):
                yield cutting.film(index, span)
        for index, span in cutting.rest():
            yield cutting.film(index, span)


def _sound(url: str | os.PathLike[str], interval: float) -> Iterator[AudioChunk]:
    from telecine.extractors.media.events import MediaRequest, Probe

    request = MediaRequest(frames="none", captions=False)
    cutting = _Cutting(interval)
    with _events(url, request) as (events, name):
        for event in events:
            if isinstance(event, Probe) and not event.audio_codec:
                raise MediaError(f"{name}: it has no sound")
            for index, span in cutting.take(event):
                yield AudioChunk(index, span.start, span.end, cutting.samples(span))
        for index, span in cutting.rest():
            yield AudioChunk(index, span.start, span.end, cutting.samples(span))


def _pictures(url: str | os.PathLike[str], size: int) -> Generator[ImageChunk, None, None]:
    from telecine.extractors.media.events import Frame, MediaRequest, Probe

    request = MediaRequest(sound=False, captions=False, frame_size=size)
    with _events(url, request) as (events, name):
        index = 0
        for event in events:
            if isinstance(event, Probe) and event.kind != "picture":
                raise MediaError(f"{name}: it is a {event.kind} and no picture")
            if isinstance(event, Frame):
                yield ImageChunk(index, event.time, event.pixels)
                index += 1


def _texts(url: str | os.PathLike[str], size: int, overlap: int) -> Iterator[TextChunk]:
    from telecine.api.bucket import BlobType
    from telecine.extractors.base import Content, ExtractionError
    from telecine.extractors.chunking import chunks
    from telecine.extractors.text_reading import read

    with _local(url) as (path, name):
        mime = mimetypes.guess_type(name)[0] or ""
        content = Content(path, path.stat().st_size, mime, BlobType.TEXT, name)
        try:
            text = read(content).text
        except ExtractionError as error:
            raise MediaError(str(error)) from None
    for index, chunk in enumerate(chunks(text, size, overlap)):
        yield TextChunk(index, chunk.start, chunk.end, chunk.text)


class _Cutting:
    """Frames and sound by spans of equal length, forgotten as soon as their span is over."""

    def __init__(self, interval: float) -> None:
        from telecine.extractors.splitting import TimeSplitter

        self._splitter: TimeSplitter = TimeSplitter(interval)
        self._frames: list[VideoFrame] = []
        self._pieces: list[Any] = []
        self._heard_from = 0
        self._has_sound = False
        self._reached = 0.0
        self._count = 0

    def take(self, event: Event) -> list[tuple[int, Span]]:
        """The spans that are over with this."""
        from telecine.extractors.media.events import Frame, Position, Sound

        if isinstance(event, Frame):
            self._frames.append(VideoFrame(event.time, event.pixels))
        elif isinstance(event, Sound):
            self._has_sound = True
            self._pieces.append(event.samples)
        elif isinstance(event, Position):
            self._reached = max(event.time, self._reached)
            return self._numbered(self._splitter.closed(self._reached))
        return []

    def rest(self) -> list[tuple[int, Span]]:
        return self._numbered(self._splitter.finish(self._reached))

    def _numbered(self, spans: list[Span]) -> list[tuple[int, Span]]:
        first = self._count
        self._count += len(spans)
        return list(enumerate(spans, first))

    def film(self, index: int, span: Span) -> VideoChunk:
        """Its frames and sound; these are gone then, so spans are taken in order."""
        mine = [frame for frame in self._frames if frame.time < span.end]
        self._frames = self._frames[len(mine) :]
        return VideoChunk(index, span.start, span.end, self.samples(span), frames=mine)

    def samples(self, span: Span) -> NDArray[np.float32] | None:
        if not self._has_sound:
            return None
        import numpy as np

        sound = np.concatenate(self._pieces) if len(self._pieces) != 1 else self._pieces[0]
        end = max(round(span.end * SAMPLE_RATE) - self._heard_from, 0)
        mine, rest = sound[:end], sound[end:].copy()
        self._pieces = [rest]
        self._heard_from += len(mine)
        return mine.copy()


@contextmanager
def _events(
    url: str | os.PathLike[str], request: MediaRequest
) -> Iterator[tuple[Iterator[Event], str]]:
    from telecine.extractors.base import ExtractionError
    from telecine.extractors.loading import ModelUnavailableError
    from telecine.extractors.media.limits import MediaLimits
    from telecine.extractors.media.reader import read_media

    with _local(url) as (path, name):
        try:
            with closing(read_media(path, name, request, MediaLimits())) as events:
                yield events, name
        except (ExtractionError, ModelUnavailableError) as error:
            raise MediaError(str(error)) from None


@contextmanager
def _local(url: str | os.PathLike[str]) -> Iterator[tuple[Path, str]]:
    """A file with the content, and the name to call it."""
    text = os.fspath(url)
    parsed = urllib.parse.urlsplit(text)
    if parsed.scheme not in ("http", "https"):
        path = Path(text)
        if not path.is_file():
            raise MediaError(f"{text}: there is no such file")
        yield path, path.name
        return
    name = PurePosixPath(urllib.parse.unquote(parsed.path)).name or "asset"
    if _given is not None and text.startswith(_given.base) and os.access(_given.path, os.R_OK):
        yield _given.path, name
        return
    with tempfile.NamedTemporaryFile(prefix="asset-") as file:
        _download(text, file)
        yield Path(file.name), name


def _download(url: str, file: Any) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:
            while data := answer.read(1 << 20):
                file.write(data)
    except OSError as error:
        raise MediaError(f"{url}: it cannot be read: {error}") from error
    file.flush()
