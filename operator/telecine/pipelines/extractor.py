"""`handler` `v1`: the feature extractor that is a user's own function.

A Pipeline makes the Namespace that has it. What the function needs (its code, its environment)
is no parameter of it: `attach` brings that in the worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, Document, ExtractionError, Leg, Property, Vector
from telecine.extractors.loading import ModelUnavailableError
from telecine.extractors.parameters import Parameters
from telecine.index.schema import PREFIX
from telecine.pipelines.bundle import Bundle
from telecine.pipelines.faults import HandlerError, RuntimeUnavailableError
from telecine.pipelines.surroundings import HandlerLimits

if TYPE_CHECKING:
    from telecine.pipelines.host import Handler

EMBEDDING = "embedding"
_TRACE = 4000
_PERMANENT = frozenset({"HandlerNotFound"})


class HandlerUnavailableError(ModelUnavailableError):
    """Handlers cannot be run here. No fault of any object."""

    reason = "HandlerUnavailable"


def _not_ours(name: str) -> str:
    if name.lower().startswith(PREFIX.lower()):
        raise ValueError(f"names that begin with {PREFIX} are Telecine's own")
    return name


class HandlerParameters(Parameters):
    of: ClassVar[str] = "handler v1"

    pipeline: Annotated[str, Field(min_length=1, max_length=253)]
    collection: Annotated[
        str, Field(max_length=200, pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), AfterValidator(_not_ours)
    ]
    """Where its documents go; Weaviate writes the first letter large."""
    code: str = ""
    """Digest of the code whose documents are wanted; empty: of whatever code made them."""
    query_model: Literal["", "text", "visual"] = ""
    """With what a query is embedded, so that it compares with what the handler embedded."""


@dataclass(frozen=True)
class HandlerRuntime:
    """What a worker knows of the Pipeline whose handler it runs."""

    bundle: Bundle
    connection: str
    store: str
    """`event["bucket"]`: the store's own name where the provider has one (an S3 bucket)."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: HandlerLimits = field(default_factory=HandlerLimits)
    socket: Path | None = None
    """Of a supervisor in another container."""


class HandlerExtractor:
    """Documents as the handler returns them; `text` among its keys is what words are found in."""

    name: ClassVar[str] = "handler"
    version: ClassVar[str] = "v1"
    accepts: ClassVar[frozenset[BlobType]] = frozenset(BlobType)
    vectors: ClassVar[tuple[str, ...]] = (EMBEDDING,)
    properties: ClassVar[tuple[Property, ...]] = (
        Property("pipeline", "text"),
        Property("commit", "text"),
    )
    legs: ClassVar[tuple[Leg, ...]] = (Leg("made by the pipeline", EMBEDDING, ("text",)),)
    resumes: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = HandlerParameters.parse(parameters)
        self._runtime: HandlerRuntime | None = None
        self._handler: Handler | None = None

    @classmethod
    def validate(cls, parameters: Mapping[str, Any]) -> None:
        HandlerParameters.parse(parameters)

    @classmethod
    def model_key(cls, parameters: Mapping[str, Any]) -> str:
        return ""

    @classmethod
    def collection(cls, parameters: Mapping[str, Any]) -> str | None:
        chosen = HandlerParameters.parse(parameters).collection
        return chosen[0].upper() + chosen[1:]

    def attach(self, runtime: HandlerRuntime) -> None:
        """Gives it the code to run and what that runs in."""
        self._runtime = runtime

    def close(self) -> None:
        """Ends the handler's processes."""
        if self._handler is not None:
            self._handler.close()
            self._handler = None

    def features(self, kind: BlobType) -> Mapping[str, str]:
        return {}

    def split(self, content: Content) -> Iterator[Document]:
        """Raises ExtractionError when the handler fails on this object, and
        HandlerUnavailableError when none can be run."""
        runtime = self._attached()
        event = event_of(content, runtime, self.parameters.pipeline)
        own = {"pipeline": self.parameters.pipeline, "commit": runtime.bundle.commit}
        try:
            for made in self._running(runtime).call(
                event, content.path, content.name, content.mime_type
            ):
                vector = made.pop(EMBEDDING, None)
                text = made.pop("text", "")
                if not isinstance(text, str):
                    raise ExtractionError(
                        "HandlerReturnedRubbish",
                        "the key `text` must have a string",
                        permanent=True,
                    )
                vectors: dict[str, Vector] = {} if vector is None else {EMBEDDING: vector}
                yield Document(text, vectors, {**made, **own})
        except HandlerError as error:
            told = f"{error}\n{error.trace[-_TRACE:]}" if error.trace else str(error)
            raise ExtractionError(
                error.reason, told, permanent=error.reason in _PERMANENT
            ) from error
        except RuntimeUnavailableError as error:
            raise HandlerUnavailableError(str(error)) from error

    def embed(self, documents: Sequence[Document]) -> None:
        """The handler has done it."""

    def embed_query(self, text: str) -> Mapping[str, Vector]:
        from telecine.pipelines.embedding import Embedder

        match self.parameters.query_model:
            case "text":
                return {EMBEDDING: Embedder().texts([text])[0]}
            case "visual":
                from telecine.extractors.visual import load_visual_model

                try:
                    return {EMBEDDING: load_visual_model().embed_texts([text])[0]}
                except ModelUnavailableError:
                    # Then pictures were embedded by a model that knows no texts.
                    return {}
        return {}

    def embed_picture(self, pixels: Any) -> Mapping[str, Vector]:
        from telecine.pipelines.embedding import Embedder

        if self.parameters.query_model != "visual":
            return {}
        return {EMBEDDING: Embedder().pictures([pixels])[0]}

    def _attached(self) -> HandlerRuntime:
        if self._runtime is None:
            raise HandlerUnavailableError(
                f"the code of Pipeline {self.parameters.pipeline} is not at hand: the extractor "
                "`handler` works in the Namespace that a Pipeline makes, and only there"
            )
        return self._runtime

    def _running(self, runtime: HandlerRuntime) -> Handler:
        if self._handler is None:
            import structlog

            from telecine.pipelines.host import Handler

            log = structlog.get_logger("telecine.handler")
            self._handler = Handler(
                runtime.bundle,
                environment=runtime.environment,
                limits=runtime.limits,
                socket=runtime.socket,
                log=lambda asset, line: log.info("handler", asset=asset, line=line),
            )
        return self._handler


def event_of(content: Content, runtime: HandlerRuntime, pipeline: str) -> dict[str, Any]:
    """What `handler` is called with."""
    asset = content.asset
    modified = asset.modified if asset is not None else 0.0
    return {
        "bucket": runtime.store,
        "key": asset.id if asset is not None else content.name,
        "name": content.name.rpartition("/")[2],
        "path": content.name,
        "size": content.size,
        "mime_type": content.mime_type,
        "fingerprint": asset.fingerprint if asset is not None else "",
        "last_modified": datetime.fromtimestamp(modified, UTC).isoformat() if modified else None,
        "metadata": dict(content.source_metadata),
        "connection": runtime.connection,
        "pipeline": pipeline,
        "commit": runtime.bundle.commit,
    }
