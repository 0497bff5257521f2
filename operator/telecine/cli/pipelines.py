"""`telecine pipelines`: manifests of a repository's functions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from telecine.api.base import ResourceName
from telecine.api.pipeline import GitSource
from telecine.cli.common import err, fail, printable
from telecine.cli.pipelines_test import try_handler

app = typer.Typer(
    help="Pipelines: your own functions over assets.", no_args_is_help=True, rich_markup_mode=None
)
_NAME = TypeAdapter[str](ResourceName)
_USER = re.compile(r"(?<=^http://)[^/@]*@|(?<=^https://)[^/@]*@")


@app.callback()
def pipelines() -> None:
    """Pipelines: your own functions over assets."""


app.command("test")(try_handler)


@app.command("render")
def render_command(
    repo: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="A folder with one folder a pipeline."),
    ],
    url: Annotated[
        str | None, typer.Option(help="The repository's URL; default: the checkout's origin.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; default: the checkout's branch.")
    ] = None,
    connection: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=NAME",
            help="The Connection that a connection_id means; may be given several times.",
        ),
    ] = None,
    kube_namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", "--kube-namespace", "-N",
            help="Kubernetes namespace written into the manifests; default: none.",
        ),
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="The Secret with the repository's credentials.")
    ] = None,
) -> None:  # fmt: skip
    """Prints the manifests of a repository's pipelines: for kubectl apply -f -, or for GitOps.

    A folder that is wrong is told on stderr; the others are printed, and the exit code is 1.
    """
    from telecine.pipelines.render import RenderOptions, render

    options = RenderOptions(
        url=_without_user(url or _origin(repo)),
        ref=ref or _branch(repo),
        prefix=_asked(repo, "rev-parse", "--show-prefix").strip("/"),
        connections=dict(_pair(text) for text in connection or ()),
        kube_namespace=_name(kube_namespace, "--namespace"),
        secret=_name(secret, "--secret"),
    )
    _require_valid(options.url, options.ref)
    try:
        rendered = render(repo, options)
    except OSError as error:
        fail(f"{repo}: {error.strerror or error}")
    if rendered.manifests:
        sys.stdout.write(yaml.safe_dump_all(rendered.manifests, sort_keys=False))
    for fault in rendered.faults:
        err.print(f"[red]error:[/] {printable(fault)}", soft_wrap=True)
    for given in rendered.unused:
        err.print(f"no config.json names the connection_id {printable(given)}", soft_wrap=True)
    if not rendered.manifests and not rendered.faults:
        fail(f"{repo}: no folder in it has a handler.py: a pipeline is a folder with one")
    raise typer.Exit(1 if rendered.faults else 0)


def _origin(repo: Path) -> str:
    found = _asked(repo, "remote", "get-url", "origin")
    if not found:
        fail(f"{repo} is no checkout with a remote named origin: give --url")
    return found


def _branch(repo: Path) -> str:
    found = _asked(repo, "symbolic-ref", "--quiet", "--short", "HEAD")
    if not found:
        fail(f"{repo} is no checkout of a branch: give --ref")
    return found


def _asked(repo: Path, *arguments: str) -> str:
    """What git says of a checkout; empty when it is none, or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_user(url: str) -> str:
    """A manifest is no place for the token that a checkout may have in its URL."""
    return _USER.sub("", url)


def _require_valid(url: str, ref: str) -> None:
    try:
        GitSource(url=url, ref=ref)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        shown = url if field == "url" else ref
        fail(f"{shown} is no {field} of a Pipeline (https, http or ssh): give --{field}")


def _pair(text: str) -> tuple[str, str]:
    given, equals, name = text.rpartition("=")
    if not equals or not given:
        fail(f"--connection {text}: it is not of the form ID=NAME")
    return given, _name(name, f"--connection {text}") or ""


def _name(text: str | None, option: str) -> str | None:
    if text is not None:
        try:
            _NAME.validate_python(text)
        except ValidationError:
            fail(f"{option}: {text!r} is no name of a Kubernetes object")
    return text
