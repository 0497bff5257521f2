"""The chart is upgraded while a run goes on, and uninstalled and installed again."""

from __future__ import annotations

import json

from tests.cluster.site import SYSTEM, Site, install, uninstall
from tests.cluster.test_cluster_kills import TEXTS, extracting, fill
from tests.e2e.manifests import Shelf
from tests.integration.operator_process import eventually


def test_an_upgrade_takes_over_the_run_that_goes_on(site: Site, shelf: Shelf) -> None:
    names = fill(site, shelf)
    shelf.create_sync(parallelism=2)
    began = extracting(shelf)
    try:
        install(site, **{"operator.settings.TELECINE_ASSET_ATTEMPTS": "3"})
        status = shelf.wait(lastSuccessTime=True)
    finally:
        install(site)
    run = status["run"]
    assert (run["id"], run["attempt"]) == (began["id"], began["attempt"]) == ("1", 1)
    assert run["startedAt"] == began["startedAt"]
    assert status["indexed"] == TEXTS
    shelf.assert_whole(names)


def left_behind(site: Site) -> list[str]:
    """What is in Telecine's own Kubernetes namespace."""
    kinds = "deployments,jobs,pods,services,secrets,serviceaccounts,roles,rolebindings"
    names = site.kubectl("get", kinds, "-n", SYSTEM, "-o", "name").split()
    return sorted(name for name in names if name != "serviceaccount/default")


def test_after_an_uninstall_resources_can_go_and_an_install_finds_the_index(
    site: Site, shelf: Shelf
) -> None:
    names = fill(site, shelf, 5)
    shelf.create_sync()
    shelf.wait(indexed=5)
    before = {record.id: record.extracted_at for record in shelf.records().values()}
    namespace = shelf.resources.namespace
    uninstall(site)
    try:
        # The resources stay, and nothing holds them back from going.
        listed = site.kubectl("get", "tns,tbucket,tconn,tsync", "-n", namespace, "-o", "json")
        assert [b["metadata"].get("finalizers") for b in json.loads(listed)["items"]] == [None] * 4
        site.kubectl("delete", "tsync", shelf.name, "-n", namespace, "--timeout=30s")
        eventually(lambda: left_behind(site) == ["secret/weaviate"], what="nothing else is left")
    finally:
        install(site)
    shelf.create_sync()
    status = shelf.wait(indexed=5)
    assert status["run"]["plan"]["add"] == 0
    assert before == {record.id: record.extracted_at for record in shelf.records().values()}
    shelf.assert_whole(names)
    eventually(lambda: shelf.ready().get("status") == "True")
