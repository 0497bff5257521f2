"""Film, sound and pictures through the decoder's process."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from telecine.dev.media.scissors import box, patched
from telecine.extractors.base import ExtractionError
from telecine.extractors.media.events import (
    SAMPLE_RATE,
    Caption,
    Cut,
    Event,
    Frame,
    MediaRequest,
    Position,
    Probe,
    Sound,
)
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.reader import read_media

from tests.integration.media.media_samples import Clip, beeps, make_film


def told(path: Path, request: MediaRequest | None = None, **limits: float) -> list[Event]:
    bounds = MediaLimits(**limits)  # type: ignore[arg-type]
    return list(read_media(path, path.name, request or MediaRequest(), bounds))


def refusal(path: Path, request: MediaRequest | None = None, **limits: float) -> ExtractionError:
    with pytest.raises(ExtractionError) as caught:
        told(path, request, **limits)
    assert caught.value.permanent
    assert path.name in str(caught.value)
    return caught.value


def frames(events: list[Event]) -> list[Frame]:
    return [e for e in events if isinstance(e, Frame)]


def samples(events: list[Event], start: float = 0.0) -> np.ndarray:
    """All sound, after checking that its pieces follow each other."""
    pieces = [e for e in events if isinstance(e, Sound)]
    at = round(start * SAMPLE_RATE)
    for piece in pieces:
        assert round(piece.start * SAMPLE_RATE) == at
        assert piece.samples.dtype == np.float32
        at += len(piece.samples)
    return np.concatenate([p.samples for p in pieces]) if pieces else np.zeros(0, np.float32)


def test_first_comes_the_probe_and_last_the_end(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(metadata={"title": "Harbour"}))
    events = told(film)
    probe = events[0]
    assert isinstance(probe, Probe)
    assert (probe.kind, probe.width, probe.height, probe.fps) == ("film", 160, 120, 25.0)
    assert (probe.video_codec, probe.audio_codec, probe.streams) == ("h264", "aac", 2)
    assert probe.duration == pytest.approx(3.0, abs=0.1)
    assert probe.tags["title"] == "Harbour"
    assert isinstance(events[-1], Position)
    assert events[-1].time == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    ("ending", "video", "audio"),
    [
        ("mp4", "libx264", "aac"),
        ("mov", "libx264", "pcm_s16le"),
        ("mkv", "libx264", "flac"),
        ("webm", "libvpx", "libopus"),
        ("ts", "mpeg2video", "mp2"),
        ("mpg", "mpeg1video", "mp2"),
        ("avi", "mpeg4", "libmp3lame"),
        ("flv", "flv", "libmp3lame"),
        ("wmv", "msmpeg4v3", "wmav2"),
    ],
)
def test_frames_and_sound_keep_their_times_in(
    tmp_path: Path, ending: str, video: str, audio: str
) -> None:
    film = make_film(tmp_path / f"a.{ending}", Clip(video=video, audio=audio))
    events = told(film)
    times = [f.time for f in frames(events)]
    assert times == pytest.approx([0.0, 1.0, 2.0], abs=0.09)
    begin, end = beeps(samples(events))
    assert begin == pytest.approx(1.0, abs=0.06)
    assert end == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("wav", "pcm_f32le"),
        ("mp3", "libmp3lame"),
        ("flac", "flac"),
        ("ogg", "flac"),
        ("opus", "libopus"),
        ("m4a", "aac"),
        ("aac", "aac"),
        ("aiff", "pcm_s16be"),
        ("ac3", "ac3"),
        ("caf", "pcm_s16le"),
        ("au", "pcm_s16be"),
        ("wv", "wavpack"),
    ],
)
def test_sound_alone_is_told_in_mono_16_khz_from(tmp_path: Path, ending: str, codec: str) -> None:
    sound = make_film(tmp_path / f"a.{ending}", Clip(video="", audio=codec))
    events = told(sound)
    assert isinstance(events[0], Probe)
    assert events[0].kind == "sound"
    heard = samples(events)
    assert len(heard) == pytest.approx(3 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    assert 0.4 < np.abs(heard).max() <= 1.0
    assert beeps(heard) == pytest.approx((1.0, 1.5), abs=0.06)


def test_what_a_file_leaves_out_is_silence(tmp_path: Path) -> None:
    clip = Clip(seconds=6, beep_at=4.0, silent_hole=(1.0, 3.0))
    heard = samples(told(make_film(tmp_path / "a.mkv", clip)))
    assert len(heard) == pytest.approx(6 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    assert beeps(heard) == pytest.approx((4.0, 4.5), abs=0.06)
    assert not heard[int(1.2 * SAMPLE_RATE) : int(2.8 * SAMPLE_RATE)].any()


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_sound_that_begins_late_begins_with_silence(tmp_path: Path, ending: str) -> None:
    video = "mpeg2video" if ending == "ts" else "libx264"
    film = make_film(tmp_path / f"a.{ending}", Clip(seconds=4, sound_from=1.5, video=video))
    assert beeps(samples(told(film))) == pytest.approx((2.5, 3.0), abs=0.08)


def test_sound_goes_on_as_silence_until_the_film_ends(tmp_path: Path) -> None:
    clip = Clip(seconds=6, silent_hole=(2.0, 6.0))
    heard = samples(told(make_film(tmp_path / "a.mkv", clip)))
    assert len(heard) == pytest.approx(6 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


def test_key_frames_are_upright_small_and_marked(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(size=(320, 240)))
    seen = frames(told(film, MediaRequest(frame_size=100)))
    assert [f.pixels.shape for f in seen] == [(75, 100, 3)] * 3
    assert all(f.key and len(f.signature) == 256 for f in seen)
    assert seen[0].signature == pytest.approx(seen[1].signature, abs=3)
    red, green, blue = seen[0].pixels[-1, -1].tolist()
    assert red > 150
    assert green < 90
    assert blue < 90


@pytest.mark.parametrize(
    ("turn", "matrix", "shape", "bright"),
    [
        (90, (0, 1, -1, 0), (160, 120), (0, -1)),
        (180, (-1, 0, 0, -1), (120, 160), (-1, -1)),
        (270, (0, -1, 1, 0), (160, 120), (-1, 0)),
    ],
)
def test_a_turned_film_is_told_upright(
    tmp_path: Path,
    turn: int,
    matrix: tuple[int, ...],
    shape: tuple[int, int],
    bright: tuple[int, int],
) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(audio=""))
    data = film.read_bytes()
    a, b, c, d = (value << 16 for value in matrix)
    packed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    film.write_bytes(patched(data, box(data, b"moov", b"trak", b"tkhd")[0] + 48, packed))
    events = told(film)
    probe = events[0]
    assert isinstance(probe, Probe)
    assert (probe.rotation, probe.height, probe.width) == (turn, *shape)
    pixels = frames(events)[0].pixels
    assert pixels.shape[:2] == shape
    assert pixels[bright].min() > 200, "the bright corner, which was at the top left"


def test_pixels_that_are_not_square_become_so(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(audio=""))
    with av.open(str(film)) as source:
        packets = [p for p in source.demux(video=0) if p.size]
        with av.open(str(tmp_path / "b.mkv"), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.sample_aspect_ratio = Fraction(4, 3)
            for packet in packets:
                packet.stream = stream
                target.mux(packet)
    events = told(tmp_path / "b.mkv")
    assert frames(events)[0].pixels.shape in {(120, 213, 3), (120, 160, 3)}


def test_accurate_mode_tells_a_steady_sample_and_every_cut(tmp_path: Path) -> None:
    clip = Clip(seconds=6, gop=1000, scenes=(1.3, 2.5, 4.1), audio="")
    clip.options = {"preset": "ultrafast", "sc_threshold": "0"}
    film = make_film(tmp_path / "a.mp4", clip)
    events = told(film, MediaRequest(frames="accurate", cuts=True))
    cuts = [e.time for e in events if isinstance(e, Cut)]
    assert cuts == pytest.approx([1.3, 2.5, 4.1], abs=0.13)
    times = [f.time for f in frames(events)]
    assert 11 <= len(times) <= 15
    assert max(np.diff(times)) <= 0.6
    assert all(any(abs(cut - t) < 0.01 for t in times) for cut in cuts)
    key_events = told(film, MediaRequest(cuts=True))
    assert [f.time for f in frames(key_events)] == [0.0]


def test_key_mode_finds_cuts_at_key_frames(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(seconds=6, scenes=(2.0, 4.0), audio=""))
    events = told(film, MediaRequest(cuts=True))
    assert [e.time for e in events if isinstance(e, Cut)] == pytest.approx([2.0, 4.0], abs=0.01)


def test_a_film_of_key_frames_alone_is_sampled(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.avi", Clip(video="mjpeg", audio=""))
    assert [f.time for f in frames(told(film))] == pytest.approx(
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.5], abs=0.05
    )


def test_a_variable_frame_rate_keeps_times(tmp_path: Path) -> None:
    clip = Clip(gop=1, audio="", times=(0.0, 0.04, 0.7, 1.7, 1.74, 3.7, 8.0))
    film = make_film(tmp_path / "a.mp4", clip)
    assert [f.time for f in frames(told(film))] == [0.0, 0.7, 1.7, 3.7, 8.0]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_reading_from_a_second_tells_what_comes_from_there(tmp_path: Path, ending: str) -> None:
    video = "mpeg2video" if ending == "ts" else "libx264"
    clip = Clip(seconds=8, beep_at=5.0, video=video)
    film = make_film(tmp_path / f"a.{ending}", clip)
    events = told(film, MediaRequest(start=3.5))
    assert [f.time for f in frames(events)] == pytest.approx([4, 5, 6, 7], abs=0.09)
    heard = samples(events, start=3.5)
    assert beeps(heard) == pytest.approx((1.5, 2.0), abs=0.06)
    accurate = told(film, MediaRequest(start=3.5, frames="accurate", sound=False))
    assert frames(accurate)[0].time == pytest.approx(3.5, abs=0.09)


def test_captions_are_told_without_markup(tmp_path: Path) -> None:
    captions = [(0.5, 1.5, "<i>Hello</i>,\nharbour & sea"), (2.0, 2.5, "Good bye")]
    film = make_film(tmp_path / "a.mp4", Clip(captions=captions))
    events = told(film)
    assert isinstance(events[0], Probe)
    assert events[0].captions == ("en",)
    assert [e for e in events if isinstance(e, Caption)] == [
        Caption(0.5, 1.5, "Hello,\nharbour & sea", "en"),
        Caption(2.0, 2.5, "Good bye", "en"),
    ]


def test_only_what_is_asked_for_is_told(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(captions=[(0.5, 1.5, "Hello")]))
    nothing = MediaRequest(frames="none", sound=False, captions=False)
    assert {type(e) for e in told(film, nothing)} == {Probe, Position}
    hearing = MediaRequest(frames="none", sound=True, captions=False)
    assert {type(e) for e in told(film, hearing)} == {Probe, Sound, Position}


def test_everything_before_a_position_has_been_told(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mkv", Clip(seconds=30))
    position, positions = 0.0, 0
    for event in told(film):
        if isinstance(event, Position):
            assert event.time >= position
            position, positions = event.time, positions + 1
        elif isinstance(event, Frame):
            assert event.time >= position - 0.01
        elif isinstance(event, Sound):
            assert event.start >= position - 0.01
    assert positions > 3


def test_a_joined_broadcast_plays_on(tmp_path: Path) -> None:
    first = make_film(tmp_path / "a.ts", Clip(video="mpeg2video", audio="mp2"))
    second = remuxed(first, tmp_path / "b.ts", 5000.0)
    joined = tmp_path / "c.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    events = told(joined)
    assert len(samples(events)) == pytest.approx(6 * SAMPLE_RATE, abs=0.5 * SAMPLE_RATE)
    assert frames(events)[-1].time == pytest.approx(5.0, abs=0.4)


def test_a_stream_that_appears_on_the_way_disturbs_nothing(tmp_path: Path) -> None:
    silent = make_film(tmp_path / "a.ts", Clip(seconds=8, video="mpeg2video", audio=""))
    loud = make_film(tmp_path / "b.ts", Clip(video="mpeg2video", audio="mp2"))
    joined = tmp_path / "c.ts"
    # More than libavformat looks at before it tells what there is.
    joined.write_bytes(silent.read_bytes() * 80 + loud.read_bytes() + silent.read_bytes() * 20)
    events = told(joined, MediaRequest(start=600.0))
    assert isinstance(events[0], Probe)
    assert events[0].streams == 1
    assert len(frames(events)) > 20


def test_sound_that_comes_late_in_a_broadcast_is_heard(tmp_path: Path) -> None:
    silent = make_film(tmp_path / "a.ts", Clip(seconds=8, video="mpeg2video", audio=""))
    loud = make_film(tmp_path / "b.ts", Clip(video="mpeg2video", audio="mp2"))
    joined = tmp_path / "c.ts"
    joined.write_bytes(silent.read_bytes() * 80 + loud.read_bytes())
    events = told(joined, MediaRequest(start=600.0))
    begin, end = beeps(samples(events, start=600.0))
    assert begin == pytest.approx(41, abs=6)
    assert end - begin == pytest.approx(0.5, abs=0.06)


def test_a_cover_of_an_album_is_no_film(tmp_path: Path) -> None:
    sound = make_film(tmp_path / "a.mp3", Clip(video="", audio="libmp3lame"))
    covered = tmp_path / "b.mp3"
    picture = Image.new("RGB", (32, 32), "red")
    with av.open(str(sound)) as source, av.open(str(covered), "w") as target:
        audio = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        for packet in cover.encode(av.VideoFrame.from_image(picture)) + cover.encode():
            target.mux(packet)
        for packet in [p for p in source.demux(audio=0) if p.size]:
            packet.stream = audio
            target.mux(packet)
    events = told(covered)
    assert isinstance(events[0], Probe)
    assert events[0].kind == "sound"
    assert not frames(events)
    assert beeps(samples(events)) == pytest.approx((1.0, 1.5), abs=0.06)


def remuxed(source: Path, target: Path, later: float) -> Path:
    """The same packets with other timestamps."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in [p for p in old.demux() if p.size and p.dts is not None]:
            shift = round(later / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream_index]
            new.mux(packet)
    return target
