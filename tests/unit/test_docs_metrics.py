"""docs/metrics.md has a row for every metric that is exported, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.exported_metrics import exported

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def rows() -> dict[str, tuple[str, frozenset[str], str]]:
    """Name -> type, labels, meaning."""
    found = re.findall(
        r"^\| `(telecine_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert len({name for name, *_ in found}) == len(found)
    return {
        name: (type_, frozenset(re.findall(r"`(\w+)`", labels)), meaning)
        for name, type_, labels, meaning in found
    }


def test_the_tables_are_what_is_exported() -> None:
    told = {name: (type_, labels) for name, (type_, labels, _) in rows().items()}
    assert told == {name: (family.type, family.labels) for name, family in exported().items()}


def test_values_that_are_known_beforehand_are_listed() -> None:
    text = PAGE.read_text()
    told = exported()
    for name, label in (
        ("telecine_sync_objects", "state"),
        ("telecine_sync_last_run", "outcome"),
        ("telecine_gateway_cascades", "state"),
        ("telecine_gateway_signature_refusals_total", "reason"),
    ):
        for value in told[name].values[label]:
            assert f"`{value}`" in text, f"{name} {label}={value}"
