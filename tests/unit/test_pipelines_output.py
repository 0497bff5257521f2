"""What a handler prints: lines, limits, secrets."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from telecine.pipelines.output import ASSET_BYTES, LINE_BYTES, Masking, Output
from telecine.pipelines.surroundings import of_runner, secrets_of

SECRET = "hunter2-hunter3"


def output(*secrets: str) -> Output:
    return Output(Masking(secrets))


@given(st.integers(1, 12), st.lists(st.sampled_from([SECRET, "word ", "\n", "x"]), max_size=30))
def test_a_secret_is_masked_however_its_writing_is_cut(size: int, parts: list[str]) -> None:
    data = "".join(parts).encode()
    made = output(SECRET)
    lines: list[str] = []
    for at in range(0, len(data), size):
        lines += made.feed(data[at : at + size])
    lines += made.flush()
    assert SECRET not in "\n".join(lines)
    expected = "".join(parts).replace(SECRET, "***").split("\n")
    assert lines == (expected if expected[-1] else expected[:-1])


def test_a_secret_over_the_place_where_a_line_is_cut_is_masked_whole() -> None:
    for before in range(LINE_BYTES - len(SECRET), LINE_BYTES + 1):
        (line,) = output(SECRET).feed(b"x" * before + SECRET.encode() + b"y" * 99 + b"\n")
        assert "hunter" not in line
        endless = output(SECRET)
        lines = endless.feed(b"x" * before + SECRET.encode() + b"y" * 9999)
        assert len(lines) == 1
        assert "hunter" not in lines[0]


def test_the_longest_of_secrets_within_each_other_is_masked() -> None:
    assert output("secret", "secret-key").feed(b"secret-key secret\n") == ["*** ***"]


def test_lines_end_at_newlines_and_where_a_bar_is_drawn_again() -> None:
    made = output()
    assert made.feed(b"a\r\nb\n10%\r20%\r") == ["a", "b", "10%"]
    assert made.feed(b"30%") == ["20%"]
    assert made.flush() == ["30%"]


def test_a_line_without_end_is_cut_once() -> None:
    made = output()
    lines = [line for _ in range(100) for line in made.feed(b"x" * 1000)]
    assert len(lines) == 1
    assert lines[0].endswith("cut at 8 KiB]")
    assert made.feed(b"rest\nnext\n") == ["next"]


def test_an_asset_has_a_mebibyte_and_the_next_another() -> None:
    made = output()
    lines = [line for _ in range(20_000) for line in made.feed(b"y" * 99 + b"\n")]
    assert sum(len(line) + 1 for line in lines) <= ASSET_BYTES + 100
    assert lines[-1] == "[it printed more than 1 MiB; the rest is left out]"
    made.begin()
    assert made.feed(b"again\n") == ["again"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert output().feed(b"\xff\xfe\n") == ["\ufffd\ufffd"]


def test_every_given_variable_is_secret_and_no_common_one() -> None:
    given = {"PATH": "/bin", "LANG": "C", "API_KEY": "k", "AWS_SECRET": "s", "TELECINE_X": "t",
             "KUBERNETES_PORT": "1", "PYTHONPATH": "/p", "HOME": "/h"}  # fmt: skip
    assert secrets_of(given) == {"API_KEY": "k", "AWS_SECRET": "s"}


def test_a_runner_gets_what_is_given_and_nothing_of_the_workers() -> None:
    made = of_runner({"API_KEY": "k", "KUBECONFIG": "c", "TELECINE_X": "t", "HOME": "/root"},
                     Path("/scratch"))  # fmt: skip
    assert made["HOME"] == made["TMPDIR"] == "/scratch"
    assert made["API_KEY"] == "k"
    assert not {"KUBECONFIG", "TELECINE_X"} & made.keys()
