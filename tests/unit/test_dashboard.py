"""The dashboard and the example of alerts ask for what is exported, by labels that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.exported_metrics import Family, exported
from tests.unit.promql import Read, groupings, reads

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "charts/telecine/files/dashboards/telecine.json").read_text())
DOCS = (ROOT / "docs" / "metrics.md").read_text()
EXPORTED = exported()


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    found = [
        document
        for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
        for document in yaml.safe_load_all(block)
        if document["kind"] == "PrometheusRule"
    ]
    assert len(found) == 1
    return [rule for group in found[0]["spec"]["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())
every = pytest.mark.parametrize(
    "expression", [e for _, e in EXPRESSIONS], ids=[name for name, _ in EXPRESSIONS]
)


def read_by(expression: str) -> list[tuple[Read, Family]]:
    found = reads(expression)
    assert found, "it asks for nothing"
    for read in found:
        assert read.metric in EXPORTED, f"{read.metric} is not exported"
    return [(read, EXPORTED[read.metric]) for read in found]


@every
def test_every_metric_is_exported_and_has_the_labels_that_are_asked_for(expression: str) -> None:
    for read, family in read_by(expression):
        assert set(read.matchers) <= family.labels, f"{family.name} has no such label"
        for label in groupings(expression) - {"le"}:
            assert label in family.labels, f"{family.name} has no label {label}"
        assert ("le" in groupings(expression)) <= (family.type == "histogram")


@every
def test_states_outcomes_and_conditions_are_spelt_as_they_are_told(expression: str) -> None:
    closed = {"state", "outcome", "type", "status"}
    for read, family in read_by(expression):
        for label in closed & set(read.matchers):
            for text in read.matchers[label].split("|"):
                known = family.values[label] | {"Stalled", "Reconciling"}
                assert text in known, f"{family.name} has no {label} {text}"


@every
def test_counters_are_only_used_as_rates(expression: str) -> None:
    for read, family in read_by(expression):
        if family.type != "gauge":
            used = re.findall(rf"(\w+)\({read.metric}\w*(?:\{{[^}}]*\}})?\[", expression)
            assert used, expression
            assert set(used) <= {"rate", "increase"}


def test_legends_name_labels_that_are_there() -> None:
    for panel in panels():
        for target in panel["targets"]:
            grouped = groupings(target["expr"])
            (_, family), *_ = read_by(target["expr"])
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= (grouped or family.labels), panel["title"]


def test_variables_are_labels_that_are_exported() -> None:
    queries = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    names = {"datasource", "__rate_interval"}
    for variable in queries:
        metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])[0]
        assert label in EXPORTED[metric].labels
        names.add(variable["name"])
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used <= names | {"__all"}


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    idents = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(idents)) == len(idents)


def test_every_metric_of_the_issue_is_shown() -> None:
    shown = {read.metric for _, expression in EXPRESSIONS for read in reads(expression)}
    assert set(EXPORTED) <= shown


def test_every_alert_says_what_is_wrong_and_how_bad() -> None:
    assert len(rules()) >= 5
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        (_, family), *_ = read_by(rule["expr"])
        assert named <= (groupings(rule["expr"]) or family.labels)
