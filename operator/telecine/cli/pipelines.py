"""`telecine pipelines`: manifests of a repository's functions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from telecine.api.base import ResourceName
from telecine.api.pipeline import GitSource
from telecine.cli.common import err, fail, printable
from telecine.cli.pipelines_test import try_handler

if TYPE_CHECKING:
    from telecine.pipelines.render import Folder

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
        str, typer.Argument(help="A folder with one folder a pipeline, or the URL of a repository.")
    ],
    url: Annotated[
        str | None,
        typer.Option(help="URL for the manifests; default: REPO, or the checkout's origin."),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit; default: the branch of REPO."),
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
        str | None,
        typer.Option(help="The Secret with the repository's credentials, for the manifests."),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False,
            help="To read a URL now: a folder with a file for each key of such a Secret.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Prints the manifests of a repository's pipelines: for kubectl apply -f -, or for GitOps.

    A folder that is wrong is told on stderr; the others are printed, and the exit code is 1.
    """
    from telecine.pipelines.git_errors import GitError
    from telecine.pipelines.render import RenderOptions, render

    try:
        read = _of_folder if Path(repo).is_dir() else _of_url
        found = read(repo, ref, url, credentials)
    except (GitError, OSError, UnicodeDecodeError) as error:
        fail(f"{repo}: {error}")
    options = RenderOptions(
        url=found.url,
        ref=found.ref,
        prefix=found.prefix,
        connections=dict(_pair(text) for text in connection or ()),
        kube_namespace=_name(kube_namespace, "--namespace"),
        secret=_name(secret, "--secret"),
    )
    rendered = render(found.folders, options)
    if rendered.manifests:
        sys.stdout.write(yaml.safe_dump_all(rendered.manifests, sort_keys=False))
    for fault in rendered.faults:
        err.print(f"[red]error:[/] {printable(fault)}", soft_wrap=True)
    for given in rendered.unused:
        err.print(f"no config.json names the connection_id {printable(given)}", soft_wrap=True)
    if not rendered.manifests and not rendered.faults:
        fail(f"{repo}: no folder in it has a handler.py: a pipeline is a folder with one")
    raise typer.Exit(1 if rendered.faults else 0)


class _Found(NamedTuple):
    """What REPO is."""

    url: str
    ref: str
    prefix: str
    folders: list[Folder]


def _of_folder(repo: str, ref: str | None, url: str | None, credentials: Path | None) -> _Found:
    """Raises OSError."""
    from telecine.pipelines.render import of_checkout

    if credentials is not None:
        fail("--credentials is for the URL of a repository: a folder is read as it is")
    root = Path(repo)
    git = _source(url or _origin(root), ref or _branch(root))
    prefix = _asked(root, "rev-parse", "--show-prefix").strip("/")
    return _Found(git.url, git.ref, prefix, list(of_checkout(root)))


def _of_url(repo: str, ref: str | None, url: str | None, credentials: Path | None) -> _Found:
    """Raises GitError and OSError."""
    from telecine.pipelines.git import default_branch, fetch_folders, resolve
    from telecine.pipelines.render import of_repository

    if "://" not in repo and "@" not in repo:
        fail(f"{repo} is neither a folder nor the URL of a repository (https, http or ssh)")
    git = _source(repo, ref or "HEAD", "REPO")
    paths = sorted(credentials.iterdir()) if credentials else []
    secret = {path.name: path.read_text() for path in paths if path.is_file()}
    # Private addresses are the operator's concern: here the user's own machine asks.
    branch = ref or default_branch(git, secret, allow_private=True)
    named = _source(url or git.url, branch)
    commit = resolve(_source(git.url, branch), secret, allow_private=True)
    folders = fetch_folders(git, commit, secret, allow_private=True)
    return _Found(named.url, branch, "", list(of_repository(git.url, folders)))


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


def _source(url: str, ref: str, said_by: str = "--url") -> GitSource:
    shown = _without_user(url)
    try:
        return GitSource(url=shown, ref=ref)
    except ValidationError as error:
        wrong, option = (ref, "--ref") if error.errors()[0]["loc"][0] == "ref" else (shown, said_by)
        field = "ref" if option == "--ref" else "url"
        fail(f"{wrong} is no {field} of a Pipeline (https, http or ssh): give {option}")


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
