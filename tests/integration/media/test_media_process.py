"""The decoder's process: whatever becomes of it, its asset fails alone and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from telecine.extractors.base import ExtractionError
from telecine.extractors.media.events import Event, Frame, MediaRequest, Probe
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.reader import DECODER, read_media
from telecine.extractors.models import ModelUnavailableError

from tests.integration.media.media_samples import Clip, make_film
from tests.support import eventually

PROBE = 'wire.send(1, "Probe", {"kind": "film", "format": "mov", "captions": []})'
PRELUDE = """
import json, os, signal, sys, time
from telecine.extractors.media import sandbox, wire
from telecine.extractors.media.limits import MediaLimits
order = json.loads(sys.argv[-1])
"""


@pytest.fixture
def asset(tmp_path: Path) -> Path:
    """Bytes that begin like a film."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(64))
    return path


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No file descriptor and no process, after any outcome."""
    before, processes = open_files(), children()
    yield
    assert open_files() <= before
    assert children() <= processes


def children() -> set[int]:
    """Ids of this process's children; other tests' servers may be among them."""
    return {child.pid for child in psutil.Process().children()}


def open_files() -> set[str]:
    """Pipes and files of this process; connections of other tests come and go."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if not target.startswith(("socket:", "anon_inode:")):
                found.add(f"{name} {target}")
    return found


def run(path: Path, code: str, **limits: float) -> list[Event]:
    """Events of a decoder that runs this code instead."""
    decoder = ("-c", PRELUDE + textwrap.dedent(code))
    bounds = MediaLimits(**limits)  # type: ignore[arg-type]
    return list(read_media(path, "shelf/film.mp4", MediaRequest(), bounds, decoder=decoder))


def failure(path: Path, code: str, **limits: float) -> ExtractionError:
    with pytest.raises(ExtractionError) as caught:
        run(path, code, **limits)
    assert caught.value.permanent
    assert str(caught.value).startswith("shelf/film.mp4: ")
    return caught.value


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGSYS])
def test_a_decoder_that_dies_by_a_signal_fails_its_asset(
    asset: Path, number: signal.Signals
) -> None:
    error = failure(asset, f"{PROBE}; os.kill(os.getpid(), {int(number)})")
    assert error.reason == "DecoderCrashed"
    assert number.name in str(error)


def test_a_decoder_that_raises_tells_why(asset: Path) -> None:
    error = failure(asset, "raise RuntimeError('the table has no legs')")
    assert error.reason == "DecoderCrashed"
    assert "the table has no legs" in str(error)


def test_a_decoder_that_ends_without_a_word_is_no_success(asset: Path) -> None:
    assert failure(asset, PROBE).reason == "DecoderCrashed"


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.exit('terminate called after throwing an instance of std::bad_alloc')",
    ],
)
def test_a_decoder_without_memory_is_told_apart(asset: Path, code: str) -> None:
    error = failure(asset, code)
    assert error.reason == "DecoderOutOfMemory"
    assert "max_memory_mib" in str(error)


def test_a_decoder_that_hangs_is_ended(asset: Path) -> None:
    begun = time.monotonic()
    error = failure(asset, f"{PROBE}; time.sleep(600)", max_silence=0.5)
    assert error.reason == "DecoderHangs"
    assert time.monotonic() - begun < 20


def test_a_decoder_that_takes_too_long_in_all_is_ended(asset: Path) -> None:
    code = f"""
        {PROBE}
        while True:
            time.sleep(0.05)
            wire.send(1, "Position", {{"time": 1.0}})
    """
    error = failure(asset, code, max_seconds=1.0)
    assert error.reason == "TooSlow"
    assert "max_seconds" in str(error)


def test_what_the_caller_does_meanwhile_does_not_count(asset: Path) -> None:
    code = f"""
        {PROBE}
        wire.send(1, "Position", {{"time": 1.0}})
        wire.send(1, "done", {{}})
    """
    bounds = MediaLimits(max_seconds=2.0)
    decoder = ("-c", PRELUDE + textwrap.dedent(code))
    events = read_media(asset, "film.mp4", MediaRequest(), bounds, decoder=decoder)
    taken = [next(events)]
    since = time.monotonic()
    eventually(lambda: time.monotonic() - since > bounds.max_seconds)
    assert len(taken + list(events)) == 2


@pytest.mark.parametrize(
    "code",
    [
        "os.write(1, b'Segmentation fault, as a text')",
        "os.write(1, b'\\xff' * 64)",
        "wire.send(1, 'Frame', {'time': 0.0, 'key': True, 'height': 1, 'width': 1, "
        "'signature': '00' * 256}, b'123')",
        f"{PROBE}; wire.send(1, 'Frame', {{'time': 0.0, 'key': True, 'height': 9, 'width': 9, "
        "'signature': '00' * 256}, b'123')",
        f"{PROBE}; wire.send(1, 'Frame', {{'time': 0.0, 'key': True, 'height': 1, 'width': 99999, "
        "'signature': '00' * 256}, bytes(3 * 99999))",
        f"{PROBE}; wire.send(1, 'Frame', {{'time': 0.0, 'key': True, 'height': 1, 'width': 1, "
        "'signature': '00'}, b'123')",
        f"{PROBE}; wire.send(1, 'Sound', {{'start': 0.0}}, b'123')",
        f"{PROBE}; wire.send(1, 'Sound', {{'start': float('nan')}}, b'1234')",
        f"{PROBE}; wire.send(1, 'Position', {{'time': 'soon'}})",
        f"{PROBE}; wire.send(1, 'Position', {{}})",
        f"{PROBE}; wire.send(1, 'Caption', "
        "{'start': 0, 'end': 1, 'text': ['a'], 'language': ''})",
        f"{PROBE}; wire.send(1, 'Sesame', {{}})",
        "wire.send(1, 'Position', {'time': 0.0})",
        "wire.send(1, 'done', {})",
        f"{PROBE}; wire.send(1, 'fault', {{}})",
        f"{PROBE}; os.write(1, wire._LENGTHS.pack(40, 0) + b'[')",
        f"{PROBE}; os.write(1, wire._LENGTHS.pack(4, 0) + b'[[[[')",
    ],
)
def test_a_decoder_that_was_taken_over_is_not_believed(asset: Path, code: str) -> None:
    assert failure(asset, code).reason == "DecoderCrashed"


def test_a_decoder_that_complains_without_end_is_not_held_up(asset: Path) -> None:
    code = f"""
        for _ in range(1000):
            try:
                os.write(2, b"deprecated pixel format " * 1000)
            except BlockingIOError:
                break
        {PROBE}
        wire.send(1, "done", {{}})
    """
    assert [type(e) for e in run(asset, code)] == [Probe]


def test_missing_libraries_are_no_fault_of_the_asset(asset: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="telecine\\[media\\]"):
        run(asset, "wire.send(1, 'unavailable', {'message': 'av is not installed here'})")


def test_closing_early_ends_the_decoder(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(size=(1280, 720), gop=1, audio=""))
    before = children()
    events = read_media(film, "a.mp4", MediaRequest(frames_per_second=25), MediaLimits())
    assert isinstance(next(events), Probe)
    assert isinstance(next(events), Frame)
    (child,) = children() - before
    events.close()
    assert not psutil.pid_exists(child)


def test_forgetting_the_events_ends_the_decoder(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(size=(1280, 720), gop=1, audio=""))
    before = children()
    events = read_media(film, "a.mp4", MediaRequest(frames_per_second=25), MediaLimits())
    next(events)
    (child,) = children() - before
    del events
    assert not psutil.pid_exists(child)


def test_the_decoder_dies_with_its_worker(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(size=(1280, 720), gop=1, audio=""))
    code = f"""
        import sys, time
        from pathlib import Path
        import psutil
        from telecine.extractors.media.reader import read_media
        from telecine.extractors.media.events import MediaRequest
        from telecine.extractors.media.limits import MediaLimits
        request = MediaRequest(frames_per_second=25)
        events = read_media(Path({str(film)!r}), "a.mp4", request, MediaLimits())
        next(events)
        print(psutil.Process().children()[0].pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        decoder = psutil.Process(pid)
        assert DECODER[1] in decoder.cmdline()
        worker.kill()
        worker.wait()
    eventually(
        lambda: not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE,
        timeout=10,
        message="the decoder outlives its worker",
    )


def test_the_decoder_knows_nothing_of_its_worker(
    asset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    with asset.open("rb"):
        code = """
            known = [dict(os.environ), sorted(os.listdir("/proc/self/fd")), os.getcwd(), sys.argv]
            wire.send(1, "fault", {"reason": "Told", "message": json.dumps(known)})
        """
        error = failure(asset, code)
    environment, files, folder, _ = json.loads(str(error).partition(": ")[2])
    assert "a secret" not in str(error)
    assert not {"AWS_SECRET_ACCESS_KEY", "HOME", "PATH"} & set(environment)
    assert files == ["0", "1", "2", "3"], "and 3 is the listing itself"
    assert folder == "/"


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_a_confined_decoder_reaches_nothing(asset: Path) -> None:
    code = """
        import socket, threading
        sandbox.confine(MediaLimits(**order["limits"]))
        def outcome(act):
            try:
                return repr(act())
            except Exception as error:
                return type(error).__name__
        def started():
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()
        acts = {
            "read": lambda: open("/etc/passwd").read(),
            "write": lambda: open("/tmp/telecine-was-here", "w"),
            "remove": lambda: os.unlink("/proc/self/none"),
            "connect": lambda: socket.socket(),
            "fork": os.fork,
            "execute": lambda: os.execv("/bin/true", ["true"]),
            "signal": lambda: os.kill(order["parent"], 0),
            "memory": lambda: len(bytearray(order["limits"]["max_memory"] + (1 << 20))),
            "thread": started,
        }
        found = {name: outcome(act) for name, act in acts.items()}
        wire.send(1, "fault", {"reason": "Told", "message": json.dumps(found)})
    """
    found = json.loads(str(failure(asset, code, max_memory=64 << 20)).partition(": ")[2])
    assert found.pop("memory") == "MemoryError"
    assert found.pop("thread") == "None"
    assert set(found.values()) == {"PermissionError"}, found


def test_nothing_is_imported_once_the_decoder_is_confined(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", Clip(captions=[(0.5, 1.5, "Hello")]))
    code = f"""
        import sys
        from io import FileIO
        from telecine.extractors.media import decoder, film
        from telecine.extractors.media.events import MediaRequest
        from telecine.extractors.media.limits import MediaLimits
        film.load()
        before = set(sys.modules)
        for frames in ("key", "accurate"):
            request = MediaRequest(frames=frames, cuts=True)
            list(film.film_events(FileIO({str(film)!r}), "mov", request, MediaLimits()))
        print(sorted(set(sys.modules) - before))
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.decode().strip() == "[]"
