"""What an asset is decoded as is told by its bytes alone, and pointers are refused."""

from __future__ import annotations

import pytest
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.sniffing import Form, sniff


def form(data: bytes) -> Form:
    return sniff(lambda count, at: data[at : at + count])


def refusal(data: bytes) -> MediaError:
    with pytest.raises(MediaError) as caught:
        form(data)
    return caught.value


ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
MP3 = (b"\xff\xfb\x90\x00" + bytes(413)) * 3


@pytest.mark.parametrize(
    ("data", "kind", "name"),
    [
        (b"\x00\x00\x00\x18ftypisom", "film", "mov"),
        (b"\x00\x00\x00\x14ftypqt  ", "film", "mov"),
        (b"\x00\x00\x00\x08wide", "film", "mov"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "picture", "HEIF"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "picture", "AVIF"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1", "picture", "AVIF"),
        (b"\x1aE\xdf\xa3\x01", "film", "matroska"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "film", "avi"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "film", "wav"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "picture", "WEBP"),
        (b"FORM\x00\x00\x00\x00AIFF", "film", "aiff"),
        ((b"G" + bytes(187)) * 6, "film", "mpegts"),
        (bytes(50) + (b"G" + bytes(187)) * 6, "film", "mpegts"),
        (bytes(4) + (b"G" + bytes(191)) * 6, "film", "mpegts"),
        (b"\x00\x00\x01\xba\x44", "film", "mpeg"),
        (MP3, "film", "mp3"),
        (ID3 + MP3, "film", "mp3"),
        (ID3 + b"fLaC", "film", "flac"),
        (ID3 + b"\xff\xf1\x50\x80\x00\x1f\xfc", "film", "aac"),
        (b"\xff\xf1\x50\x80\x00\x1f\xfc", "film", "aac"),
        (b"OggS\x00", "film", "ogg"),
        (b"\xff\xd8\xff\xe0", "picture", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "picture", "PNG"),
        (b"BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00", "picture", "BMP"),
    ],
)
def test_forms_are_told_by_their_first_bytes(data: bytes, kind: str, name: str) -> None:
    assert form(data) == (kind, name)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:4\nfile:///etc/passwd", "HLS"),
        (b"\xef\xbb\xbf#EXTM3U\n", "HLS"),
        (b"\n\n  #EXTM3U\n", "HLS"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'", "ffconcat"),
        (b"file '/etc/passwd'\n", "concat"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1", "SDP"),
        (b'<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/">', "XSPF"),
        (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', "DASH"),
        (b'<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="">', "SVG"),
        (b"<svg/>", "SVG"),
        (b"<!-- drawn --><svg/>", "SVG"),
        (b"[playlist]\nFile1=/etc/passwd", "PLS"),
        (b"<ASX version='3.0'>", "ASX"),
        (b"[Reference]\r\nRef1=", "ASX"),
        (b"<smil>", "SMIL"),
        (b"rtsp://example/stream", "addresses"),
    ],
)
def test_pointers_to_other_files_are_refused_by_name(data: bytes, word: str) -> None:
    error = refusal(data)
    assert error.reason == "NotMedia"
    assert word in str(error)
    assert "never followed" in str(error)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x7fELF", "program"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"Dear diary", "text"),
        (bytes(100), "zeros"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\x93\x01\x02\x03\xff", "unknown data"),
        (b"\xff\xfb\x90\x00" + b"\x41" * 2000, "unknown data"),
        (b"G" + bytes(5000), "unknown data"),
    ],
)
def test_other_files_are_refused_with_what_they_look_like(data: bytes, word: str) -> None:
    error = refusal(data)
    assert error.reason == "NotMedia"
    assert word in str(error)


def test_a_file_of_no_bytes_is_empty() -> None:
    assert refusal(b"").reason == "EmptyContent"
