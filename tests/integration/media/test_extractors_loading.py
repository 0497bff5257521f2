"""Models are loaded once, files are made once, and a hub out of reach costs seconds once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants
from telecine.extractors import loading
from telecine.extractors.loading import Loaded, ModelUnavailableError, hub_is_reachable, made_once


def test_threads_that_want_a_model_at_once_load_it_once() -> None:
    loaded: Loaded[object] = Loaded()
    calls: list[int] = []
    arrived = threading.Semaphore(0)

    def load() -> object:
        for _ in range(8):
            assert arrived.acquire(timeout=10)
        calls.append(1)
        return object()

    def want(_: int) -> int:
        arrived.release()
        return id(loaded.get("base", "cpu", load))

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(want, range(8)))
    assert len(found) == len(calls) == 1


def test_a_model_that_cannot_be_had_is_asked_for_once() -> None:
    loaded: Loaded[object] = Loaded()
    calls: list[int] = []
    depths = set()

    def load() -> object:
        calls.append(1)
        raise ModelUnavailableError("no such model")

    for _ in range(4):
        with pytest.raises(ModelUnavailableError, match="no such model") as caught:
            loaded.get("base", "cuda", load)
        depths.add(len(caught.traceback))
    assert len(calls) == 1
    assert max(depths) <= 3, "an error that is raised again keeps the frames of every asset"
    assert loaded.get("base", "cpu", lambda: "model") == "model"


def test_any_other_fault_is_not_taken_for_an_answer() -> None:
    loaded: Loaded[str] = Loaded()

    def interrupted() -> str:
        raise OSError("interrupted")

    with pytest.raises(OSError, match="interrupted"):
        loaded.get("base", "cpu", interrupted)
    assert loaded.get("base", "cpu", lambda: "model") == "model"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path))
    return tmp_path / "models"


_MAKES = """
import sys
from telecine.extractors.loading import made_once

def make(path):
    path.mkdir()
    (path / "half").write_bytes(b"a" * 1000)
    print("making", flush=True)
    sys.stdin.readline()
    (path / "rest").write_bytes(b"b" * 1000)

print("ready", flush=True)
folder = made_once("model", 2000, make)
print(sum(f.stat().st_size for f in folder.iterdir()))
"""


def test_processes_that_want_a_folder_at_once_make_it_once(cache: Path) -> None:
    command = [sys.executable, "-c", _MAKES]
    with ExitStack() as ended:
        started = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for process in started:
            ended.enter_context(process)
            ended.callback(process.kill)
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin
            process.stdin.write("go on\n")
            process.stdin.flush()
        told = [process.stdout.read().split() for process in started if process.stdout]
    assert sorted(told) == [["2000"], ["2000"], ["making", "2000"]]


def test_what_could_not_be_made_leaves_nothing_behind(cache: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        made_once("model", 4, fail)
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []
    assert made_once("model", 4, lambda path: path.touch()).is_file()


@pytest.mark.parametrize("folder", [True, False])
def test_what_is_damaged_is_made_again(cache: Path, folder: bool) -> None:
    def make(path: Path) -> None:
        if folder:
            path.mkdir()
        (path / "bytes" if folder else path).write_bytes(b"whole")

    def whole(path: Path) -> bool:
        file = path / "bytes" if folder else path
        return file.is_file() and file.stat().st_size == 5

    made = made_once("model", 5, make, whole)
    (made / "bytes" if folder else made).write_bytes(b"")
    assert whole(made_once("model", 5, make, whole))


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not asked for the hub yet, and that may ask."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "_HUB_SECONDS", 0.5)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    close_session()
    hub_is_reachable.cache_clear()
    yield
    close_session()
    hub_is_reachable.cache_clear()


class _Hub(BaseHTTPRequestHandler):
    """Has one model: `house/plain`, which is no model of sentence-transformers."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = b"{}"
        if not self.path.startswith("/house/plain/"):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            body = b""
        elif not self.path.endswith("/config.json"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            body = b""
        else:
            self.send_response(200)
            self.send_header("ETag", '"etag"')
        self.send_header("X-Repo-Commit", "c0ffee")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A test's output tells of the test."""


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_hub_that_answers_anything_is_there(
    unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert hub_is_reachable()
    assert hub_is_reachable(), "it is asked once a process"


def test_a_hub_that_accepts_and_never_answers_is_given_up_in_seconds(
    unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        began = time.monotonic()
        assert not hub_is_reachable()
        assert time.monotonic() - began < 5


def test_a_hub_behind_a_proxy_that_is_gone_is_out_of_reach(
    unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.test")
    assert not hub_is_reachable()


def test_a_hub_that_was_turned_off_is_not_asked(
    unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert not hub_is_reachable()


_ASKS = """
import sys
from telecine.extractors.loading import ModelUnavailableError, require_within_reach
try:
    require_within_reach("text model", sys.argv[1], "model")
    print("within reach")
except ModelUnavailableError as error:
    print(error)
"""


def test_a_model_of_the_hub_is_within_reach_in_either_make(tmp_path: Path) -> None:
    """In processes of their own: huggingface_hub reads its settings when it is imported."""

    def ask(address: str, name: str) -> str:
        given = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        asked = [sys.executable, "-c", _ASKS, name]
        done = subprocess.run(
            asked, env=os.environ | given, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    with hub() as address:
        assert ask(address, "house/plain") == "within reach"
        refused = ask(address, "house/other")
    assert "does not have it" in refused
    assert "check the name" in refused
    assert ask(address, "house/plain") == "within reach", "it is in the cache now"
    assert "out of reach; check the network" in ask(address, "house/other")
