"""Captions of a container's text subtitle stream. Runs in the decoder only."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from telecine.extractors.media.events import Caption

if TYPE_CHECKING:
    from av.packet import Packet
    from av.subtitles.stream import SubtitleStream

TEXT_CODECS = frozenset(
    {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "subviewer", "subviewer1"}
)
_OVERRIDE = re.compile(r"\{[^}]*\}")
_DRAWING = re.compile(r"\{[^}]*\\p[1-9][^}]*\}.*?(?=\{[^}]*\\p0[^}]*\}|$)", re.S)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<\d\d:\d\d[\d:.]*>")
_BLANKS = re.compile(r"[ \t\u00a0]+")
_FIELDS_BEFORE_TEXT = 8
"""ReadOrder, Layer, Style, Name, three margins, Effect: as libavcodec hands out events."""
_LONGEST = 30.0
"""Seconds that a caption without an end is taken to stand."""
_MOST_TEXT = 10_000

# ISO 639-2 (both kinds) to 639-1, for the languages that media are in most often.
_PAIRS = (
    "ara:ar ben:bn bul:bg cat:ca ces:cs chi:zh cze:cs dan:da deu:de dut:nl ell:el eng:en est:et "
    "fas:fa fin:fi fra:fr fre:fr ger:de gre:el heb:he hin:hi hrv:hr hun:hu ind:id isl:is ice:is "
    "ita:it jpn:ja kor:ko lav:lv lit:lt may:ms msa:ms nld:nl nob:no nor:no per:fa pol:pl por:pt "
    "ron:ro rum:ro rus:ru slk:sk slo:sk slv:sl spa:es srp:sr swe:sv tam:ta tel:te tha:th tur:tr "
    "ukr:uk urd:ur vie:vi zho:zh"
)
_SHORT = dict(pair.split(":") for pair in _PAIRS.split())


def caption_language(tag: str | None) -> str:
    """ISO 639, two letters where there are two, of a container's tag; "" when it tells none."""
    code = (tag or "").strip().lower().replace("_", "-").partition("-")[0]
    if not re.fullmatch("[a-z]{2,3}", code) or code in ("und", "mis", "mul", "zxx"):
        return ""
    return _SHORT.get(code, code)


class CaptionReader:
    """Turns packets of one subtitle stream into captions."""

    def __init__(self, stream: SubtitleStream, origin: float) -> None:
        self._stream, self._origin = stream, origin
        self._language = caption_language(stream.language)
        self._unit = float(stream.time_base or 0)

    def take(self, packet: Packet[SubtitleStream]) -> Iterator[Caption]:
        """Raises av's errors over a damaged packet."""
        if packet.pts is None or not packet.size:
            return
        start = max(packet.pts * self._unit - self._origin, 0.0)
        length = (packet.duration or 0) * self._unit
        lines = [line for rect in packet.decode() if (line := _text_of(rect))]
        if lines:
            end = start + (length if 0 < length < 3600 else _LONGEST)
            yield Caption(round(start, 3), round(end, 3), "\n".join(lines), self._language)


def _text_of(rect: object) -> str:
    event = getattr(rect, "ass", b"") or b""
    text = event.decode("utf-8", errors="replace")
    return plain(text.split(",", _FIELDS_BEFORE_TEXT)[-1]) if text else ""


def plain(text: str) -> str:
    """The words of one ASS event, with its lines, and without its markup and that of HTML."""
    text = _OVERRIDE.sub("", _DRAWING.sub("", text[:_MOST_TEXT]))
    text = text.replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", " ")
    text = html.unescape(_TAG.sub("", text)).replace("\x00", "")
    lines = (_BLANKS.sub(" ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)
