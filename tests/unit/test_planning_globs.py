"""Glob patterns: what each matches, and that none takes forever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.planning.globs import Automaton, _Glob, compile_glob

TABLE = [
    ("*.txt", "a.txt", True),
    ("*.txt", "deep/er/a.txt", True),
    ("*.txt", "a.TXT", False),
    ("*.txt", "a.txt/b", False),
    ("*.txt", "a\nb.txt", True),
    ("*.txt", "a.txt\n", False),
    ("a.txt", "folder/a.txt", True),
    ("a.txt", "folder/ba.txt", False),
    ("/a.txt", "a.txt", True),
    ("/a.txt", "folder/a.txt", False),
    ("films/*", "films/a", True),
    ("films/*", "films/a/b", False),
    ("films/*", "old/films/a", False),
    ("films/**", "films/a/b", True),
    ("films/**", "films", False),
    ("films/**/a", "films/a", True),
    ("films/**/a", "films/x/y/a", True),
    ("films/**/a", "films/xa", False),
    ("**/a", "a", True),
    ("**/a", "x/y/a", True),
    ("**/a", "xa", False),
    ("x**/a", "x/a", True),
    ("x**/a", "xy/z/a", True),
    ("x**/a", "xa", False),
    ("**", "any/thing\nat all", True),
    ("a/***/b", "a/x/b", True),
    ("?.txt", "a.txt", True),
    ("?.txt", ".txt", False),
    ("a/?/b", "a/x/b", True),
    ("a?b/c", "a/b/c", False),
    ("[abc].txt", "b.txt", True),
    ("[!abc].txt", "b.txt", False),
    ("[^abc].txt", "d.txt", True),
    ("[a-c]x", "bx", True),
    ("[c-a]x", "bx", False),
    ("[!c-a]x", "bx", True),
    ("[]]x", "]x", True),
    ("[!]]x", "]x", False),
    ("[!]x", "[!]x", True),
    ("[-a]x", "-x", True),
    ("[a-]x", "-x", True),
    ("[\\]x", "\\x", True),
    ("[*]", "*", True),
    ("[*]", "a", False),
    ("[^^]x", "^x", False),
    ("[&&||~~--]x", "|x", True),
    ("a/[!x]b", "a//b", False),
    ("a/[.-0]b", "a//b", False),
    ("[abc", "[abc", True),
    ("*.{txt,md}", "a.md", True),
    ("*.{txt,md}", "a.{txt,md}", False),
    ("{a,b}/*.txt", "b/x.txt", True),
    ("{a/b,c}/x", "a/b/x", True),
    ("{a,b{c,d}}x", "bdx", True),
    ("{a,b{c,d}}x", "bx", False),
    ("{**/a,b}", "x/y/a", True),
    ("{,un}done", "done", True),
    ("{a}", "a", True),
    ("{a,b", "{a,b", True),
    ("a,b}", "a,b}", True),
    ("[{]a,b}", "{a,b}", True),
    ("a+(b).$^|", "a+(b).$^|", True),
    ("a\\*", "a\\b", True),
    ("😀?", "😀é", True),
    ("\udc80*", "\udc80x", True),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), TABLE)
def test_a_pattern_matches_as_in_a_shell(pattern: str, path: str, matches: bool) -> None:
    assert compile_glob(pattern)(path) is matches


def reference(pattern: str, text: str, before: str = "/") -> bool:
    """Stars and question marks by their definition, one character at a time."""
    if not pattern:
        return not text
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        if before == "/" and rest.startswith("/"):
            folders = [n for n in range(len(text) + 1) if n == 0 or text[n - 1] == "/"]
            return any(reference(rest[1:], text[n:]) for n in folders)
        return any(reference(rest, text[n:], "*") for n in range(len(text) + 1))
    if pattern[0] == "*":
        inside = len(text.partition("/")[0])
        return any(reference(pattern[1:], text[n:], "*") for n in range(inside + 1))
    if not text or (pattern[0] == "?" and text[0] == "/"):
        return False
    return pattern[0] in ("?", text[0]) and reference(pattern[1:], text[1:], pattern[0])


@given(st.text("ab*?", max_size=5), st.text("ab/*?", max_size=6), st.text("ab/", max_size=8))
def test_stars_and_question_marks_match_what_their_definition_says(
    folder: str, rest: str, path: str
) -> None:
    pattern = f"{folder}/{rest}".lstrip("/")
    if "/" not in pattern:
        path = path.replace("/", "")
    assert compile_glob(pattern)(path) == reference(pattern, path)


@given(st.text("ab/*?{,}[!-]", max_size=14), st.text("ab/,{}*-", max_size=10))
def test_both_ways_of_matching_agree(pattern: str, path: str) -> None:
    glob = _Glob(pattern)
    by_re = re.compile(glob.regex, re.DOTALL).fullmatch(path) is not None
    assert Automaton(glob)(path) == by_re


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_pattern(pattern: str, path: str) -> None:
    assert compile_glob(pattern)(path) in (True, False)


@given(st.text(st.characters(exclude_characters="*?[{/"), min_size=1, max_size=30))
def test_a_pattern_without_wildcards_is_a_name(name: str) -> None:
    assert compile_glob(name)(name)
    assert compile_glob(name)(f"folder/{name}")
    assert not compile_glob(name)(f"{name}x")


HOSTILE = {
    "stars": "*a" * 500 + "b",
    "adjacent stars": "*" * 1023 + "b",
    "folders": "**/" * 340 + "b",
    "both kinds": "*a**a" * 200 + "/b",
    "alternatives": "{a,aa}" * 170 + "b",
    "nested braces": "{a," * 250 + "b" + "}" * 250,
    "empty alternatives": "{,a}" * 255 + "b",
    "stars in braces": "{*a,*b}" * 140 + "c",
    "unclosed classes": "[" * 1024,
    "two stars": "*a*" + "b" * 500,
}


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pattern_is_answered_in_time(pattern: str) -> None:
    match = compile_glob(pattern)
    started = time.process_time()
    for path in ("a" * 1024, "a/" * 512, "ab" * 512 + "\n"):
        assert match(path) is False
    assert time.process_time() - started < 2.0
