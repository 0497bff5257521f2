"""Manifests from folders: the right ones in their order, the wrong ones by name and reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from telecine.api.base import ResourceName
from telecine.api.pipeline import PipelineSpec
from telecine.pipelines.git_errors import GitError
from telecine.pipelines.render import (
    Rendered,
    RenderOptions,
    of_checkout,
    of_repository,
    render,
    safe_name,
)

CONFIG = {
    "source": {"connection_id": "conn_321", "filters": {"foo": "bar"}},
    "destination": {"connection_id": "conn_123", "collection": "data_bucket"},
}
OPTIONS = RenderOptions("https://git.test/a.git", "main")


def pipeline(root: Path, name: str, config: Any = None, handler: str | None = "x = 1\n") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    if handler is not None:
        (folder / "handler.py").write_text(handler)
    text = config if isinstance(config, str) else json.dumps(config or {**CONFIG, "alias": name})
    (folder / "config.json").write_text(text)
    return folder


def names(rendered: Rendered) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in rendered.manifests]


def test_each_folder_is_a_manifest(tmp_path: Path) -> None:
    pipeline(tmp_path, "pipeline2", {**CONFIG, "alias": "Video Processor!"})
    pipeline(tmp_path, "pipeline1", CONFIG)
    for other in (".github", "docs", "__pycache__"):
        (tmp_path / other).mkdir()
    (tmp_path / "README.md").touch()
    rendered = render(of_checkout(tmp_path), OPTIONS)
    assert (rendered.faults, rendered.unused) == ((), ())
    assert rendered.manifests[1] == {
        "apiVersion": "telecine.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "video-processor"},
        "spec": {
            "git": {"url": "https://git.test/a.git", "ref": "main", "path": "pipeline2"},
        },
    }
    assert names(rendered) == ["pipeline1", "video-processor"]
    assert render(of_checkout(tmp_path), OPTIONS) == rendered


def test_connections_secret_and_namespace_are_written(tmp_path: Path) -> None:
    pipeline(tmp_path, "one")
    connections = {"conn_321": "films", "conn_9": "nobody"}
    options = RenderOptions("git@git.test:a.git", "v1", "sub", connections, "media", "key")
    rendered = render(of_checkout(tmp_path), options)
    (manifest,) = rendered.manifests
    assert manifest["metadata"] == {"name": "one", "namespace": "media"}
    assert manifest["spec"] == {
        "git": {
            "url": "git@git.test:a.git",
            "ref": "v1",
            "path": "sub/one",
            "secretRef": {"name": "key"},
        },
        "source": {"connectionRef": {"name": "films"}},
    }
    assert PipelineSpec.parse(manifest["spec"])
    assert rendered.unused == ("conn_9",)


@pytest.mark.parametrize(("prefix", "path"), [("", "."), ("films/one", "films/one")])
def test_the_folder_itself_may_be_the_pipeline(tmp_path: Path, prefix: str, path: str) -> None:
    root = pipeline(tmp_path, "one")
    (manifest,) = render(
        of_checkout(root), RenderOptions("https://git.test/a", "main", prefix)
    ).manifests
    assert manifest["spec"]["git"]["path"] == path


def test_without_an_alias_the_folder_is_the_name(tmp_path: Path) -> None:
    pipeline(tmp_path, "Scene_Finder", CONFIG)
    assert names(render(of_checkout(tmp_path), OPTIONS)) == ["scene-finder"]


def test_wrong_folders_are_told_and_the_others_are_there(tmp_path: Path) -> None:
    pipeline(tmp_path, "a", '{\n"alias": }')
    pipeline(tmp_path, "b", {**CONFIG, "source": {"connection_id": "c", "filters": {"x": []}}})
    pipeline(tmp_path, "c", handler="def handler(:\n")
    pipeline(tmp_path, "d", handler=None)
    pipeline(tmp_path, "e", {"alias": "e"})
    (pipeline(tmp_path, "f") / "link").symlink_to("/etc")
    (pipeline(tmp_path, "g") / "config.json").unlink()
    pipeline(tmp_path, "h", {**CONFIG, "alias": "!"})
    pipeline(tmp_path, "i", {**CONFIG, "alias": "same"})
    pipeline(tmp_path, "j", {**CONFIG, "alias": "same"})
    (pipeline(tmp_path, "k") / "film.bin").write_bytes(bytes((8 << 20) + 1))
    rendered = render(of_checkout(tmp_path), OPTIONS)
    assert names(rendered) == ["same"]
    nowhere = "given neither in the spec nor in e/config.json"
    wanted = [
        "a/config.json: line 2, column 10: Expecting value",
        "b/config.json: source.filters.x: must be a string, number or boolean",
        "c/handler.py:1: invalid syntax: correct it",
        "d/handler.py: it is missing: add it, with a function handler(event)",
        f"e: source.connection_id: {nowhere}",
        f"e: destination.collection: {nowhere}",
        "f/link: it is no plain file: put the file itself there",
        "g/config.json: it is missing: add it, with alias, source and destination",
        "h/config.json: alias: '!' has no letter or digit of a-z, 0-9",
        "j/config.json: alias: i has it too: choose another",
        "k/film.bin: with it the folder has 2 files and 8,388,",
    ]
    told = zip(rendered.faults, wanted, strict=True)
    assert [fault[: len(start)] for fault, start in told] == wanted


def test_a_name_that_had_to_be_changed_makes_way_with_a_suffix(tmp_path: Path) -> None:
    pipeline(tmp_path, "a", {**CONFIG, "alias": "Video Processor"})
    pipeline(tmp_path, "b", {**CONFIG, "alias": "VIDEO_processor"})
    alone = names(render(of_checkout(tmp_path), OPTIONS))
    pipeline(tmp_path, "c", {**CONFIG, "alias": "video-processor"})
    rendered = render(of_checkout(tmp_path), OPTIONS)
    assert rendered.faults == ()
    assert alone[0] == "video-processor"
    assert re.fullmatch("video-processor-[0-9a-f]{6}", alone[1])
    first, second, third = names(rendered)
    assert (second, third) == (alone[1], "video-processor")
    assert first.startswith("video-processor-")
    assert len({first, second, third}) == 3


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text("aA-_ ", min_size=1, max_size=70), unique=True, max_size=8))
def test_aliases_that_differ_have_names_that_differ(aliases: list[str]) -> None:
    files = {"handler.py": b"x = 1\n"}
    found = {
        str(number): {**files, "config.json": json.dumps({**CONFIG, "alias": alias}).encode()}
        for number, alias in enumerate(aliases)
        if safe_name(alias)
    }
    made = names(render(of_repository("https://git.test/a.git", found), OPTIONS))
    assert len(set(made)) == len(made) == len(found)
    assert all(TypeAdapter(ResourceName).validate_python(name) for name in made)


def test_what_a_folder_of_a_repository_cannot_be_is_told_with_it() -> None:
    files = {"handler.py": b"x = 1\n", "config.json": json.dumps(CONFIG).encode()}
    fault = GitError("UnsupportedContent", "link.py is a symbolic link")
    found = {".": files, "one": fault, "node_modules": files}
    rendered = render(of_repository("git@git.test:films/scene_finder.git", found), OPTIONS)
    assert rendered.faults == ("one: link.py is a symbolic link",)
    assert names(rendered) == ["scene-finder"]
    assert rendered.manifests[0]["spec"]["git"]["path"] == "."


@given(st.text())
def test_any_alias_is_a_name_or_nothing(alias: str) -> None:
    name = safe_name(alias)
    if name:
        assert TypeAdapter(ResourceName).validate_python(name) == name == safe_name(name)
        assert len(name) <= 63
    else:
        with pytest.raises(ValidationError):
            TypeAdapter(ResourceName).validate_python(alias)
