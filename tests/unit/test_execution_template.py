"""Strategic merge of Pod templates: the rules of Kubernetes' page, one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from telecine.api.base import JobTemplate
from telecine.execution.template import WORKER, strategic_merge, template_patch

Body = dict[str, Any]
BASE: Body = {
    "spec": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a"}],
        "containers": [
            {"name": "worker", "image": "w:1", "env": [{"name": "A", "value": "1"}]},
            {"name": "side", "image": "s:1"},
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
}


@pytest.mark.parametrize(
    ("patch", "path", "wanted"),
    [
        ({"nodeSelector": {"gpu": "yes"}}, "nodeSelector", {"disk": "ssd", "gpu": "yes"}),
        ({"nodeSelector": {"disk": None}}, "nodeSelector", {}),
        ({"nodeSelector": {"$patch": "replace", "x": "y"}}, "nodeSelector", {"x": "y"}),
        ({"tolerations": [{"key": "b"}]}, "tolerations", [{"key": "b"}]),
        ({"priorityClassName": "low"}, "priorityClassName", "low"),
        (
            {"volumes": [{"name": "models", "emptyDir": {}}]},
            "volumes",
            [{"name": "tmp", "emptyDir": {}}, {"name": "models", "emptyDir": {}}],
        ),
        (
            {"volumes": [{"name": "tmp", "emptyDir": None, "hostPath": {"path": "/x"}}]},
            "volumes",
            [{"name": "tmp", "hostPath": {"path": "/x"}}],
        ),
        ({"volumes": [{"name": "tmp", "$patch": "delete"}]}, "volumes", []),
        ({"volumes": [{"$patch": "replace"}, {"name": "n"}]}, "volumes", [{"name": "n"}]),
        ({"volumes": None}, "volumes", None),
    ],
)
def test_a_patch_changes_what_it_names(patch: Body, path: str, wanted: Any) -> None:
    before = copy.deepcopy(BASE)
    assert strategic_merge(BASE, {"spec": patch})["spec"].get(path) == wanted
    assert before == BASE


def test_containers_and_their_variables_are_merged_by_name() -> None:
    patch = {"containers": [{"name": "worker", "env": [{"name": "B", "value": "2"}]}]}
    worker, side = strategic_merge(BASE, {"spec": patch})["spec"]["containers"]
    assert worker["image"] == "w:1"
    assert worker["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert side == {"name": "side", "image": "s:1"}


def test_an_element_without_its_key_is_named() -> None:
    with pytest.raises(ValueError, match="an element of containers has no name"):
        strategic_merge(BASE, {"spec": {"containers": [{"image": "x"}]}})


def test_a_syncs_job_template_becomes_a_patch_of_what_it_names() -> None:
    assert template_patch(None) == {}
    assert template_patch(JobTemplate()) == {"spec": {}}
    template = JobTemplate.model_validate(
        {
            "resources": {"limits": {"memory": "1Gi"}},
            "nodeSelector": {"gpu": "a"},
            "tolerations": [{"operator": "Exists"}],
            "runtimeClassName": "gvisor",
            "priorityClassName": "low",
            "queueName": "q",
        }
    )
    assert template_patch(template) == {
        "spec": {
            "nodeSelector": {"gpu": "a"},
            "tolerations": [{"operator": "Exists"}],
            "runtimeClassName": "gvisor",
            "priorityClassName": "low",
            "containers": [{"name": WORKER, "resources": {"limits": {"memory": "1Gi"}}}],
        }
    }
