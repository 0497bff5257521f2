"""A bucket of a real server (moto) as a source."""

from __future__ import annotations

import pytest
from conformance import SECRET, MetadataConformance, NetworkedConformance, Source
from scripted_s3 import (
    ROLE,
    Reply,
    ScriptedS3,
    broken_after,
    failure,
    refusal,
    unused_endpoint,
)
from telecine.api.connection import S3Config
from telecine.dev.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from telecine.providers.base import Provider, ProviderError
from telecine.providers.s3 import S3Provider

KEYS = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}


class S3Bucket(Source):
    def __init__(self, server: S3Server, bucket: str, scripted: ScriptedS3) -> None:
        self.client, self.bucket = server.client(), bucket
        self._scripted = scripted
        self.provider = S3Provider(S3Config(bucket=bucket, endpoint=server.endpoint), KEYS)

    def put(self, asset_id: str, content: bytes, metadata: dict[str, str] | None = None) -> None:
        before = self._modified(asset_id) if metadata else None
        # Time stamps of S3 have whole seconds.
        while True:
            self.client.put_object(
                Bucket=self.bucket, Key=asset_id, Body=content, Metadata=metadata or {}
            )
            if before is None or self._modified(asset_id) != before:
                return

    def _modified(self, key: str) -> object:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key).get("Contents", [])
        return found[0]["LastModified"] if found else None

    def delete(self, asset_id: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=asset_id)

    def breaking_half_way(self) -> Provider:
        self._scripted.answer = broken_after(
            Reply(500, "<Error><Code>InternalError</Code></Error>")
        )
        return self._scripted.provider()


@pytest.fixture
def source(s3_server: S3Server, s3_bucket: str, scripted: ScriptedS3) -> S3Bucket:
    return S3Bucket(s3_server, s3_bucket, scripted)


class TestS3(NetworkedConformance, MetadataConformance):
    # Not "new\nline": the web framework under moto has no route to it; see below.
    awkward_names = (
        *NetworkedConformance.awkward_names,
        "a//b",
        "./dot",
        "x/../y",
        "/leading",
        "folder/",
        "control\x7f.txt",
        "k" * 900,
    )

    @pytest.fixture
    def source(self, s3_server: S3Server, s3_bucket: str, scripted: ScriptedS3) -> S3Bucket:
        return S3Bucket(s3_server, s3_bucket, scripted)

    @pytest.fixture
    def with_wrong_credentials(self, scripted: ScriptedS3) -> Provider:
        scripted.answer = lambda _: refusal(
            403, "SignatureDoesNotMatch", f"The signature of {SECRET} does not match."
        )
        return scripted.provider(
            {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": SECRET}
        )

    @pytest.fixture
    def unreachable(self) -> Provider:
        config = S3Config(bucket="shelf", endpoint=unused_endpoint())
        return S3Provider(config, KEYS, attempts=1)


def test_describing_adds_headers_user_metadata_and_tags(source: S3Bucket) -> None:
    source.client.put_object(
        Bucket=source.bucket,
        Key="a.mp4",
        Body=b"x",
        ContentType="video/mp4",
        CacheControl="no-cache",
        Metadata={"Director": "Melies", "year": "1902"},
        Tagging="genre=fiction&rights=public%20domain",
    )
    listed = source.listed()["a.mp4"]
    assert not listed.complete
    plain = source.provider.describe(listed)
    assert plain.mime_type == "video/mp4"
    assert plain.metadata is not None
    assert plain.metadata["cache_control"] == "no-cache"
    assert plain.metadata["metadata"]["year"] == "1902"
    assert plain.metadata["metadata"]["director"] == "Melies"
    assert "tags" not in plain.metadata
    tagged = source.provider.describe(listed, frozenset({"tags"}))
    assert tagged.metadata is not None
    assert tagged.metadata["tags"] == {"genre": "fiction", "rights": "public domain"}
    assert "tags" in source.provider.unversioned


def test_an_s3_url_is_a_source_path(source: S3Bucket) -> None:
    source.put("films/a.mp4", b"x")
    assert set(source.listed(f"s3://{source.bucket}/films/")) == {"films/a.mp4"}
    assert set(source.listed(f"s3://{source.bucket}")) == {"films/a.mp4"}
    assert failure(source.provider, "s3://another/films").reason == "SourcePathInvalid"


def test_a_key_beside_a_folder_of_its_name_is_not_in_that_folder(source: S3Bucket) -> None:
    source.put("films", b"x")
    source.put("films/a.mp4", b"x")
    assert set(source.listed("films")) == {"films/a.mp4"}


def test_a_folder_marker_is_listed_as_unavailable(source: S3Bucket) -> None:
    source.put("films/", b"")
    source.put("films/a.mp4", b"x")
    source.put("odd/", b"content")
    assert {name: asset.unavailable for name, asset in source.listed().items()} == {
        "films/": "folder_marker",
        "films/a.mp4": None,
        "odd/": None,
    }
    assert set(source.listed("films")) == {"films/", "films/a.mp4"}


def test_a_missing_bucket_is_permanent(s3_server: S3Server) -> None:
    provider = S3Provider(S3Config(bucket="no-such-bucket", endpoint=s3_server.endpoint), KEYS)
    error = failure(provider)
    assert (error.reason, error.permanent) == ("BucketNotFound", True)
    with pytest.raises(ProviderError, match="no-such-bucket"):
        provider.check()


def test_a_role_is_assumed_at_a_real_server(source: S3Bucket, s3_server: S3Server) -> None:
    source.put("a.txt", b"x")
    config = S3Config(bucket=source.bucket, endpoint=s3_server.endpoint, role_arn=ROLE)
    provider = S3Provider(config, KEYS)
    assert [asset.id for page in provider.list("") for asset in page] == ["a.txt"]
