"""The extractors of a Namespace, each made when first needed and kept for the worker's life."""

from __future__ import annotations

from dataclasses import dataclass

from telecine.extractors.base import Document, Extractor
from telecine.extractors.registry import extractor_class
from telecine.index.documents import StoredDocument
from telecine.index.schema import DocumentCollection, collection_name
from telecine.planning.identity import document_id
from telecine.planning.types import ObjectRecord, Recipe
from telecine.workers.protocol import Job


def collection_of(recipe: Recipe) -> DocumentCollection:
    """Where the documents of a recipe are; loads no model."""
    extractor = extractor_class(recipe.name, recipe.version)
    chosen = extractor.collection(recipe.parameters)
    name = chosen or collection_name(recipe, extractor.model_key(recipe.parameters))
    return DocumentCollection(name, extractor.vectors, extractor.properties, chosen is not None)


@dataclass(frozen=True)
class Tool:
    """One recipe ready for use."""

    recipe: Recipe
    extractor: Extractor
    collection: DocumentCollection

    def stored(
        self, job: Job, record: ObjectRecord, content_hash: str, index: int, document: Document
    ) -> StoredDocument:
        """The document with its id and the object's lineage."""
        return StoredDocument(
            id=document_id(record.id, self.recipe.key, content_hash, index),
            object_id=record.id,
            kube_namespace=job.kube_namespace,
            bucket=job.bucket_name,
            path=record.path,
            content_hash=content_hash,
            recipe=self.recipe.key,
            index=index,
            document=document,
            source_metadata=record.source_metadata,
            fields=record.fields,
            owner=job.owner,
        )


class Toolset:
    """Extractors by recipe; a model is loaded once a worker."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def tool(self, recipe: Recipe) -> Tool:
        if recipe.key not in self._tools:
            made = extractor_class(recipe.name, recipe.version)(recipe.parameters)
            self._tools[recipe.key] = Tool(recipe, made, collection_of(recipe))
        return self._tools[recipe.key]
