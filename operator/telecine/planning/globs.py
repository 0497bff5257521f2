"""Glob patterns over paths: without `/` on the file name, with `/` on the whole path."""

from __future__ import annotations

import re
from collections.abc import Callable

Matcher = Callable[[str], bool]


def compile_glob(pattern: str) -> Matcher:
    """A matcher for one pattern.

    `*` and `?` do not cross `/`, `**` does; `[abc]`, `[!abc]` and `{a,b}` as in a shell. Case
    matters. A pattern without `/` is matched on the file name in any folder.
    """
    on_name = "/" not in pattern
    regex = re.compile(translate(pattern.lstrip("/")), re.DOTALL)
    if on_name:
        return lambda path: regex.fullmatch(path.rpartition("/")[2]) is not None
    return lambda path: regex.fullmatch(path) is not None


def translate(pattern: str) -> str:
    """A glob as a regular expression without nested repetition.

    Every `*` is an atomic lazy run up to what follows, so that matching stays polynomial however
    many there are.
    """
    out: list[str] = []
    position, depth = 0, 0
    while position < len(pattern):
        char = pattern[position]
        if char == "*":
            run = len(pattern[position:]) - len(pattern[position:].lstrip("*"))
            position += run
            if run == 1:
                out.append("[^/]*?")
            elif pattern[position : position + 1] == "/":
                out.append("(?:.*/)?")
                position += 1
            else:
                out.append(".*?")
            continue
        if char == "[" and (klass := _class(pattern, position)) is not None:
            text, position = klass
            out.append(text)
            continue
        if char == "{" and "}" in pattern[position:]:
            depth += 1
            out.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
        elif char == "," and depth:
            out.append("|")
        elif char == "?":
            out.append("[^/]")
        else:
            out.append(re.escape(char))
        position += 1
    return "".join(out) + ")" * depth


def _class(pattern: str, start: int) -> tuple[str, int] | None:
    end = pattern.find("]", start + 2)
    if end < 0:
        return None
    inside = pattern[start + 1 : end]
    negated = inside[:1] in ("!", "^")
    body = inside[1:] if negated else inside
    escaped = (
        body.replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^").replace("&&", r"\&&")
    )
    return (f"(?!/)[^{escaped}]" if negated else f"(?!/)[{escaped}]"), end + 1
