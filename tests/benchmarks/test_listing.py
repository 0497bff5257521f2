"""Listing and diffing an S3 bucket, against boto3's paginator and two dictionaries."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from moto import mock_aws
from telecine.api.bucket import BucketSpec
from telecine.api.connection import S3Config
from telecine.api.namespace import FeatureExtractor
from telecine.api.sync import SyncSpec
from telecine.planning.identity import ids_for, owner_id, recipe
from telecine.planning.types import Action, Decision, ObjectRecord, ObjectState, Reason
from telecine.providers.s3 import S3Provider
from telecine.workers.planner import Plan, make_plan, rules_of, stream_listing
from telecine.workers.protocol import Job
from telecine.workers.spool import Spool
from telecine.workers.sync import pending_record

from tests.benchmarks.measure import alternate, compare, scaled, tell

pytestmark = pytest.mark.timeout(1200)
PAGES = scaled(100)
KEYS = 1000 * PAGES
BUCKET = "archive"
GOAL = "at least 1 of bare"
CREDENTIALS: dict[str, Any] = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of so many keys that answers faster than anyone asks."""
    folder = tmp_path_factory.mktemp("pages")
    template = recorded_page()
    for number in range(PAGES):
        (folder / f"{number}.xml").write_text(page(template, number))
    command = [sys.executable, str(Path(__file__).with_name("replay.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def recorded_page() -> str:
    """A full and truncated page as moto gives it, of keys `videos/0000/...`."""
    bodies: list[str] = []
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", **CREDENTIALS)
        client.create_bucket(Bucket=BUCKET)
        for number in range(1001):
            key = f"videos/0000/2026-05-17 Reel {number:04d}.mp4"
            client.put_object(Bucket=BUCKET, Key=key, Body=str(number).encode())
        client.meta.events.register(
            "before-parse.s3.ListObjectsV2",
            lambda response_dict, **_: bodies.append(response_dict["body"].decode()),
        )
        client.list_objects_v2(Bucket=BUCKET, EncodingType="url")
    (body,) = bodies
    assert body.count("<Contents>") == 1000
    return body


def page(template: str, number: int) -> str:
    """The page of that number: keys, ETags and tokens of its own."""
    body = template.replace("videos/0000/", f"videos/{number:04d}/")
    body = re.sub(r'(<ETag>(?:"|&quot;))[0-9a-f]{4}', rf"\g<1>{number:04x}", body)
    token = f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
    if number == PAGES - 1:
        token, body = "", body.replace("<IsTruncated>true<", "<IsTruncated>false<")
    body, changed = re.subn(r"<NextContinuationToken>.*?</NextContinuationToken>", token, body)
    assert changed == 1
    return body


@pytest.fixture(scope="module")
def job(endpoint: str) -> Job:
    secret = {"access_key_id": "bench", "secret_access_key": "bench"}
    return Job(
        kube_namespace="media",
        sync_name="archive",
        sync=SyncSpec.model_validate(
            {"bucketRef": {"name": "films"}, "connectionRef": {"name": "store"}}
        ),
        bucket_name="films",
        bucket=BucketSpec.model_validate(
            {"namespaceRef": {"name": "library"}, "blobType": "video"}
        ),
        connection_name="store",
        namespace_name="library",
        tenant="media_library",
        owner=owner_id("", "media", "films"),
        recipes=(recipe(FeatureExtractor(name="text_extractor")),),
        run="1.1",
        provider=S3Provider(S3Config(bucket=BUCKET, endpoint=endpoint), secret),
        index=cast("Any", None),  # the ledger's rows are given
    )


@pytest.fixture(scope="module")
def ledger(job: Job) -> list[ObjectRecord]:
    """A row for every key, as a finished run leaves it, in the order of Weaviate's cursor."""
    identify = ids_for(job.kube_namespace, job.bucket_name, job.connection_name)
    rules = rules_of(job)
    rows = []
    for assets in job.provider.list(""):
        for asset in assets:
            new = Decision(Action.ADD, Reason.NEW, identify(asset.id), asset, None, extract=True)
            rows.append(
                replace(
                    pending_record(job, new, rules, 0),
                    state=ObjectState.COMPLETED,
                    recipes=[r.key for r in job.recipes],
                    content_hash="0" * 64,
                )
            )
    return sorted(rows, key=lambda row: row.id.int)


def planned(job: Job, ledger: list[ObjectRecord]) -> Plan:
    with Spool() as spool:
        assert stream_listing(job, spool, lambda _: None) == KEYS
        return make_plan(job, spool, indexed=iter(ledger))


def paginated(endpoint: str) -> dict[str, str]:
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint, **CREDENTIALS)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}


def compared(found: dict[str, str], known: dict[str, str]) -> int:
    """How many keys a sync by hand would touch."""
    added = found.keys() - known.keys()
    gone = known.keys() - found.keys()
    changed = [key for key, etag in found.items() if known.get(key, etag) != etag]
    return len(added) + len(gone) + len(changed)


def test_listing_and_diffing_against_boto3_and_a_dict(
    endpoint: str, job: Job, ledger: list[ObjectRecord]
) -> None:
    known = paginated(endpoint)
    summary = planned(job, ledger).summary
    assert (summary.listed, summary.keep) == (KEYS, KEYS)
    assert len(known) == KEYS
    assert {row.asset_id for row in ledger} == known.keys()

    def bare() -> None:
        assert compared(paginated(endpoint), known) == 0

    ours, plain, again = alternate(lambda: planned(job, ledger), bare, bare)
    compare(f"list and diff {KEYS:,} S3 keys", ours, plain, KEYS, "keys", GOAL)
    tell("list and diff, bare against itself (noise)", ratio=again.speed(plain))


def test_listing_alone_and_planning_alone(
    endpoint: str, job: Job, ledger: list[ObjectRecord]
) -> None:
    def listing() -> None:
        assert sum(map(len, job.provider.list(""))) == KEYS

    def bare() -> None:
        assert len(paginated(endpoint)) == KEYS

    ours, plain = alternate(listing, bare)
    compare(f"list {KEYS:,} S3 keys", ours, plain, KEYS, "keys", GOAL)

    known = {row.asset_id: row.fingerprint for row in ledger}
    with Spool() as spool:
        stream_listing(job, spool, lambda _: None)

        def plan() -> None:
            assert make_plan(job, spool, indexed=iter(ledger)).summary.keep == KEYS

        def spooling() -> None:
            with Spool() as other:
                stream_listing(job, other, lambda _: None)

        alone, with_spool, in_dicts = alternate(
            plan, spooling, lambda: compared(dict(known), known)
        )
    tell(
        "plan alone, of a sorted spool and a ledger in memory",
        keys_per_s=f"{KEYS / alone.seconds:,.0f}",
    )
    tell("list into the spool", keys_per_s=f"{KEYS / with_spool.seconds:,.0f}")
    tell("compare two dicts alone", keys_per_s=f"{KEYS / in_dicts.seconds:,.0f}")
