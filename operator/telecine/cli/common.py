"""What the commands share: options, the cluster's resources, tables and errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import httpx2
import typer
from lightkube import ApiError, Client
from lightkube.core.exceptions import ConfigError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from telecine.api.base import GROUP, VERSION
from telecine.api.kinds import KINDS
from telecine.execution import resolve
from telecine.execution.kube import load_client
from telecine.index.client import IndexUnavailableError, open_index
from telecine.index.index import Index
from telecine.planning.identity import owner_id
from telecine.providers.base import ProviderError
from telecine.settings import Settings

#: Wide enough that nothing is folded where no person looks at it.
_PIPED_WIDTH = 10_000


def _console() -> Console:
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(
        highlight=False,
        soft_wrap=not sys.stdout.isatty(),
        width=_PIPED_WIDTH if piped else None,
    )


out = _console()
err = Console(stderr=True, highlight=False)


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table or json")]
KubeNamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--kube-namespace", "-N", help="Kubernetes namespace; default: that of the context."
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Telecine Namespace; may be left out when there is one."
    ),
]
SameKubeNamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        "--kube-namespace",
        "-N",
        help="Kubernetes namespace, as kubectl's; default: that of the context.",
    ),
]
BucketOption = Annotated[str | None, typer.Option("--bucket", "-b", help="Only this Bucket.")]

P = ParamSpec("P")
R = TypeVar("R")


def fail(message: str, code: int = 1) -> NoReturn:
    """Ends the command with a message on stderr."""
    shown = "\n".join(printable(line) for line in message.splitlines())
    err.print(f"[red]error:[/] {shown}", soft_wrap=True)
    raise typer.Exit(code)


def explain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turns what can go wrong outside of us into one line and exit code 1."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except resolve.MissingReferenceError as error:
            fail(str(error))
        except ProviderError as error:
            fail(f"{error.reason}: {error}")
        except IndexUnavailableError as error:
            fail(f"the index cannot be reached: {error}")
        except ApiError as error:
            fail(f"Kubernetes: {error.status.message or error}")
        except ConfigError as error:
            fail(f"no cluster: {error}. Set KUBECONFIG, or start one with: telecine dev up")
        except httpx2.HTTPError as error:
            fail(f"the API server cannot be reached: {error}")
        finally:
            while _opened:
                _opened.pop().close()

    return wrapped


_opened: list[Client] = []


def resource_of(target: str) -> tuple[str, str]:
    """Kind and name of `connection/desk`, `tsync/papers` or `syncs.telecine.dev/papers`.

    A name alone is a Sync's. Ends the command when the kind is none of Telecine's.
    """
    word, _, name = target.rpartition("/")
    if not word:
        return "Sync", name
    short, _, group = word.lower().partition(".")
    if group in ("", GROUP, f"{VERSION}.{GROUP}"):
        for kind in KINDS:
            if short in (kind.kind.lower(), kind.plural, kind.short):
                return kind.kind, name
    kinds = ", ".join(kind.kind for kind in KINDS)
    fail(f"{word} is not a kind of {GROUP}; there are {kinds}")


class Cluster:
    """The cluster of the current context, and the Kubernetes namespace asked for."""

    def __init__(self, kube_namespace: str | None) -> None:
        self.client: Client = load_client()
        _opened.append(self.client)
        self.kube_namespace = kube_namespace or self.client.namespace
        self.settings = Settings()

    def name_of(self, kind: str, given: str) -> str:
        """The name of a resource; a Pipeline may be given by its alias as well."""
        if kind != "Pipeline":
            return given
        there = {
            body["metadata"]["name"]: (body.get("status") or {}).get("alias")
            for body in resolve.list_all(self.client, kind, self.kube_namespace)
        }
        if given in there:
            return given
        return next((name for name, alias in there.items() if alias == given), given)

    def owner(self, bucket: str) -> str:
        """The mark on what a Bucket of this cluster brought into the index."""
        return owner_id(self.settings.tenant_prefix, self.kube_namespace, bucket)

    def buckets(self, namespace: str) -> set[str]:
        """Names of the Buckets of a Telecine Namespace."""
        return {
            body["metadata"]["name"]
            for body in resolve.list_all(self.client, "Bucket", self.kube_namespace)
            if body["spec"]["namespaceRef"]["name"] == namespace
        }

    def require_bucket(self, namespace: str, bucket: str | None) -> None:
        """Ends the command when a Bucket that was asked for is not there."""
        if bucket is None:
            return
        there = self.buckets(namespace)
        if bucket not in there:
            found = ", ".join(sorted(there)) or "none"
            fail(f"no Bucket {bucket} in Namespace {namespace}; there are: {found}")

    def namespace(self, name: str | None) -> resolve.ResolvedNamespace:
        """The Telecine Namespace of that name, or the only one there is."""
        if name is None:
            names = [
                body["metadata"]["name"]
                for body in resolve.list_all(self.client, "Namespace", self.kube_namespace)
            ]
            if len(names) != 1:
                found = ", ".join(sorted(names)) or "none"
                fail(
                    f"which Namespace? Give -n NAME; in Kubernetes namespace "
                    f"{self.kube_namespace} there are: {found}"
                )
            name = names[0]
        return resolve.resolve_namespace(self.client, self.kube_namespace, name, self.settings)

    @contextmanager
    def index(self, namespace: resolve.ResolvedNamespace) -> Iterator[Index]:
        with open_index(namespace.weaviate) as index:
            yield index


def print_json(value: Any) -> None:
    """Plain JSON on stdout, for programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()
) -> None:
    """A table as kubectl prints them: no borders, upper-case heads."""
    made = Table(box=None, pad_edge=False, header_style="", padding=(0, 3, 0, 0))
    for column in columns:
        made.add_column(
            column.upper(), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    out.print(made)


class Markup(str):
    """A cell of our own words that may carry colours."""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, Markup) else printable(str(value))


def printable(text: str) -> str:
    """Text of others for a terminal: control characters escaped, markup not interpreted."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escape(safe)


def human_bytes(size: int) -> str:
    """1536 -> 1.5 KiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
