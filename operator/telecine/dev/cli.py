"""`telecine dev`: a cluster and a Weaviate for laptop, demo and tests."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from telecine.dev.binaries import BinaryError
from telecine.dev.current import CurrentError, use_current
from telecine.dev.environment import Instance, StartError
from telecine.dev.s3 import S3Error

app = typer.Typer(help=__doc__, no_args_is_help=True)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
out = Console(highlight=False, soft_wrap=True, markup=False)


class Cluster(StrEnum):
    EMBEDDED = "embedded"
    CURRENT = "current"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Name = Annotated[str, typer.Option("--name", help="Which environment; several can run.")]
Output = Annotated[Format, typer.Option("--output", "-o")]


@app.command()
def up(
    name: Name = "default",
    api_key: Annotated[bool, typer.Option("--api-key", help="Weaviate wants an API key.")] = False,
    s3: Annotated[bool, typer.Option("--s3", help="An S3 server (moto) too.")] = False,
    cluster: Annotated[
        Cluster, typer.Option(help="Start one, or use the kubeconfig's and start nothing.")
    ] = Cluster.EMBEDDED,
    weaviate: Annotated[
        str | None,
        typer.Option(
            help="With --cluster current: the URL of a Weaviate.",
            envvar="TELECINE_WEAVIATE_ENDPOINT",
        ),
    ] = None,
) -> None:
    """Starts etcd, kube-apiserver, kube-controller-manager and Weaviate, and applies the CRDs."""
    began = time.monotonic()
    try:
        if cluster is Cluster.CURRENT:
            if not weaviate:
                raise CurrentError("--cluster current needs --weaviate URL")
            out.print(f"{use_current(weaviate)} are ready; the CRDs are applied")
            return
        instance = _instance(name)
        instance.up(api_key=api_key)
        if s3:
            out.print(f"S3 server at {instance.s3().endpoint}")
    except (StartError, CurrentError, BinaryError, S3Error) as error:
        err.print(f"error: {error}")
        raise typer.Exit(1) from None
    seconds = time.monotonic() - began
    out.print(
        f"{name} is up after {seconds:.1f} s: {instance.server}, Weaviate {instance.weaviate}"
    )
    out.print(f'use it with: eval "$(telecine dev env --name {name})"')


@app.command()
def down(
    name: Name = "default",
    delete: Annotated[bool, typer.Option("--delete", help="Its data too.")] = False,
) -> None:
    """Stops every process of the environment, workers included."""
    instance = _instance(name)
    known = instance.root.exists()
    try:
        stopped = instance.down(delete=delete)
    except TimeoutError as error:
        err.print(f"error: {error}")
        raise typer.Exit(1) from None
    out.print(f"stopped {', '.join(stopped)}" if stopped else f"{name} was not running")
    if delete and known:
        out.print(f"deleted {instance.root}")


@app.command()
def status(name: Name = "default", output: Output = Format.TABLE) -> None:
    """Shows the processes. Exit code 1 when one is missing or not ready."""
    instance = _instance(name)
    parts = _parts(instance)
    if output is Format.JSON:
        typer.echo(json.dumps({"name": name, "processes": parts}, indent=2))
    elif parts:
        table = Table(
            "PROCESS", "PID", "RUNNING", "READY", box=None, header_style="", pad_edge=False
        )
        for part, facts in parts.items():
            flags = ("yes" if facts[key] else "no" for key in ("running", "ready"))
            table.add_row(part, str(facts["pid"]), *flags)
        out.print(table)
        out.print(f"logs: {instance.root}/*.log")
    else:
        out.print(f"{name} is not running")
    raise typer.Exit(0 if parts and all(facts["ready"] for facts in parts.values()) else 1)


@app.command()
def env(name: Name = "default", output: Output = Format.TABLE) -> None:
    """Prints the variables that point kubectl and telecine to the environment."""
    instance = _instance(name)
    if "apiserver" not in instance.state.ports:
        err.print(f"error: {name} was never started: telecine dev up --name {name}")
        raise typer.Exit(1)
    variables = instance.variables()
    if output is Format.JSON:
        typer.echo(json.dumps(variables, indent=2))
        return
    for key, value in variables.items():
        typer.echo(f"export {key}={shlex.quote(value)}")
    if not shutil.which("kubectl"):
        typer.echo(f'export PATH="$PATH":{shlex.quote(str(instance.bin))}')


def _instance(name: str) -> Instance:
    try:
        return Instance(name, say=err.print)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--name") from None


def _parts(instance: Instance) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "pid": instance.state.processes[name].pid,
            "running": alive,
            "ready": alive and instance.ready(name),
            "log": str(instance.log(name)),
        }
        for name, alive in instance.running().items()
    }
