"""Pictures and animations through the decoder's process."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from telecine.extractors.base import ExtractionError
from telecine.extractors.media.events import Frame, MediaRequest, Position, Probe
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.reader import read_media

pillow_heif.register_heif_opener()
LEFT, RIGHT = (220, 30, 30), (30, 30, 220)


def told(path: Path, edge: int = 1280, **limits: Any) -> tuple[Probe, list[Frame]]:
    events = list(read_media(path, path.name, MediaRequest(frame_size=edge), MediaLimits(**limits)))
    assert isinstance(events[0], Probe)
    assert events[0].kind == "picture"
    assert isinstance(events[-1], Position)
    found = [e for e in events if isinstance(e, Frame)]
    assert len(found) == len(events) - 2
    return events[0], found


def refusal(path: Path, **limits: Any) -> ExtractionError:
    with pytest.raises(ExtractionError) as caught:
        told(path, **limits)
    assert caught.value.permanent
    return caught.value


def halves(mode: str = "RGB") -> Image.Image:
    """Red at the left, blue at the right, 80x40."""
    pixels = np.empty((40, 80, 3), np.uint8)
    pixels[:, :40], pixels[:, 40:] = LEFT, RIGHT
    return Image.fromarray(pixels).convert(mode)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("ending", "mode", "form"),
    [
        ("png", "RGB", "PNG"),
        ("png", "RGBA", "PNG"),
        ("png", "P", "PNG"),
        ("jpg", "RGB", "JPEG"),
        ("jpg", "CMYK", "JPEG"),
        ("gif", "P", "GIF"),
        ("webp", "RGB", "WEBP"),
        ("bmp", "RGB", "BMP"),
        ("tif", "RGB", "TIFF"),
        ("tif", "CMYK", "TIFF"),
        ("jp2", "RGB", "JPEG2000"),
        ("heic", "RGB", "HEIF"),
        ("avif", "RGB", "AVIF"),
    ],
)
def test_colours_are_right_in(tmp_path: Path, ending: str, mode: str, form: str) -> None:
    path = tmp_path / f"a.{ending}"
    halves(mode).save(path)
    probe, (frame,) = told(path)
    assert (probe.format, probe.width, probe.height, probe.frames) == (form, 80, 40, 1)
    assert frame.pixels.shape == (40, 80, 3)
    assert frame.pixels[20, 10].tolist() == pytest.approx(LEFT, abs=40)
    assert frame.pixels[20, 70].tolist() == pytest.approx(RIGHT, abs=40)


@pytest.mark.parametrize(
    ("ending", "form"),
    [
        ("jpg", "JPEG"),
        ("png", "PNG"),
        ("gif", "GIF"),
        ("webp", "WEBP"),
        ("tif", "TIFF"),
        ("bmp", "BMP"),
        ("jp2", "JPEG2000"),
        ("heic", "HEIF"),
        ("avif", "AVIF"),
    ],
)
def test_nothing_is_imported_once_the_decoder_is_confined(
    tmp_path: Path, ending: str, form: str
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6
    path = tmp_path / f"a.{ending}"
    halves().save(path, **({"exif": exif.tobytes()} if form not in {"GIF", "BMP"} else {}))
    code = f"""
        import sys
        from io import FileIO
        from telecine.extractors.media import decoder, picture
        from telecine.extractors.media.events import MediaRequest
        from telecine.extractors.media.limits import MediaLimits
        picture.load({form!r})
        before = set(sys.modules)
        file = FileIO({str(path)!r})
        list(picture.picture_events(file, {form!r}, MediaRequest(), MediaLimits()))
        print(sorted(set(sys.modules) - before))
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.decode().strip() == "[]"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_exif_turns_a_picture_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    halves().save(path, exif=exif.tobytes())
    probe, (frame,) = told(path)
    upright = (80, 40) if orientation <= 4 else (40, 80)
    assert (probe.width, probe.height) == upright
    assert frame.pixels.shape == (*upright[::-1], 3)
    first = frame.pixels[5, 5].tolist()
    red_first = orientation in (1, 4, 5, 6)
    assert first == pytest.approx(LEFT if red_first else RIGHT, abs=40)


def test_a_large_picture_is_shrunk_and_its_size_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    halves().resize((4000, 2000)).save(path)
    probe, (frame,) = told(path, edge=1280)
    assert (probe.width, probe.height) == (4000, 2000)
    assert frame.pixels.shape == (640, 1280, 3)


@pytest.mark.parametrize("colour", [0, 2])
def test_16_bits_are_scaled_and_not_cut_off(tmp_path: Path, colour: int) -> None:
    channels = 3 if colour else 1
    values = np.linspace(0, 65535, 64).astype(">u2").repeat(channels)
    row = b"\0" + values.tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png(64, 16, 16, colour, row * 16))
    _, (frame,) = told(path)
    ramp = frame.pixels[8, :, 0].astype(int)
    assert ramp == pytest.approx(np.linspace(0, 255, 64), abs=2)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(path)
    _, (frame,) = told(path)
    assert frame.pixels.min() == 255


@pytest.mark.parametrize(("ending", "form"), [("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG")])
def test_an_animation_tells_eight_frames_with_their_times(
    tmp_path: Path, ending: str, form: str
) -> None:
    path = tmp_path / f"a.{ending}"
    pictures = [Image.new("RGB", (32, 24), (n * 10, 0, 0)) for n in range(20)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    probe, frames = told(path)
    assert (probe.format, probe.frames) == (form, 20)
    assert probe.duration == pytest.approx(2.0)
    assert len(frames) == 8
    assert [f.time for f in frames] == sorted({f.time for f in frames})
    for frame in frames:
        assert frame.pixels[0, 0, 0] == pytest.approx(frame.time * 100, abs=6)
    assert (frames[0].time, frames[-1].time) == (0.0, pytest.approx(1.9))


def test_exif_becomes_plain_values(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Telecine Camera\x00"
    exif[0x829A] = (1, 250)
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:00:00"
    exif.get_ifd(0x8769)[0x927C] = b"\xff" * 50
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 51.0, 54.0), "E", (151.0, 12.0, 36.0)
    path = tmp_path / "a.jpg"
    halves().save(path, exif=exif.tobytes())
    probe, _ = told(path)
    assert probe.exif["Make"] == "Telecine Camera"
    assert probe.exif["DateTimeOriginal"] == "2024:05:01 12:00:00"
    assert probe.exif["latitude"] == pytest.approx(-33.865)
    assert probe.exif["longitude"] == pytest.approx(151.21)
    assert "MakerNote" not in probe.exif


def test_a_bomb_of_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, 1, 0, bytes(7501 * 10)))
    assert path.stat().st_size < 4096
    error = refusal(path)
    assert error.reason == "TooManyPixels"
    assert "60000x60000" in str(error)
    assert "max_pixels" in str(error)


def test_a_picture_that_needs_too_much_memory_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (6000, 6000), "green").save(path)
    error = refusal(path, max_memory=32 << 20)
    assert error.reason == "DecoderOutOfMemory"
    assert "max_memory_mib" in str(error)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "HEIF", "AVIF"])
def test_truncated_pictures_give_what_there_is_or_a_reason(tmp_path: Path, form: str) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    whole = BytesIO()
    Image.fromarray(noise).save(whole, form)
    data = whole.getvalue()
    path = tmp_path / "a"
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        try:
            _, frames = told(path)
        except ExtractionError as error:
            assert error.reason in {"Truncated", "DamagedMedia"}, str(error)  # noqa: PT017
        else:
            assert frames[0].pixels.std() > 1, "a picture of nothing was told"
    if form in {"JPEG", "PNG"}:
        path.write_bytes(data[: len(data) // 2])
        assert len(told(path)[1]) == 1
