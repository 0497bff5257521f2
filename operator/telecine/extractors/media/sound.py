"""The sound of a film: mono, 16 kHz, without a gap from the start on. Runs in the decoder only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from telecine.extractors.media.events import SAMPLE_RATE, Sound

if TYPE_CHECKING:
    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.packet import Packet

    Samples = np.ndarray[Any, np.dtype[np.float32]]

_PIECE = 4 * SAMPLE_RATE
"""Samples of a told piece, about."""
_TOLERANCE = 0.1
"""Seconds by which a timestamp may be off before it counts: containers round to milliseconds,
and lips may be as much out of step without anyone noticing."""


class SoundReader:
    """Turns packets of one audio stream into pieces that follow each other.

    A run is a stretch of frames that follow each other in time and form; each run is resampled
    by itself and placed by the time of its first frame, so that no error adds up.
    """

    def __init__(self, stream: AudioStream, origin: float, start: float) -> None:
        self._stream, self._origin = stream, origin
        self._unit = float(stream.time_base or 0)
        self._resampler: AudioResampler | None = None
        self._form: tuple[Any, ...] = ()
        self._expected = 0.0
        self._skip = 0
        self._told = round(start * SAMPLE_RATE)
        self._waiting: list[Samples] = []
        self._count = 0
        self.until = start
        """Seconds up to which all sound has been told."""
        self.decoded = False
        """Whether any of it was more than a gap."""

    def take(self, packet: Packet[AudioStream]) -> Iterator[Sound]:
        """What the packet gives; an empty one gives what its decoder holds.

        Raises av's errors over a damaged packet.
        """
        for frame in packet.decode():
            if frame.sample_rate > 0 and frame.samples > 0:
                yield from self._add(frame)
        if self._count >= _PIECE:
            yield from self._pieces()

    def fill(self, until: float) -> Iterator[Sound]:
        """Silence up to a time that the film has reached without sound."""
        index = round(until * SAMPLE_RATE)
        if index > self._told + self._count:
            self._end_run()
            yield from self._silence(index)

    def finish(self) -> Iterator[Sound]:
        """The rest."""
        self._end_run()
        yield from self._pieces()

    def _add(self, frame: AudioFrame) -> Iterator[Sound]:
        rate = frame.sample_rate
        time = self._expected if frame.pts is None else frame.pts * self._unit - self._origin
        form = (rate, frame.format.name, frame.layout.name)
        if form != self._form or abs(time - self._expected) > _TOLERANCE:
            yield from self._begin_run(time, form)
        self._expected += frame.samples / rate
        assert self._resampler is not None
        for piece in self._resampler.resample(frame):
            self._keep(_samples(piece))

    def _begin_run(self, time: float, form: tuple[Any, ...]) -> Iterator[Sound]:
        from av.audio.resampler import AudioResampler

        self._end_run()
        gap = round(time * SAMPLE_RATE) - self._told - self._count
        if gap > 0:
            yield from self._silence(self._told + self._count + gap)
        self._skip = max(-gap, 0)
        self._form, self._expected = form, time
        self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def _end_run(self) -> None:
        from av.error import FFmpegError

        resampler, self._resampler, self._form = self._resampler, None, ()
        if resampler is None:
            return
        # One that took no frame has nothing to give; its frame's failure was told.
        with suppress(FFmpegError):
            for piece in resampler.resample(None):
                self._keep(_samples(piece))

    def _keep(self, samples: Samples) -> None:
        """Collects, without what overlaps with what was told."""
        if self._skip:
            dropped = min(self._skip, len(samples))
            self._skip -= dropped
            samples = samples[dropped:]
        if len(samples):
            self.decoded = True
            self._waiting.append(samples)
            self._count += len(samples)

    def _pieces(self) -> Iterator[Sound]:
        import numpy as np

        if self._waiting:
            samples = np.concatenate(self._waiting)
            self._waiting, self._count = [], 0
            # Decoders of float formats hand on whatever the file holds.
            sane = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
            yield from self._tell(np.clip(sane, -1.0, 1.0))

    def _silence(self, index: int) -> Iterator[Sound]:
        import numpy as np

        yield from self._pieces()
        while self._told < index:
            yield from self._tell(np.zeros(min(_PIECE, index - self._told), np.float32))

    def _tell(self, samples: Samples) -> Iterator[Sound]:
        start = self._told / SAMPLE_RATE
        self._told += len(samples)
        self.until = self._told / SAMPLE_RATE
        yield Sound(start, samples)


def _samples(frame: AudioFrame) -> Samples:
    """A view of a mono float frame; PyAV's own way copies and takes several times as long."""
    import numpy as np

    return np.frombuffer(memoryview(frame.planes[0]), np.float32, frame.samples)
