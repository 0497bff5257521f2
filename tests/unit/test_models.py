"""What the models refuse without any API server, as `telecine plan -f` reads manifests."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from telecine.api.base import JobTemplate
from telecine.api.bucket import BucketSpec
from telecine.api.connection import ConnectionSpec, Provider
from telecine.api.namespace import NamespaceSpec
from telecine.api.pipeline import PipelineSpec
from telecine.api.sync import FileFilters, MetadataFilter, SchemaMapping, SyncMode, SyncSpec


@pytest.mark.parametrize("operator", ["gt", "lt", "gte", "lte"])
@pytest.mark.parametrize("value", [10, 1.5, -3, "10", "1.5", "-3", "1e3"])
def test_a_comparison_takes_numbers_and_numbers_as_text(operator: str, value: Any) -> None:
    given = {"field": "duration", "operator": operator, "value": value}
    assert MetadataFilter.model_validate(given).value == value


@pytest.mark.parametrize("operator", ["gt", "lt", "gte", "lte"])
@pytest.mark.parametrize("value", [True, False, "long", "", "5\n", "0x10", "nan"])
def test_a_comparison_with_what_is_no_number_is_refused(operator: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f"value: `{operator}` needs a number"):
        MetadataFilter.model_validate({"field": "f", "operator": operator, "value": value})


def test_exists_means_true_unless_told_otherwise() -> None:
    assert MetadataFilter.model_validate({"field": "f", "operator": "exists"}).value is True
    given = {"field": "f", "operator": "exists", "value": False}
    assert MetadataFilter.model_validate(given).value is False


@pytest.mark.parametrize("value", ["true", 1, 0.0])
def test_exists_with_what_is_no_boolean_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="`exists` needs true or false"):
        MetadataFilter.model_validate({"field": "f", "operator": "exists", "value": value})


@pytest.mark.parametrize("operator", ["equals", "not_equals", "contains", "not_contains", "gt"])
def test_every_other_operator_needs_a_value(operator: str) -> None:
    with pytest.raises(ValidationError, match=f"value: `{operator}` needs one"):
        MetadataFilter.model_validate({"field": "f", "operator": operator})


@pytest.mark.parametrize("value", [["a"], {"a": 1}, None])
def test_a_filter_s_value_is_a_scalar(value: Any) -> None:
    with pytest.raises(ValidationError, match="value"):
        MetadataFilter.model_validate({"field": "f", "operator": "equals", "value": value})


@pytest.mark.parametrize("value", ["1", 1, 1.0, True])
def test_a_filter_s_value_keeps_its_type(value: Any) -> None:
    parsed = MetadataFilter.model_validate({"field": "f", "operator": "equals", "value": value})
    assert type(parsed.value) is type(value)


@pytest.mark.parametrize(
    ("source", "missing"),
    [("tag", "key"), ("metadata", "key"), ("filename_regex", "pattern"), ("constant", "value")],
)
def test_a_mapping_has_what_its_source_needs(source: str, missing: str) -> None:
    with pytest.raises(ValidationError, match=f"`{missing}` must be given when source is {source}"):
        SchemaMapping.model_validate({"source": source})


def test_a_constant_may_be_the_empty_string() -> None:
    assert SchemaMapping.model_validate({"source": "constant", "value": ""}).value == ""


def test_a_broken_regular_expression_is_refused_with_its_fault() -> None:
    with pytest.raises(ValidationError, match=r"pattern\n.*not a regular expression: missing \)"):
        SchemaMapping.model_validate({"source": "filename_regex", "pattern": "(a"})


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValidationError, match="minSize must not be greater than maxSize"):
        FileFilters.model_validate({"minSize": 2, "maxSize": 1})
    days = {"modifiedAfter": "2026-01-02T00:00:00Z", "modifiedBefore": "2026-01-01T00:00:00Z"}
    with pytest.raises(ValidationError, match="modifiedAfter must be earlier"):
        FileFilters.model_validate(days)


def test_equal_sizes_are_a_range_of_one() -> None:
    assert FileFilters.model_validate({"minSize": 0, "maxSize": 0}).max_size == 0


def test_a_time_needs_a_zone() -> None:
    with pytest.raises(ValidationError, match="modifiedAfter"):
        FileFilters.model_validate({"modifiedAfter": "2026-01-02T00:00:00"})


@pytest.mark.parametrize("provider", ["google_drive", "box"])
def test_some_providers_need_no_block(provider: str) -> None:
    assert ConnectionSpec.model_validate({"provider": provider}).provider == provider


def test_mux_needs_no_block_and_its_secret() -> None:
    given = {"provider": "mux", "secretRef": {"name": "mux"}}
    assert ConnectionSpec.model_validate(given).provider == "mux"
    with pytest.raises(ValidationError, match="secretRef must be given when provider is mux"):
        ConnectionSpec.model_validate({"provider": "mux"})


@pytest.mark.parametrize("provider", sorted(set(Provider) - {"google_drive", "box", "mux"}))
def test_every_other_provider_needs_its_block(provider: Provider) -> None:
    with pytest.raises(ValidationError, match=f"must be given when provider is {provider},"):
        ConnectionSpec.model_validate({"provider": provider})


def test_a_block_of_another_provider_is_refused() -> None:
    given = {"provider": "local", "local": {"path": "/srv"}, "azureBlob": None, "mux": {}}
    with pytest.raises(ValidationError, match="`mux` may be given only when provider is mux"):
        ConnectionSpec.model_validate(given)


@pytest.mark.parametrize(
    "given", [{}, {"blobType": "text", "schema": {"properties": {"a": {"type": "text"}}}}]
)
def test_a_bucket_has_either_a_schema_or_a_blob_type(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either `schema` or `blobType`"):
        BucketSpec.model_validate({"namespaceRef": {"name": "n"}, **given})


@pytest.mark.parametrize(
    "given", [{}, {"git": {"url": "https://git.test/a.git"}, "inline": {"handler": "x"}}]
)
def test_a_pipeline_is_either_in_git_or_inline(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either `git` or `inline`"):
        PipelineSpec.model_validate(given)


def test_an_extractor_is_named_once() -> None:
    twice = [{"name": "text_extractor"}, {"name": "text_extractor", "version": "v2"}]
    with pytest.raises(ValidationError, match="text_extractor is given more than once"):
        NamespaceSpec.model_validate({"featureExtractors": twice})


def test_an_unknown_field_is_refused_by_name() -> None:
    given = {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}, "pollingInterval": 60}
    with pytest.raises(ValidationError, match="pollingInterval"):
        SyncSpec.model_validate(given)


def test_quantities_may_be_whole_numbers() -> None:
    job = JobTemplate.model_validate({"resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}}})
    assert job.resources == {"limits": {"cpu": "2", "memory": "1.5Gi"}}


@pytest.mark.parametrize("quantity", ["lots", True, 1.5, "1 Gi", ""])
def test_a_quantity_that_a_pod_would_not_take_is_refused(quantity: Any) -> None:
    with pytest.raises(ValidationError, match="cpu"):
        JobTemplate.model_validate({"resources": {"limits": {"cpu": quantity}}})


def sync(**fields: Any) -> dict[str, Any]:
    return {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}, **fields}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pollingIntervalSeconds", "300"),
        ("pollingIntervalSeconds", 300.5),
        ("prune", "yes"),
        ("prune", 1),
        ("sourcePath", 2026),
        ("source_path", "2026/"),
    ],
)
def test_a_manifest_is_read_as_strictly_as_by_the_api_server(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        SyncSpec.parse(sync(**{field: value}))


def test_a_manifest_read_strictly_keeps_enums_times_and_scalars() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    rule = {"field": "n", "operator": "gt", "value": 1.5}
    for written in (moment, "2026-01-02T00:00:00Z"):
        filters = {"modifiedAfter": written, "metadataFilters": [rule]}
        spec = SyncSpec.parse(sync(fileFilters=filters, syncMode="initial_only"))
        assert spec.sync_mode is SyncMode.INITIAL_ONLY
        assert spec.filters().modified_after == moment
        assert spec.filters().metadata_filters[0].value == 1.5


def test_a_plain_date_is_no_time() -> None:
    with pytest.raises(ValidationError, match="modifiedAfter"):
        SyncSpec.parse(sync(fileFilters={"modifiedAfter": date(2026, 1, 2)}))


def test_quantities_may_be_whole_numbers_in_a_manifest_too() -> None:
    job = JobTemplate.parse({"resources": {"requests": {"cpu": 2}}})
    assert job.resources == {"requests": {"cpu": "2"}}
