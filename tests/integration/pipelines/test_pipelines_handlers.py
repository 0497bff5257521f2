"""Handlers that behave, and each way in which one may not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from telecine.pipelines.link import Link
from telecine.pipelines.surroundings import HandlerLimits

from tests.integration.pipelines.handling import SMALL, bundle, chunk, eventually, marked

SECRET = "s3cr3t-Value/42"


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "asset.txt"
    path.write_text("It was a bright cold day in April. The clocks were striking thirteen.")
    return path


def misdeed(code: str, head: str = "") -> str:
    """A handler that does something on the asset `bad` and is fine on others."""
    return (
        f"import os, sys, time\nstate = []\n{textwrap.dedent(head)}\n"
        "def handler(event):\n"
        "    state.append(event['key'])\n"
        "    if event['key'] == 'bad':\n"
        f"{textwrap.indent(textwrap.dedent(code).strip(), ' ' * 8)}\n"
        "    return {'pid': os.getpid(), 'state': list(state)}\n"
    )


# What a handler may return


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def handler(event): return {'title': event['key']}", [{"title": "one"}]),
        ("def handler(event): return [{'n': 1}, {'n': 2}]", [{"n": 1}, {"n": 2}]),
        ("def handler(event): return ({'n': 1},)", [{"n": 1}]),
        ("def handler(event): return None", []),
        ("def handler(event): return []", []),
        ("def handler(event):\n  yield {'n': 1}\n  yield {'n': 2}", [{"n": 1}, {"n": 2}]),
        ("def handler(event): return map(lambda n: {'n': n}, range(2))", [{"n": 0}, {"n": 1}]),
        ("async def handler(event): return {'n': 1}", [{"n": 1}]),
        (
            "import asyncio\nasync def handler(event):\n  for n in range(2):\n"
            "    await asyncio.sleep(0)\n    yield {'n': n}",
            [{"n": 0}, {"n": 1}],
        ),
        ("def handler(event): return {'embedding': [3, 4.5]}", [{"embedding": [3.0, 4.5]}]),
        (
            "import numpy as np, datetime, uuid\ndef handler(event):\n  return {'embedding': "
            "np.array([1, 2], np.float32), 'n': np.int64(3), 'list': np.arange(2), 'at': "
            "datetime.date(2026, 1, 2), 'who': uuid.UUID(int=5)}",
            [
                {
                    "embedding": [1.0, 2.0],
                    "n": 3,
                    "list": [0, 1],
                    "at": "2026-01-02",
                    "who": "00000000-0000-0000-0000-000000000005",
                }
            ],
        ),
    ],
)
def test_what_a_handler_returns_or_yields_becomes_documents(
    content: Path, code: str, expected: list[object]
) -> None:
    with chunk(code, content) as one:
        assert one.documents("one") == expected


def test_state_and_imports_are_kept_over_the_assets_of_a_chunk(content: Path) -> None:
    code = (
        "import os, sibling\nseen = []\ndef handler(event):\n"
        "    seen.append(event['key'])\n"
        "    return {'seen': list(seen), 'pid': os.getpid(), 'of': sibling.NAME}\n"
    )
    with chunk(bundle(code, sibling="NAME = 'sibling'"), content) as one:
        (first,), (second,) = one.documents("a"), one.documents("b")
    assert second["seen"] == ["a", "b"]
    assert first["pid"] == second["pid"]
    assert first["of"] == "sibling"


def test_a_generator_waits_for_its_documents_to_be_taken(content: Path, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    code = f"""
        def handler(event):
            for n in range(5000):
                open({str(progress)!r}, "w").write(str(n))
                yield {{"n": n, "text": "x" * 20000}}
    """
    with chunk(code, content) as one:
        documents = one.handler.call({"key": "a"}, content, "a", "text/plain")
        next(documents)
        eventually(lambda: progress.exists() and progress.read_text() != "")
        # What fits into the socket's buffers is ahead, and no more.
        at = [0, -1]
        eventually(lambda: _stands(progress, at))
        assert at[0] < 200
        assert sum(1 for _ in documents) == 4999


def _stands(progress: Path, at: list[int]) -> bool:
    """Whether the number in a file has been the same for half a second."""
    now = int(progress.read_text() or -1)
    if now != at[0]:
        at[:] = [now, time.monotonic_ns()]
    return time.monotonic_ns() - at[1] > 500_000_000


def test_an_iterator_that_is_closed_early_ends_the_runner(content: Path) -> None:
    with chunk("def handler(event):\n  while True: yield {'n': 1}", content) as one:
        documents = one.handler.call({"key": "a"}, content, "a", "text/plain")
        assert next(documents) == {"n": 1}
        documents.close()
        again = one.handler.call({"key": "b"}, content, "b", "text/plain")
        assert next(again) == {"n": 1}
        again.close()


# What a handler may do wrong: it fails its own asset, the next one succeeds


DEEDS = {
    "raises": ("1 / 0", "HandlerFailed", "ZeroDivisionError: division by zero"),
    "sys.exit": ("sys.exit(3)", "HandlerExited", "sys.exit(3)"),
    "os._exit": ("os._exit(7)", "HandlerExited", "exited with code 7"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "HandlerCrashed", "SIGSEGV"),
    "kills itself": ("os.kill(os.getpid(), 15)", "HandlerCrashed", "SIGTERM"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "HandlerFailed", "KeyboardInterrupt"),
    "recursion": ("def f(): f()\nf()", "HandlerFailed", "RecursionError"),
    "bytes at once": ("x = bytearray(1 << 40)", "HandlerOutOfMemory", "more memory"),
    "eats memory": (
        "held = []\nwhile True: held.append(bytearray(8 << 20))",
        "HandlerOutOfMemory",
        "may have 400 MiB",
    ),
    "children eat memory": (
        """
        import subprocess
        eat = "x = bytearray(150 << 20)\\nimport time\\ntime.sleep(60)"
        for child in [subprocess.Popen([sys.executable, "-c", eat]) for _ in range(4)]:
            child.wait()
        """,
        "HandlerOutOfMemory",
        "may have 400 MiB",
    ),
    "fork bomb": (
        """
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        "TooManyProcesses",
        "more than 24 processes",
    ),
    "yields a string": ("return iter(['text'])", "HandlerReturnedRubbish", "document 0 is a str"),
    "returns a string": ("return 'text'", "HandlerReturnedRubbish", "a str ('text')"),
    "returns ints": ("return [1, 2]", "HandlerReturnedRubbish", "document 0 is an int (1)"),
    "returns an object": ("return object()", "HandlerReturnedRubbish", "an object"),
    "returns an object within": (
        "return [{'a': 1}, {'b': {'c': [object()]}}]",
        "HandlerReturnedRubbish",
        "document 1, key 'b'.c[0] is an object",
    ),
    "returns bytes": ("return {'a': b'x'}", "HandlerReturnedRubbish", "bytes are no JSON"),
    "returns NaN": ("return {'a': float('nan')}", "HandlerReturnedRubbish", "key 'a' is nan"),
    "returns a zero vector": ("return {'embedding': [0, 0]}", "HandlerReturnedRubbish", "zeros"),
    "returns a reserved name": ("return {'_id': 1}", "HandlerReturnedRubbish", "Weaviate keeps"),
    "returns too much": ("return {'a': 'x' * (2 << 20)}", "HandlerReturnedRubbish", "1,048,576"),
    "writes to the connection": (
        "for fd in range(3, 64):\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass\n"
        "time.sleep(60)",
        "HandlerReturnedRubbish",
        "wrote to the connection",
    ),
    "closes the connection": (
        "os.closerange(3, 256); time.sleep(60)", "HandlerCrashed", "closed the connection"
    ),
    "closes the connection and returns": ("os.closerange(3, 256)", "HandlerExited", "code 1"),
    "deletes its own code": (
        "import shutil; shutil.rmtree(os.getcwd()); os._exit(1)", "HandlerExited", "code 1"
    ),
    "unprintable exception": (
        "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
        "HandlerFailed",
        "E",
    ),
    "sends a frame of its own": (
        """
        from telecine.pipelines import sdk
        sdk._channel.send("document", {"fields": {"id": "forged"}})
        """,
        "HandlerReturnedRubbish",
        "Weaviate keeps",
    ),
    "sends a failure of its own": (
        """
        from telecine.pipelines import sdk
        sdk._channel.send("failed", {"reason": "Anything", "message": "", "trace": ""})
        """,
        "HandlerReturnedRubbish",
        "a failure that is none",
    ),
    "documents after its own end": (
        """
        from telecine.pipelines import sdk
        sdk._channel.send("failed", {"reason": "HandlerFailed", "message": "forged", "trace": ""})
        return [{"late": n} for n in range(100)]
        """,
        "HandlerFailed",
        "forged",
    ),
    "asks for a giant picture": (
        """
        from telecine.pipelines import sdk
        sdk._channel.ask("embed", {"what": "image", "model": None, "shapes": [[9 ** 9, 9]]})
        """,
        "HandlerReturnedRubbish",
        "a picture without a size",
    ),
    "another asset's URL": (
        "import mixpeek; mixpeek.Mixpeek().file_url('shelf', 'other')",
        "HandlerFailed",
        "bucket 'shelf', key 'other', and this event is of bucket 'shelf', key 'bad'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_a_misdeed_fails_its_own_asset_alone(content: Path, deed: str) -> None:
    code, reason, words = DEEDS[deed]
    with chunk(misdeed(code), content) as one:
        assert one.documents("first")[0]["state"] == ["first"]
        failure = one.failure("bad")
        assert failure.reason == reason, failure
        assert words in failure.message
        (after,) = one.documents("next")
        assert after["state"][-1] == "next"
        # Supervisor, session, runner.
        assert len(one.processes()) == 3


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(600)",
        "while True: pass",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(600)",
        "import subprocess; subprocess.run(['sleep', '600'])",
    ],
)
def test_one_that_hangs_is_ended_when_its_time_is_over(content: Path, code: str) -> None:
    limits = HandlerLimits(seconds=3)
    with chunk(misdeed(code), content, limits=limits) as one:
        began = time.monotonic()
        assert one.failure("bad").reason == "HandlerTimeout"
        assert time.monotonic() - began < 20
        assert one.documents("next")[0]["state"] == ["next"]


def test_one_that_yields_forever_is_ended(content: Path) -> None:
    limits = HandlerLimits(seconds=60, documents=500)
    with chunk(misdeed("return iter(lambda: {'n': 1}, None)"), content, limits=limits) as one:
        failure = one.failure("bad")
        assert failure.reason == "HandlerReturnedRubbish"
        assert "more than 500 documents" in failure.message
        assert one.documents("next")


def test_time_in_which_documents_wait_is_not_the_handlers(content: Path) -> None:
    with chunk(
        "def handler(event):\n  for n in range(3): yield {'n': n}",
        content,
        limits=HandlerLimits(seconds=4),
    ) as one:
        taken = []
        for document in one.handler.call({"key": "a"}, content, "a", "text/plain"):
            taken.append(document)
            until = time.monotonic() + 1.5
            eventually(lambda until=until: time.monotonic() > until)
        assert len(taken) == 3


def test_a_daemon_left_behind_is_ended_with_its_asset(content: Path) -> None:
    code = """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 256)
                while True: time.sleep(600)
            os._exit(0)
        os.wait()
        return {"left": True}
    """
    with chunk(misdeed(code), content) as one:
        assert one.documents("bad") == [{"left": True}]
        assert len(one.processes()) == 3
        assert one.documents("next")[0]["state"] == ["bad", "next"]


def test_a_pool_of_its_own_lives_from_asset_to_asset(content: Path) -> None:
    code = """
        import subprocess
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        def handler(event):
            child.stdin.write(event["key"].encode() + b"\\n")
            child.stdin.flush()
            return {"echo": child.stdout.readline().decode().strip(), "pid": child.pid}
    """
    with chunk(code, content) as one:
        (first,), (second,) = one.documents("a"), one.documents("b")
    assert (first["echo"], second["echo"]) == ("a", "b")
    assert first["pid"] == second["pid"]


def test_a_runner_that_dies_between_assets_fails_none(content: Path) -> None:
    code = """
        import os, signal
        def handler(event):
            return {"pid": os.getpid()}
    """
    with chunk(code, content) as one:
        (first,) = one.documents("a")
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: first["pid"] not in one.processes())
        (second,) = one.documents("b")
    assert second["pid"] != first["pid"]


def test_a_runner_that_dies_before_it_takes_an_asset_fails_none(
    content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import os
        def handler(event):
            return {"pid": os.getpid()}
    """
    sent = Link.send
    killed: list[int] = []

    def late(link: Link, kind: str, *given: Any, **named: Any) -> None:
        # The supervisor said that it is alive just before.
        if kind == "call" and not killed:
            killed.append(first["pid"])
            os.kill(first["pid"], signal.SIGKILL)
        sent(link, kind, *given, **named)

    with chunk(code, content) as one:
        (first,) = one.documents("a")
        monkeypatch.setattr(Link, "send", late)
        (second,) = one.documents("b")
    assert killed == [first["pid"]] != [second["pid"]]


def test_runners_that_never_take_an_asset_fail_it(
    content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Link.send
    calls: list[str] = []

    def lost(link: Link, kind: str, *given: Any, **named: Any) -> None:
        if kind == "call":
            calls.append(kind)
            for pid, command in one.processes().items():
                if "telecine.pipelines.runner" in command:
                    os.kill(pid, signal.SIGKILL)
        sent(link, kind, *given, **named)

    with chunk("def handler(event): return {}", content) as one:
        monkeypatch.setattr(Link, "send", lost)
        assert one.failure("a").reason == "HandlerCrashed"
        monkeypatch.undo()
        assert one.documents("b") == [{}]
    assert len(calls) == 3


def test_one_that_kills_its_supervisor_leaves_nothing(content: Path) -> None:
    code = """
        if os.fork() == 0:
            os.setsid()
            while True: time.sleep(600)
        os.kill(os.getppid(), 9)
        time.sleep(600)
    """
    with chunk(misdeed(code), content) as one:
        assert one.failure("bad").reason == "HandlerCrashed"
        assert one.documents("next")[0]["state"] == ["next"]
        assert len(one.processes()) == 3


def test_one_that_kills_every_supervisor_leaves_nothing(content: Path) -> None:
    code = """
        if os.fork() == 0:
            os.setsid()
            while True: time.sleep(600)
        session = os.getppid()
        stat = open(f"/proc/{session}/stat").read()
        for pid in (int(stat.rpartition(")")[2].split()[1]), session):
            os.kill(pid, 9)
        time.sleep(600)
    """
    with chunk(misdeed(code), content) as one:
        assert one.failure("bad").reason == "HandlerCrashed"
        assert one.documents("next")[0]["state"] == ["next"]
        assert len(one.processes()) == 3


# What a handler prints


def test_what_it_prints_is_logged_by_asset_and_line(content: Path) -> None:
    code = """
        import os, subprocess, sys
        def handler(event):
            print("out", event["key"])
            print("err", event["key"], file=sys.stderr)
            subprocess.run(["echo", "child", event["key"]])
            sys.stdout.write("no end of line")
    """
    with chunk(code, content) as one:
        one.documents("a")
        one.documents("b")
    assert one.said("a.txt") == ["out a", "err a", "child a", "no end of line"]
    assert one.said("b.txt") == ["out b", "err b", "child b", "no end of line"]


def test_secrets_are_masked_wherever_they_are_printed(content: Path) -> None:
    code = """
        import base64, os, subprocess, sys
        def handler(event):
            secret = os.environ["API_KEY"]
            print("out", secret)
            print("err", secret, file=sys.stderr)
            os.write(1, secret[:7].encode())
            os.write(1, secret[7:].encode() + b"\\n")
            print("encoded", base64.b64encode(secret.encode()).decode())
            print("x" * 8190 + secret)
            print("short", os.environ["SHORT"])
            subprocess.run(["sh", "-c", "echo child $API_KEY"])
            raise ValueError(f"refused {secret}")
    """
    given = {"API_KEY": SECRET, "SHORT": "abc"}
    with chunk(code, content, environment=given) as one:
        failure = one.failure("a")
    said = one.said("a.txt")
    assert said[:4] == ["out ***", "err ***", "***", "encoded ***"]
    assert said[4].startswith("x" * 8190 + "***")
    assert said[5:] == ["short abc", "child ***"]
    assert failure.message == "ValueError: refused ***"
    told = f"{failure}{failure.trace}{said}"
    assert SECRET not in told
    assert SECRET[:7] not in told
    assert "***" in failure.trace


def test_a_flood_of_output_is_cut_and_does_no_harm(content: Path) -> None:
    code = """
        block = ("y" * 99 + "\\n") * 10_000
        for _ in range(100): sys.stdout.write(block)
        print("z" * 100_000)
    """
    with chunk(misdeed(code), content) as one:
        assert one.documents("bad")
        said = one.said("bad.txt")
        assert sum(len(line) + 1 for line in said) < (1 << 20) + 200
        assert said[-1] == "[it printed more than 1 MiB; the rest is left out]"
        one.documents("next")
        assert one.said("next.txt") == []


def test_a_long_line_is_cut(content: Path) -> None:
    with chunk("def handler(event): print('x' * 20_000); print('after')", content) as one:
        one.documents("a")
    assert one.said("a.txt") == ["x" * 8192 + " [the line goes on; cut at 8 KiB]", "after"]


def test_a_traceback_has_the_users_files_alone(content: Path) -> None:
    code = bundle(
        "import sibling\ndef handler(event):\n    return sibling.work(event)\n",
        sibling="def work(event):\n    return event['nothing']\n",
    )
    with chunk(code, content) as one:
        failure = one.failure("a")
    assert failure.trace.splitlines() == [
        "Traceback (most recent call last):",
        '  File "handler.py", line 3, in handler',
        "    return sibling.work(event)",
        '  File "sibling.py", line 2, in work',
        "    return event['nothing']",
        "           ~~~~~^^^^^^^^^^^",
        "KeyError: 'nothing'",
    ] or failure.trace.splitlines() == [
        "Traceback (most recent call last):",
        '  File "handler.py", line 3, in handler',
        "    return sibling.work(event)",
        '  File "sibling.py", line 2, in work',
        "    return event['nothing']",
        "KeyError: 'nothing'",
    ]


# Code that cannot be run


@pytest.mark.parametrize(
    ("code", "reason", "words", "trace"),
    [
        ("def handler(event:\n", "HandlerImportFailed", "SyntaxError", 'File "handler.py", line 1'),
        (
            "import no_such_package_here",
            "HandlerImportFailed",
            "no_such_package_here'; packages that are not installed here come with an image",
            'File "handler.py", line 1',
        ),
        ("raise ValueError('at once')", "HandlerImportFailed", "ValueError: at once", "line 1"),
        ("import sys; sys.exit(2)", "HandlerImportFailed", "SystemExit: 2", "line 1"),
        ("x = 1", "HandlerNotFound", "has no function `handler`", ""),
        ("handler = 5", "HandlerNotFound", "has an int (5) as `handler`", ""),
    ],
)
def test_code_that_has_no_handler_is_told_for_each_asset(
    content: Path, code: str, reason: str, words: str, trace: str
) -> None:
    with chunk(code, content) as one:
        for key in ("a", "b"):
            failure = one.failure(key)
            assert failure.reason == reason
            assert words in failure.message
            assert trace in failure.trace


def test_a_bundle_without_handler_py_is_told(content: Path) -> None:
    from telecine.pipelines.bundle import Bundle

    with chunk(Bundle({"other.py": b""}, "inline-0"), content) as one:
        failure = one.failure("a")
    assert failure.reason == "HandlerNotFound"
    assert "no handler.py" in failure.message


# What a handler may see


def test_its_environment_has_only_what_was_given(
    content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KUBECONFIG", "TELECINE_WEAVIATE_API_KEY", "AWS_SECRET_ACCESS_KEY", "WORKERS_OWN"):
        monkeypatch.setenv(name, "of the worker")
    code = "import os\ndef handler(event): return {'names': sorted(os.environ)}"
    with chunk(code, content, environment={"API_KEY": SECRET}) as one:
        (document,) = one.documents("a")
    assert set(document["names"]) - {"LC_CTYPE", "LD_LIBRARY_PATH"} == {
        "API_KEY", "HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED",
        "TEST_MARK", "TMPDIR",
    }  # fmt: skip


def test_the_supervisors_environment_has_no_more_than_its_own(
    content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS_OWN", "of the worker")
    code = """
        import os
        def names(pid):
            data = open(f"/proc/{pid}/environ", "rb").read()
            return sorted(p.partition(b"=")[0].decode() for p in data.split(b"\\0") if p)
        def parent(pid):
            return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
        def handler(event):
            session = os.getppid()
            return {"session": names(session), "supervisor": names(parent(session)),
                    "own": sorted(os.environ)}
    """
    with chunk(code, content, environment={"API_KEY": SECRET}) as one:
        (document,) = one.documents("a")
    assert set(document["session"]) <= set(document["own"])
    assert set(document["supervisor"]) <= set(document["own"])
    assert "API_KEY" in document["supervisor"]


def test_its_scratch_is_gone_with_it(content: Path) -> None:
    code = """
        import os, tempfile
        def handler(event):
            open(os.path.expanduser("~/left"), "w").write("x")
            return {"cwd": os.getcwd(), "tmp": tempfile.gettempdir(), "home": os.environ["HOME"]}
    """
    with chunk(code, content) as one:
        (document,) = one.documents("a")
        assert Path(document["home"], "left").exists()
        assert document["tmp"] == document["home"]
    assert not Path(document["cwd"]).exists()
    assert not Path(document["home"]).parents[2].exists()


def test_the_supervisor_refuses_a_handler_as_its_host(content: Path) -> None:
    code = """
        import glob, os, socket, tempfile
        def handler(event):
            (path,) = glob.glob(os.environ["HOME"] + "/../../../supervisor.sock")
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(os.path.realpath(path))
                return {"answer": connection.recv(10).decode()}
    """
    with chunk(code, content) as one:
        assert one.documents("a") == [{"answer": ""}]
        assert len(one.processes()) == 3


# Ends


HOST = """
import sys, time
from pathlib import Path
from tests.integration.pipelines.handling import bundle
from telecine.pipelines.host import Handler
code = '''
import os, time
def handler(event):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(600)
    yield {"pid": os.getpid()}
    while True: time.sleep(600)
'''
handler = Handler(bundle(code), environment={"TEST_MARK": sys.argv[1]})
documents = handler.call({"key": "a"}, Path(sys.argv[2]), "a", "text/plain")
print(next(documents), flush=True)
time.sleep(600)
"""


def test_a_host_that_is_killed_leaves_nothing(content: Path) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    with subprocess.Popen(
        [sys.executable, "-c", HOST, mark, str(content)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as host:
        assert host.stdout is not None
        assert b"pid" in host.stdout.readline()
        assert len(marked(mark)) == 4
        folders = {_folder(pid) for pid in marked(mark)} - {None}
        host.send_signal(signal.SIGKILL)
    eventually(lambda: not marked(mark))
    assert folders
    eventually(lambda: not any(folder.exists() for folder in folders if folder))


def _folder(pid: int) -> Path | None:
    for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if part.startswith(b"TMPDIR="):
            return Path(part.partition(b"=")[2].decode())
    return None


def test_a_supervisor_elsewhere_serves_one_chunk_after_another(
    content: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.sock"
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    environment = {"PATH": os.environ["PATH"], "TEST_MARK": mark, "API_KEY": SECRET}
    code = "import os\ndef handler(event):\n  print(os.environ['API_KEY'])\n  return {'ok': True}"
    with subprocess.Popen(
        [sys.executable, "-m", "telecine.pipelines.supervisor", "--socket", str(path)],
        env=environment,
        start_new_session=True,
    ) as supervisor:
        try:
            for _ in range(2):
                with chunk(code, content, socket=path) as one:
                    assert one.documents("a") == [{"ok": True}]
                    assert one.said("a.txt") == ["***"]
                eventually(lambda: len(marked(mark)) == 1)
        finally:
            supervisor.send_signal(signal.SIGTERM)
    assert supervisor.returncode == 0
    assert not path.exists()
    assert marked(mark) == {}


def test_a_supervisor_that_never_comes_is_told(content: Path, tmp_path: Path) -> None:
    from telecine.pipelines.faults import RuntimeUnavailableError

    limits = HandlerLimits(connect_seconds=0.2)
    with (
        chunk("def handler(event): pass", content, limits=limits, socket=tmp_path / "none") as one,
        pytest.raises(RuntimeUnavailableError, match="no supervisor listens"),
    ):
        one.documents("a")


def test_its_process_has_limits_and_is_the_first_to_go_when_memory_runs_out(
    content: Path,
) -> None:
    code = """
        import resource as r
        def handler(event):
            return {"core": r.getrlimit(r.RLIMIT_CORE)[0], "files": r.getrlimit(r.RLIMIT_NOFILE)[0],
                    "size": r.getrlimit(r.RLIMIT_FSIZE)[0],
                    "oom": int(open("/proc/self/oom_score_adj").read())}
    """
    with chunk(code, content, limits=SMALL) as one:
        (document,) = one.documents("a")
    assert document == {
        "core": 0, "files": SMALL.open_files, "size": SMALL.file_bytes, "oom": 1000
    }  # fmt: skip


def test_a_file_too_big_fails_its_asset(content: Path) -> None:
    limits = HandlerLimits(file_bytes=1 << 20)
    deed = "open(os.environ['HOME'] + '/big', 'wb').write(bytes(2 << 20))"
    with chunk(misdeed(deed), content, limits=limits) as one:
        assert "File too large" in one.failure("bad").message
        assert one.documents("next")
