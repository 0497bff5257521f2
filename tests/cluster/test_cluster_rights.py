"""What a Sync's workers may do on a real cluster, and the end of a Kubernetes namespace."""

from __future__ import annotations

from tests.cluster.site import SYSTEM, Site
from tests.cluster.test_cluster_kills import extracting, fill
from tests.e2e.manifests import Shelf
from tests.integration.operator_process import eventually


def test_a_syncs_workers_may_do_this_and_no_more(site: Site, shelf: Shelf) -> None:
    fill(site, shelf, 1)
    shelf.create_sync()
    shelf.wait(indexed=1)
    namespace, name = shelf.resources.namespace, shelf.name
    account = f"system:serviceaccount:{namespace}:telecine-sync-{name}"

    def may(verb: str, what: str, where: str = namespace) -> bool:
        line = ("auth", "can-i", verb, what, "-n", where, f"--as={account}")
        return site.kubectl(*line, ok=False).strip() == "yes"

    for verb, what in (
        ("get", f"syncs.telecine.dev/{name}"),
        ("get", f"buckets.telecine.dev/{name}"),
        ("get", f"connections.telecine.dev/{name}"),
        ("get", "namespaces.telecine.dev/library"),
        ("get", "secrets/s3"),
        ("patch", f"leases.coordination.k8s.io/telecine-sync-{name}"),
    ):
        assert may(verb, what), (verb, what)
    assert site.kubectl(
        "auth", "can-i", "patch", f"syncs.telecine.dev/{name}", "--subresource=status",
        "-n", namespace, f"--as={account}",
    ).strip() == "yes"  # fmt: skip
    # The operator's key of Weaviate was lent to it, by name.
    assert may("get", "secrets/weaviate", SYSTEM)
    for verb, what, where in (
        ("list", "secrets", namespace),
        ("get", "secrets/another", namespace),
        ("get", "secrets/another", SYSTEM),
        ("patch", f"syncs.telecine.dev/{name}", namespace),
        ("get", "syncs.telecine.dev/another", namespace),
        ("create", "leases.coordination.k8s.io", namespace),
        ("create", "pods", namespace),
        ("get", "pods", namespace),
        ("get", f"connections.telecine.dev/{name}", "default"),
    ):
        assert not may(verb, what, where), (verb, what, where)


def test_a_kubernetes_namespace_goes_while_a_run_is_in_it(site: Site, shelf: Shelf) -> None:
    fill(site, shelf)
    shelf.create_sync(parallelism=2)
    extracting(shelf)
    site.kubectl("delete", "namespace", shelf.resources.namespace, "--timeout=120s")
    eventually(
        lambda: shelf.resources.namespace not in site.kubectl("get", "rolebindings", "-n", SYSTEM)
    )
