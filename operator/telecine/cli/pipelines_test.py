"""`telecine pipelines test`: a handler on one file, without cluster or index."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telecine.cli.common import Output, OutputOption, err, fail, out, print_json, printable, table

if TYPE_CHECKING:
    from telecine.pipelines.bundle import Bundle

_LOOK_SECONDS = 0.5
_SHOWN_NUMBERS, _SHOWN_TEXT = 4, 300
_LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", "node_modules"})
_MOST_FILE = 8 << 20


def try_handler(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="The pipeline's folder, with handler.py."
        ),
    ],
    file: Annotated[
        Path,
        typer.Option("--file", "-f", exists=True, dir_okay=False, help="The asset's content."),
    ],
    event: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON laid over the event."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be given several times.")
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Lines of KEY=VALUE."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="The handler may take.")] = 600.0,
    memory_mib: Annotated[int, typer.Option(min=64, help="The handler may use.")] = 2048,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Run again when a file of the folder changes.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Runs a pipeline's handler on one file and prints the documents that would be written."""
    environment = {**_read_env(env_file), **dict(_pair(text, "--env") for text in env or ())}
    trial = _Trial(folder, file, event, environment, seconds, memory_mib << 20, output)
    if not watch:
        raise typer.Exit(0 if trial.run() else 1)
    try:
        for _ in _changes(folder, file, event):
            trial.run()
            err.print(f"watching {printable(str(folder))}; Ctrl-C ends it", soft_wrap=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


class _Trial:
    """One command line, run once or again and again."""

    def __init__(
        self,
        folder: Path,
        file: Path,
        event: Path | None,
        environment: dict[str, str],
        seconds: float,
        memory: int,
        output: Output,
    ) -> None:
        self._folder, self._file, self._event = folder, file, event
        self._environment, self._output = environment, output
        self._seconds, self._memory = seconds, memory

    def run(self) -> bool:
        """Whether the handler succeeded."""
        from telecine.pipelines.faults import HandlerError, RuntimeUnavailableError
        from telecine.pipelines.host import Handler
        from telecine.pipelines.surroundings import HandlerLimits

        bundle = read_folder(self._folder)
        event = _event(self._file, bundle, self._event)
        limits = HandlerLimits(seconds=self._seconds, memory=self._memory)
        documents: list[dict[str, Any]] = []
        failed: HandlerError | None = None
        began = time.monotonic()
        try:
            with Handler(bundle, environment=self._environment, limits=limits, log=_log) as handler:
                for document in handler.call(
                    event, self._file, self._file.name, str(event["mime_type"])
                ):
                    documents.append(document)
                    if self._output is Output.TABLE:
                        _show(len(documents), document)
        except HandlerError as error:
            failed = error
        except (RuntimeUnavailableError, OSError) as error:
            fail(str(error))
        self._conclude(documents, failed, time.monotonic() - began)
        return failed is None

    def _conclude(self, documents: list[dict[str, Any]], failed: Any, seconds: float) -> None:
        if self._output is Output.JSON:
            told = failed and {
                "reason": failed.reason, "message": failed.message, "trace": failed.trace
            }  # fmt: skip
            print_json({"documents": documents, "error": told, "seconds": round(seconds, 3)})
            return
        if failed is not None:
            for line in failed.trace.splitlines():
                err.print(printable(line), soft_wrap=True)
            message = printable(failed.message)
            err.print(f"[red]error:[/] {failed.reason}: {message}", soft_wrap=True)
        plural = "document" if len(documents) == 1 else "documents"
        if failed is None:
            out.print(f"{len(documents)} {plural} would be written; it took {seconds:.1f} s")
        else:
            out.print(f"{len(documents)} {plural} before it failed, after {seconds:.1f} s")


def _log(_asset: str, line: str) -> None:
    err.print(f"[dim]|[/] {printable(line)}", soft_wrap=True)


def _show(number: int, document: dict[str, Any]) -> None:
    out.print(f"document {number}", style="bold")
    table(("key", "value"), [(f"  {key}", _short(key, value)) for key, value in document.items()])
    out.print()


def _short(key: str, value: Any) -> str:
    """A value in a table."""
    if key == "embedding" and isinstance(value, list):
        first = ", ".join(f"{number:.4f}" for number in value[:_SHOWN_NUMBERS])
        more = ", …" if len(value) > _SHOWN_NUMBERS else ""
        return f"[{first}{more}] ({len(value):,} numbers)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"


def read_folder(folder: Path) -> Bundle:
    """The files of a pipeline's folder as a bundle. Ends the command when it has none."""
    from telecine.pipelines.bundle import Bundle, BundleError

    files: dict[str, bytes] = {}
    for path in _files(folder):
        if path.stat().st_size > _MOST_FILE:
            fail(f"{path} has more than {_MOST_FILE >> 20} MiB: a bundle holds code, not data")
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    if "handler.py" not in files:
        fail(f"{folder} has no handler.py")
    bundle = Bundle(files, "")
    try:
        bundle.pack()
    except BundleError as error:
        fail(str(error))
    return Bundle(files, f"inline-{bundle.digest[:12]}")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = _LEFT_OUT.intersection(path.relative_to(folder).parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path


def _event(file: Path, bundle: Bundle, given: Path | None) -> dict[str, Any]:
    """What the handler gets: as of a local Connection, with what was given laid over it."""
    found = file.stat()
    with file.open("rb") as content:
        etag = hashlib.file_digest(content, "sha256").hexdigest()
    event: dict[str, Any] = {
        "bucket": file.resolve().parent.name,
        "key": file.name,
        "name": file.name,
        "size": found.st_size,
        "mime_type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        "etag": etag,
        "fingerprint": etag,
        "last_modified": datetime.fromtimestamp(found.st_mtime, UTC).isoformat(),
        "metadata": {},
        "connection": "local",
        "pipeline": "test",
        "commit": bundle.commit,
    }
    if given is None:
        return event
    try:
        over = json.loads(given.read_text())
    except ValueError as error:
        fail(f"{given} is not JSON: {error}")
    if not isinstance(over, dict):
        fail(f"{given} holds no JSON object")
    return {**event, **over}


def _read_env(path: Path | None) -> dict[str, str]:
    """Lines of KEY=VALUE; blank ones and comments are left out, quotes around a value go."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines() if path else (), 1):
        text = line.strip().removeprefix("export ")
        if text and not text.startswith("#"):
            name, value = _pair(text, f"{path}:{number}")
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name] = value[1:-1] if quoted else value
    return found


def _pair(text: str, place: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        # Not its text, which may be a secret.
        fail(f"{place}: it is not of the form KEY=VALUE")
    return name.strip(), value


def _changes(folder: Path, *others: Path | None) -> Iterator[None]:
    """Once at the start, and whenever a file is another than before."""
    seen: dict[Path, tuple[int, int]] | None = None
    while True:
        watched = [*_files(folder), *(path for path in others if path is not None)]
        now = {path: (s.st_mtime_ns, s.st_size) for path in watched if (s := _stat(path))}
        if now != seen:
            seen = now
            yield
        time.sleep(_LOOK_SECONDS)


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        # An editor is replacing it.
        return None
