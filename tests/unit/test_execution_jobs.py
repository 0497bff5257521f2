"""The Job of a step: every field that decides about retries, rights and names."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from telecine.api.bucket import BucketSpec
from telecine.api.connection import ConnectionSpec
from telecine.api.namespace import NamespaceSpec, NamespaceStatus
from telecine.api.pipeline import PipelineSpec
from telecine.api.sync import RunStep, SyncSpec
from telecine.execution.account import account_name, worker_rules
from telecine.execution.executor import Step, worker_arguments
from telecine.execution.handlers import limits_of
from telecine.execution.jobs import WORKER_SETTINGS, job_name, label_value, make_job
from telecine.execution.resolve import ResolvedNamespace, ResolvedPipeline, ResolvedSync
from telecine.execution.worker import parse
from telecine.index.client import WeaviateSettings
from telecine.settings import Settings

Body = dict[str, Any]
OWN = {
    "executor", "kube_namespace", "state_dir", "scratch_dir", "health_port", "metrics_port",
    "reconcilers", "max_workers", "worker_image", "worker_pull_policy", "worker_templates",
    "job_retries", "job_ttl_seconds", "job_deadline_seconds", "connection_check_seconds",
    "breaker_failures", "breaker_seconds", "retry_base_seconds", "retry_cap_seconds",
    "cleanup_seconds", "gateway_url", "gateway_host", "gateway_port", "webhook_tolerance_seconds",
    "webhook_max_bytes", "weaviate_api_key", "handler_socket",
}  # fmt: skip


def settings(**given: Any) -> Settings:
    return Settings(executor="kubernetes", worker_image="w:1", **given)


def step(name: str = "films", kind: RunStep = RunStep.EXTRACT, **spec: Any) -> Step:
    sync = {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}, **spec}
    local = {"provider": "local", "local": {"path": "/x"}}
    extractors = {"featureExtractors": [{"name": "text_extractor"}]}
    namespace = ResolvedNamespace(
        "media", "n", NamespaceSpec.model_validate(extractors), NamespaceStatus(), "t",
        WeaviateSettings(endpoint="http://w"), (),
    )  # fmt: skip
    resolved = ResolvedSync(
        "media", name, SyncSpec.model_validate(sync), {}, "b",
        BucketSpec.model_validate({"namespaceRef": {"name": "n"}, "blobType": "text"}), "c",
        ConnectionSpec.model_validate(local), {}, namespace, "owner",
    )  # fmt: skip
    return Step(resolved, "uid-1", "7.2", kind, chunks=9, width=4)


def pod(job: Body) -> Body:
    found: Body = job["spec"]["template"]["spec"]
    return found


def test_extraction_is_an_indexed_job_whose_indexes_are_tried_again_each() -> None:
    job = make_job(step(parallelism=3), "account", settings(job_retries=2))
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 3)
    assert spec["backoffLimitPerIndex"] == 2
    assert "backoffLimit" not in spec
    assert spec["podReplacementPolicy"] == "Failed"
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert ignore["action"] == "Ignore"
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [2])
    assert pod(job)["restartPolicy"] == "Never"  # a failure policy needs it


def test_the_sync_step_is_one_pod() -> None:
    spec = make_job(step(kind=RunStep.SYNC), "account", settings())["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == (
        "NonIndexed",
        1,
        1,
    )
    assert spec["backoffLimit"] == 3


def test_it_ends_is_removed_and_goes_with_its_sync() -> None:
    job = make_job(step(), "a", settings(job_ttl_seconds=5, job_deadline_seconds=60))
    assert job["spec"]["ttlSecondsAfterFinished"] == 5
    assert job["spec"]["activeDeadlineSeconds"] == 60
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Sync", "films", "uid-1")


def test_a_queue_starts_it() -> None:
    job = make_job(step(jobTemplate={"queueName": "nights"}), "a", settings())
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nights"
    free = make_job(step(), "a", settings())
    assert free["spec"]["suspend"] is False
    assert "kueue.x-k8s.io/queue-name" not in free["metadata"]["labels"]


def test_templates_are_merged_the_syncs_last() -> None:
    operators = [
        {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"cpu": "1"}}}]}},
        {"metadata": {"annotations": {"a": "b"}}, "spec": {"nodeSelector": {"pool": "media"}}},
    ]
    wanted = {"resources": {"limits": {"memory": "9Gi"}}, "nodeSelector": {"gpu": "yes"}}
    job = make_job(step(jobTemplate=wanted), "a", settings(worker_templates=operators))
    (container,) = pod(job)["containers"]
    assert container["resources"] == {"limits": {"cpu": "1", "memory": "9Gi"}}
    assert pod(job)["nodeSelector"] == {"pool": "media", "gpu": "yes"}
    assert job["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    assert container["image"] == "w:1"


def test_its_pods_are_restricted_and_have_the_syncs_account() -> None:
    spec = pod(make_job(step(), account_name("films"), settings()))
    assert spec["serviceAccountName"] == "telecine-sync-films"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_command_is_one_that_the_worker_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    (container,) = pod(make_job(step(), "a", settings()))["containers"]
    assert container["command"][:3] == ["python", "-m", "telecine.execution.worker"]
    told = parse(container["command"][3:])
    assert (told.step, told.namespace, told.sync, told.run) == ("extract", "media", "films", "7.2")
    assert list(range(told.part, told.chunks, told.width)) == [3, 7]
    assert parse(worker_arguments(step(), 1)).part == 1
    assert parse(worker_arguments(step(kind=RunStep.SYNC), 0)).step == "sync"


def test_workers_take_over_what_was_set_and_no_secret() -> None:
    given = settings(
        weaviate_endpoint="http://w:80", weaviate_secret="ops/key", lease_seconds=9,
        allow_private_endpoints=False, metrics_port=1, gateway_url="https://g",
    )  # fmt: skip
    (container,) = pod(make_job(step(), "a", given))["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    paths = {"TELECINE_SCRATCH_DIR", "TELECINE_CACHE", "HOME"}
    assert {name: value for name, value in env.items() if name not in paths} == {
        "TELECINE_WEAVIATE_ENDPOINT": "http://w:80",
        "TELECINE_WEAVIATE_SECRET": "ops/key",
        "TELECINE_LEASE_SECONDS": "9",
        "TELECINE_ALLOW_PRIVATE_ENDPOINTS": "false",
    }


def test_each_setting_is_the_workers_or_the_operators_own() -> None:
    assert set(WORKER_SETTINGS) | OWN == set(Settings.model_fields)
    assert not set(WORKER_SETTINGS) & OWN


def test_a_key_in_the_environment_cannot_be_handed_to_jobs() -> None:
    with pytest.raises(ValueError, match="TELECINE_WEAVIATE_SECRET"):
        settings(weaviate_api_key="k")
    with pytest.raises(ValueError, match="TELECINE_WORKER_IMAGE"):
        Settings(executor="kubernetes")


@pytest.mark.parametrize("name", ["films", "a.b", "a" * 253, "a" * 38, "a" * 39, f"{'b' * 60}.c"])
def test_names_fit_and_stay_apart(name: str) -> None:
    made = step(name)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job_name(made))
    assert len(job_name(replace(made, run="1000000.5"))) <= 63
    assert len(label_value(name)) <= 63
    assert len(account_name(name)) <= 63
    others = {job_name(step(other)) for other in ("a-b", f"{name[:-1]}x", f"y{name}"[:253])}
    assert job_name(made) not in others
    assert job_name(made) != job_name(replace(made, run="7.3"))
    assert job_name(made) != job_name(replace(made, kind=RunStep.SYNC))


def test_a_worker_may_read_its_own_and_write_its_status_and_lease() -> None:
    rules = worker_rules(step(), ["keys"])
    assert all(rule["resourceNames"] for rule in rules)
    told = {
        (rule["resources"][0], verb): rule["resourceNames"]
        for rule in rules
        for verb in rule["verbs"]
    }
    leases = ["telecine-sync-films", "telecine-bucket-b"]
    assert told == {
        ("syncs", "get"): ["films"],
        ("buckets", "get"): ["b"],
        ("connections", "get"): ["c"],
        ("namespaces", "get"): ["n"],
        ("syncs/status", "patch"): ["films"],
        ("secrets", "get"): ["keys"],
        ("leases", "get"): leases,
        ("leases", "update"): leases,
        ("leases", "patch"): leases,
    }


def piped(**spec: Any) -> Step:
    """The step of a Sync that a Pipeline made."""
    inline = {"inline": {"handler": "def handler(event): pass"}, **spec}
    pipeline = ResolvedPipeline("thumbs", PipelineSpec.model_validate(inline))
    found = step("pipeline-thumbs")
    return replace(found, resolved=replace(found.resolved, pipeline=pipeline))


def test_a_users_function_has_a_container_of_its_own_without_a_token() -> None:
    spec = pod(make_job(piped(secretRef={"name": "keys"}, image="mine:1"), "a", settings()))
    assert spec["automountServiceAccountToken"] is False
    (worker,), (handler,) = spec["containers"], spec["initContainers"]
    mounts = {c["name"]: {m["name"] for m in c["volumeMounts"]} for c in (worker, handler)}
    assert "token" in mounts["worker"]
    assert mounts["handler"] == {"handler", "handler-tmp"}
    assert (handler["image"], handler["restartPolicy"]) == ("mine:1", "Always")
    assert handler["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert handler["env"] == [{"name": "HOME", "value": "/tmp"}]
    assert handler["securityContext"] == worker["securityContext"]
    assert {"name": "TELECINE_HANDLER_SOCKET", "value": "/run/telecine/socket"} in worker["env"]
    assert "keys" not in str(worker)


def test_the_resources_of_a_pipeline_are_its_functions() -> None:
    resources = {"limits": {"memory": "1Gi"}}
    found = piped(jobTemplate={"resources": resources})
    shaped = replace(found.resolved, sync=step(jobTemplate={"resources": resources}).resolved.sync)
    found = replace(found, resolved=shaped)
    spec = pod(make_job(found, "a", settings()))
    (worker,), (handler,) = spec["containers"], spec["initContainers"]
    assert handler["resources"] == resources
    assert "resources" not in worker
    assert handler["command"][:3] == ["python", "-m", "telecine.pipelines.supervisor"]
    listing = pod(make_job(replace(found, kind=RunStep.SYNC), "a", settings()))
    assert "resources" not in listing["containers"][0]
    assert "initContainers" not in listing


@pytest.mark.parametrize(
    ("memory", "expected"), [("1Gi", 960 << 20), ("128Mi", 64 << 20), (None, 2 << 30)]
)
def test_a_function_ends_before_its_containers_memory_does(
    memory: str | None, expected: int
) -> None:
    limits = {"limits": {"memory": memory}} if memory else {"requests": {"memory": "1Gi"}}
    found = piped(jobTemplate={"resources": limits}, timeoutSeconds=7).resolved.pipeline
    assert found is not None
    assert (limits_of(found.spec).memory, limits_of(found.spec).seconds) == (expected, 7.0)


def test_too_little_memory_for_a_function_is_told() -> None:
    found = piped(jobTemplate={"resources": {"limits": {"memory": "100Mi"}}}).resolved.pipeline
    assert found is not None
    with pytest.raises(ValueError, match=r"limits\.memory: 100Mi is too little.*at least 128Mi"):
        limits_of(found.spec)


def test_a_sync_step_and_other_syncs_have_no_such_container() -> None:
    assert "initContainers" not in pod(make_job(step(), "a", settings()))
    planned = replace(piped(), kind=RunStep.SYNC)
    assert "initContainers" not in pod(make_job(planned, "a", settings()))
    assert "automountServiceAccountToken" not in pod(make_job(planned, "a", settings()))


def test_the_account_reads_the_code_but_not_the_functions_secret() -> None:
    rules = worker_rules(piped(secretRef={"name": "keys"}), [])
    named = {rule["resources"][0]: rule["resourceNames"] for rule in rules}
    assert named["configmaps"] == ["pipeline-thumbs"]
    assert named["pipelines"] == ["thumbs"]
    assert "secrets" not in named
