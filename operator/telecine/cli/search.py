"""`telecine search`: passages, pictures and seconds of films, by meaning, word and picture."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from telecine.cli.common import (
    BucketOption,
    Cluster,
    KubeNamespaceOption,
    NamespaceOption,
    err,
    explain_errors,
    fail,
    out,
    print_json,
    printable,
)
from telecine.cli.page import clock, page
from telecine.execution.resolve import (
    MissingReferenceError,
    ResolvedNamespace,
    resolve_connection,
)
from telecine.execution.search import NothingServesError, Query, passage
from telecine.execution.search import search as find
from telecine.extractors.base import ExtractionError
from telecine.extractors.models import ModelUnavailableError
from telecine.index.fusion import Moment
from telecine.index.index import Index
from telecine.index.search import Mode
from telecine.planning.types import ObjectRecord
from telecine.providers.base import Provider, ProviderError
from telecine.providers.registry import create
from telecine.workers.fetch import asset_of

_PASSAGE = 300


class SearchOutput(StrEnum):
    TABLE = "table"
    JSON = "json"
    HTML = "html"


@explain_errors
def search(
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    namespace: NamespaceOption = None,
    bucket: BucketOption = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="key=value over source_metadata; dotted keys; repeatable."),
    ] = None,
    near: Annotated[
        Path | None, typer.Option("--near", help="A picture: finds what looks like it.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=1000)] = 5,
    mode: Annotated[Mode, typer.Option(help="hybrid, vector or keyword")] = Mode.HYBRID,
    kube_namespace: KubeNamespaceOption = None,
    output: Annotated[
        SearchOutput,
        typer.Option(
            "--output", "-o", help="table, json, or html: a page that plays at the right second."
        ),
    ] = SearchOutput.TABLE,
) -> None:
    """Searches a Namespace: score, object, second, passage, reasons and source_metadata."""
    if (query is None) == (near is None):
        fail('give one of the two: a query ("a harbour at night") or --near PICTURE')
    cluster = Cluster(kube_namespace)
    resolved = cluster.namespace(namespace)
    cluster.require_bucket(resolved.name, bucket)
    asked = Query(query, _picture(near), mode, limit, bucket, parse_filters(filters or []))
    with cluster.index(resolved) as index:
        moments = looked_up(index, resolved, asked)
        if output is SearchOutput.HTML:
            links = links_of(cluster, resolved, index, moments)
            sys.stdout.write(page(query or f"like {near}", moments, links))
            return
    if output is SearchOutput.JSON:
        print_json([as_json(moment) for moment in moments])
        return
    if not moments:
        err.print("nothing found")
    for number, moment in enumerate(moments, 1):
        show(number, moment)


def looked_up(index: Index, namespace: ResolvedNamespace, query: Query) -> list[Moment]:
    """The moments; what cannot be searched ends the command with the remedy."""
    try:
        with err.status("searching"):
            return find(index, namespace.tenant, namespace.serving, query)
    except NothingServesError as error:
        fail(str(error))
    except (ModelUnavailableError, ExtractionError) as error:
        fail(f"{error}\nSearch by words alone needs no model: --mode keyword")


def _picture(path: Path | None) -> Any:
    """The pixels of a picture file, decoded in the sandbox like any other."""
    if path is None:
        return None
    from telecine.extractors.image_extractor import read_picture

    if not path.is_file():
        fail(f"--near {path}: there is no such file")
    try:
        return read_picture(path)
    except ExtractionError as error:
        fail(f"--near {path}: {error}")


def links_of(
    cluster: Cluster, namespace: ResolvedNamespace, index: Index, moments: list[Moment]
) -> dict[UUID, str]:
    """Where a browser can play each object now."""
    links: dict[UUID, str] = {}
    records = index.ledger(namespace.tenant).get([m.hit.object_id for m in moments])
    providers: dict[str, Provider | None] = {}
    for ident, record in records.items():
        name = record.connection
        if name not in providers:
            providers[name] = _provider(cluster, name)
        link = _link(providers[name], record)
        # A manifest (HLS) comes second: not every browser plays it, and it may need a signature.
        link = link or record.source_metadata.get("playback_url")
        if isinstance(link, str) and link.startswith(("https://", "http://", "file://")):
            links[ident] = link
    return links


def _link(provider: Provider | None, record: ObjectRecord) -> str | None:
    try:
        return provider.link(asset_of(record)) if provider is not None else None
    except ProviderError as error:
        err.print(f"no link for {printable(record.path)}: {printable(str(error))}")
        return None


def _provider(cluster: Cluster, connection: str) -> Provider | None:
    try:
        spec, secret = resolve_connection(cluster.client, cluster.kube_namespace, connection)
        return create(spec, secret, allow_private=cluster.settings.allow_private_endpoints)
    except (MissingReferenceError, ProviderError) as error:
        err.print(f"no links for Connection {connection}: {printable(str(error))}")
        return None


def parse_filters(given: list[str]) -> dict[str, str]:
    parsed = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not key or not separator:
            fail(f"--filter {item}: write key=value, for example --filter metadata.shelf=novels")
        parsed[key] = value
    return parsed


def as_json(moment: Moment) -> dict[str, Any]:
    """One result for programs; `time` is the second at which to look."""
    hit, time = moment.hit, moment.time
    return {
        "score": moment.score,
        "document_id": str(hit.document_id),
        "object_id": str(hit.object_id),
        "bucket": hit.bucket,
        "path": hit.path,
        "text": passage(moment),
        **({} if time is None else {"time": time}),
        **{name: value for name, value in hit.properties.items() if value != ""},
        "fields": hit.fields,
        "reasons": [
            {"why": r.why, "similarity": r.similarity, "words": r.words} for r in moment.reasons
        ],
        "explain": explain(moment),
        "source_metadata": hit.source_metadata,
    }


def explain(moment: Moment) -> str:
    return "; ".join(reason.told() for reason in moment.reasons)


def show(number: int, moment: Moment) -> None:
    text = " ".join(passage(moment).split())
    if len(text) > _PASSAGE:
        text = text[:_PASSAGE].rsplit(" ", 1)[0] + " …"
    hit, time = moment.hit, moment.time
    at = "" if time is None else f"  [yellow]{clock(time)}[/]"
    out.print(
        f"[bold]{number}. {moment.score:.3f}[/]  [cyan]{hit.bucket}[/]/"
        f"[bold]{printable(hit.path)}[/]{at}"
    )
    if text:
        out.print(f"   {printable(text)}")
    out.print(f"   [dim]{printable(explain(moment))}[/]")
    facts = "  ".join(f"{key}={value}" for key, value in hit.source_metadata.items())
    out.print(f"   [dim]{printable(facts)}[/]\n")
