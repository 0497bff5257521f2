"""The Job of one step of a run, as a manifest: pure, so that every field of it is tested.

Extraction is an Indexed Job: its retries are counted per index, a disruption (drained node,
preemption) does not count, and the exit code of a worker that lost its run ends the Job at once.
Sources: Kubernetes' pages "Jobs" and "Handling retriable and non-retriable pod failures", and
Kueue's "Run a Kubernetes Job".
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from telecine.api.base import API_VERSION, GROUP
from telecine.api.pipeline import PipelineSpec
from telecine.api.sync import RunStep
from telecine.execution.executor import Step, worker_arguments
from telecine.execution.resolve import HANDLER
from telecine.execution.template import WORKER, Body, strategic_merge, template_patch
from telecine.settings import Settings

SYNC_LABEL, RUN_LABEL, STEP_LABEL = f"{GROUP}/sync", f"{GROUP}/run", f"{GROUP}/step"
MANAGED = {"app.kubernetes.io/managed-by": "telecine"}
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
RUN_LOST = 2
"""Exit code of a worker whose run is another's now: trying again is of no use."""
GRACE_SECONDS = 30

#: Settings that workers take over from the operator; the others are the operator's own.
WORKER_SETTINGS = (
    "weaviate_endpoint",
    "weaviate_grpc_host",
    "weaviate_grpc_port",
    "weaviate_grpc_secure",
    "weaviate_secret",
    "tenant_prefix",
    "lease_seconds",
    "asset_attempts",
    "asset_retry_seconds",
    "max_asset_bytes",
    "scratch_bytes",
    "allow_private_endpoints",
)
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
_HANDLER = "/run/telecine"
_CA = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
_OWN = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
#: What Kubernetes mounts into every container of a Pod by itself.
_TOKEN_SOURCES: list[Body] = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"configMap": _CA},
    {"downwardAPI": {"items": [_OWN]}},
]
_MOUNTS = {"scratch": "/scratch", "lib": "/var/lib/telecine", "tmp": "/tmp"}


def short(name: str, most: int) -> str:
    """A name that fits; what is cut is told by a hash, so that two never become one."""
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if plain == name and len(name) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: most - 9].rstrip('-')}-{digest}"


def child_name(pipeline: str) -> str:
    """The name of everything that is made for a Pipeline."""
    return short(f"pipeline-{pipeline}", 63)


def label_value(name: str) -> str:
    """A resource's name as a label's value, which has at most 63 characters."""
    return name if len(name) <= 63 else short(name, 63)


def job_name(step: Step) -> str:
    """The same for the same step, so that a second operator finds the Job of the first."""
    run, _, attempt = step.run.rpartition(".")
    return f"{short(step.sync, 38)}-{run}-{attempt}-{step.kind.value}"


def make_job(step: Step, account: str, settings: Settings) -> Body:
    """The Job's manifest.

    Raises:
        ValueError: the operator's `worker_templates` cannot be merged; names the list and the key.
    """
    template = _pod_template(step, account, settings)
    for patch in (*settings.worker_templates, _asked_for(step)):
        template = strategic_merge(template, patch)
    queue = step.resolved.sync.job_template and step.resolved.sync.job_template.queue_name
    labels = _labels(step)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(step),
            "namespace": step.namespace,
            "labels": labels | ({QUEUE_LABEL: queue} if queue else {}),
            "ownerReferences": [owner_reference(step)],
        },
        "spec": {
            **_retries(step, settings),
            # A queue's manager starts it when its turn has come.
            "suspend": bool(queue),
            "activeDeadlineSeconds": settings.job_deadline_seconds,
            "ttlSecondsAfterFinished": settings.job_ttl_seconds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": WORKER,
                            "operator": "In",
                            "values": [RUN_LOST],
                        },
                    },
                ]
            },
            "template": template,
        },
    }


def owner_reference(step: Step) -> Body:
    return {
        "apiVersion": API_VERSION,
        "kind": "Sync",
        "name": step.sync,
        "uid": step.uid,
        "controller": True,
    }


def _labels(step: Step) -> dict[str, str]:
    return {
        **MANAGED,
        "app.kubernetes.io/name": "telecine",
        "app.kubernetes.io/component": WORKER,
        SYNC_LABEL: label_value(step.sync),
        RUN_LABEL: step.run.rpartition(".")[0],
        STEP_LABEL: step.kind.value,
    }


def _retries(step: Step, settings: Settings) -> Body:
    if step.kind is RunStep.SYNC:
        return {
            "completions": 1,
            "parallelism": 1,
            "completionMode": "NonIndexed",
            "backoffLimit": settings.job_retries,
        }
    return {
        "completions": step.width,
        "parallelism": min(step.resolved.sync.parallelism, step.width),
        "completionMode": "Indexed",
        "backoffLimitPerIndex": settings.job_retries,
    }


def _asked_for(step: Step) -> Body:
    """What the user's `jobTemplate` changes; the `resources` of a Pipeline are its function's."""
    template = step.resolved.sync.job_template
    if step.resolved.pipeline is None:
        return template_patch(template)
    return template_patch(template, HANDLER if step.kind is RunStep.EXTRACT else None)


def _pod_template(step: Step, account: str, settings: Settings) -> Body:
    template = _workers_template(step, account, settings)
    pipeline = step.resolved.pipeline
    if pipeline is not None and step.kind is RunStep.EXTRACT:
        _add_handler(template["spec"], pipeline.spec, settings)
    return template


def _add_handler(pod: Body, spec: PipelineSpec, settings: Settings) -> None:
    """A container of its own for the user's function, without the service account's token."""
    (worker,) = pod["containers"]
    pod["automountServiceAccountToken"] = False
    worker["volumeMounts"] += [
        {"name": "token", "mountPath": _TOKEN, "readOnly": True},
        {"name": HANDLER, "mountPath": _HANDLER},
    ]
    worker["env"].append({"name": "TELECINE_HANDLER_SOCKET", "value": f"{_HANDLER}/socket"})
    secret = [{"secretRef": {"name": spec.secret_ref.name}}] if spec.secret_ref else []
    pod["initContainers"] = [
        {
            "name": HANDLER,
            "image": spec.image or settings.worker_image,
            "imagePullPolicy": "IfNotPresent" if spec.image else settings.worker_pull_policy,
            # One that is started before the worker and ends with it.
            "restartPolicy": "Always",
            "command": [
                "python", "-m", "telecine.pipelines.supervisor", "--socket", f"{_HANDLER}/socket",
            ],
            "envFrom": secret,
            "env": [{"name": "HOME", "value": "/tmp"}],
            "securityContext": worker["securityContext"],
            "volumeMounts": [
                {"name": HANDLER, "mountPath": _HANDLER},
                {"name": "handler-tmp", "mountPath": "/tmp"},
            ],
        }
    ]  # fmt: skip
    pod["volumes"] += [
        {"name": HANDLER, "emptyDir": {}},
        {"name": "handler-tmp", "emptyDir": {}},
        {"name": "token", "projected": {"sources": _TOKEN_SOURCES}},
    ]


def _workers_template(step: Step, account: str, settings: Settings) -> Body:
    return {
        "metadata": {"labels": _labels(step)},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": WORKER,
                    "image": settings.worker_image,
                    "imagePullPolicy": settings.worker_pull_policy,
                    "command": [
                        "python", "-m", "telecine.execution.worker", *worker_arguments(step),
                    ],
                    "env": _environment(settings),
                    # The log's end tells of a crash without a look at the log.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": name, "mountPath": path} for name, path in _MOUNTS.items()
                    ],
                }
            ],
            "volumes": [{"name": name, "emptyDir": {}} for name in _MOUNTS],
        },
    }  # fmt: skip


def _environment(settings: Settings) -> list[dict[str, str]]:
    given: dict[str, Any] = {
        f"TELECINE_{name.upper()}": getattr(settings, name)
        for name in WORKER_SETTINGS
        if name in settings.model_fields_set and getattr(settings, name) is not None
    }
    own = {
        "TELECINE_SCRATCH_DIR": _MOUNTS["scratch"],
        "TELECINE_CACHE": f"{_MOUNTS['lib']}/cache",
        "HOME": _MOUNTS["lib"],
    }
    return [{"name": name, "value": _plain(value)} for name, value in (given | own).items()]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
