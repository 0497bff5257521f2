"""One pass over a film or sound that feeds frames, sound and captions. Runs in the decoder only."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from importlib import import_module
from io import FileIO
from typing import TYPE_CHECKING, Any

from telecine.extractors.media.captions import CaptionReader
from telecine.extractors.media.clock import DISCONTINUOUS, Clock
from telecine.extractors.media.container import (
    Chosen,
    check_duration,
    choose,
    duration_of,
    open_container,
    probe,
)
from telecine.extractors.media.events import (
    Damage,
    Event,
    Frame,
    MediaRequest,
    Position,
)
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.frames import FrameReader, frame_reader
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.sound import SoundReader

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_IMPORTED_WHEN_USED = (
    "numpy",
    "av",
    "av.audio.codeccontext",
    "av.audio.frame",
    "av.audio.resampler",
    "av.audio.stream",
    "av.error",
    "av.filter.graph",
    "av.logging",
    "av.sidedata.sidedata",
    "av.stream",
    "av.subtitles.codeccontext",
    "av.subtitles.stream",
    "av.subtitles.subtitle",
    "av.video.codeccontext",
    "av.video.frame",
    "av.video.reformatter",
    "av.video.stream",
)
"""What PyAV and this package import in the middle of their work, when no file can be opened."""
_SEEKABLE = frozenset({"mov", "matroska"})
"""Their index gives exact times; others guess them from sizes, and are read through instead."""
_APART = 30.0
"""Seconds by which streams of one file may be out of step where it was interleaved badly."""
_POSITION_SECONDS = 1.0
_POSITION_CLOCK = 2.0
_HELD_EVENTS = 64
_LATE = 2.0
"""Seconds that sound may be missing at its end without counting as damage."""


def load() -> None:
    """Imports all that decoding needs.

    Raises:
        ImportError: something is not installed.
    """
    for module in _IMPORTED_WHEN_USED:
        import_module(module)


def film_events(
    file: FileIO, form: str, request: MediaRequest, limits: MediaLimits
) -> Iterator[Event]:
    """`Probe`, then frames, cuts, sound and captions as the file has them interleaved.

    Raises:
        MediaError: over a limit, or nothing of what was asked for could be decoded.
    """
    with open_container(file, form, limits) as container:
        chosen = choose(container, request)
        film = _Film(container, form, chosen, request, limits)
        # Only a frame tells how the film is turned, so the first events wait for one.
        held: list[Event] = []
        waits = film.frames is not None
        if not waits:
            yield probe(container, form, chosen, 0)
        for event in film.events():
            if not waits:
                yield event
                continue
            held.append(event)
            if isinstance(event, Frame) or len(held) >= _HELD_EVENTS:
                waits = False
                yield probe(container, form, chosen, film.rotation)
                yield from held
                held.clear()
        if waits:
            yield probe(container, form, chosen, 0)
            yield from held


class _Film:
    """One pass."""

    def __init__(
        self,
        container: InputContainer,
        form: str,
        chosen: Chosen,
        request: MediaRequest,
        limits: MediaLimits,
    ) -> None:
        self._container, self._form = container, form
        self._request, self._limits = request, limits
        origin = max(container.start_time or 0, 0) / 1e6
        self._origin = origin
        self.frames: FrameReader | None = None
        self._sound: SoundReader | None = None
        self._captions: CaptionReader | None = None
        self._chosen: list[Stream] = []
        if chosen.video is not None and request.frames != "none":
            self.frames = frame_reader(chosen.video, request, limits, origin)
            self._chosen.append(chosen.video)
        if chosen.audio is not None and request.sound:
            self._sound = SoundReader(chosen.audio, origin, request.start)
            self._chosen.append(chosen.audio)
        if chosen.captions is not None:
            self._captions = CaptionReader(chosen.captions, origin)
            self._chosen.append(chosen.captions)
        self._units = {s.index: float(s.time_base or 0) for s in self._chosen}
        self._video, self._audio = chosen.video, chosen.audio
        self._clock = Clock() if form in DISCONTINUOUS else None
        self._reached = 0.0
        self._told = 0
        self._looked_at = 0.0
        self._position = request.start
        self._position_told_at = time.monotonic()
        self._damaged = 0
        self._first_damage: tuple[float, str] | None = None

    @property
    def rotation(self) -> int:
        return self.frames.rotation if self.frames is not None else 0

    def events(self) -> Iterator[Event]:
        """Everything after the probe.

        Raises:
            MediaError: a limit is met, or nothing could be decoded.
        """
        self._discard()
        if self._chosen:
            for packet in self._packets():
                yield from self._taken(packet)
                yield from self._progress()
            yield from self._finish()
        yield Position(round(self._end(), 3))

    def _discard(self) -> None:
        """Tells the demuxer what not to read at all. Not the packets between key frames: its mov
        part then loses count of their composition offsets and tells wrong times (8.1)."""
        from av.stream import Discard

        for stream in self._container.streams:
            if stream not in self._chosen:
                stream.discard = Discard.all

    def _packets(self) -> Iterator[Packet[Any]]:
        from av.error import FFmpegError

        try:
            if self._request.start > 0 and self._form in _SEEKABLE:
                self._container.seek(int((self._request.start + self._origin) * 1e6))
            yield from self._container.demux(self._chosen)
        except IndexError:
            # PyAV (18) trips over streams that appeared on the way, when it has read the last.
            return
        except MemoryError:
            raise
        except FFmpegError as error:
            self._damage(error)

    def _taken(self, packet: Packet[Any]) -> Iterator[Event]:
        from av.error import FFmpegError

        if self._clock is not None:
            self._clock.mend(packet)
        at = self._time(packet)
        try:
            for event in self._given(packet, at):
                self._told += 1
                yield event
        except MemoryError:
            raise
        except (FFmpegError, ValueError) as error:
            self._damage(error)

    def _given(self, packet: Packet[Any], at: float | None) -> Iterator[Event]:
        stream = packet.stream
        if stream is self._audio and self._sound is not None:
            # Enough before the start for the decoder to have settled by then.
            if at is None or at >= self._request.start - 1:
                yield from self._sound.take(packet)
        elif stream is self._video and self.frames is not None:
            yield from self.frames.take(packet, at)
        elif self._captions is not None:
            for caption in self._captions.take(packet):
                if caption.end > self._request.start:
                    yield caption

    def _time(self, packet: Packet[Any]) -> float | None:
        """Seconds, from the film's start."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return None
        at = max(stamp * self._units[packet.stream_index] - self._origin, 0.0)
        if at > self._reached:
            check_duration(at, self._limits)
            self._reached = at
        return at

    def _progress(self) -> Iterator[Event]:
        """Now and then where decoding is; a sound that is missing for long becomes silence."""
        now = time.monotonic()
        if (
            self._reached - self._looked_at < _POSITION_SECONDS
            and now - self._position_told_at < _POSITION_CLOCK
        ):
            return
        self._looked_at = self._reached
        if self._sound is not None and self._video in self._chosen:
            yield from self._sound.fill(self._reached - _APART)
        ends = [reader.until for reader in (self.frames, self._sound) if reader is not None]
        position = max(min(ends, default=self._reached), self._reached - _APART, self._position)
        if (
            position - self._position >= _POSITION_SECONDS
            or now - self._position_told_at >= _POSITION_CLOCK
        ):
            self._position, self._position_told_at = position, now
            yield Position(round(position, 3))

    def _finish(self) -> Iterator[Event]:
        if self._sound is not None:
            yield from self._sound.finish()
            if self._sound.decoded:
                self._told += 1
            if self.frames is not None:
                yield from self._sound.fill(self._reached)
        if not self._told and (self._first_damage is not None or not self._request.start):
            raise self._nothing()
        self._judge_end()
        if self._first_damage is not None:
            at, words = self._first_damage
            several = f" ({self._damaged} packets)" if self._damaged > 1 else ""
            yield Damage(round(at, 3), f"damaged at {at:.1f} s{several}: {words}")

    def _judge_end(self) -> None:
        """What stops long before the end that its header tells was cut off."""
        heard = self._sound.until if self._sound is not None else 0.0
        ends, told = max(self._reached, heard), self._told_end()
        if ends + _LATE < told and self._first_damage is None:
            self._first_damage = (
                ends,
                f"it ends at {ends:.1f} s and its header tells {told:.1f} s",
            )

    def _told_end(self) -> float:
        """Seconds, 0.0 where the header has only a guess by size and rate."""
        streams = self._container.streams
        if self._form == "matroska" and all(
            s in self._chosen for s in (*streams.video, *streams.audio)
        ):
            return duration_of(self._container)
        if self._form != "mov":
            return 0.0
        timed = [s for s in (self._video, self._audio) if s in self._chosen and s is not None]
        return max((float((s.duration or 0) * (s.time_base or 0)) for s in timed), default=0.0)

    def _damage(self, error: Exception) -> None:
        self._damaged += 1
        if self._first_damage is None:
            # Some decoders tell -1 for any fault, which the system takes for a lack of rights.
            unclear = getattr(error, "errno", 0) == errno.EPERM
            words = "" if unclear else str(getattr(error, "strerror", "") or error)
            self._first_damage = (self._reached, words[:200] or "invalid data")

    def _nothing(self) -> MediaError:
        words = self._first_damage[1] if self._first_damage else "it holds no packets"
        return MediaError(
            "DamagedMedia",
            f"nothing of its picture or sound can be decoded ({words}); upload it again",
        )

    def _end(self) -> float:
        """Seconds. Of a film of which key frames are read alone the header knows better."""
        heard = self._sound.until if self._sound is not None else 0.0
        known = 0.0 if self._first_damage else duration_of(self._container)
        return max(self._reached, heard, known, self._position)
