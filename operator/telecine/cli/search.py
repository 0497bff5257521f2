"""`telecine search`: passages by meaning and by word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from telecine.cli.common import (
    BucketOption,
    Cluster,
    KubeNamespaceOption,
    NamespaceOption,
    Output,
    OutputOption,
    err,
    explain_errors,
    fail,
    out,
    print_json,
    printable,
)
from telecine.execution.resolve import ResolvedNamespace
from telecine.extractors.base import ExtractionError
from telecine.extractors.models import ModelUnavailableError
from telecine.extractors.registry import extractor_class
from telecine.index.documents import Hit
from telecine.index.index import Index
from telecine.index.search import Mode
from telecine.planning.types import Recipe, Vector

_PASSAGE = 300


@explain_errors
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    namespace: NamespaceOption = None,
    bucket: BucketOption = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="key=value over source_metadata; dotted keys; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=1000)] = 5,
    mode: Annotated[Mode, typer.Option(help="hybrid, vector or keyword")] = Mode.HYBRID,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Searches a Namespace and prints score, object, passage and source_metadata."""
    cluster = Cluster(kube_namespace)
    resolved = cluster.namespace(namespace)
    cluster.require_bucket(resolved.name, bucket)
    wanted = parse_filters(filters or [])
    with cluster.index(resolved) as index:
        hits = find(index, resolved, query, mode, limit, bucket, wanted)
    if output is Output.JSON:
        print_json([as_json(hit) for hit in hits])
        return
    if not hits:
        err.print("nothing found")
    for number, hit in enumerate(hits, 1):
        show(number, hit)


def find(
    index: Index,
    namespace: ResolvedNamespace,
    query: str,
    mode: Mode,
    limit: int,
    bucket: str | None,
    filters: Mapping[str, str],
) -> list[Hit]:
    """The best hits over every extractor that serves the Namespace, best first."""
    if not namespace.serving:
        fail(f"Namespace {namespace.name} serves nothing yet: kubectl get tns {namespace.name}")
    hits: list[Hit] = []
    for recipe, collection in namespace.serving:
        vectors = None if mode is Mode.KEYWORD else embed(recipe, query)
        hits += index.documents(namespace.tenant, collection).search(
            query, vectors, mode=mode, limit=limit, bucket=bucket, filters=filters
        )
    return sorted(hits, key=lambda hit: -hit.score)[:limit]


def embed(recipe: Recipe, query: str) -> Mapping[str, Vector]:
    """The query's vectors by the model that made the documents."""
    extractor = extractor_class(recipe.name, recipe.version)(recipe.parameters)
    try:
        with err.status("loading the model"):
            return extractor.embed_query(query)
    except (ModelUnavailableError, ExtractionError) as error:
        fail(f"{error}\nSearch by words alone needs no model: --mode keyword")


def parse_filters(given: list[str]) -> dict[str, str]:
    parsed = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not key or not separator:
            fail(f"--filter {item}: write key=value, for example --filter metadata.shelf=novels")
        parsed[key] = value
    return parsed


def as_json(hit: Hit) -> dict[str, Any]:
    return {
        "score": hit.score,
        "document_id": str(hit.document_id),
        "object_id": str(hit.object_id),
        "bucket": hit.bucket,
        "path": hit.path,
        "text": hit.text,
        **hit.properties,
        "fields": hit.fields,
        "explain": hit.explain,
        "source_metadata": hit.source_metadata,
    }


def show(number: int, hit: Hit) -> None:
    passage = " ".join(hit.text.split())
    if len(passage) > _PASSAGE:
        passage = passage[:_PASSAGE].rsplit(" ", 1)[0] + " …"
    out.print(
        f"[bold]{number}. {hit.score:.3f}[/]  [cyan]{hit.bucket}[/]/[bold]{printable(hit.path)}[/]"
    )
    out.print(f"   {printable(passage)}")
    facts = "  ".join(f"{key}={value}" for key, value in hit.source_metadata.items())
    out.print(f"   [dim]{printable(facts)}[/]\n")
