"""Cuts text into overlapping chunks at sentence borders. Pure, lazy, in linear time."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

# Abbreviations that a sentence goes on after, whatever follows ...
_TITLES = re.compile(
    r"adm|al|approx|bros|bzgl|bzw|ca|capt|cf|cmdr|col|d\.h|dr|e\.g|ebd|eds?|eg|esp|fr|gen|gov|hon"
    r"|hr|i\.e|ie|inkl|jr|lt|maj|messrs|mlle|mme?|mrs?|ms|mt|mx|op|prof|resp|rev|sen|sgt|sog|sr|st"
    r"|u\.a|vgl|viz|vs|z\.b",
    re.IGNORECASE,
)
# ... and those that only do so before a number: "No. 5", "Fig. 3", "p. 12".
_BEFORE_NUMBERS = re.compile(
    r"abbs?|art|bd|ch|chap|eq|figs?|kap|nos?|nrn?|pp?|para|s|sec|tab|vols?", re.IGNORECASE
)
_DOTTED = re.compile(r"(?:[A-Z]\.)+[A-Z]")  # "the U.S. Army"
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«—–-]+\Z")
_MARKER = re.compile(r"[ \t]*(?:[-*+•>|#]|\d{1,3}[.)]\s|[\w.\[\]-]{1,64}:\s)")

# A run of terminators with its closing quotes before white space; an ideographic full stop,
# which needs none; the end of a line. The lookbehind starts a run only once: linear time.
_CANDIDATE = re.compile(
    r"(?P<stop>(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+)(?=\s)"
    r"|(?P<wide>[。！？｡]++[」』”’）】〉》]*+)"
    r"|(?P<line>\r?\n\s*+)"
)
_SPACE = re.compile(r"\s*+")

# Lines of wrapped prose are about this long; a shorter one ends by itself, as in verse or lists.
_WRAPPED_FROM, _WRAPPED_TO = 40, 120
_GOES_ON = frozenset(".!?…,;-–—'’”\")")
_CLUSTER_LIMIT = 32
# Pieces of a sentence too long for a chunk are as long as the overlap, so that one of them fits;
# an overlap shorter than a few words does not say anything.
_SMALLEST_OVERLAP, _PIECE = 16, 64


class Chunk(NamedTuple):
    """`text` is `source[start:end]`, without white space at either side."""

    start: int
    end: int
    text: str


class Span(NamedTuple):
    start: int
    end: int


def chunks(text: str, size: int, overlap: int = 0) -> Iterator[Chunk]:
    """Packs whole sentences into chunks of at most `size` code points.

    A chunk begins with the last whole sentences of the one before, as far as they fit into
    `overlap` code points. A sentence longer than `size` is cut between words, a word longer than
    `size` between characters, never before a combining mark. Every character but white space is
    in at least one chunk; chunks come in order and only the last ones of a text are held.

    Raises:
        ValueError: `size` is not positive, or `overlap` not between 0 and half of `size`.
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise ValueError(f"cannot cut chunks of {size} characters with an overlap of {overlap}")
    window: deque[Span] = deque()
    for span in _fitting(text, size, overlap):
        if window and span.end - window[0].start > size:
            end = window[-1].end
            yield Chunk(window[0].start, end, text[window[0].start : end])
            while window and (end - window[0].start > overlap or span.end - window[0].start > size):
                window.popleft()
        window.append(span)
    if window:
        start, end = window[0].start, window[-1].end
        yield Chunk(start, end, text[start:end])


def sentences(text: str) -> Iterator[Span]:
    """The sentences of a text, headings and list entries included, without outer white space."""
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    line_start = 0
    for candidate in _CANDIDATE.finditer(text):
        if candidate.lastgroup == "line":
            is_border = _ends_block(text, line_start, candidate)
            line_start = candidate.end()
        else:
            is_border = candidate.lastgroup == "wide" or _ends_sentence(text, start, candidate)
        if not is_border:
            continue
        end = candidate.start() if candidate.lastgroup == "line" else candidate.end()
        if end > start:
            yield from _trimmed(text, start, end)
            start = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        yield Span(start, end)


def _ends_block(text: str, line_start: int, newline: re.Match[str]) -> bool:
    """Whether a line's end ends more than the line: it is not wrapped prose that goes on."""
    if newline.group().count("\n") > 1:
        return True
    length = newline.start() - line_start
    if not _WRAPPED_FROM <= length <= _WRAPPED_TO or text.startswith("#", line_start):
        return True
    line = text[line_start : newline.start()]
    # A stop at the line's end that is a border has ended the sentence already.
    if line.count(" ") * 12 < length or not (line[-1].isalnum() or line[-1] in _GOES_ON):
        return True
    return _MARKER.match(text, newline.start() + 1) is not None


def _ends_sentence(text: str, start: int, stop: re.Match[str]) -> bool:
    """Whether `.`, `!`, `?` or `…` before white space ends the sentence begun at `start`."""
    following = _SPACE.match(text, stop.end()).end()  # type: ignore[union-attr]
    while following < len(text) and text[following] in "\"'“‘«([*_":
        following += 1
    after = text[following : following + 1]
    mark = stop.group()
    if mark in {"!", "?"}:
        return True
    if after.islower():
        return False  # "wait ... what", '"Stop!" he said', an abbreviation we do not know
    return mark != "." or not _is_abbreviated(text, start, stop.start(), after)


def _is_abbreviated(text: str, start: int, dot: int, after: str) -> bool:
    found = _LAST_WORD.search(text[max(start, dot - 24) : dot])
    if found is None:
        return False
    word = found.group()
    if len(word) == 1 and word.isupper() and word != "I":
        return True  # an initial, as in "J. R. R. Tolkien"
    if word.isdigit() and dot - len(word) == start and len(word) <= 3:
        return True  # the number of a heading or list entry
    if _DOTTED.fullmatch(word):
        return True
    if _TITLES.fullmatch(word):
        return True
    return after.isdigit() and _BEFORE_NUMBERS.fullmatch(word) is not None


def _fitting(text: str, size: int, overlap: int) -> Iterator[Span]:
    """Sentences, those longer than `size` in pieces that can serve as overlap."""
    step = overlap if overlap >= _SMALLEST_OVERLAP else min(size, _PIECE)
    for sentence in sentences(text):
        if sentence.end - sentence.start <= size:
            yield sentence
        else:
            yield from _cut(text, sentence, size, step)


def _cut(text: str, sentence: Span, size: int, step: int) -> Iterator[Span]:
    """Pieces of about `step` code points between words; of at most `size` in any case."""
    words = re.compile(rf"\S(?:[\s\S]{{0,{step - 2}}}\S)?(?!\S)" if step > 1 else r"\S(?!\S)")
    word = re.compile(r"\S++")
    position, end = sentence
    while position < end:
        piece = words.match(text, position, end)
        if piece is not None:
            yield Span(position, piece.end())
            position = piece.end()
        else:
            whole = word.match(text, position, end)
            assert whole is not None  # `position` is never at white space
            long_word = Span(position, whole.end())
            if long_word.end - position <= size:
                yield long_word
            else:
                yield from _cut_word(text, long_word, step)
            position = long_word.end
        position = _SPACE.match(text, position, end).end()  # type: ignore[union-attr]


def _cut_word(text: str, word: Span, step: int) -> Iterator[Span]:
    position = word.start
    while word.end - position > step:
        cut = position + step
        lowest = max(position + 1, cut - _CLUSTER_LIMIT)
        while cut > lowest and not _may_cut(text, cut):
            cut -= 1
        if not _may_cut(text, cut):
            cut = position + step
        yield Span(position, cut)
        position = cut
    yield Span(position, word.end)


def _may_cut(text: str, at: int) -> bool:
    """Whether what a reader sees as one character is not cut in two (UAX 29, shortened)."""
    following, before = text[at], text[at - 1]
    return not (
        unicodedata.category(following)[0] == "M"
        or following == "\u200d"
        or before == "\u200d"
        or "\U0001f3fb" <= following <= "\U0001f3ff"
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= following <= "\udfff")
    )
