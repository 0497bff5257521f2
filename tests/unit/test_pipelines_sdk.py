"""The SDK outside of a handler, and what the host makes of questions."""

from __future__ import annotations

import socket
from array import array
from typing import Any

import numpy as np
import pytest
from telecine.pipelines import processes, sdk
from telecine.pipelines.channel import Channel
from telecine.pipelines.chunks import AudioChunk, VideoChunk
from telecine.pipelines.embedding import AskedNonsenseError, Embedder, answer
from telecine.pipelines.judging import ending
from telecine.pipelines.surroundings import HandlerLimits
from telecine.pipelines.wire import Frame


class Asked(Channel):
    """Answers with one vector for each picture or text."""

    def __init__(self) -> None:
        super().__init__(socket.socket())
        self.frames: list[Frame] = []

    def ask(self, kind: str, fields: dict[str, Any], blob: bytes = b"") -> Frame:
        self.frames.append(Frame(kind, fields, blob))
        count = len(fields.get("shapes") or fields.get("texts") or [0])
        return Frame("answer", {"dimensions": 2}, array("d", [0.6, 0.8] * count).tobytes())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(sdk, "_channel", made)
    yield made
    made._connection.close()


def test_outside_of_a_handler_it_says_how_to_run_one() -> None:
    with pytest.raises(sdk.MixpeekError, match="telecine pipelines test"):
        sdk.Mixpeek("key").file_url("a", "b")


def test_any_key_is_kept() -> None:
    assert sdk.Mixpeek("key").api_key == "key"
    assert sdk.Mixpeek().api_key is None


def test_a_text_gives_a_vector_and_a_list_of_them_a_list(asked: Asked) -> None:
    embed = sdk.Mixpeek().embed
    assert embed.text("one") == [0.6, 0.8]
    assert embed.text(["one"]) == [[0.6, 0.8]]
    assert embed.text([]) == []
    assert len(embed.text(["t"] * 300)) == 300
    assert [len(frame.fields["texts"]) for frame in asked.frames] == [1, 1, 128, 128, 44]


def test_big_pictures_are_made_small_before_they_are_sent(asked: Asked) -> None:
    picture = np.zeros((2000, 4000, 3), np.uint8)
    assert sdk.Mixpeek().embed.image(picture) == [0.6, 0.8]
    (frame,) = asked.frames
    assert frame.fields["shapes"] == [[288, 576]]
    assert len(frame.blob) == 288 * 576 * 3


@pytest.mark.parametrize("picture", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32), "x" * 3])
def test_what_is_no_picture_is_refused(asked: Asked, picture: object) -> None:
    with pytest.raises((sdk.MixpeekError, sdk.MediaError)):
        sdk.Mixpeek().embed.image(picture)  # type: ignore[arg-type]
    assert not asked.frames


def test_chunks_without_frames_or_sound_are_told(asked: Asked) -> None:
    embed = sdk.Mixpeek().embed
    with pytest.raises(sdk.MixpeekError, match="no frames"):
        embed.video(VideoChunk(0, 0.0, 10.0, None))
    assert embed.audio(AudioChunk(0, 0.0, 10.0, None)) is None
    with pytest.raises(sdk.MixpeekError, match="600 s"):
        embed.audio(AudioChunk(0, 0.0, 700.0, np.zeros(700 * 16_000, np.float32)))


@pytest.mark.parametrize(
    ("fields", "blob"),
    [
        ({}, b""),
        ({"what": "smell"}, b""),
        ({"what": "text", "texts": "text"}, b""),
        ({"what": "text", "texts": [1]}, b""),
        ({"what": "text", "texts": ["a"] * 300}, b""),
        ({"what": "text", "texts": ["a"], "model": 5}, b""),
        ({"what": "image", "shapes": []}, b""),
        ({"what": "image", "shapes": [[1, 1]]}, b""),
        ({"what": "image", "shapes": [[-1, 1]]}, b"xxx"),
        ({"what": "image", "shapes": [[1]]}, b"xxx"),
        ({"what": "image", "shapes": [["1", 1]]}, b"xxx"),
        ({"what": "video", "shapes": [[1, 1]] * 65}, b"xxx" * 65),
        ({"what": "audio"}, b"xxx"),
    ],
)
def test_questions_that_the_sdk_would_not_ask_are_refused(
    fields: dict[str, Any], blob: bytes
) -> None:
    with pytest.raises(AskedNonsenseError):
        answer(Embedder(), Frame("embed", fields, blob))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"reason": "memory", "detail": "9 MiB in 1 process"}, "HandlerOutOfMemory"),
        ({"reason": "processes"}, "TooManyProcesses"),
        ({"reason": "", "signal": 11}, "HandlerCrashed"),
        ({"reason": "", "signal": 99}, "HandlerCrashed"),
        ({"reason": "", "signal": 0, "code": 3}, "HandlerExited"),
        ({"reason": "", "signal": "x", "code": None}, "HandlerExited"),
    ],
)
def test_every_end_has_a_reason(told: dict[str, Any], reason: str) -> None:
    assert ending(told, HandlerLimits()).reason == reason


def test_children_are_found_where_the_kernel_does_not_list_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os
    import subprocess

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        listed = set(processes.children(os.getpid()))
        monkeypatch.setattr(processes, "_LISTED", False)
        assert set(processes.children(os.getpid())) == listed
        assert child.pid in listed
        assert processes.resident(child.pid) > 0
