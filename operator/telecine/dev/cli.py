"""`telecine dev`: a cluster and a Weaviate for laptop, demo and tests."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from telecine.dev.binaries import BINARIES, BinaryError, find
from telecine.dev.environment import Instance, StartError, check_cluster
from telecine.dev.s3 import S3Error, start

app = typer.Typer(help=__doc__, no_args_is_help=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Option("--name", help="Which environment; several can run.")]
Json = Annotated[str, typer.Option("--output", "-o", help="table or json")]


@app.command()
def up(
    name: Name = "default",
    api_key: Annotated[bool, typer.Option("--api-key", help="Weaviate wants an API key.")] = False,
    s3: Annotated[bool, typer.Option("--s3", help="An S3 server too.")] = False,
    cluster: Annotated[
        str, typer.Option(help="`embedded`, or `current` for the kubeconfig's cluster.")
    ] = "embedded",
    weaviate: Annotated[
        str | None, typer.Option(help="With --cluster current: the URL of a Weaviate.")
    ] = None,
) -> None:
    """Starts etcd, kube-apiserver, kube-controller-manager and Weaviate, and applies the CRDs."""
    began = time.monotonic()
    try:
        if cluster == "current":
            url = weaviate or os.environ.get("TELECINE_WEAVIATE_ENDPOINT")
            if not url:
                raise StartError("--cluster current needs --weaviate URL")
            server = check_cluster(url)
            out.print(f"{server} and {url} are ready, the CRDs are applied")
            return
        if cluster != "embedded":
            raise StartError(f"--cluster {cluster}: write embedded or current")
        instance = Instance(name, say=err.print)
        instance.up(api_key=api_key)
        if s3 and not instance.running().get("s3"):
            server_s3 = start(instance.root / "s3.log")
            instance.keep(server_s3.process)
            out.print(f"S3 server at {server_s3.endpoint}")
    except (StartError, BinaryError, S3Error) as error:
        err.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from None
    out.print(
        f"{name} is up after {time.monotonic() - began:.1f} s: "
        f"{instance.server}, Weaviate {instance.weaviate}"
    )
    out.print(f'use it with: eval "$(telecine dev env --name {name})"')


@app.command()
def down(
    name: Name = "default",
    delete: Annotated[bool, typer.Option("--delete", help="Its data too.")] = False,
) -> None:
    """Stops every process of the environment."""
    instance = Instance(name, say=err.print)
    stopped = instance.down(delete=delete)
    out.print(f"stopped {', '.join(stopped)}" if stopped else f"{name} was not running")


@app.command()
def status(name: Name = "default", output: Json = "table") -> None:
    """Shows the processes. Exit code 1 when one is missing."""
    instance = Instance(name, say=err.print)
    found = instance.running()
    if output == "json":
        processes = {
            n: {"pid": p.pid, "running": found[n]} for n, p in instance.state.processes.items()
        }
        typer.echo(json.dumps({"name": name, "processes": processes}, indent=2))
    else:
        table = Table("PROCESS", "PID", "RUNNING", box=None, header_style="", pad_edge=False)
        for part, process in instance.state.processes.items():
            table.add_row(part, str(process.pid), "yes" if found[part] else "no")
        out.print(table if found else f"{name} is not running")
    raise typer.Exit(0 if found and all(found.values()) else 1)


@app.command()
def env(name: Name = "default", output: Json = "table") -> None:
    """Prints the variables that point kubectl and telecine to the environment."""
    instance = Instance(name, say=err.print)
    if not instance.state.ports:
        err.print(f"{name} was never started: telecine dev up --name {name}")
        raise typer.Exit(1)
    variables = instance.variables()
    if output == "json":
        typer.echo(json.dumps(variables, indent=2))
        return
    for key, value in variables.items():
        typer.echo(f"export {key}={shlex.quote(value)}")
    kubectl = None if shutil.which("kubectl") else find(BINARIES["kubectl"])
    if kubectl is not None:
        typer.echo(f'export PATH="$PATH":{shlex.quote(str(kubectl.parent))}')
