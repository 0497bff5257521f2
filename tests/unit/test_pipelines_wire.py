"""Frames between host, supervisor and runner."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.pipelines.wire import MOST_BLOB, MOST_HEADER, Frame, Frames, WireError, encode

FRAMES = st.lists(st.tuples(st.text(), st.dictionaries(st.text(), st.integers()), st.binary()))


@given(FRAMES, st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[str, dict[str, int], bytes]], size: int
) -> None:
    data = b"".join(encode(*frame) for frame in frames)
    reader = Frames()
    found: list[Frame] = []
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
    assert [tuple(frame) for frame in found] == frames


@given(st.binary(min_size=8))
def test_noise_is_refused_or_waited_for(data: bytes) -> None:
    reader = Frames()
    try:
        found = reader.feed(data)
    except WireError:
        return
    assert all(isinstance(frame.fields, dict) for frame in found)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"[", b"{}", b"[1, {}]", b'["a"]', b'["a", []]', b'["a", {}, 1]', b"\xff",
        b'["a", {"b": NaN}]', b'["a", {"b": Infinity}]', b"[" * 100_000,
        b'["a",{"b":' + b"9" * 5000 + b"}]",
    ],
)  # fmt: skip
def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        Frames().feed(struct.pack("<II", len(header), 0) + header)


@pytest.mark.parametrize(("header", "blob"), [(MOST_HEADER + 1, 0), (2, MOST_BLOB + 1)])
def test_a_frame_too_long_is_refused_before_it_is_read(header: int, blob: int) -> None:
    with pytest.raises(WireError, match="bytes"):
        Frames().feed(struct.pack("<II", header, blob))
    with pytest.raises(WireError, match="too long"):
        encode("a", {"x": "y" * MOST_HEADER})


def test_nan_is_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode("a", {"x": float("nan")})
