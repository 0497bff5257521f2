"""The demo: `make demo`, or `python -m telecine.dev.demo [--keep]`.

Starts a cluster, Weaviate and an S3 server of its own, runs the operator, applies
`examples/quickstart/`, waits, and searches. Every step is a command that a reader can type. Ends
with exit code 1 when a search does not find the right passage. Leaves nothing running; with
`--keep` it waits until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from telecine.dev import binaries, s3
from telecine.dev.environment import Instance

NAME = "demo"
ROOT = Path(__file__).resolve().parents[3]
QUICKSTART = ROOT / "examples" / "quickstart"
TEXTS = QUICKSTART / "texts"
MEDIA = QUICKSTART / "media"

#: What the committed manifests say, and the demo makes true or replaces.
PATH = "/srv/telecine/texts"
MEDIA_PATH = "/srv/telecine/media"
ENDPOINT = "http://127.0.0.1:9000"
S3_BUCKET = "shelves"

WAIT_SECONDS = 300
OPERATOR_STOP_SECONDS = 15


class DemoError(Exception):
    """The demo did not show what it should; `str()` says what was found instead."""


@dataclass(frozen=True)
class Search:
    """A search, what must come first, and for a film at about which second."""

    arguments: tuple[str, ...]
    expected: str
    second: float | None = None


SEARCHES = (
    Search(
        ("a scientist horrified by the creature he has brought to life",),
        "fiction/novels/frankenstein.txt",
    ),
    Search(
        (
            "longing for the sea when life on land grows gloomy",
            "--filter",
            "metadata.shelf=novels",
        ),
        "fiction/novels/moby-dick.txt",
    ),
    Search(
        ("a railway engineer chases his stolen locomotive", "--bucket", "papers"),
        "papers/films.json",
    ),
    Search(("what makes the coffee sour",), "reels/films/a-slow-morning.mp4", 5.0),
    Search(("where is the umbrella that I lost",), "reels/signs/lost-umbrella.png"),
    Search(
        (
            "--near",
            str(MEDIA.relative_to(ROOT) / "queries" / "cat.jpg"),
            "--filter",
            "extension=jpg",
        ),
        "reels/photographs/cat.jpg",
    ),
)
_NEAR = 2.0
"""Seconds by which the second that is found may differ."""
_FIRST = re.compile(r"^1\. +\S+ +(\S+)(?: +(\d+(?::\d\d)+))? *$", re.MULTILINE)


def say(text: str) -> None:
    print(text, flush=True)


class Shell:
    """Runs commands in the demo's environment and prints each before its output."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)

    def run(self, *command: str, ok: Sequence[int] = (0,), shown: bool = True) -> str:
        """Returns what the command printed on stdout.

        Raises:
            DemoError: it ended with an exit code that is not among `ok`.
        """
        if shown:
            say(f"\n$ {shlex.join(command)}")
        process = subprocess.Popen(
            command, env=self.env, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        output = []
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                output.append(line)
                if shown:
                    print(line, end="", flush=True)
        if process.returncode not in ok:
            raise DemoError(f"{shlex.join(command)} ended with exit code {process.returncode}")
        return "".join(output)


def base_env() -> dict[str, str]:
    """This process's environment, with the commands of its virtual environment on PATH."""
    own = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}"}


@contextmanager
def environment(folder: Path) -> Iterator[Shell]:
    """A cluster and Weaviate that are empty at the start and gone at the end.

    Raises:
        DemoError: another demo runs, or they did not start.
    """
    shell = Shell(base_env())
    running = Instance(NAME, say=say).running()
    if any(running.values()):
        raise DemoError(
            "another demo runs, or was ended before it could clean up; "
            f"stop it with: telecine dev down --name {NAME} --delete"
        )
    try:
        shell.run("telecine", "dev", "up", "--name", NAME)
        variables = json.loads(
            shell.run("telecine", "dev", "env", "--name", NAME, "-o", "json", shown=False)
        )
        yield Shell({**shell.env, **variables, "PATH": with_kubectl(folder, shell.env["PATH"])})
    finally:
        shell.run("telecine", "dev", "down", "--name", NAME, "--delete")


def with_kubectl(folder: Path, path: str) -> str:
    """A PATH that has kubectl, also where only the cache has one."""
    if shutil.which("kubectl", path=path):
        return path
    folder.mkdir()
    (folder / "kubectl").symlink_to(binaries.ensure(["kubectl"], say)["kubectl"])
    return f"{path}{os.pathsep}{folder}"


def upload(client: s3.Client) -> None:
    """Puts texts/bucket/ into the S3 bucket, with the user metadata beside it."""
    metadata = json.loads((TEXTS / "bucket-metadata.json").read_text())
    client.create_bucket(Bucket=S3_BUCKET)
    folder = TEXTS / "bucket"
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        key = path.relative_to(folder).as_posix()
        client.put_object(
            Bucket=S3_BUCKET, Key=key, Body=path.read_bytes(), Metadata=metadata.get(key, {})
        )
        facts = ", ".join(f"{name}={value}" for name, value in metadata.get(key, {}).items())
        say(f"uploaded s3://{S3_BUCKET}/{key}  {facts}")


def render(target: Path, replacements: Mapping[str, str], manifests: Path = QUICKSTART) -> None:
    """Copies the manifests with this machine's path and port, and prints each line that differs."""
    say(f"\nThe manifests are those of {manifests.relative_to(ROOT)}/, but for these lines:")
    for source in sorted(manifests.glob("*.yaml")):
        lines = []
        for number, line in enumerate(source.read_text().splitlines(), 1):
            changed = line
            for old, new in replacements.items():
                changed = changed.replace(old, new)
            if changed != line:
                say(f"  {source.name}:{number}: {changed.strip()}")
            lines.append(changed)
        (target / source.name).write_text("\n".join(lines) + "\n")


@contextmanager
def operator(shell: Shell, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The operator as a process of its own; `telecine dev down` ends workers it leaves behind."""
    with service(shell, "operator", "telecine.controllers.main", log) as process:
        yield process


@contextmanager
def service(shell: Shell, name: str, module: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A part of Telecine as a process; the end of its log is shown when the demo fails."""
    say(f"\n$ telecine {name} &")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=shell.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    except DemoError:
        lines = log.read_text("utf-8", "replace").splitlines()[-40:]
        say(f"\nThe end of the {name}'s log:\n" + "\n".join(lines))
        raise
    finally:
        process.terminate()
        try:
            process.wait(OPERATOR_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_synced(shell: Shell, running: subprocess.Popen[bytes]) -> None:
    """`kubectl wait`, given up early when the operator ended."""
    command = ("kubectl", "wait", "--for=condition=Ready", "tsync", "--all")
    say(f"\n$ {shlex.join(command)} --timeout={WAIT_SECONDS}s")
    waiting = subprocess.Popen([*command, f"--timeout={WAIT_SECONDS}s"], env=shell.env)
    try:
        while waiting.poll() is None:
            if running.poll() is not None:
                raise DemoError(f"the operator ended with exit code {running.returncode}")
            time.sleep(0.2)
    finally:
        if waiting.poll() is None:
            waiting.terminate()
        waiting.wait()
    if waiting.returncode != 0:
        shell.run("kubectl", "get", "tns,tbucket,tconn,tsync", "-o", "wide")
        raise DemoError("not every Sync became ready")


def search(shell: Shell, wanted: Search) -> None:
    """Prints the best moments; the first must be the expected one, at the expected second."""
    command = ("telecine", "search", *wanted.arguments, "-n", "library", "--limit", "3")
    output = shell.run(*command)
    first = _FIRST.search(output)
    found = first.group(1) if first else "nothing"
    asked = shlex.join(wanted.arguments)
    if first is None or found != wanted.expected:
        raise DemoError(f"{asked} should find {wanted.expected} first, and found {found}")
    if wanted.second is not None:
        at = seconds(first.group(2) or "")
        if at is None or abs(at - wanted.second) > _NEAR:
            raise DemoError(f"{asked} should be found at {wanted.second} s, and was at {at} s")


def seconds(clock: str) -> float | None:
    """1:05 -> 65.0."""
    if not clock:
        return None
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total


def show(shell: Shell, running: subprocess.Popen[bytes], manifests: Path) -> None:
    shell.run("kubectl", "apply", "-f", str(manifests))
    wait_until_synced(shell, running)
    shell.run("kubectl", "get", "tns,tbucket,tconn,tsync")
    say("\nWhat is left to do, and what was left out and why:")
    shell.run("telecine", "plan", "sync/fiction", "--skipped", ok=(0, 2))
    for wanted in SEARCHES:
        search(shell, wanted)


def hold() -> None:
    """Keeps everything running until Ctrl-C."""
    say(
        "\nEverything keeps running until you press Ctrl-C here. In another terminal:\n"
        f'  eval "$(telecine dev env --name {NAME})"\n'
        "  kubectl get tns,tbucket,tconn,tsync -o wide\n"
        '  telecine search "a rabbit with a watch" -n library'
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("")


def demo(keep: bool) -> None:
    """Raises DemoError when something did not come out as it should."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telecine-demo-")))
        manifests = folder / "quickstart"
        manifests.mkdir()
        shell = stack.enter_context(environment(folder / "bin"))
        store = stack.enter_context(s3.serve(preferred_port=9000))
        say("")
        upload(store.client())
        render(
            manifests,
            {PATH: str(TEXTS / "folder"), MEDIA_PATH: str(MEDIA), ENDPOINT: store.endpoint},
        )
        running = stack.enter_context(operator(shell, folder / "operator.log"))
        show(shell, running, manifests)
        say(
            f"\nEvery search found what it should. {time.monotonic() - started:.0f} s "
            "from nothing running."
        )
        if keep:
            hold()
    if not keep:
        say("Everything is stopped again. To look around instead: KEEP=1 make demo")


def terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(143)


def main() -> None:
    parser = argparse.ArgumentParser(prog="telecine demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    arguments = parser.parse_args()
    # So that what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, terminated)
    try:
        demo(arguments.keep)
    except (DemoError, s3.S3Error, binaries.BinaryError) as error:
        say(f"\ndemo: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
