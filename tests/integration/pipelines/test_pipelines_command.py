"""`telecine pipelines test`."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

TELECINE = (str(Path(sys.executable).with_name("telecine")),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pipeline"
    made.mkdir()
    (made / "handler.py").write_text(
        "import os\n"
        "def handler(event):\n"
        "    print('at work on', event['key'], os.environ.get('API_KEY'))\n"
        "    yield {'name': event['name'], 'type': event['mime_type'], 'shelf':\n"
        "           event['metadata'].get('shelf'), 'embedding': [0.5] * 8}\n"
    )
    return made


@pytest.fixture
def asset(tmp_path: Path) -> Path:
    path = tmp_path / "asset.txt"
    path.write_text("text")
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TELECINE, "pipelines", "test", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def test_it_prints_what_would_be_written(folder: Path, asset: Path, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"metadata": {"shelf": "essays"}}')
    done = run(folder, "--file", asset, "--env", "API_KEY=topsecret", "--event", event)
    assert done.returncode == 0, done.stderr
    assert "| at work on asset.txt ***" in done.stderr
    assert "topsecret" not in done.stderr + done.stdout
    assert "[0.5000, 0.5000, 0.5000, 0.5000, …] (8 numbers)" in done.stdout
    assert "essays" in done.stdout
    assert "1 document would be written; it took" in done.stdout


def test_json_has_the_documents_in_full(folder: Path, asset: Path, tmp_path: Path) -> None:
    variables = tmp_path / "variables"
    variables.write_text("# of this test\nexport API_KEY='topsecret'\n")
    done = run(folder, "-f", asset, "--env-file", variables, "-o", "json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["error"] is None
    assert told["documents"] == [
        {"name": "asset.txt", "type": "text/plain", "shelf": None, "embedding": [0.5] * 8}
    ]
    assert told["seconds"] > 0


def test_a_failure_ends_it_with_reason_and_traceback(folder: Path, asset: Path) -> None:
    (folder / "handler.py").write_text("def handler(event):\n    return event['nothing']\n")
    done = run(folder, "--file", asset)
    assert done.returncode == 1
    assert 'File "handler.py", line 2, in handler' in done.stderr
    assert "error: HandlerFailed: KeyError: 'nothing'" in done.stderr
    told = json.loads(run(folder, "--file", asset, "-o", "json").stdout)
    assert told["error"]["reason"] == "HandlerFailed"


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--env", "topsecret"), "not of the form KEY=VALUE"), (("--seconds", "0"), "seconds")],
)
def test_wrong_options_are_refused(
    folder: Path, asset: Path, options: tuple[str, ...], words: str
) -> None:
    done = run(folder, "--file", asset, *options)
    assert done.returncode != 0
    assert words in done.stderr
    assert "topsecret" not in done.stderr


def test_a_folder_without_handler_is_refused(tmp_path: Path, asset: Path) -> None:
    done = run(tmp_path, "--file", asset)
    assert done.returncode == 1
    assert "has no handler.py" in done.stderr


def test_watching_runs_it_again_after_a_change_until_ctrl_c(folder: Path, asset: Path) -> None:
    with subprocess.Popen(
        [*TELECINE, "pipelines", "test", str(folder), "--file", str(asset), "--watch"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # Where the tests run in the background, Ctrl-C is ignored by them and theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        stream = process.stdout
        reader = threading.Thread(target=lambda: [lines.put(line) for line in stream])
        reader.start()
        _read_until(lines, "watching")
        (folder / "handler.py").write_text("def handler(event): return {'changed': 'yes'}\n")
        assert any("changed" in line for line in _read_until(lines, "watching"))
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()
            reader.join()


def _read_until(lines: queue.Queue[str], word: str) -> list[str]:
    read: list[str] = []
    while not read or word not in read[-1]:
        read.append(lines.get(timeout=30))
    return read
