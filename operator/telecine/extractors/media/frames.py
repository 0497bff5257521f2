"""Decoding the pictures of a film: key frames alone, or a steady sample. Runs in the decoder
only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from telecine.extractors.media.events import Cut, Frame, MediaRequest
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.vision import Camera, CutFinder, quarter_turns

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_LOOKS_PER_SECOND = 10.0
"""How often accurate mode looks for a cut, which is how exactly it knows its time."""
_ROUNDING = 0.001
_MOST_THREADS = 4
"""Each keeps frames of its own, which count against the limit on memory."""


class FrameReader(Protocol):
    """Turns packets of one video stream into frames and cuts."""

    rotation: int
    """Degrees clockwise that were applied to the last frame."""
    until: float
    """Seconds up to which frames have been told."""

    def take(self, packet: Packet[VideoStream], time: float | None) -> Iterator[Frame | Cut]:
        """What the packet gives. An empty packet gives what is left.

        Args:
            time: seconds of the packet, None when it has no timestamp.
        """
        ...


def frame_reader(
    stream: VideoStream, request: MediaRequest, limits: MediaLimits, origin: float
) -> FrameReader:
    """The reader for the mode asked for; configures the stream's decoder."""
    context = stream.codec_context
    options = {"max_pixels": str(limits.max_pixels)}
    if request.frames == "accurate":
        context.thread_type = "AUTO"
        context.thread_count = min(os.cpu_count() or 1, _MOST_THREADS)
        context.options = {**options, "skip_loop_filter": "all", "skip_frame": "noref"}
        return SampledFrames(stream, request, limits, origin)
    # Threads would hold back frames for as many packets, and key packets are far apart.
    context.thread_count = 1
    context.options = options
    return KeyFrames(stream, request, limits)


class _Telling:
    """What both modes share: bounds, sizes, cuts."""

    def __init__(self, stream: VideoStream, request: MediaRequest, limits: MediaLimits) -> None:
        self._stream, self._request, self._limits = stream, request, limits
        self._camera = Camera(request.frame_size)
        self._cuts = CutFinder(request.scene_threshold) if request.cuts else None
        self._interval = 1 / request.frames_per_second
        self._told = 0
        self._due = request.start
        self.rotation = 0
        self.until = request.start

    def _look(self, frame: VideoFrame, time: float) -> Iterator[Cut]:
        if self._cuts is not None and self._cuts.is_cut(self._camera.small(frame), time):
            yield Cut(time)

    def _tell(self, frame: VideoFrame, time: float) -> Frame:
        self._told += 1
        if self._told > self._limits.max_frames:
            raise MediaError(
                "TooManyFrames",
                f"it has more than {self._limits.max_frames:,} frames to look at by {time:.0f} s; "
                "cut it into parts",
            )
        # A steady grid, whatever the times of frames.
        self._due += self._interval * max(ceil((time - self._due + _ROUNDING) / self._interval), 0)
        self.rotation = -quarter_turns(frame) * 90 % 360
        aspect = self._stream.codec_context.sample_aspect_ratio
        return self._camera.frame(frame, time, key=bool(frame.key_frame), aspect=aspect)


class KeyFrames(_Telling):
    """Decodes packets that are marked as key frames, each by itself."""

    def __init__(self, stream: VideoStream, request: MediaRequest, limits: MediaLimits) -> None:
        super().__init__(stream, request, limits)
        self._context = stream.codec_context
        self._last = -1.0

    def take(self, packet: Packet[VideoStream], time: float | None) -> Iterator[Frame | Cut]:
        if not packet.size or not packet.is_keyframe:
            return
        time = self._last + self._interval if time is None else round(time, 6)
        self.until = max(self.until, time)
        if time < self._due - _ROUNDING:
            return
        self._last = time
        for frame in self._decoded(packet)[:1]:
            yield from self._look(frame, time)
            yield self._tell(frame, time)

    def _decoded(self, packet: Packet[VideoStream]) -> list[Any]:
        """A decoder holds frames back to put them in order, until the next key frame at times;
        draining it brings the one that is wanted now."""
        try:
            return [*self._context.decode(packet), *self._context.decode(None)]
        finally:
            self._context.flush_buffers()


class SampledFrames(_Telling):
    """Decodes all but non-reference frames, looks for cuts often, and tells a steady sample."""

    def __init__(
        self, stream: VideoStream, request: MediaRequest, limits: MediaLimits, origin: float
    ) -> None:
        super().__init__(stream, request, limits)
        self._unit = float(stream.time_base or 0)
        self._origin = origin
        self._step = 1 / float(stream.average_rate or 25)
        self._next_look = request.start
        self._last = -self._step

    def take(self, packet: Packet[VideoStream], time: float | None) -> Iterator[Frame | Cut]:
        for frame in packet.decode():
            at = self._time(frame)
            self._last = at
            self.until = max(self.until, at)
            if at < self._request.start - _ROUNDING:
                continue
            cuts: list[Cut] = []
            if at >= self._next_look - _ROUNDING:
                self._next_look = at + 1 / _LOOKS_PER_SECOND
                cuts = list(self._look(frame, at))
                yield from cuts
            if cuts or at >= self._due - _ROUNDING:
                yield self._tell(frame, at)

    def _time(self, frame: VideoFrame) -> float:
        if frame.pts is None:
            return self._last + self._step
        return round(max(frame.pts * self._unit - self._origin, 0.0), 6)
