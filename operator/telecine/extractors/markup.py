"""HTML and XML to plain text: what a reader sees, paragraphs kept apart."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_INLINE = re.compile(
    r"a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|rp|rt"
    r"|ruby|s|samp|small|span|strike|strong|sub|sup|time|tspan|tt|u|var|wbr"
)
_HIDDEN = frozenset({"script", "style", "template", "noscript"})
# An XML vocabulary of its own may call a whole record `label` or `time`.
_HTML = re.compile(r"<(?:!doctype\s+)?(?:html|head|meta|title|body|h1|p|div)[\s>]", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def markup_text(text: str) -> tuple[str, str]:
    """Title and text of a page or an XML document; text of separate elements in paragraphs."""
    parser = _Reader(inline=_HTML.search(text, 0, 2048) is not None)
    parser.feed(text)
    parser.close()
    return parser.finished()


class _Reader(HTMLParser):
    """Never fails: html.parser reads any malformed markup as browsers do."""

    def __init__(self, *, inline: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._inline = inline
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._title: list[str] = []
        self._hidden = 0
        self._in_title = False
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "title" and not self._title:
            self._flush()
            self._in_title = True
        elif tag == "br":
            self._line.append("\n")
        elif tag in {"td", "th"}:
            self._line.append("\t")
        elif self._is_block(tag):
            self._flush()
            self._preformatted += tag == "pre"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # `<script/>` of XML hides nothing after it.
        if tag == "br":
            self._line.append("\n")
        elif self._is_block(tag):
            self._flush()

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "title":
            self._in_title = False
        elif self._is_block(tag) and tag not in {"td", "th"}:
            self._flush()
            if tag == "pre":
                self._preformatted = max(0, self._preformatted - 1)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._in_title:
            self._title.append(data)
        elif self._preformatted:
            self._line.append(data)
        else:
            self._line.append(_SPACES.sub(" ", data))

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def finished(self) -> tuple[str, str]:
        self._flush()
        title = _SPACES.sub(" ", "".join(self._title)).strip()
        return title, "\n\n".join(self._blocks)

    def _is_block(self, tag: str) -> bool:
        return not (self._inline and _INLINE.fullmatch(tag))

    def _flush(self) -> None:
        block = "".join(self._line).strip()
        self._line.clear()
        if block:
            self._blocks.append(block)
