"""The chart: what it renders, what a real API server says to it, and what its accounts may do."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ApiError as AnyApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.dev import binaries
from telecine.dev.catalog import KUBERNETES
from telecine.dev.mux import MuxLibrary, MuxServer, event
from telecine.execution.kube import RESOURCES
from telecine.settings import Settings

from tests.integration.conftest import Cluster
from tests.integration.harness import WHALE
from tests.integration.mux_world import MuxWorld
from tests.integration.operator_process import Resources, eventually, gateway, operator

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "telecine"
KINDS = ["namespaces", "connections", "buckets", "syncs", "pipelines"]
Body = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> Path:
    return binaries.ensure(["helm"])["helm"]


def run(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, timeout=60)


def template(helm: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without a cluster helm takes it for one of the version that it was built for, or a very old.
    return run(helm, "template", name, str(CHART), "--kube-version", KUBERNETES, *arguments)


def rendered(helm: Path, *values: str, name: str = "telecine", ns: str = "apps") -> list[Body]:
    """What `helm template` gives with `--set` for each value."""
    given = [part for value in values for part in ("--set", value)]
    done = template(helm, name, "-n", ns, *given)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def of(bodies: list[Body], kind: str, ending: str = "") -> Body:
    found = [b for b in bodies if b["kind"] == kind and b["metadata"]["name"].endswith(ending)]
    assert len(found) == 1, (kind, ending, [b["metadata"]["name"] for b in found])
    return found[0]


VARIANTS: list[tuple[str, ...]] = [
    (),
    ("watchNamespace=media",),
    ("gateway.enabled=false",),
    ("gateway.ingress.enabled=true", "gateway.ingress.host=t.test", "gateway.url=https://t.test"),
    ("metrics.serviceMonitor.enabled=true", "metrics.dashboard.enabled=true"),
    ("crds.enabled=false", "networkPolicy.enabled=false", "weaviate.secret=apps/weaviate"),
]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda v: ",".join(v) or "defaults")
def test_it_lints_strictly(helm: Path, values: tuple[str, ...]) -> None:
    given = [part for value in values for part in ("--set", value)]
    done = run(helm, "lint", "--strict", str(CHART), *given)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_crds_are_those_of_the_models_and_are_kept(helm: Path) -> None:
    crds = {b["metadata"]["name"]: b for b in rendered(helm) if "Definition" in b["kind"]}
    assert len(crds) == 5
    for path in (ROOT / "crds").glob("*.yaml"):
        wanted = yaml.safe_load(path.read_text())
        made = crds[wanted["metadata"]["name"]]
        assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert made == wanted
    bare = [b for b in rendered(helm, "crds.keep=false") if "Definition" in b["kind"]]
    assert [b["metadata"].get("annotations") for b in bare] == [None] * 5
    assert not any("Definition" in b["kind"] for b in rendered(helm, "crds.enabled=false"))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("operater.replicas=2", "operater"),
        ("workers.maxProcesses=0", "maxProcesses"),
        ("weaviate.endpoint=weaviate:80", "endpoint"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("operator.settings.ASSET_ATTEMPTS=3", "ASSET_ATTEMPTS"),
        ("gateway.ingress.enabled=true", "gateway.ingress.host must be given"),
        ("metrics.dashboard.labels.team=1", "team"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Path, value: str, named: str) -> None:
    done = template(helm, "telecine", "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


def test_every_variable_is_one_of_the_settings(helm: Path) -> None:
    known = {f"TELECINE_{name.upper()}" for name in Settings.model_fields} | {"TELECINE_CACHE"}
    bodies = rendered(
        helm,
        "watchNamespace=a",
        "weaviate.secret=a/b",
        "gateway.url=https://t",
        "weaviate.grpcHost=w",
    )
    for component in ("operator", "gateway"):
        (container,) = of(bodies, "Deployment", component)["spec"]["template"]["spec"]["containers"]
        names = {one["name"] for one in container["env"]} - {"HOME"}
        assert names <= known
        assert {"TELECINE_KUBE_NAMESPACE", "TELECINE_WEAVIATE_SECRET"} <= names


def test_nothing_reaches_the_operator_and_the_gateway_only_its_port(helm: Path) -> None:
    bodies = rendered(helm, "metrics.enabled=false")
    assert of(bodies, "NetworkPolicy", "operator")["spec"]["ingress"] == []
    rules = of(bodies, "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert rules == [{"ports": [{"port": "http"}]}]


def test_metrics_have_a_port_a_service_and_a_monitor_that_finds_it(helm: Path) -> None:
    bodies = rendered(helm, "metrics.serviceMonitor.enabled=true", "metrics.port=9999")
    wanted = of(bodies, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    for component, name in (("operator", "telecine"), ("gateway", "telecine-gateway")):
        service = of(bodies, "Service", f"{name}-metrics")
        pod = of(bodies, "Deployment", component)["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert {"name": "metrics", "containerPort": 9999} in container["ports"]
        assert {"name": "TELECINE_METRICS_PORT", "value": "9999"} in container["env"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert wanted <= service["metadata"]["labels"].items()
        rules = of(bodies, "NetworkPolicy", component)["spec"]["ingress"]
        assert {"port": "metrics"} in [port for rule in rules for port in rule["ports"]]
    # What webhooks are sent to is not scraped, and metrics are not where webhooks go.
    webhooks = of(bodies, "Service", "telecine-gateway")
    assert not wanted <= webhooks["metadata"]["labels"].items()
    assert [port["name"] for port in webhooks["spec"]["ports"]] == ["http"]


def test_without_a_gateway_or_without_metrics_there_are_none_of_them(helm: Path) -> None:
    for value, left in (("gateway.enabled=false", 1), ("metrics.enabled=false", 0)):
        bodies = rendered(helm, value, "metrics.dashboard.enabled=true")
        services = [b for b in bodies if b["kind"] == "Service" and "metrics" in str(b["spec"])]
        assert len(services) == left


def test_the_dashboard_arrives_whole_under_a_label_that_grafana_looks_for(helm: Path) -> None:
    assert not any(b["kind"] == "ConfigMap" for b in rendered(helm))
    bodies = rendered(helm, "metrics.dashboard.enabled=true", "metrics.dashboard.labels.team=media")
    made = of(bodies, "ConfigMap", "dashboard")
    labels = {"grafana_dashboard": "1", "team": "media"}
    assert labels.items() <= made["metadata"]["labels"].items()
    source = (CHART / "files" / "dashboards" / "telecine.json").read_text()
    assert json.loads(made["data"]["telecine.json"]) == json.loads(source)


@pytest.fixture
def restricted(cluster: Cluster) -> Iterator[str]:
    """A Kubernetes namespace that enforces the restricted Pod Security Standard."""
    name = f"pss-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    with cluster.client() as client:
        client.create(Namespace(metadata=ObjectMeta(name=name, labels=labels)))
        yield name
        client.delete(Namespace, name)


def test_the_api_server_takes_all_of_it_and_its_pods_where_restricted_is_enforced(
    cluster: Cluster, helm: Path, restricted: str
) -> None:
    bodies = rendered(helm, "crds.enabled=false", *VARIANTS[3], ns=restricted)
    made = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(bodies))
    assert made.returncode == 0, made.stderr
    assert "Warning" not in made.stderr
    cluster.kubectl("create", "serviceaccount", "probe", "-n", restricted)
    kinds = {"operator": "Deployment", "gateway": "Deployment", "release": "Job"}
    for component, kind in kinds.items():
        spec = of(bodies, kind, component)["spec"]["template"]["spec"]
        spec["serviceAccountName"] = "probe"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": component, "namespace": restricted},
            "spec": spec,
        }
        done = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))
        assert done.returncode == 0, done.stderr
        spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        done = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))
        assert "violates PodSecurity" in done.stderr


# What each account may do: all of it, and no more.

OPERATOR = {
    ("telecine.dev", kind, verb) for kind in KINDS for verb in ("get", "list", "watch", "patch")
} | {("telecine.dev", f"{kind}/status", "patch") for kind in KINDS} | {
    ("", "secrets", "get"), ("", "secrets", "list"), ("", "secrets", "watch"),
    ("", "events", "create"),
    *(("telecine.dev", kind, "create") for kind in ("namespaces", "buckets", "syncs")),
    ("telecine.dev", "syncs", "delete"),
    *(("", "configmaps", verb) for verb in ("get", "create", "patch")),
    *(("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update", "patch")),
}  # fmt: skip
JOBS = {
    *(("batch", "jobs", verb) for verb in ("get", "list", "create", "delete")),
    ("", "pods", "list"), ("", "namespaces", "get"),
    ("", "serviceaccounts", "create"), ("", "serviceaccounts", "patch"),
    *(
        ("rbac.authorization.k8s.io", kind, verb)
        for kind in ("roles", "rolebindings") for verb in ("create", "patch")
    ),
}  # fmt: skip
CLUSTER_WIDE = {
    (group, resource, verb)
    for group, resource in (
        ("", "namespaces"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
    )
    for verb in ("list", "watch")
}
GATEWAY = {
    ("telecine.dev", kind, verb) for kind in KINDS for verb in ("get", "list")
} | {
    *(("telecine.dev", kind, "patch") for kind in ("buckets", "syncs", "pipelines")),
    ("", "secrets", "get"),
}  # fmt: skip


def allowed(role: Body) -> set[tuple[str, str, str]]:
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_accounts_may_do_this_and_no_more(helm: Path) -> None:
    everywhere, one = rendered(helm), rendered(helm, "watchNamespace=media")
    assert allowed(of(everywhere, "ClusterRole", "operator")) == OPERATOR | JOBS | CLUSTER_WIDE
    assert allowed(of(everywhere, "ClusterRole", "gateway")) == GATEWAY
    assert allowed(of(one, "Role", "operator")) == OPERATOR | JOBS
    assert allowed(of(one, "Role", "gateway")) == GATEWAY
    kinds = {body["kind"] for body in one}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    assert all(
        of(one, "Role", c)["metadata"]["namespace"] == "media" for c in ("operator", "gateway")
    )


def test_without_jobs_the_operator_needs_no_rights_for_them(helm: Path) -> None:
    bodies = rendered(helm, "workers.executor=process")
    assert allowed(of(bodies, "ClusterRole", "operator")) == OPERATOR | CLUSTER_WIDE
    pod = of(bodies, "Deployment", "operator")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].startswith("telecine-worker:")
    assert {"name": "TELECINE_EXECUTOR", "value": "process"} in container["env"]


def test_the_key_of_weaviate_is_read_and_lent_where_it_is_and_nowhere_else(helm: Path) -> None:
    bodies = rendered(helm, "watchNamespace=media", "weaviate.secret=ops/key")
    for component in ("operator", "gateway"):
        role = of(bodies, "Role", f"{component}-key")
        assert role["metadata"]["namespace"] == "ops"
        secrets = [rule for rule in role["rules"] if rule["resources"] == ["secrets"]]
        assert [rule["resourceNames"] for rule in secrets] == [["key"]]
        assert [rule["verbs"] for rule in secrets] == [["get"]]
    everywhere = rendered(helm, "weaviate.secret=ops/key")
    (rule,) = of(everywhere, "Role", "operator-key")["rules"]
    assert (rule["resources"], rule["verbs"]) == (["rolebindings"], ["list", "delete"])


def kubeconfig(cluster: Cluster, account: str, namespace: str, path: Path) -> Path:
    """A kubeconfig of a service account's token."""
    token = cluster.kubectl("create", "token", account, "-n", namespace)
    assert token.returncode == 0, token.stderr
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token.stdout.strip()}
    path.write_text(yaml.safe_dump(config))
    return path


def test_with_these_rights_operator_workers_and_gateway_do_all_their_work(
    cluster: Cluster,
    helm: Path,
    kube_namespace: str,
    operator_env: dict[str, str],
    tmp_path: Path,
) -> None:
    bodies = rendered(helm, f"watchNamespace={kube_namespace}", ns=kube_namespace)
    accounts = [b for b in bodies if b["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    applied = cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(accounts))
    assert applied.returncode == 0, applied.stderr
    configs = {
        component: kubeconfig(
            cluster, f"telecine-{component}", kube_namespace, tmp_path / f"{component}.yaml"
        )
        for component in ("operator", "gateway")
    }
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "whale.txt").write_text(WHALE)
    envs = {name: {**operator_env, "KUBECONFIG": str(path)} for name, path in configs.items()}
    log = tmp_path / "operator.log"
    with (
        cluster.client() as client,
        MuxServer(MuxLibrary()) as server,
        gateway(envs["gateway"], tmp_path / "gateway.log", kube_namespace=kube_namespace) as url,
        operator(
            envs["operator"], log, kube_namespace=kube_namespace, state_dir=tmp_path / "state"
        ),
    ):
        resources = Resources(client, kube_namespace)
        resources.create(
            "Namespace", "library", {"featureExtractors": [{"name": "text_extractor"}]}
        )
        disk = {"provider": "local", "local": {"path": str(tmp_path / "source")}}
        resources.create("Connection", "disk", disk)
        resources.create(
            "Bucket", "books", {"namespaceRef": {"name": "library"}, "blobType": "text"}
        )
        references = {"bucketRef": {"name": "books"}, "connectionRef": {"name": "disk"}}
        resources.create("Sync", "books", references)
        resources.wait("Sync", "books", ready=True, indexed=1, seconds=120)
        assert any(reason for _, reason, _ in resources.events("books"))

        # The gateway reads a Connection with its Secret, finds Buckets, and asks for a run.
        world = MuxWorld(
            client,
            resources,
            Settings(),
            None,
            server.library,
            server,
            url,
            tmp_path,  # type: ignore[arg-type]
        )
        resources.secret(
            "mux",
            access_token_id=server.token_id,
            access_token_secret=server.token_secret,
            webhook_secret="your-32-char-random-string-0000",
        )
        resources.create("Connection", "mux", world.connection())
        world.sync("flagged", "books")
        eventually(lambda: world.post({"type": "other"}).status_code == 200)
        assert world.post(event("video.asset.ready", {"id": "a"})).json()["requested_runs"] == 1
        eventually(world.requested)
        answer = world.post(event("video.asset.deleted", {"id": "a"}))
        assert (answer.status_code, answer.json()["handled"]) == (200, True)

        # A deletion runs through its finalizers.
        for kind, name in (("Sync", "books"), ("Sync", "flagged"), ("Bucket", "books")):
            resources.delete(kind, name)
            eventually(lambda k=kind, n=name: not resources.exists(k, n))
    assert "forbidden" not in log.read_text().lower()
    with Client(config=KubeConfig.from_file(str(configs["gateway"])), trust_env=False) as limited:
        with pytest.raises(AnyApiError, match="forbidden"):
            limited.delete(RESOURCES["Connection"], "disk", namespace=kube_namespace)
        with pytest.raises(ApiError, match="forbidden"):
            list(limited.list(RESOURCES["Connection"], namespace="default"))
