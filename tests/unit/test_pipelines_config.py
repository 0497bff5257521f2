"""`config.json`: every fault is told with file and field, and the spec overrides it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.pipeline import PipelineSpec
from telecine.api.selection import FilterOperator, MetadataFilter
from telecine.pipelines.config import (
    ConfigError,
    PipelineConfig,
    connection_name,
    effective,
    parse_config,
)

PATH = "pipeline1/config.json"
SEED: dict[str, Any] = {
    "alias": "video-processor",
    "destination": {"connection_id": "conn_123", "collection": "data_bucket"},
    "source": {"connection_id": "conn_321", "filters": {"foo": "bar"}},
}
GIT = {"git": {"url": "https://git.test/a.git", "path": "pipeline1"}}


def read(value: Any) -> PipelineConfig:
    return parse_config(json.dumps(value).encode(), PATH)


def faults(value: Any) -> list[str]:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(ConfigError) as caught:
        parse_config(content, PATH)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return [fault.removeprefix(f"{PATH}: ") for fault in caught.value.faults]


def equal(field: str, value: Any) -> MetadataFilter:
    return MetadataFilter(field=field, operator=FilterOperator.EQUALS, value=value)


def spec(**given: Any) -> PipelineSpec:
    return PipelineSpec.parse({**GIT, **given})


def test_the_seeds_example_is_read() -> None:
    found = effective(spec(), read(SEED))
    assert (found.alias, found.source_connection) == ("video-processor", "conn_321")
    assert (found.destination_connection, found.collection) == ("conn_123", "data_bucket")
    assert (found.filters, found.source_path) == ((equal("foo", "bar"),), "")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{\n  "alias": "a"\n  "source": {}\n}', "line 3, column 3: Expecting ',' delimiter"),
        (b"", "line 1, column 1: Expecting value"),
        (b'{"alias": "a",}', "line 1, column 15: Expecting property name"),
        (b'{\n"alias": "\xff"}', "line 2: it is not in UTF-8"),
        (b'{"source": {"filters": {"a": NaN}}}', "NaN is no number of JSON"),
        (b"[" * 100_000, "recursion"),
        (b" " * 1_100_000, "it has 1,100,000 bytes"),
    ],
    ids=["comma", "empty", "trailing", "bytes", "nan", "nesting", "size"],
)
def test_what_is_no_json_is_told_with_its_place(content: bytes, told: str) -> None:
    (fault,) = faults(content)
    assert told in fault


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"aliass": "a"}, "aliass: unknown field; did you mean alias?"),
        ({"zz": 1}, "zz: unknown field; there are alias, source, destination"),
        ({"source": {"connectionId": "a"}},
         "source.connectionId: unknown field; did you mean connection_id?"),
        ({"source": {"a.b": 1}},
         "source.a.b: unknown field; there are connection_id, source_path, filters"),
        ({"destination": {"colection": "a"}},
         "destination.colection: unknown field; did you mean collection?"),
        ({"source": {"filters": [{"field": "a", "operator": "equals", "valu": 1}]}},
         "source.filters[0].valu: unknown field; did you mean value?"),
        ({"alias": 7}, "alias: Input should be a valid string"),
        ({"source": []}, "source: Input should be an object"),
        ([], "Input should be an object"),
        ({"source": {"filters": {"foo": ["a"]}}},
         "source.filters.foo: must be a string, number or boolean"),
        ({"source": {"filters": {"foo": None}}},
         "source.filters.foo: must be a string, number or boolean"),
        ({"source": {"filters": "foo"}}, "source.filters: Input should be an object"),
        ({"source": {"filters": {"foo": "x" * 1025}}},
         "source.filters.foo: must have at most 1024 characters"),
        ({"source": {"filters": [{"field": "f", "operator": "gt", "value": "x"}]}},
         "source.filters[0]: value: `gt` needs a number, not 'x'"),
        ({"source": {"filters": [{"field": "f", "operator": "equals", "value": []}]}},
         "source.filters[0].value: must be a string, number or boolean"),
        ({"destination": {"collection": ""}},
         "destination.collection: String should have at least 1 character"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_told_with_its_path(value: Any, told: str) -> None:
    first, *others = faults(value)
    assert first == told
    assert all(told.partition(":")[0] in other for other in others)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9223372036854775808", b"1" + b"0" * 400])
def test_a_number_that_no_manifest_can_carry_is_told_with_its_path(number: bytes) -> None:
    mapping = b'{"source": {"filters": {"a": %s}}}' % number
    listed = b'{"source": {"filters": [{"field": "a", "operator": "gt", "value": %s}]}}' % number
    for content, place in ((mapping, "a"), (listed, "[0].value")):
        (fault,) = [fault for fault in faults(content) if "number is too large" in fault]
        assert fault.startswith(f"source.filters{'' if place[0] == '[' else '.'}{place}: ")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 1.7e308])
def test_the_largest_numbers_are_read(number: float) -> None:
    config = read({**SEED, "source": {"connection_id": "c", "filters": {"a": number}}})
    assert effective(spec(), config).filters == (equal("a", number),)


@pytest.mark.parametrize("depth", [10, 190, 210, 500, 900, 950, 990])
def test_what_is_nested_deeply_is_told_and_no_more(depth: int) -> None:
    for begin, end in ((b"[", b"]"), (b'{"source":', b"}")):
        assert faults(begin * depth + b"1e999" + end * depth)


def test_an_operator_that_is_none_is_told_with_those_that_are() -> None:
    (fault,) = [
        fault
        for fault in faults(
            {"source": {"filters": [{"field": "a", "operator": "like", "value": 1}]}}
        )
        if "operator" in fault
    ]
    assert fault.startswith("source.filters[0].operator: ")
    assert "'contains'" in fault


def test_all_faults_are_told_at_once() -> None:
    wrong = b'{"alias": "a", "alias": 1, "source": {"foo": 1}, "destination": {"collection": 2}}'
    assert [fault.partition(":")[0] for fault in faults(wrong)] == [
        "'alias' is given more than once", "alias", "source.foo", "destination.collection",
    ]  # fmt: skip


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["alias", "source", "filters", "field", "value", "operator", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_anything_is_read_or_told_with_the_file(value: Any) -> None:
    told: tuple[str, ...] = (f"{PATH}: none",)
    try:
        read(value)
    except ConfigError as error:
        told = error.faults
    assert told
    assert all(fault.startswith(f"{PATH}: ") for fault in told)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse_config(b'\xef\xbb\xbf{"alias": "a"}').alias == "a"


@pytest.mark.parametrize("value", ["bar", 7, 7.5, True, False])
def test_a_mapping_of_filters_means_equality(value: Any) -> None:
    config = read({**SEED, "source": {"connection_id": "a", "filters": {"foo": value}}})
    (found,) = effective(spec(), config).filters
    assert (found.value, type(found.value)) == (value, type(value))
    assert found.operator is FilterOperator.EQUALS


def test_a_list_of_filters_is_as_in_a_sync() -> None:
    rules = [{"field": "duration", "operator": "lt", "value": 60}]
    config = read({**SEED, "source": {"connection_id": "a", "filters": rules}})
    assert [rule.dump() for rule in effective(spec(), config).filters] == rules


def test_the_spec_overrides_field_by_field() -> None:
    given = spec(
        alias="other",
        source={"sourcePath": "films", "connectionRef": {"name": "reels"}},
        destination={"collection": "Chapters"},
    )
    found = effective(given, read(SEED))
    assert (found.alias, found.source_connection, found.source_path) == ("other", "reels", "films")
    assert (found.destination_connection, found.collection) == ("conn_123", "Chapters")
    assert found.filters == (equal("foo", "bar"),)


@pytest.mark.parametrize(
    "source",
    [
        {"filters": {"a": 1}},
        {"metadataFilters": [{"field": "a", "operator": "equals", "value": 1}]},
    ],
)
def test_the_specs_filters_are_in_place_of_the_files(source: dict[str, Any]) -> None:
    assert effective(spec(source=source), read(SEED)).filters == (equal("a", 1),)


def test_no_filters_in_the_spec_are_in_place_of_the_files_too() -> None:
    assert effective(spec(source={"filters": {}}), read(SEED)).filters == ()


def test_an_empty_source_path_in_the_spec_is_in_place_of_the_files() -> None:
    config = read({**SEED, "source": {"connection_id": "a", "source_path": "films"}})
    assert effective(spec(), config).source_path == "films"
    assert effective(spec(source={"sourcePath": ""}), config).source_path == ""


def test_what_nobody_gives_is_told_with_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        effective(spec(), read({"destination": {"connection_id": "a"}}))
    assert caught.value.faults == (
        "source.connection_id: given neither in the spec nor in pipeline1/config.json",
        "destination.collection: given neither in the spec nor in pipeline1/config.json",
    )


def test_a_file_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"nor in pipeline1/config\.json, which is not there"):
        effective(spec(), None)


def test_inline_code_has_only_its_spec() -> None:
    with pytest.raises(ConfigError, match=r"collection: must be given in the spec"):
        effective(PipelineSpec.parse({"inline": {"handler": "x"}}), None)


def body(name: str, connection_id: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"connectionId": connection_id}}


def test_a_connection_is_found_by_name_first_and_then_by_id() -> None:
    bodies = [body("films", "conn_1"), body("conn_1", "conn_2"), {"metadata": {"name": "new"}}]
    assert connection_name("films", bodies) == "films"
    assert connection_name("conn_1", bodies) == "conn_1"
    assert connection_name("conn_2", bodies) == "conn_1"


def test_a_connection_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"'x' is neither .* films \(conn_1\), new \(no conn"):
        connection_name("x", [body("films", "conn_1"), {"metadata": {"name": "new"}}])
    with pytest.raises(ConfigError, match="there are: none"):
        connection_name("x", [])


def test_an_id_of_two_connections_is_refused() -> None:
    with pytest.raises(ConfigError, match="of a and b: give a name"):
        connection_name("same", [body("b", "same"), body("a", "same")])
