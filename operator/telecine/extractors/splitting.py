"""Where film and sound are cut into segments: by time, scene or silence. Pure and streaming."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from telecine.extractors.media.events import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHORTEST, _LONGEST = 1.0, 60.0
"""Seconds of a segment between two cuts; a longer scene is cut by time."""
_WINDOW = 0.05
"""Seconds over which loudness is measured."""
_SILENCE = 0.4
"""Seconds of quiet that end a segment."""


class SplitMethod(StrEnum):
    TIME = "time"
    SCENE = "scene"
    SILENCE = "silence"


class Span(NamedTuple):
    """Seconds from `start` up to, and not including, `end`."""

    start: float
    end: float


class Splitter(Protocol):
    """Takes in what decoding tells, gives back segments that nothing later can change."""

    def cut(self, time: float) -> None:
        """A scene begins at `time` seconds."""
        ...

    def sound(self, start: float, samples: NDArray[np.float32]) -> None:
        """16 kHz mono from `start` seconds on; pieces come without gaps."""
        ...

    def closed(self, until: float) -> list[Span]:
        """Segments that end at or before `until`, before which everything was told."""
        ...

    def finish(self, end: float) -> list[Span]:
        """The segments that are left when the media end at `end` seconds."""
        ...


class TimeSplitter:
    """Segments of equal length."""

    def __init__(self, interval: float) -> None:
        self._interval, self._next = interval, 0

    def cut(self, time: float) -> None:
        pass

    def sound(self, start: float, samples: NDArray[np.float32]) -> None:
        pass

    def closed(self, until: float) -> list[Span]:
        spans: list[Span] = []
        while (self._next + 1) * self._interval <= until:
            spans.append(self._span(math.inf))
        return spans

    def finish(self, end: float) -> list[Span]:
        spans = self.closed(end)
        # A tail too short to say anything belongs to nobody; the only segment is never too short.
        if end - self._next * self._interval > 0.05 or not self._next:
            spans.append(self._span(end))
        return spans

    def _span(self, end: float) -> Span:
        start = self._next * self._interval
        self._next += 1
        return Span(start, min(start + self._interval, max(end, start)))


class CutSplitter:
    """Segments between cuts, none shorter than a second unless it is the only one."""

    def __init__(self) -> None:
        self._cuts: list[float] = []
        self._start = 0.0

    def cut(self, time: float) -> None:
        self._cuts.append(time)

    def sound(self, start: float, samples: NDArray[np.float32]) -> None:
        pass

    def closed(self, until: float) -> list[Span]:
        spans: list[Span] = []
        while True:
            while self._cuts and self._cuts[0] < self._start + _SHORTEST:
                self._cuts.pop(0)
            limit = self._start + _LONGEST
            end = min(self._cuts[0], limit) if self._cuts else limit
            if end > until:
                return spans
            spans.append(Span(self._start, end))
            self._start = end

    def finish(self, end: float) -> list[Span]:
        spans = self.closed(end)
        if end - self._start > 0.05 or (not spans and self._start == 0.0):
            spans.append(Span(self._start, max(end, self._start)))
            self._start = end
        return spans


class SilenceSplitter(CutSplitter):
    """Cuts in the middle of each silence."""

    def __init__(self, threshold_db: float) -> None:
        """`threshold_db`: what is below counts as silent, in dB relative to full scale."""
        super().__init__()
        self._quietest = 10 ** (threshold_db / 20)
        self._silent_since: float | None = None
        self._heard = 0.0

    def cut(self, time: float) -> None:
        pass

    def sound(self, start: float, samples: NDArray[np.float32]) -> None:
        import numpy as np

        size = int(_WINDOW * SAMPLE_RATE)
        whole = len(samples) // size * size
        windows = samples[:whole].reshape(-1, size)
        loudness = np.sqrt(np.mean(np.square(windows), axis=1))
        for number, loud in enumerate(loudness > self._quietest):
            self._window(start + number * _WINDOW, bool(loud))
        self._heard = start + len(samples) / SAMPLE_RATE

    def _window(self, time: float, loud: bool) -> None:
        if not loud:
            if self._silent_since is None:
                self._silent_since = time
            return
        if self._silent_since is not None and time - self._silent_since >= _SILENCE:
            self._cuts.append((self._silent_since + time) / 2)
        self._silent_since = None

    def closed(self, until: float) -> list[Span]:
        # The middle of a silence is known when it is over.
        known = self._heard if self._silent_since is None else self._silent_since
        return super().closed(min(until, known))

    def finish(self, end: float) -> list[Span]:
        self._silent_since, self._heard = None, end
        return super().finish(end)


def splitter(method: SplitMethod, *, interval: float, silence_db: float) -> Splitter:
    """The splitter of a method; `interval` in seconds, `silence_db` in dB of full scale."""
    if method is SplitMethod.TIME:
        return TimeSplitter(interval)
    if method is SplitMethod.SCENE:
        return CutSplitter()
    return SilenceSplitter(silence_db)
