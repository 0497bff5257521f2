"""Bytes to text: byte order marks, UTF-8, and older encodings where they are told for certain."""

from __future__ import annotations

import codecs
import re

from telecine.extractors.base import ExtractionError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FORMATS = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or Office document"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ\x00", "xz-compressed"),
    (b"(\xb5/\xfd", "zstd-compressed"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a RIFF file (WebP, WAV, AVI)"),
    (b"OggS", "Ogg media"),
    (b"ID3", "an MP3 sound"),
    (b"\x7fELF", "an ELF program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet table"),
)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_TEXT_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MULTIBYTE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{1,3}")
_DECLARED = re.compile(
    rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})"
    rb"|<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})",
    re.IGNORECASE,
)
_SAMPLE = 32_768
_REMEDY = "convert it to UTF-8 (`iconv -f ENCODING -t UTF-8`)"
# What charset-normalizer's `chaos` (0 is clean) and `coherence` (1 is certain) must be. Measured:
# right guesses for a sentence of French, German or Russian lie at 0.0 and 0.33 or more; wrong ones
# for Polish at 0.09 and 0.25. East Asian encodings have no coherence and need more text instead.
_MAX_CHAOS, _MIN_COHERENCE, _MIN_EAST_ASIAN = 0.05, 0.3, 256
_EAST_ASIAN = re.compile(r"big5|cp932|cp949|cp950|euc_|gb|hz|iso2022|johab|shift_jis")
# Encodings that nearly any bytes pass for.
_NEVER_GUESSED = [
    *("utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"),
    *("cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"),
]


def decode(data: bytes, name: str) -> str:
    """The text without its byte order mark.

    Raises:
        ExtractionError: NotText (binary content) or WrongEncoding (text, but which encoding it
            is in cannot be told, or it is damaged), with the byte where; both permanent.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding, name, skip=len(mark), told_by="its byte order mark")
    for magic, what in _FORMATS:
        if data.startswith(magic) and _CONTROLS.search(data[:4096] + data[-64:]):
            raise _not_text(name, f"it looks like {what}")
    encoding = _unmarked_utf16(data)
    if encoding:
        return _strictly(data, encoding, name, told_by="its zero bytes")
    _refuse_binary(data, name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _in_older_encoding(data, name, error)


def _unmarked_utf16(data: bytes) -> str:
    """UTF-16 of a mostly Latin text shows in zeros at every other byte."""
    sample = data[:4096]
    if len(sample) < 4 or len(data) % 2:
        return ""
    half = len(sample) // 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 0.6 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.6 * half and odd < 0.05 * half:
        return "utf-16-be"
    return ""


def _refuse_binary(data: bytes, name: str) -> None:
    zero = data.find(0)
    if zero >= 0:
        raise _not_text(name, f"it holds a zero byte at offset {zero}")
    controls = len(_CONTROLS.findall(data[: 2 * _SAMPLE]))
    if controls > 0.1 * min(len(data), 2 * _SAMPLE):
        first = _CONTROLS.search(data)
        assert first is not None  # counted above
        raise _not_text(
            name,
            f"many of its bytes are control characters, the first is 0x{data[first.start()]:02x} "
            f"at offset {first.start()}",
        )


def _strictly(data: bytes, encoding: str, name: str, *, told_by: str, skip: int = 0) -> str:
    try:
        text = data[skip:].decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        at = f" at offset {error.start + skip}" if isinstance(error, UnicodeDecodeError) else ""
        raise _wrong_encoding(
            name, f"it is {encoding} by {told_by}, but not valid{at} ({_why(error)}); {_REMEDY}"
        ) from error
    control = _TEXT_CONTROLS.search(text[: 2 * _SAMPLE])
    if control is not None and control.group() == "\0":
        raise _not_text(name, f"it holds a zero character at offset {control.start()} ({encoding})")
    return text


def _in_older_encoding(data: bytes, name: str, error: UnicodeDecodeError) -> str:
    where = (
        f"byte 0x{data[error.start]:02x} at offset {error.start} "
        f"(line {data.count(10, 0, error.start) + 1}) is not valid UTF-8"
    )
    if len(_MULTIBYTE.findall(data)) > len(re.findall(rb"[\x80-\xff]", data)) / 4:
        raise _wrong_encoding(
            name, f"{where}, though the rest mostly is: it was cut or damaged; mend it at {where}"
        ) from error
    declared = _DECLARED.search(data[:2048])
    if declared is not None:
        encoding = (declared.group(1) or declared.group(2)).decode("ascii").lower()
        if encoding not in {"utf-8", "utf8"}:
            return _strictly(data, encoding, name, told_by="its own declaration")
    encoding = _guess(data, error.start)
    if not encoding:
        raise _wrong_encoding(
            name,
            f"{where}, and which other encoding it is in cannot be told for certain; {_REMEDY}",
        ) from error
    return _strictly(data, encoding, name, told_by="the looks of it")


def _guess(data: bytes, first_odd_byte: int) -> str:
    """The encoding of text that is not UTF-8, or "" when it is no more than a guess."""
    from charset_normalizer import from_bytes

    start = max(0, first_odd_byte - _SAMPLE)
    start = 0 if start == 0 else data.rfind(b"\n", 0, start) + 1
    sample = data[max(start, first_odd_byte - 2 * _SAMPLE) : first_odd_byte + _SAMPLE]
    best = from_bytes(sample, cp_exclusion=_NEVER_GUESSED).best()
    if best is None or best.chaos > _MAX_CHAOS:
        return ""
    if _EAST_ASIAN.match(best.encoding):
        return best.encoding if len(sample) >= _MIN_EAST_ASIAN else ""
    return best.encoding if best.coherence >= _MIN_COHERENCE else ""


def _why(error: UnicodeDecodeError | LookupError) -> str:
    return error.reason if isinstance(error, UnicodeDecodeError) else "unknown encoding"


def _not_text(name: str, found: str) -> ExtractionError:
    return ExtractionError(
        "NotText",
        f"{name} is not text: {found}. Leave such files out with the Sync's fileFilters "
        "(extensions, mimeTypes), or give them a Bucket of their type",
        permanent=True,
    )


def _wrong_encoding(name: str, found: str) -> ExtractionError:
    return ExtractionError("WrongEncoding", f"{name}: {found}", permanent=True)
