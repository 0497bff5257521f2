"""Speech in the order of time: sound in, sentences with their seconds out, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from telecine.extractors.media.events import SAMPLE_RATE
from telecine.extractors.splitting import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telecine.extractors.speech import SpeechModel, Transcript, Word

_PIECE, _SEARCH = 300, 20
"""Seconds of sound transcribed at once, and of its end in which the quietest moment is cut."""
_QUIET = 0.2
"""Seconds over which quiet is measured."""
_SENTENCE = 15.0
"""Seconds of the longest sentence: whisper does not always write full stops."""
_PAUSE = 1.5
"""Seconds without a word after which a sentence is over."""
_SURE = 0.5
"""Probability from which a detected language is kept for the rest of the medium."""


class Sentence(NamedTuple):
    """Something said, in seconds of the whole medium; `words` are (start, end, text)."""

    start: float
    end: float
    text: str
    words: tuple[tuple[float, float, str], ...] = ()

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


class Hearing:
    """Transcribes contiguous sound in bounded memory, cutting where it is quiet.

    What was heard before `known_until` seconds (an earlier attempt's work) is only measured, so
    that the pieces, and with them the words, are those of an undisturbed run.
    """

    def __init__(
        self,
        load: Callable[[], SpeechModel],
        *,
        language: str | None = None,
        known_until: float = 0.0,
        said: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._load, self.language, self._known_until = load, language or "", known_until
        self._asked = language
        self._pieces: list[Any] = []
        self._length = 0
        self._start = 0
        self._said = said
        self._sentences: list[Sentence] = []

    @property
    def until(self) -> float:
        """Seconds up to which everything said is known."""
        return self._start / SAMPLE_RATE

    def add(self, samples: NDArray[np.float32]) -> None:
        """Takes the next samples, and transcribes when a piece is whole."""
        self._pieces.append(samples)
        self._length += len(samples)
        while self._length >= (_PIECE + _SEARCH) * SAMPLE_RATE:
            self._transcribe(self._quietest())

    def finish(self) -> None:
        """Transcribes what is left."""
        if self._length:
            self._transcribe(self._length)

    def take(self, span: Span) -> list[Sentence]:
        """The sentences whose middle is in the span; each is given once."""
        mine = [s for s in self._sentences if s.middle < span.end]
        self._sentences = [s for s in self._sentences if s.middle >= span.end]
        return mine

    def _quietest(self) -> int:
        """Where to cut: samples from the piece's start."""
        import numpy as np

        sound = self._whole()
        low, step = (_PIECE - _SEARCH) * SAMPLE_RATE, int(_QUIET * SAMPLE_RATE)
        end = low + (min(len(sound), (_PIECE + _SEARCH) * SAMPLE_RATE) - low) // step * step
        windows = np.square(sound[low:end]).reshape(-1, step).mean(axis=1)
        return low + int(windows.argmin()) * step + step // 2

    def _whole(self) -> NDArray[np.float32]:
        import numpy as np

        if len(self._pieces) != 1:
            self._pieces = [np.concatenate(self._pieces)]
        whole: NDArray[np.float32] = self._pieces[0]
        return whole

    def _transcribe(self, length: int) -> None:
        sound = self._whole()
        piece, rest = sound[:length], sound[length:]
        offset = self._start / SAMPLE_RATE
        self._start += length
        self._pieces, self._length = [rest], len(rest)
        if self.until <= self._known_until:
            return
        model = self._load()
        known = self._asked or self.language or None
        heard = model.transcribe(piece, language=known, words=True)
        if heard.utterances and (not self.language or heard.probability >= _SURE):
            self.language = self.language or heard.language
        self._sentences += [s for s in sentences(heard, offset) if s.text]
        self._said(self.until)


def sentences(heard: Transcript, offset: float) -> Iterator[Sentence]:
    """Utterances of the model as sentences: it cuts them where its window ends."""
    flow: list[Word] = []
    for utterance in heard.utterances:
        if not utterance.words:
            yield from _joined(flow, offset)
            flow = []
            yield Sentence(offset + utterance.start, offset + utterance.end, utterance.text.strip())
            continue
        for word in utterance.words:
            if flow and (
                word.start - flow[-1].end > _PAUSE or word.end - flow[0].start > _SENTENCE
            ):
                yield from _joined(flow, offset)
                flow = []
            flow.append(word)
            if word.text.rstrip().endswith((".", "!", "?", "。", "！", "？", "…")):
                yield from _joined(flow, offset)
                flow = []
    yield from _joined(flow, offset)


def _joined(words: Iterable[Word], offset: float) -> Iterator[Sentence]:
    told = [(round(offset + w.start, 2), round(offset + w.end, 2), w.text.strip()) for w in words]
    if told:
        text = "".join(w.text for w in words).strip()
        yield Sentence(told[0][0], told[-1][1], text, tuple(told))
