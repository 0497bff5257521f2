"""The demo of Pipelines: `make demo-pipelines`, or `python -m telecine.dev.demo_pipelines`.

`examples/pipelines/` becomes a repository on a Git server that wants a token, and its functions run
over real films and texts. Then a commit changes what one makes, a text changes and a film goes.
Ends with exit code 1 when the documents do not follow. Leaves nothing running.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from telecine.dev import binaries
from telecine.dev.demo import (
    MEDIA,
    ROOT,
    TEXTS,
    DemoError,
    Shell,
    environment,
    operator,
    say,
    terminated,
)
from telecine.dev.git_server import ENVIRONMENT, GitServer

EXAMPLES = ROOT / "examples" / "pipelines"
PIPELINES = ("video-processor", "passages")
_SECONDS = 180.0
_RESULTS = "results"


class Repository:
    """The example as somebody's own repository, pushed to a server."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.bare = folder / "checkout", folder / "served" / "pipelines.git"
        shutil.copytree(EXAMPLES, self.tree)
        self.bare.mkdir(parents=True)
        self._git("init", "--quiet", "--bare", "--initial-branch=main", at=self.bare)
        self._git("config", "uploadpack.allowFilter", "true", at=self.bare)
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, message: str) -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", str(self.bare), "main")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=at or self.tree,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise DemoError(f"git {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()


def manifests(shell: Shell, sources: Path, token: str) -> list[dict[str, Any]]:
    """What the Pipelines refer to: Connections, and Secrets with the keys."""
    own = {"apiVersion": "telecine.dev/v1alpha1", "kind": "Connection"}
    weaviate = {
        "endpoint": shell.env["TELECINE_WEAVIATE_ENDPOINT"],
        "grpcPort": int(shell.env["TELECINE_WEAVIATE_GRPC_PORT"]),
    }
    folders = {
        name: {"provider": "local", "local": {"path": str(sources / name)}}
        for name in ("films", "texts")
    }
    connections = {**folders, _RESULTS: {"provider": "weaviate", "weaviate": weaviate}}
    secret = {"apiVersion": "v1", "kind": "Secret"}
    return [
        {
            **secret,
            "metadata": {"name": "repository"},
            "stringData": {"username": "reader", "token": token},
        },
        *({**own, "metadata": {"name": n}, "spec": spec} for n, spec in connections.items()),
    ]


def documents(shell: Shell, pipeline: str) -> list[dict[str, Any]]:
    """All documents of a Pipeline, from Weaviate."""
    from telecine.index.client import WeaviateSettings, open_index

    told = shell.run("kubectl", "get", "tpipe", pipeline, "-o", "json", shown=False)
    status = json.loads(told).get("status") or {}
    if not status.get("tenant"):
        return []
    settings = WeaviateSettings(
        endpoint=shell.env["TELECINE_WEAVIATE_ENDPOINT"],
        grpc_port=int(shell.env["TELECINE_WEAVIATE_GRPC_PORT"]),
    )
    with open_index(settings) as index:
        found = index.session.client.collections.use(status["collection"])
        rows = found.with_tenant(status["tenant"]).query.fetch_objects(limit=1000)
        return [dict(one.properties) for one in rows.objects]


def show(rows: list[dict[str, Any]]) -> None:
    """Each document with what the handler gave it."""
    for row in sorted(rows, key=lambda r: (r["path"], r["index"])):
        own = ("start", "end", "words", "letters")
        facts = "  ".join(f"{name}={row[name]:g}" for name in own if row.get(name) is not None)
        say(f"   {row['path']}  {facts}  {row['text'][:50]!r}  by {row['commit'][:8]}")


def until(what: str, look: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not look():
        if time.monotonic() - started > _SECONDS:
            raise DemoError(f"not within {_SECONDS:.0f} s: {what}")
        time.sleep(0.5)
    say(f"   {what}, {time.monotonic() - started:.1f} s later")


def paths(shell: Shell, pipeline: str) -> set[str]:
    return {str(row["path"]) for row in documents(shell, pipeline)}


def change(shell: Shell, repository: Repository, sources: Path) -> None:
    """A commit, and a source that changes."""
    say("\nA commit adds a key to the documents of `passages`, and they are made anew:")
    handler = repository.tree / "passages" / "handler.py"
    code = handler.read_text()
    counted = '"words": count(chunk.text),'
    handler.write_text(code.replace(counted, f'{counted}\n            "letters": len(chunk.text),'))
    commit = repository.commit("Count letters")
    shell.run(
        "kubectl", "patch", "tpipe", "passages", "--type=merge", "-p", '{"spec":{"onChange":"All"}}'
    )
    shell.run("telecine", "trigger", "pipeline/passages")

    def renewed() -> bool:
        rows = documents(shell, "passages")
        return bool(rows) and all(r["commit"] == commit and r.get("letters") for r in rows)

    until("every document is of the new commit", renewed)
    show(documents(shell, "passages"))

    say("\nOne text is replaced, and a film goes:")
    one, other, *_ = sorted(p.name for p in (sources / "texts").iterdir())
    new = "A text that nobody has read before."
    (sources / "texts" / one).write_text(new)
    gone = min(p.name for p in (sources / "films").iterdir())
    (sources / "films" / gone).unlink()
    for name in PIPELINES:
        shell.run("telecine", "trigger", f"pipeline/{name}")
    until(f"{gone} is not there any more", lambda: gone not in paths(shell, "video-processor"))
    until(
        f"{one} is the new text alone",
        lambda: [r["text"] for r in documents(shell, "passages") if r["path"] == one] == [new],
    )
    if other not in paths(shell, "passages"):
        raise DemoError(f"{other} did not change, and its documents are gone")


def demo() -> None:
    """Raises DemoError when something did not come out as it should."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telecine-demo-")))
        sources = folder / "sources"
        shutil.copytree(MEDIA / "films", sources / "films", ignore=shutil.ignore_patterns("*.md"))
        shutil.copytree(TEXTS / "folder" / "speeches", sources / "texts")
        repository = Repository(folder)
        commit = repository.commit("The example")
        server = stack.enter_context(GitServer(repository.bare.parent))
        shell = stack.enter_context(environment(folder / "bin"))
        url = f"{server.url}/pipelines.git"
        say(f"\nThe repository, private, at {url} (commit {commit[:8]}):")
        shell.run("find", str(repository.tree), "-name", "handler.py", "-o", "-name", "config.json")
        film = min(str(p) for p in (sources / "films").iterdir())
        say("\nOne function on one file, before anything is applied:")
        shell.run(
            "telecine",
            "pipelines",
            "test",
            str(repository.tree / "video-processor"),
            "--file",
            film,
        )
        rendered = shell.run(
            "telecine", "pipelines", "render", str(repository.tree), "--url", url, "--ref", "main",
            "--connection", "conn_321=films", "--connection", "conn_322=texts",
            "--connection", f"conn_123={_RESULTS}", "--secret", "repository",
        )  # fmt: skip
        whole = folder / "pipelines.yaml"
        others = "".join(
            f"---\n{json.dumps(body)}\n" for body in manifests(shell, sources, server.token)
        )
        whole.write_text(f"{others}---\n{rendered}")
        running = stack.enter_context(operator(shell, folder / "operator.log"))
        shell.run("kubectl", "apply", "-f", str(whole))
        shell.run(
            "kubectl",
            "wait",
            "--for=condition=Ready",
            "tpipe",
            "--all",
            f"--timeout={_SECONDS:.0f}s",
        )
        if running.poll() is not None:
            raise DemoError(f"the operator ended with exit code {running.returncode}")
        shell.run("kubectl", "get", "tpipe,tsync", "-o", "wide")
        for name in PIPELINES:
            rows = documents(shell, name)
            say(f"\n{name} made {len(rows)} documents:")
            show(rows)
            if {row["commit"] for row in rows} != {commit}:
                raise DemoError(f"the documents of {name} are not all of commit {commit}")
        wanted = {p.name for p in (sources / "films").iterdir() if p.suffix == ".mp4"}
        if paths(shell, "video-processor") != wanted:
            raise DemoError(f"every film should have documents: {sorted(wanted)}")
        change(shell, repository, sources)
        say(f"\nThe documents followed. {time.monotonic() - started:.0f} s from nothing running.")


def main() -> None:
    signal.signal(signal.SIGTERM, terminated)
    try:
        demo()
    except (DemoError, binaries.BinaryError) as error:
        say(f"\ndemo-pipelines: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
