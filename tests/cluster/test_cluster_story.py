"""A team's first day: install, apply, search, upgrade."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.cluster.site import ROOT, Site
from tests.integration.operator_process import Resources, eventually

TEXTS = ROOT / "examples" / "quickstart" / "texts" / "bucket"


def telecine(site: Site, *line: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("telecine")), *line],
        env={**os.environ, **site.variables()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_applied_and_searched(site: Site, resources: Resources) -> None:
    bucket = f"shelves-{resources.namespace}"
    store = site.s3()
    store.create_bucket(Bucket=bucket)
    for path in TEXTS.rglob("*.txt"):
        store.put_object(Bucket=bucket, Key=str(path.relative_to(TEXTS)), Body=path.read_bytes())
    resources.delete("Namespace", "library")
    eventually(lambda: not resources.exists("Namespace", "library"))
    for path in sorted((ROOT / "examples" / "cluster").glob("*.yaml")):
        body = yaml.safe_load(path.read_text())
        if body["kind"] == "Connection":
            body["spec"]["s3"] |= {"endpoint": site.inside("s3", 5000), "bucket": bucket}
        body["metadata"]["namespace"] = resources.namespace
        site.apply(body)
    where = ("-n", resources.namespace)
    site.kubectl("wait", *where, "--for=condition=Ready", "tsync/fiction", "--timeout=60s")
    jobs = json.loads(site.kubectl("get", "jobs", *where, "-o", "json"))["items"]
    assert {job["metadata"]["name"] for job in jobs} == {"fiction-1-1-sync", "fiction-1-1-extract"}
    (pods,) = (j["spec"]["completions"] for j in jobs if j["spec"]["completionMode"] == "Indexed")
    assert pods == 1  # seven texts are one chunk
    found = telecine(
        site, "search", "-N", resources.namespace, "-o", "json", "a white whale that is hunted"
    )
    assert "moby-dick" in json.dumps(json.loads(found)[0])
    print(site.kubectl("get", "tns,tbucket,tconn,tsync,jobs,pods", *where))
