"""`config.json`: what a pipeline's folder says of itself, and what its spec makes of that."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, NoReturn

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)

from telecine.api.pipeline import PipelineSpec
from telecine.api.selection import FilterOperator, MetadataFilter

CONFIG = "config.json"
_LARGEST = 1 << 20
#: Levels of `source.filters[0].value`; what is deeper is no field.
_DEEPEST = 4
_NO_SCALAR = "must be a string, number or boolean"
_NO_NUMBER = "the number is too large: 64 bits are what a manifest can carry; write it as a string"


class ConfigError(ValueError):
    """`faults` has a line for each fault, with file and field; `str()` has them all."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError(_NO_SCALAR)
    if isinstance(value, str) and len(value) > 1024:
        raise ValueError("must have at most 1024 characters")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Text = Annotated[str, Field(min_length=1, max_length=255)]
_Key = Annotated[str, Field(min_length=1, max_length=512)]
_Filters = Annotated[
    Annotated[
        dict[_Key, Annotated[Any, BeforeValidator(_scalar)]], Field(max_length=64), Tag("mapping")
    ]
    | Annotated[list[MetadataFilter], Field(max_length=64), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "mapping"),
]


class ConfigSource(_Part):
    connection_id: _Text | None = None
    source_path: Annotated[str, Field(max_length=4096)] | None = None
    filters: _Filters = Field(default_factory=dict)
    """A mapping: metadata that must be equal. A list: metadata filters as of a Sync."""


class ConfigDestination(_Part):
    connection_id: _Text | None = None
    collection: _Text | None = None


class PipelineConfig(_Part):
    """`connection_id` is the name of a Connection, or the `connectionId` of its status."""

    alias: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    source: ConfigSource = ConfigSource()
    destination: ConfigDestination = ConfigDestination()


@dataclass(frozen=True)
class Effective:
    """What holds of a Pipeline: its spec, and where that is silent its `config.json`."""

    alias: str | None
    source_connection: str
    """As it was given: for `connection_name`."""
    source_path: str
    filters: tuple[MetadataFilter, ...]
    destination_connection: str | None
    """None: the operator's own Weaviate."""
    collection: str


def parse_config(content: bytes, path: str = CONFIG) -> PipelineConfig:
    """Reads a `config.json`; `path` is what errors call it.

    Raises:
        ConfigError: it is no JSON, or a field is wrong; with all faults at once.
    """
    value, twice = _json(content, path)
    faults = [f"{path}: {name!r} is given more than once" for name in twice]
    faults += [f"{path}: {place}: {_NO_NUMBER}" for place in _unfit(value)]
    try:
        config = PipelineConfig.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = {_place(problem["loc"]): problem for problem in error.errors()}
        faults += [f"{path}: {_say(place, problem)}" for place, problem in problems.items()]
    if faults:
        raise ConfigError(faults)
    return config


def effective(spec: PipelineSpec, config: PipelineConfig | None) -> Effective:
    """The spec overrides field by field; `filters` and `metadataFilters` count as one field.

    Raises:
        ConfigError: neither gives what must be given.
    """
    given = config or PipelineConfig()
    source, destination = spec.source, spec.destination
    wanted = {
        "source.connection_id": (
            source and source.connection_ref and source.connection_ref.name,
            given.source.connection_id,
        ),
        "destination.connection_id": (
            destination and destination.connection_ref and destination.connection_ref.name,
            given.destination.connection_id,
        ),
        "destination.collection": (
            destination and destination.collection, given.destination.collection
        ),
    }  # fmt: skip
    found = {field: mine or theirs for field, (mine, theirs) in wanted.items()}
    optional = {"destination.connection_id"}
    missing = [field for field, value in found.items() if value is None and field not in optional]
    if missing:
        raise ConfigError(f"{field}: {_given_nowhere(spec, config)}" for field in missing)
    in_spec = source.source_path if source else None
    return Effective(
        alias=spec.alias or given.alias,
        source_connection=found["source.connection_id"] or "",
        source_path=(in_spec if in_spec is not None else given.source.source_path) or "",
        filters=_filters(spec, given),
        destination_connection=found["destination.connection_id"],
        collection=found["destination.collection"] or "",
    )


def connection_name(given: str, bodies: Iterable[Mapping[str, Any]]) -> str:
    """The name of the Connection that `given` means, by name or by `status.connectionId`.

    Raises:
        ConfigError: there is none, or there are several.
    """
    ids = {
        str(body["metadata"]["name"]): (body.get("status") or {}).get("connectionId")
        for body in bodies
    }
    if given in ids:
        return given
    named = sorted(name for name, connection_id in ids.items() if connection_id == given)
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError([f"{given!r} is the connectionId of {' and '.join(named)}: give a name"])
    there = ", ".join(f"{name} ({ids[name] or 'no connectionId'})" for name in sorted(ids))
    raise ConfigError(
        [
            f"{given!r} is neither the name nor the status.connectionId of a Connection in this "
            f"Kubernetes namespace; there are: {there or 'none'}"
        ]
    )


def config_path(spec: PipelineSpec) -> str:
    """Where in its repository a Pipeline's `config.json` is."""
    folder = spec.git.path.strip("/") if spec.git else ""
    return CONFIG if folder in ("", ".") else f"{folder}/{CONFIG}"


def _given_nowhere(spec: PipelineSpec, config: PipelineConfig | None) -> str:
    if spec.git is None and config is None:
        return "must be given in the spec: inline code has no config.json"
    absent = ", which is not there" if config is None else ""
    return f"given neither in the spec nor in {config_path(spec)}{absent}"


def _filters(spec: PipelineSpec, config: PipelineConfig) -> tuple[MetadataFilter, ...]:
    source = spec.source
    if source and source.model_fields_set & {"filters", "metadata_filters"}:
        return (*_equal(source.filters), *source.metadata_filters)
    theirs = config.source.filters
    return tuple(theirs) if isinstance(theirs, list) else tuple(_equal(theirs))


def _equal(mapping: Mapping[str, Any]) -> Iterable[MetadataFilter]:
    for field, value in mapping.items():
        yield MetadataFilter(field=field, operator=FilterOperator.EQUALS, value=value)


def _json(content: bytes, path: str) -> tuple[Any, list[str]]:
    """The value, and the names that an object of it has more than once."""
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    def no_number(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number of JSON")

    if len(content) > _LARGEST:
        raise ConfigError([f"{path}: it has {len(content):,} bytes: {_LARGEST:,} are allowed"])
    try:
        text = content.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number), twice
    except json.JSONDecodeError as error:
        place = f"{path}: line {error.lineno}, column {error.colno}"
        raise ConfigError([f"{place}: {error.msg}"]) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line}: it is not in UTF-8"]) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: {error}"]) from error


def _unfit(value: Any, place: str = "", depth: int = 0) -> Iterator[str]:
    """Where numbers are that JSON may spell and the API server does not take."""
    if isinstance(value, dict) and depth < _DEEPEST:
        for name, inner in value.items():
            yield from _unfit(inner, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for number, inner in enumerate(value):
            yield from _unfit(inner, f"{place}[{number}]", depth + 1)
    elif isinstance(value, int | float):
        whole = isinstance(value, int)
        if not (-(2**63) <= value < 2**63 if whole else math.isfinite(value)):
            yield place


_KNOWN: dict[str, tuple[str, ...]] = {
    "": tuple(PipelineConfig.model_fields),
    "source": tuple(ConfigSource.model_fields),
    "destination": tuple(ConfigDestination.model_fields),
}


def _place(loc: tuple[int | str, ...]) -> str:
    """`source.filters[0].value`: only what is in the file, no names of types."""
    if loc[:2] == ("source", "filters"):
        loc = (*loc[:2], *loc[3:])
        if loc[3:4] == ("value",):
            # What follows is the alternative of the union that refused it.
            loc = loc[:4]
    place = ""
    for part in loc:
        if part == "[key]":
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place


def _say(place: str, problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        parent = place.removesuffix(name).removesuffix(".")
        known = _KNOWN.get(parent, tuple(MetadataFilter.model_fields))
        near = get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{place}: unknown field; {hint}"
    if place.endswith("].value") and problem["type"].endswith("_type"):
        return f"{place}: {_NO_SCALAR}"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason
