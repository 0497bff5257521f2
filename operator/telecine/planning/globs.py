"""Glob patterns over paths: without `/` on the file name, with `/` on the whole path.

| in a pattern | matches |
| --- | --- |
| `*` | any run of characters but `/` |
| `**` | any run of characters; as a whole folder (`a/**/b`) also none |
| `?` | one character but `/` |
| `[abc]`, `[a-z]`, `[!a]`, `[^a]` | one character of the set, or none of it; never `/` |
| `{a,b}` | one of the alternatives, which may nest |

Everything else stands for itself, in its own case: a newline, a backslash, a `[`, `{` or `}`
without its partner. `[*]` is a literal `*`. A leading `/` binds a pattern to the Sync's root.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Matcher = Callable[[str], bool]

_ANY, _IN_FOLDER = ".", "[^/]"
#: With so many runs and groups of alternatives `re` needs quadratic time at most.
_RUNS, _GROUPS = 2, 1
_KNOWN_STATES = 2048


def compile_glob(pattern: str) -> Matcher:
    """A matcher for one pattern, in a time that stays polynomial for any pattern and path."""
    glob = _Glob(pattern.lstrip("/"))
    if glob.runs <= _RUNS and glob.groups <= _GROUPS:
        fullmatch = re.compile(glob.regex, re.DOTALL).fullmatch

        def match(text: str) -> bool:
            return fullmatch(text) is not None
    else:
        match = Automaton(glob)
    if "/" in pattern:
        return match
    return lambda path: match(path.rpartition("/")[2])


class _Glob:
    """A pattern as a regular expression and, for what `re` would take forever, as an NFA.

    States of the NFA are numbers, 0 is the first and `final` the only accepting one. `steps`
    lead over one character, `jumps` over none.
    """

    def __init__(self, pattern: str) -> None:
        self.steps: dict[int, list[tuple[str, int]]] = {}
        self.jumps: dict[int, list[int]] = {}
        self.runs = self.groups = self.final = 0
        self._text: list[str] = []
        self._states = 1
        self._read(pattern)
        self.regex = "".join(self._text)

    def _read(self, pattern: str) -> None:
        braces = _pairs(pattern)
        open_groups: list[tuple[int, int]] = []
        position = 0
        while position < len(pattern):
            char, following = pattern[position], position + 1
            if char == "*":
                following = self._stars(pattern, position)
            elif char == "?":
                self._one(_IN_FOLDER)
            elif char == "[" and (found := _character_class(pattern, position)) is not None:
                text, following = found
                self._one(text)
            elif char == "{" and position in braces:
                open_groups.append((self.final, self._state()))
                self.groups += 1
                self._text.append("(?:")
            elif char == "}" and position in braces:
                self._jump(self.final, open_groups[-1][1])
                self.final = open_groups.pop()[1]
                self._text.append(")")
            elif char == "," and open_groups:
                start, end = open_groups[-1]
                self._jump(self.final, end)
                self.final = self._state()
                self._jump(start, self.final)
                self._text.append("|")
            else:
                self._one(re.escape(char))
            position = following

    def _stars(self, pattern: str, start: int) -> int:
        """Reads a run of stars; `**/` at the start of a folder's name is any number of folders."""
        end = start
        while pattern[end : end + 1] == "*":
            end += 1
        if end - start == 1:
            self._many(_IN_FOLDER)
        elif pattern[end : end + 1] == "/" and (start == 0 or pattern[start - 1] in "/{,"):
            before = self.final
            self._text.append("(?:")
            self._many(_ANY)
            self._one("/")
            self._text.append(")?")
            self._jump(before, self.final)
            end += 1
        else:
            self._many(_ANY)
        return end

    def _state(self) -> int:
        self._states += 1
        return self._states - 1

    def _jump(self, start: int, end: int) -> None:
        self.jumps.setdefault(start, []).append(end)

    def _one(self, text: str) -> None:
        self._text.append(text)
        start, self.final = self.final, self._state()
        self.steps.setdefault(start, []).append((text, self.final))

    def _many(self, text: str) -> None:
        self._text.append(f"{text}*")
        self.runs += 1
        # A state of its own: a loop must not be entered again from where a group begins.
        start, self.final = self.final, self._state()
        self._jump(start, self.final)
        self.steps.setdefault(self.final, []).append((text, self.final))


class Automaton:
    """Matches in time linear in the path, all states at once; transitions seen are remembered."""

    def __init__(self, glob: _Glob) -> None:
        self._glob = glob
        self._tests = {
            text: re.compile(text, re.DOTALL).match
            for steps in glob.steps.values()
            for text, _ in steps
        }
        self._start = self._closed({0})
        self._known: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def __call__(self, text: str) -> bool:
        states = self._start
        for char in text:
            following = self._known.get((states, char))
            if following is None:
                following = self._after(states, char)
                if len(self._known) >= _KNOWN_STATES:
                    self._known.clear()
                self._known[states, char] = following
            if not following:
                return False
            states = following
        return self._glob.final in states

    def _after(self, states: frozenset[int], char: str) -> frozenset[int]:
        reached: set[int] = set()
        said: dict[str, bool] = {}
        for state in states:
            for text, target in self._glob.steps.get(state, ()):
                if text not in said:
                    said[text] = self._tests[text](char) is not None
                if said[text]:
                    reached.add(target)
        return self._closed(reached)

    def _closed(self, states: set[int]) -> frozenset[int]:
        waiting = list(states)
        while waiting:
            for target in self._glob.jumps.get(waiting.pop(), ()):
                if target not in states:
                    states.add(target)
                    waiting.append(target)
        return frozenset(states)


def _pairs(pattern: str) -> frozenset[int]:
    """Positions of the braces that have a partner, those in character classes left out."""
    found: set[int] = set()
    waiting: list[int] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "[" and (read := _character_class(pattern, position)) is not None:
            position = read[1]
            continue
        if char == "{":
            waiting.append(position)
        elif char == "}" and waiting:
            found |= {waiting.pop(), position}
        position += 1
    return frozenset(found)


def _character_class(pattern: str, start: int) -> tuple[str, int] | None:
    """The class that begins with the `[` at `start`, and the position behind it."""
    first = start + 1
    negated = pattern[first : first + 1] in ("!", "^")
    first += negated
    end = pattern.find("]", first + 1)  # a `]` that comes first is one of the set
    if end < 0:
        return None
    parts: list[str] = []
    position = first
    while position < end:
        low = high = pattern[position]
        if pattern[position + 1 : position + 2] == "-" and position + 2 < end:
            high = pattern[position + 2]
            position += 2
        if low <= high:  # as in a shell, a range the wrong way round is empty
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
        position += 1
    members = "".join(parts)
    if negated:
        return (f"[^/{members}]", end + 1)
    return (f"(?!/)[{members}]" if members else "(?!)", end + 1)
