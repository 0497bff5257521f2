"""The shape of Telecine's collections in Weaviate, and bringing them into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telecine.index import rows
from telecine.index.client import IndexSchemaError, Session
from telecine.planning.types import Property, Recipe

if TYPE_CHECKING:
    from weaviate.classes.config import Property as WeaviateProperty
    from weaviate.collections.classes.config import _CollectionConfig

PREFIX = "Telecine_"
FREE = "Documents of Telecine's Pipelines"
"""The description of a collection with a name that a user chose: the sign that it is Telecine's."""
LEDGER = f"{PREFIX}objects"

#: Name, data type, and how filters and keyword search see it: `filter` whole values, `search`
#: words, `both` either way, `store` not at all.
Shape = tuple[str, str, str]
_Wanted = tuple[tuple[Shape, ...], tuple[str, ...], str]

LEDGER_SHAPE: tuple[Shape, ...] = (
    ("scope", "text", "filter"),
    ("state", "text", "filter"),
    ("run", "text", "filter"),
    ("owner", "text", "filter"),
    ("recipes", "text[]", "filter"),
    ("syncs", "text[]", "filter"),
    ("chunk", "int", "filter"),
    ("documents", "int", "filter"),
    ("dead_letter", "boolean", "filter"),
    (rows.MARK, "boolean", "store"),
    *((name, "text", "store") for name in (*rows.PACKS, *rows.OVERLAYS.values())),
)
DOCUMENT_SHAPE: tuple[Shape, ...] = (
    ("text", "text", "search"),
    ("object_id", "text", "filter"),
    ("kube_namespace", "text", "filter"),
    ("bucket", "text", "filter"),
    ("recipe", "text", "filter"),
    ("content_hash", "text", "filter"),
    ("owner", "text", "filter"),
    ("index", "int", "filter"),
    ("metadata_pairs", "text[]", "filter"),
    ("path", "text", "store"),
    ("source_metadata", "text", "store"),
    ("fields", "text", "store"),
)
DOCUMENT_PROPERTIES = frozenset(name for name, _, _ in DOCUMENT_SHAPE)


@dataclass(frozen=True)
class DocumentCollection:
    """Where the documents of one extractor version and embedding model are."""

    name: str
    vectors: tuple[str, ...]
    """Named vectors, each compared by cosine."""
    properties: tuple[Property, ...] = ()
    """The extractor's outputs beside `text`."""
    free: bool = False
    """Whether a user chose its name, and documents bring further properties of their own."""

    @property
    def description(self) -> str:
        return FREE if self.free else ""

    def shape(self) -> tuple[Shape, ...]:
        """All properties of the collection.

        Raises:
            ValueError: an output of the extractor has the name of one of the index's own.
        """
        taken = sorted(p.name for p in self.properties if p.name in DOCUMENT_PROPERTIES)
        if taken:
            raise ValueError(f"the index itself has properties named {', '.join(taken)}")
        own = ((p.name, p.type, "search" if p.searchable else "store") for p in self.properties)
        return (*DOCUMENT_SHAPE, *own)


def collection_name(recipe: Recipe, model_key: str = "") -> str:
    """The collection of a recipe's documents: one per extractor version and embedding model,
    because vectors of two models never share a space."""
    import hashlib

    suffix = f"_{hashlib.sha256(model_key.encode()).hexdigest()[:8]}" if model_key else ""
    return f"{PREFIX}{recipe.name}_{recipe.version}{suffix}"


def ensure(session: Session, collections: Iterable[DocumentCollection]) -> None:
    """Creates what is missing, of collections and of properties.

    Raises:
        IndexSchemaError: a collection is there with another shape.
    """
    ledger: _Wanted = (LEDGER_SHAPE, (), "")
    wanted = {LEDGER: ledger} | {c.name: (c.shape(), c.vectors, c.description) for c in collections}
    with session.call():
        existing: dict[str, Any] = dict(session.client.collections.list_all(simple=False))
        for name, (shape, vectors, description) in wanted.items():
            config = existing.get(name) or _create(session, name, shape, vectors, description)
            if description and config.description != description:
                raise IndexSchemaError(
                    f"Weaviate has a collection {name} that is not of Telecine's making; choose "
                    "another name"
                )
            missing = _check(name, config, shape, vectors)
            for prop in missing:
                add_property(session, name, prop)
            if missing:
                config = session.client.collections.use(name).config.get()
                _check(name, config, shape, vectors)


def _create(
    session: Session, name: str, shape: Iterable[Shape], vectors: Iterable[str], description: str
) -> _CollectionConfig:
    from weaviate.classes.config import Configure, VectorDistances
    from weaviate.exceptions import UnexpectedStatusCodeError

    try:
        session.client.collections.create(
            name,
            description=description or None,
            properties=[_property(one) for one in shape],
            vector_config=[
                Configure.Vectors.self_provided(
                    name=vector,
                    vector_index_config=Configure.VectorIndex.hnsw(
                        distance_metric=VectorDistances.COSINE
                    ),
                )
                for vector in vectors
            ]
            or None,
            # A tenant that its Namespace suspended stays down, and a wrong name makes no tenant.
            multi_tenancy_config=Configure.multi_tenancy(
                enabled=True, auto_tenant_creation=False, auto_tenant_activation=False
            ),
        )
    except UnexpectedStatusCodeError as error:
        if "already exists" not in str(error):
            raise
    return session.client.collections.use(name).config.get()


def add_property(session: Session, name: str, prop: Shape) -> None:
    from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateInvalidInputError

    try:
        session.client.collections.use(name).config.add_property(_property(prop))
    except (UnexpectedStatusCodeError, WeaviateInvalidInputError) as error:
        # The server says the one, the client, which looks first, the other.
        if not any(sign in str(error) for sign in ("already in use", "already exists")):
            raise


def _property(shape: Shape) -> WeaviateProperty:
    from weaviate.classes.config import DataType, Tokenization
    from weaviate.classes.config import Property as WeaviateProperty

    name, data_type, use = shape
    text = data_type.startswith("text")
    words = use in ("search", "both")
    tokenization = Tokenization.WORD if words else Tokenization.FIELD
    return WeaviateProperty(
        name=name,
        data_type=DataType(data_type),
        tokenization=tokenization if text else None,
        index_filterable=use in ("filter", "both"),
        index_searchable=words if text else None,
    )


def _check(name: str, config: Any, shape: Iterable[Shape], vectors: Iterable[str]) -> list[Shape]:
    """The properties that are missing.

    Raises:
        IndexSchemaError: something that is there is of another kind.
    """
    if not config.multi_tenancy_config.enabled:
        raise IndexSchemaError(f"Weaviate collection {name} is not multi-tenant")
    found = {p.name: str(getattr(p.data_type, "value", p.data_type)) for p in config.properties}
    missing = []
    for one in shape:
        prop, wanted, _ = one
        if prop not in found:
            missing.append(one)
        elif found[prop] != wanted:
            raise IndexSchemaError(
                f"property {prop} of Weaviate collection {name} is of type {found[prop]}; "
                f"Telecine needs {wanted}"
            )
    there = config.vector_config or {}
    for vector in vectors:
        _check_vector(name, vector, there.get(vector))
    return missing


def _check_vector(name: str, vector: str, config: Any) -> None:
    where = f"vector {vector} of Weaviate collection {name}"
    if config is None:
        raise IndexSchemaError(f"{where} is missing")
    vectorizer = config.vectorizer.vectorizer
    vectorizer = str(getattr(vectorizer, "value", vectorizer))
    if vectorizer != "none":
        raise IndexSchemaError(f"{where} has vectorizer {vectorizer}; Telecine needs none")
    distance = getattr(config.vector_index_config, "distance_metric", None)
    distance = str(getattr(distance, "value", distance))
    if distance != "cosine":
        raise IndexSchemaError(f"{where} has distance {distance}; Telecine needs cosine")
