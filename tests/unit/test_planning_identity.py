"""Ids that every process and every cluster's life make the same."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.namespace import FeatureExtractor
from telecine.planning.identity import (
    bucket_range,
    document_id,
    ids_for,
    object_id,
    owner_id,
    recipe,
    tenant_name,
)

ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates, NUL and newlines included
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,70}[a-z0-9])?", fullmatch=True)
PARTS = st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_every_object_lies_in_its_buckets_range(
    kube_namespace: str, bucket: str, connection: str, asset: str
) -> None:
    low, high = bucket_range(kube_namespace, bucket)
    assert low <= object_id(kube_namespace, bucket, connection, asset) <= high


@given(PARTS)
def test_ids_are_valid_uuids_of_version_8(parts: tuple[str, str, str, str]) -> None:
    made = object_id(*parts)
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    assert UUID(str(made)) == made


@given(PARTS, PARTS)
def test_ids_are_equal_only_for_equal_parts(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assert (object_id(*one) == object_id(*other)) == (one == other)


@given(ANY_TEXT, st.integers(0, 40))
def test_where_one_part_ends_and_the_next_begins_matters(text: str, cut: int) -> None:
    cut %= len(text) + 1
    whole = object_id("k", text[:cut], text[cut:], "a")
    assert cut == len(text) or whole != object_id("k", text, "", "a")
    assert cut == len(text) or bucket_range(text[:cut], text[cut:]) != bucket_range(text, "")


@given(ANY_TEXT)
def test_ids_of_a_listing_are_those_of_single_assets(asset: str) -> None:
    assert ids_for("k", "b", "c")(asset) == object_id("k", "b", "c", asset)


def test_ids_never_change_between_versions_of_telecine() -> None:
    made = object_id("media", "films", "archive", "reels/1.mp4")
    assert str(made) == "efe3da14-4f83-89ac-896f-e6a79231004e"
    assert (
        str(document_id(made, "text_extractor@v1:0", "ab", 3))
        == "fea8e294-e980-8c3b-9d0e-6f1b6bee897b"
    )
    assert tenant_name("media", "library") == "media_library"
    assert owner_id("", "media", "films") == "telecine/582e6e21ce3aa0a4"


def test_a_hundred_thousand_keys_have_as_many_ids() -> None:
    identify = ids_for("k", "b", "c")
    assert len({identify(f"videos/{n}.mp4") for n in range(100_000)}) == 100_000


DOCUMENT = (object_id("k", "b", "c", "a"), "text_extractor@v1:0", "ab", 1)
CHANGES = [(0, object_id("k", "b", "c", "b")), (1, "text_extractor@v2:0"), (2, "ac"), (3, 2)]


@pytest.mark.parametrize(("position", "value"), CHANGES)
def test_a_document_of_another_object_recipe_content_or_place_has_another_id(
    position: int, value: object
) -> None:
    other = [*DOCUMENT]
    other[position] = value
    assert document_id(*other) != document_id(*DOCUMENT)  # type: ignore[arg-type]
    assert document_id(*DOCUMENT) == document_id(*DOCUMENT)


@given(NAMES, NAMES, st.sampled_from(["", "east", "a-b", "a_b", "x" * 70]))
def test_a_tenants_name_is_what_weaviate_takes(kube_namespace: str, name: str, prefix: str) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", tenant_name(kube_namespace, name, prefix))


TENANTS = st.tuples(NAMES, NAMES, st.sampled_from(["", "a", "a-b", "east", "a_b"]))


@given(TENANTS, TENANTS)
def test_two_namespaces_never_share_a_tenant(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (tenant_name(*one) == tenant_name(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a-b", "c"), ("a", "b-c")),
        (("a.b", "c"), ("a-b", "c")),
        (("a", "b.c"), ("a", "b-c")),
        (("a" * 63, "b"), ("a" * 63, "c")),
        (("b", "c", "a"), ("a", "b", "c")),
        (("b", "c", "a"), ("a-b", "c")),
    ],
)
def test_names_that_look_alike_have_tenants_of_their_own(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert tenant_name(*one) != tenant_name(*other)


def test_a_tenant_can_be_given() -> None:
    assert tenant_name("k", "n", "prefix", override="mine") == "mine"


def test_buckets_have_owners_of_their_own() -> None:
    owners = {owner_id(p, k, b) for p in ("", "x") for k in ("a", "ax") for b in ("b", "xb")}
    assert len(owners) == 8


def test_a_recipes_digest_does_not_depend_on_the_order_of_parameters_or_on_whole_floats() -> None:
    one = recipe(FeatureExtractor(name="t", version="v1", parameters={"a": 1, "b": {"c": 2.0}}))
    other = recipe(FeatureExtractor(name="t", version="v1", parameters={"b": {"c": 2}, "a": 1.0}))
    assert one.digest == other.digest
    assert re.fullmatch("[0-9a-f]{12}", one.digest)
    assert one.key == f"t@v1:{one.digest}"


@pytest.mark.parametrize(
    "change", [{"name": "u"}, {"version": "v2"}, {"parameters": {"a": 2}}, {"parameters": {}}]
)
def test_another_extractor_is_another_recipe(change: dict[str, object]) -> None:
    given_ = {"name": "t", "version": "v1", "parameters": {"a": 1.5}}
    before = recipe(FeatureExtractor.model_validate(given_))
    assert recipe(FeatureExtractor.model_validate({**given_, **change})).digest != before.digest


def test_how_queries_are_embedded_makes_no_other_recipe() -> None:
    given = {"name": "handler", "parameters": {"pipeline": "p", "collection": "c"}}
    asked = {"name": "handler", "parameters": {**given["parameters"], "query_model": "text"}}
    one, other = (recipe(FeatureExtractor.model_validate(x)) for x in (given, asked))
    assert one.key == other.key
    assert other.parameters["query_model"] == "text"
