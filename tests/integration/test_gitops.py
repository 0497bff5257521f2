"""The examples as kubectl, Argo CD and Flux apply them, again and again, under a real operator:
nothing that the operator or the API server writes may ever show as a difference from Git."""

from __future__ import annotations

import copy
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace as KubeNamespace
from telecine.api.base import API_VERSION, FINALIZER, REQUESTED_AT
from telecine.api.kinds import KINDS
from telecine.cli import app
from telecine.dev import binaries
from telecine.dev.catalog import KUBERNETES
from telecine.dev.mux import MuxLibrary, MuxServer
from telecine.dev.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from typer.testing import CliRunner

from tests.integration.conftest import Cluster
from tests.integration.harness import WHALE
from tests.integration.operator_process import Resources, eventually, operator

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = EXAMPLES / "gitops" / "library"
Body = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Tool:
    """How a tool applies: what it adds to each manifest, and which flags kubectl has for it."""

    name: str
    flags: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def server_side(self) -> bool:
        return "--server-side" in self.flags

    def manifest(self, bodies: list[Body]) -> str:
        made = copy.deepcopy(bodies)
        for body in made:
            for name, extra in (("labels", self.labels), ("annotations", self.annotations)):
                if extra:
                    body["metadata"][name] = {**body["metadata"].get(name, {}), **extra}
        return yaml.safe_dump_all(made)


TRACKING = {"argocd.argoproj.io/tracking-id": "library:telecine.dev/Sync:media/papers"}
FORCED = ("--server-side", "--force-conflicts")
TOOLS = [
    Tool("kubectl", ("--server-side",)),
    Tool("argocd", (*FORCED, "--field-manager=argocd-controller"), annotations=TRACKING),
    Tool("argocd-classic", ("--field-manager=argocd-controller",), annotations=TRACKING),
    Tool(
        "flux",
        (*FORCED, "--field-manager=kustomize-controller"),
        labels={
            "kustomize.toolkit.fluxcd.io/name": "library",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        },
    ),
]
tools = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


@dataclass(frozen=True)
class Site:
    """The examples in one Kubernetes namespace for each tool, with all their runs done."""

    cluster: Cluster
    env: dict[str, str]
    client: Client
    bodies: list[Body]
    namespaces: dict[str, str]

    def declared(self) -> list[Body]:
        """All but the Secrets: of `stringData` the API server keeps the name of who wrote it, and
        no values to compare, so that a second writer is always in conflict with the first."""
        return [body for body in self.bodies if body["kind"] != "Secret"]

    def apply(self, tool: Tool, *flags: str, bodies: list[Body] | None = None) -> str:
        given = self.bodies if bodies is None else bodies
        arguments = ("apply", "-n", self.namespaces[tool.name], *tool.flags, *flags, "-f", "-")
        done = self.cluster.kubectl(*arguments, input=tool.manifest(given))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def diff(self, tool: Tool, bodies: list[Body] | None = None) -> tuple[int, str]:
        given = self.bodies if bodies is None else bodies
        arguments = ("diff", "-n", self.namespaces[tool.name], *tool.flags, "-f", "-")
        done = self.cluster.kubectl(*arguments, input=tool.manifest(given))
        return done.returncode, done.stdout + done.stderr

    def live(self, tool: Tool) -> dict[Key, Body]:
        arguments = ("get", "-n", self.namespaces[tool.name], "-o", "json", "-f", "-")
        more = ("--show-managed-fields",)
        done = self.cluster.kubectl(*arguments, *more, input=tool.manifest(self.bodies))
        assert done.returncode == 0, done.stderr
        return by_name(done.stdout)

    def unchanged_by(self, tool: Tool, act: Callable[[], object]) -> None:
        """Asserts that it writes nothing; where a run changed a status meanwhile it looks again."""

        def nothing_was_written() -> bool:
            before = self.live(tool)
            act()
            after = self.live(tool)
            for key, body in before.items():
                assert after[key]["metadata"].get("generation") == body["metadata"].get(
                    "generation"
                )
                if after[key]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                    assert after[key].get("status") != body.get("status"), key
                    return False
            return True

        eventually(nothing_was_written, what="a moment in which no run writes its status")


def by_name(text: str) -> dict[Key, Body]:
    found = yaml.safe_load(text)
    items = found["items"] if found["kind"] == "List" else [found]
    return {(item["kind"], item["metadata"]["name"]): item for item in items}


def read(folder: Path, replacements: dict[str, str] | None = None) -> list[Body]:
    bodies: list[Body] = []
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text()
        for old, new in (replacements or {}).items():
            text = text.replace(old, new)
        bodies += yaml.safe_load_all(text)
    return bodies


@pytest.fixture(scope="module")
def site(
    cluster: Cluster,
    operator_env: dict[str, str],
    s3_server: S3Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("source")
    for name in ("texts", "media"):
        (folder / name).mkdir()
    (folder / "texts" / "whale.txt").write_text(WHALE)
    s3_server.client().create_bucket(Bucket="shelves")
    mux_token = ("00000000-0000-0000-0000-000000000000", "replace-me")
    namespaces = {tool.name: f"{tool.name}-{uuid.uuid4().hex[:8]}" for tool in TOOLS}
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with (
        cluster.client() as client,
        MuxServer(MuxLibrary(), *mux_token) as mux,
        operator(operator_env, log),
    ):
        bodies = read(
            EXAMPLES / "quickstart",
            {"/srv/telecine": str(folder), "http://127.0.0.1:9000": s3_server.endpoint},
        )
        hosts = ("https://api.mux.com", "https://stream.mux.com")
        bodies += read(EXAMPLES / "mux", dict.fromkeys(hosts, mux.url))
        made = Site(cluster, operator_env, client, bodies, namespaces)
        for name in namespaces.values():
            client.create(KubeNamespace(metadata=ObjectMeta(name=name)))
        for tool in TOOLS:
            made.apply(tool)
        for name in namespaces.values():
            ready(cluster, name)
        yield made
        for name in namespaces.values():
            remove(cluster, name)


def ready(cluster: Cluster, namespace: str) -> None:
    """Waits as docs/gitops.md says."""
    done = cluster.kubectl(
        "wait", "-n", namespace, "--for=condition=Ready", "--all", "--timeout=110s",
        "tns,tconn,tbucket,tsync",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def remove(cluster: Cluster, namespace: str) -> None:
    kinds = "tsync,tbucket,tconn,tns"
    done = cluster.kubectl("delete", "-n", namespace, "--all", "--timeout=100s", kinds)
    assert done.returncode == 0, done.stderr
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def tool_of(name: str) -> Tool:
    return next(tool for tool in TOOLS if tool.name == name)


@tools
def test_a_second_apply_writes_nothing(site: Site, tool: Tool) -> None:
    site.unchanged_by(tool, lambda: site.apply(tool))


@tools
def test_the_operator_has_written_what_could_make_a_difference(site: Site, tool: Tool) -> None:
    live = site.live(tool)
    ours = {key: body for key, body in live.items() if body["apiVersion"] == API_VERSION}
    assert len(ours) == 14
    assert all(body["status"]["phase"] for body in ours.values())
    finalizers = {key: body["metadata"].get("finalizers", []) for key, body in ours.items()}
    held = {kind for (kind, _), found in finalizers.items() if FINALIZER in found}
    assert held >= {"Namespace", "Bucket", "Sync"}


@tools
def test_diff_is_empty(site: Site, tool: Tool) -> None:
    found: list[tuple[int, str]] = []
    eventually(lambda: found.append(site.diff(tool)) or found[-1] == (0, ""), 30)  # type: ignore[func-returns-value]


@tools
def test_a_dry_run_gives_what_is_there(site: Site, tool: Tool) -> None:
    def bare(body: Body) -> Body:
        kept = {name: value for name, value in body.items() if name != "status"}
        volatile = ("managedFields", "resourceVersion")
        metadata = {k: v for k, v in body["metadata"].items() if k not in volatile}
        return {**kept, "metadata": metadata}

    would_be = by_name(site.apply(tool, "--dry-run=server", "-o", "json"))
    live = site.live(tool)
    assert would_be.keys() == live.keys()
    for key, body in live.items():
        assert bare(would_be[key]) == bare(body), key


@pytest.mark.parametrize("name", ["kubectl", "flux", "argocd"])
def test_another_manager_applies_the_same_without_a_conflict(site: Site, name: str) -> None:
    tool = tool_of(name)
    other = ("--field-manager=somebody-else",)
    flags = tuple(f for f in tool.flags if f == "--server-side")
    twin = Tool(tool.name, (*flags, *other), tool.labels, tool.annotations)
    before = site.live(tool)
    site.apply(twin, bodies=site.declared())
    after = site.live(tool)
    for key, body in before.items():
        assert after[key]["metadata"].get("generation") == body["metadata"].get("generation")
    site.unchanged_by(tool, lambda: (site.apply(twin, bodies=site.declared()), site.apply(tool)))


def test_one_tool_takes_over_from_another_and_back_without_a_difference(site: Site) -> None:
    classic, bodies = tool_of("argocd-classic"), site.declared()
    takeover = Tool(classic.name, tool_of("argocd").flags, annotations=TRACKING)
    before = site.live(classic)
    site.apply(takeover, bodies=bodies)
    after = site.live(classic)
    for key, body in before.items():
        assert after[key].get("spec") == body.get("spec")
        assert after[key]["metadata"].get("generation") == body["metadata"].get("generation")
    site.unchanged_by(classic, lambda: site.apply(takeover, bodies=bodies))
    eventually(lambda: site.diff(takeover, bodies) == (0, ""), 30)
    # The way back writes once, who owns what; then nothing again.
    site.apply(classic)
    site.unchanged_by(classic, lambda: site.apply(classic))


@tools
def test_the_operator_owns_its_status_and_finalizer_and_nothing_else(
    site: Site, tool: Tool
) -> None:
    for key, body in site.live(tool).items():
        if body["apiVersion"] != API_VERSION:
            continue
        writers = body["metadata"]["managedFields"]
        managers = {entry["manager"] for entry in writers}
        appliers = {"kubectl", "argocd-controller", "kustomize-controller", "somebody-else"}
        assert managers - appliers == {"telecine"}, key
        for entry in writers:
            if entry["manager"] != "telecine":
                continue
            owned = entry["fieldsV1"]
            if entry.get("subresource") == "status":
                assert owned.keys() == {"f:status"}, key
                continue
            assert "subresource" not in entry
            assert owned.keys() == {"f:metadata"}, key
            assert owned["f:metadata"].keys() <= {"f:finalizers", "f:annotations"}, key
            finalizers = owned["f:metadata"].get("f:finalizers", {}).keys()
            assert finalizers <= {".", f'v:"{FINALIZER}"'}, key
            annotations = owned["f:metadata"].get("f:annotations", {}).keys()
            assert annotations <= {".", f"f:{REQUESTED_AT}"}, key


@tools
def test_a_run_that_was_asked_for_is_no_difference_and_survives_an_apply(
    site: Site, tool: Tool
) -> None:
    namespace = site.namespaces[tool.name]
    done = CliRunner(env=site.env).invoke(app, ["trigger", "fiction", "--wait", "-n", namespace])
    assert done.exit_code == 0, done.output
    annotations = site.live(tool)["Sync", "fiction"]["metadata"]["annotations"]
    site.unchanged_by(tool, lambda: site.apply(tool))
    eventually(lambda: site.diff(tool) == (0, ""), 30)
    after = site.live(tool)["Sync", "fiction"]["metadata"]["annotations"]
    assert after[REQUESTED_AT] == annotations[REQUESTED_AT]


@tools
def test_a_real_difference_shows_and_makes_one_run(site: Site, tool: Tool) -> None:
    changed = copy.deepcopy(site.bodies)
    sync = next(b for b in changed if (b["kind"], b["metadata"]["name"]) == ("Sync", "reels"))
    sync["spec"]["prune"] = False
    code, shown = site.diff(tool, changed)
    assert code == 1
    assert "prune: false" in shown
    before = site.live(tool)["Sync", "reels"]
    site.apply(tool, bodies=changed)
    resources = Resources(site.client, site.namespaces[tool.name])
    generation = before["metadata"]["generation"] + 1
    resources.wait("Sync", "reels", ready=True, phase="COMPLETED", observedGeneration=generation)
    site.apply(tool)
    resources.wait(
        "Sync", "reels", ready=True, phase="COMPLETED", observedGeneration=generation + 1
    )


def test_resources_in_any_order_wait_for_each_other_and_for_a_secret_of_later(
    site: Site, cluster: Cluster, kube_namespace: str, s3_server: S3Server
) -> None:
    assert next(body["kind"] for body in read(LIBRARY)) == "Sync"
    text = (LIBRARY / "library.yaml").read_text()
    text = text.replace("bucket: shelves", f"bucket: shelves\n    endpoint: {s3_server.endpoint}")
    done = cluster.kubectl("apply", *FORCED, "-n", kube_namespace, "-f", "-", input=text)
    assert done.returncode == 0, done.stderr
    resources = Resources(site.client, kube_namespace)
    waiting = resources.wait("Connection", "shelves", reason="SecretNotFound")
    assert {c["type"]: c["status"] for c in waiting["conditions"]}["Reconciling"] == "True"
    resources.wait("Bucket", "fiction", ready=True)
    resources.wait("Sync", "fiction", phase="PENDING")
    resources.secret("shelves-s3", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    ready(cluster, kube_namespace)
    remove(cluster, kube_namespace)


def known(path: Path) -> list[Body]:
    """The manifests of kinds that this API server has, for any Kubernetes namespace."""
    found = [b for b in yaml.safe_load_all(path.read_text()) if b["apiVersion"] in KNOWN]
    for body in found:
        body["metadata"].pop("namespace", None)
    return found


KNOWN = {API_VERSION, "v1"}
MANIFESTS = [path for path in sorted(EXAMPLES.rglob("*.yaml")) if known(path)]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_api_server_takes_each_example(
    cluster: Cluster, kube_namespace: str, path: Path
) -> None:
    done = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict",
        "-n", kube_namespace, "-f", "-", input=yaml.safe_dump_all(known(path)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_health_checks_join_what_argo_cd_is_told_already(
    cluster: Cluster, kube_namespace: str, tmp_path: Path
) -> None:
    given = (EXAMPLES / "gitops" / "argocd" / "10-health.yaml").read_text()
    patch = tmp_path / "10-health.yaml"
    patch.write_text(given.replace("namespace: argocd", f"namespace: {kube_namespace}"))
    data = {"url": "https://argocd.example.com"}
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}}
    install = ("apply", "-n", kube_namespace, "-f", "-")
    # An apply of the file, also a server-side one, would drop what an earlier apply of kubectl set.
    join = ("patch", "cm", "argocd-cm", "-n", kube_namespace, "--type=merge")
    for arguments in (install, (*join, f"--patch-file={patch}"), install):
        done = cluster.kubectl(*arguments, input=yaml.safe_dump({**theirs, "data": data}))
        assert done.returncode == 0, done.stderr
    checks = yaml.safe_load(given)["data"]
    found = cluster.kubectl("get", "cm", "argocd-cm", "-n", kube_namespace, "-o", "yaml").stdout
    assert yaml.safe_load(found)["data"] == {**data, **checks}


def chart_values() -> dict[str, Body]:
    folder = EXAMPLES / "gitops"
    argo = yaml.safe_load((folder / "argocd" / "20-telecine.yaml").read_text())["spec"]["source"]
    flux = yaml.safe_load((folder / "flux" / "20-telecine.yaml").read_text())["spec"]
    assert argo["path"] == flux["chart"]["spec"]["chart"] == "charts/telecine"
    return {"argocd": argo["helm"]["valuesObject"], "flux": flux["values"]}


@pytest.mark.parametrize("name", ["argocd", "flux"])
def test_the_chart_takes_the_values_and_renders_the_crds(tmp_path: Path, name: str) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(chart_values()[name]))
    helm = binaries.ensure(["helm"])["helm"]
    done = subprocess.run(
        [helm, "template", "telecine", EXAMPLES.parent / "charts" / "telecine", "-f", values,
         "--kube-version", KUBERNETES],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rendered = [body for body in yaml.safe_load_all(done.stdout) if body]
    crds = [body for body in rendered if body["kind"] == "CustomResourceDefinition"]
    assert {body["spec"]["names"]["kind"] for body in crds} == {kind.kind for kind in KINDS}


def test_kustomize_puts_the_library_into_a_namespace_and_leaves_its_names(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "library.yaml").write_text((LIBRARY / "library.yaml").read_text())
    (tmp_path / "kustomization.yaml").write_text("namespace: media\nresources: [library.yaml]\n")
    done = cluster.kubectl("kustomize", str(tmp_path))
    assert done.returncode == 0, done.stderr
    built = by_name(
        yaml.safe_dump({"kind": "List", "items": list(yaml.safe_load_all(done.stdout))})
    )
    given = {(body["kind"], body["metadata"]["name"]): body for body in read(LIBRARY)}
    assert built.keys() == given.keys()
    for key, body in built.items():
        assert body["metadata"]["namespace"] == "media"
        assert body["spec"] == given[key]["spec"]
    assert {kind for kind, _ in built} <= {kind.kind for kind in KINDS}
