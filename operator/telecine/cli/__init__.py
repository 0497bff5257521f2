"""The command line: `telecine`, and `kubectl telecine`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from telecine import __version__
from telecine.cli.audit import audit
from telecine.cli.common import out
from telecine.cli.ledger import explain, objects, requeue
from telecine.cli.logs import logs
from telecine.cli.pipelines import app as pipelines
from telecine.cli.plan import plan
from telecine.cli.release import release
from telecine.cli.search import search
from telecine.cli.status import status
from telecine.cli.trigger import trigger
from telecine.dev.cli import app as dev

app = typer.Typer(
    name="telecine",
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
app.add_typer(dev, name="dev")
app.add_typer(pipelines, name="pipelines")
for command in (plan, trigger, logs, search, objects, explain, requeue, audit, status, release):
    app.command()(command)


@app.command()
def operator() -> None:
    """Runs the operator in the foreground, against the cluster of the current context."""
    from telecine.controllers.main import main as run

    run()


@app.command()
def gateway() -> None:
    """Serves webhooks, against the cluster of the current context."""
    from telecine.gateway.main import main as run

    run()


@app.command()
def demo(
    keep: bool = typer.Option(False, "--keep", help="Leave it running until Ctrl-C."),
) -> None:
    """Indexes a folder and an S3 bucket on this machine and searches them, start to finish."""
    from telecine.dev import demo as run

    sys.argv = ["telecine demo", *(["--keep"] if keep else [])]
    run.main()


@app.command()
def generate(
    check: bool = typer.Option(False, "--check", help="Only tell whether the files are stale."),
    directory: str = typer.Argument("crds", help="Where the CRDs are written."),
) -> None:
    """Writes the CRDs of the five kinds from their models."""
    from telecine.api import crds

    if check:
        stale = crds.stale(Path(directory))
        for name in stale:
            out.print(f"{name} is stale: run `make generate`")
        raise typer.Exit(1 if stale else 0)
    crds.write(Path(directory))


@app.command()
def version() -> None:
    """Prints the version."""
    out.print(__version__)


def program(called: str) -> str:
    """What help shows: kubectl runs `kubectl-telecine` when one types `kubectl telecine`."""
    return "kubectl telecine" if Path(called).stem == "kubectl-telecine" else "telecine"


def main() -> None:
    app(prog_name=program(sys.argv[0]))
