"""A bundle packs the same way twice, comes back as it was, and refuses what is no code."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.pipelines import compiling
from telecine.pipelines.bundle import MOST_FILES, MOST_PACKED, Bundle, BundleError

HANDLER = b"def handler(event):\n    return {}\n"
FILES = {"handler.py": HANDLER, "lib/words.py": b"WORDS = 1\n", "config.json": b"{}", "o": b""}


def tar(*entries: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("handler.py")
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def test_what_was_packed_comes_back() -> None:
    back = Bundle.unpack(Bundle(FILES, "c").pack(), "c")
    assert (back.files, back.commit) == (FILES, "c")


def test_the_order_of_files_changes_nothing() -> None:
    other = dict(reversed(FILES.items()))
    assert Bundle(other, "c").pack() == Bundle(FILES, "c").pack()
    assert Bundle(other, "c").digest == Bundle(FILES, "d").digest


@given(st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=9), max_size=4))
def test_another_content_is_another_digest(changes: dict[str, bytes]) -> None:
    same = {**FILES, **changes} == FILES
    assert (Bundle({**FILES, **changes}, "c").digest == Bundle(FILES, "c").digest) is same


def test_a_content_cannot_move_into_a_name() -> None:
    assert Bundle({"ab": b"c"}, "").digest != Bundle({"a": b"bc"}, "").digest


def test_inline_code_is_named_by_its_digest() -> None:
    bundle = Bundle.inline(HANDLER.decode())
    assert bundle.files == {"handler.py": HANDLER}
    assert bundle.commit == f"inline-{bundle.digest[:12]}"
    bundle.check()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/etc/passwd", "leads out"), ("../a.py", "leads out"), ("a/../../b", "leads out"),
        ("a\\b", "leads out"), ("", "leads out"), (".", "no plain path"), ("./a", "no plain path"),
        ("a//b", "no plain path"), ("a/", "no plain path"), (".git/config", "no .git"),
        ("lib/.GIT", "no .git"), ("a\nb", "cannot be shown"), ("a\0b", "cannot be shown"),
        ("\udc80", "cannot be shown"), ("a" * 256, "too long"), ("ä" * 128, "too long"),
        ("a/" * 600 + "b", "too long"), ("handler.py/x", "a file and a folder"),
    ],
)  # fmt: skip
def test_a_path_that_is_none_is_refused_everywhere(path: str, told: str, tmp_path: Path) -> None:
    bundle = Bundle({"handler.py": HANDLER, path: b""}, "c")
    for refuse in (bundle.pack, bundle.check, lambda: bundle.write(tmp_path)):
        with pytest.raises(BundleError, match=told):
            refuse()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ".git/hooks/x"])
def test_an_archive_with_such_a_path_is_refused(path: str) -> None:
    with pytest.raises(BundleError, match=r"leads out|no \.git"):
        Bundle.unpack(tar(tarfile.TarInfo(path)), "c")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_an_archive_holds_plain_files_only(kind: bytes) -> None:
    with pytest.raises(BundleError, match=r"^handler\.py: no bundle: it is no plain file"):
        Bundle.unpack(tar(link(kind)), "c")


def test_a_file_is_in_an_archive_once() -> None:
    with pytest.raises(BundleError, match="twice"):
        Bundle.unpack(tar(tarfile.TarInfo("a"), tarfile.TarInfo("a")), "c")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\x1f\x8b", gzip.compress(b"x" * 700), Bundle(FILES, "").pack()[:-9]]
)
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        Bundle.unpack(data, "c")


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_archive_is_refused_or_read_and_nothing_else(where: int, byte: int) -> None:
    packed = Bundle(FILES, "").pack()
    data = bytearray(packed)
    data[where % len(data)] = byte
    with suppress(BundleError):
        assert "handler.py" in Bundle.unpack(bytes(data), "c").files or data != packed


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(200 << 20))
    assert len(bomb) < MOST_PACKED
    with pytest.raises(BundleError, match="inflates to more"):
        Bundle.unpack(bomb, "c")


def test_too_much_that_packs_well_is_refused_by_its_size() -> None:
    with pytest.raises(BundleError, match=r"^big\.bin: .* largest with 8,388,609"):
        Bundle({"handler.py": HANDLER, "big.bin": bytes((8 << 20) + 1)}, "c").pack()
    with pytest.raises(BundleError, match=r"8,388,700 and|has 8,388,700"):
        Bundle.unpack(tar(tarfile.TarInfo("a"), content=bytes(8_388_700)), "c")


def test_too_much_that_does_not_pack_is_refused() -> None:
    noise = random.Random(7).randbytes(1_000_000)
    with pytest.raises(BundleError, match=r"^model\.bin: .* packs to 1,0.* largest with 1,000,000"):
        Bundle({"handler.py": HANDLER, "model.bin": noise}, "c").pack()
    with pytest.raises(BundleError, match="1,000,000 bytes"):
        Bundle.unpack(noise, "c")


def test_the_most_files_pack_and_come_back_and_one_more_does_not() -> None:
    name = "a-folder-with-a-name/" * 12
    files = {f"{name}{number}.py": b"" for number in range(MOST_FILES)}
    assert Bundle.unpack(Bundle(files, "c").pack(), "c").files == files
    with pytest.raises(BundleError, match="more than 500 files"):
        Bundle({**files, "one": b""}, "c").pack()
    entries = [tarfile.TarInfo(str(number)) for number in range(MOST_FILES + 1)]
    with pytest.raises(BundleError, match="more than 500 files"):
        Bundle.unpack(tar(*entries), "c")


def test_a_bundle_without_a_handler_is_told_what_to_add() -> None:
    with pytest.raises(BundleError, match=r"^handler\.py: it is missing: add it"):
        Bundle({"other.py": HANDLER}, "c").check()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (b"x = 1\ndef handler(event:\n", r"handler\.py:2: '\(' was never closed"),
        (b"def handler(event):\nreturn 1\n", r"handler\.py:2: expected an indented block"),
        (b"a = 1\0", "null bytes"),
        (b"# -*- coding: nonsense -*-\n", "unknown encoding: nonsense"),
        (b"x = '\xff'\n", r"handler\.py"),
        (b"(" * 100_000, r"handler\.py"),
        (b"-" * 200_000 + b"1", r"handler\.py"),
        (b"# " + b"a" * (1 << 20), r"handler\.py: it has 1,048,578 bytes"),
    ],
    ids=["paren", "indent", "null", "encoding", "bytes", "nesting", "minus", "size"],
)
def test_a_handler_that_is_no_python_is_told_with_its_line(code: bytes, told: str) -> None:
    with pytest.raises(BundleError, match=told):
        Bundle({"handler.py": code}, "c").check()


def test_a_handler_is_compiled_and_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    Bundle.inline(f"open({str(mark)!r}, 'w')\nx = 1 is 1\n").check()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "seconds", "told"),
    [
        (b"f'" + b"{1}" * 300_000 + b"'", 1, "it takes more than 1 s"),
        (b"1," * 500_000, 60, "it .* takes too much memory"),
    ],
    ids=["time", "memory"],
)
def test_what_takes_the_compiler_too_much_is_refused(
    code: bytes, seconds: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "SECONDS", seconds)
    with pytest.raises(BundleError, match=rf"^handler\.py: {told}"):
        Bundle({"handler.py": code}, "c").check()


def test_an_error_has_its_file_line_and_reason() -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.inline("def handler(event):\n  return (\n").check()
    error = caught.value
    assert (error.file, error.line) == ("handler.py", 2)
    assert str(error) == f"handler.py:2: {error.reason}"


def test_files_are_written_below_the_folder(tmp_path: Path) -> None:
    Bundle(FILES, "c").write(tmp_path)
    there = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.*")}
    assert there == {path: content for path, content in FILES.items() if "." in path}
