"""The pages in docs/ tell of every field, and every example in them is valid."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from telecine.api.base import API_VERSION, NameRef
from telecine.api.connection import SecretRef
from telecine.api.kinds import KINDS, Kind
from telecine.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
MANIFESTS = sorted(ROOT.glob("examples/**/*.yaml"))
BY_KIND = {kind.kind: kind for kind in KINDS}

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def page_of(kind: Kind) -> str:
    return (ROOT / "docs" / "kinds" / f"{kind.kind.lower()}.md").read_text()


def models_in(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The models inside an annotation, each with the path to an element: `[]` or `.{name}`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
    elif origin is Annotated:
        yield from models_in(arguments[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from models_in(argument)
    elif origin in (list, dict):
        step = "[]" if origin is list else ".{name}"
        yield from ((model, step + path) for model, path in models_in(arguments[-1]))


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted paths of all fields in their YAML spelling; a reference is its `name` alone."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = list(models_in(field.annotation))
        if inner and inner[0][0] in (NameRef, SecretRef):
            yield f"{path}.name", field
            continue
        yield path, field
        for nested, step in inner:
            yield from fields_of(nested, f"{path}{step}.")


@cache
def spec_rows(page: str) -> dict[str, str]:
    """Field of spec -> the cell with its default."""
    _, _, table = page.partition("| field of `spec` |")
    table, _, _ = table.partition("\n\n")
    rows = re.findall(r"^\| `([^`]+)` \| .*? \| ([^|]+) \| [^|]*\|$", table, re.MULTILINE)
    return {path: default.strip() for path, default in rows}


def documents_in(page: Path) -> Iterator[dict[str, Any]]:
    text = page.read_text()
    blocks = [text] if page.suffix == ".yaml" else re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for block in blocks:
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                yield document


@kinds
def test_every_field_of_spec_is_a_row_of_its_page_and_no_row_is_stale(kind: Kind) -> None:
    assert set(spec_rows(page_of(kind))) == {path for path, _ in fields_of(kind.spec)}


@kinds
def test_the_defaults_in_a_page_are_those_of_the_model(kind: Kind) -> None:
    rows = spec_rows(page_of(kind))
    for path, field in fields_of(kind.spec):
        if field.is_required():
            expected = "required"
        elif field.default in (None, "") or field.default_factory is not None:
            expected = "none"
        elif isinstance(field.default, bool):
            expected = f"`{str(field.default).lower()}`"
        else:
            expected = f"`{field.default}`"
        assert rows[path] == expected, f"{kind.kind}.spec.{path}"


@kinds
def test_every_field_of_status_is_told_in_its_page(kind: Kind) -> None:
    _, _, section = page_of(kind).partition("## Status")
    told = {word for span in re.findall(r"`([^`]+)`", section) for word in span.split(".")}
    for path, _ in fields_of(kind.status):
        assert path.rpartition(".")[2] in told, f"{kind.kind}.status.{path}"


@kinds
def test_every_page_begins_with_an_example_of_its_kind(kind: Kind) -> None:
    page = ROOT / "docs" / "kinds" / f"{kind.kind.lower()}.md"
    assert kind.kind in [document["kind"] for document in documents_in(page)]


@pytest.mark.parametrize(
    "source", [*PAGES, *MANIFESTS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_example_is_valid(source: Path) -> None:
    for document in documents_in(source):
        BY_KIND[document["kind"]].spec.model_validate(document["spec"])


def test_the_quickstart_has_each_kind_that_its_search_needs() -> None:
    found = {document["kind"] for path in MANIFESTS for document in documents_in(path)}
    assert found >= {"Namespace", "Connection", "Bucket", "Sync"}


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(TELECINE_[A-Z_]+)` \| ([^|]+) \|", readme, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "none" if value in (None, "", []) else f"`{str(value).lower()}`"
        assert rows.pop(f"TELECINE_{name.upper()}").strip() == default, name
    assert set(rows) <= {"TELECINE_CACHE"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
