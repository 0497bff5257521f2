"""Amazon S3, and every store that speaks its protocol, as a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeAlias

from botocore.exceptions import ClientError

from telecine.api.connection import S3Config
from telecine.planning.types import Asset, SideCaptions
from telecine.providers import s3_listing
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.calls import Calls
from telecine.providers.s3_client import S3Clients
from telecine.providers.s3_errors import S3Errors
from telecine.providers.streams import buffered

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

#: `list` is a method inside of the class.
Page: TypeAlias = list[Asset]
#: Headers of HeadObject that say something about the content, by their name in the metadata.
_HEADERS = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "VersionId": "version_id",
    "WebsiteRedirectLocation": "website_redirect_location",
}
_HEAD_HAS_NO_REASON = frozenset({"400", "403", "404"})


_LINK_SECONDS = 3600


class S3Provider:
    """A bucket; the id of an asset is its key.

    The ETag and the size are the fingerprint; a version adds the time of modification, because
    metadata changes only when an object is written again. Tags change without a trace.
    """

    unversioned: ClassVar[frozenset[str]] = frozenset({"tags"})

    def __init__(
        self,
        config: S3Config,
        secret: Mapping[str, str] | None = None,
        *,
        allow_private: bool = True,
        sts_endpoint: str | None = None,
        attempts: int = 5,
    ) -> None:
        """`sts_endpoint` serves `role_arn`; `attempts` is how often a request is tried."""
        self._bucket = config.bucket
        self._common: dict[str, Any] = {"Bucket": config.bucket}
        if config.request_payer:
            self._common["RequestPayer"] = "requester"
        self._errors = S3Errors(config.bucket, secret or {})
        self.calls = Calls()
        self._clients = S3Clients(
            config,
            secret or {},
            self.calls,
            allow_private=allow_private,
            sts_endpoint=sts_endpoint,
        )
        self._attempts = attempts

    def _client(self) -> S3Client:
        return self._clients.s3(self._attempts)

    def check(self, source_path: str = "") -> str:
        """Lists one key; so few attempts that a status does not wait long."""
        prefix, _ = self._prefix(source_path)
        with self._errors.translated():
            client = self._clients.s3(min(2, self._attempts))
            answer: Any = client.list_objects_v2(
                **self._common, Prefix=prefix, MaxKeys=1, EncodingType="url"
            )
            s3_listing.parse(answer.get("Body", b""), self._bucket)
        where = f"{self._bucket}/{prefix}" if prefix else self._bucket
        return f"s3://{where} can be listed"

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        """Pages of up to 1000 keys.

        `videos`, `/videos`, `videos/` and `s3://bucket/videos/` all mean the keys that begin with
        `videos/`. When there is none and `videos` is itself a key, it is that one object.
        """
        prefix, may_be_key = self._prefix(source_path)
        empty = True
        for page in self._pages(prefix):
            empty = False
            yield page
        if empty and may_be_key:
            yield from self._single(prefix.removesuffix("/"))

    def describe(self, asset: Asset, fields: frozenset[str] = frozenset()) -> Asset:
        """Adds content type, headers, user metadata, and `tags` when asked for.

        Raises:
            AssetChangedError: gone, or other content than was listed.
        """
        with self._errors.translated(asset.id):
            head: Any = self._head(asset)
            etag, size = str(head.get("ETag", "")).strip('"'), int(head["ContentLength"])
            self._require_unchanged(asset, etag, size)
            modified = head["LastModified"]
            metadata = self._described(asset, head, etag, size)
            if "tags" in fields:
                metadata["tags"] = self._tags(asset.id)
        if abs(modified.timestamp() - asset.modified) >= 1.0:
            asset = asset._replace(
                modified=modified.timestamp(),
                version=s3_listing.version(etag, metadata["last_modified"]),
            )
        return asset._replace(mime_type=metadata["content_type"], metadata=metadata, complete=True)

    @contextmanager
    def open(self, asset: Asset) -> Iterator[BinaryIO]:
        """Content; S3 refuses (If-Match) when it is not what the listing told any more."""
        with self._errors.translated(asset.id):
            answer: Any = self._client().get_object(
                **self._common, Key=asset.id, **_if_match(asset)
            )
        with closing(answer["Body"]) as body:
            # A store that ignores If-Match is found out here.
            etag = str(answer.get("ETag", "")).strip('"')
            self._require_unchanged(asset, etag, int(answer["ContentLength"]))

            def read(size: int) -> bytes:
                with self._errors.translated(asset.id), self.calls.answering():
                    return bytes(body.read(size))

            yield buffered(read)

    def link(self, asset: Asset) -> str | None:
        """A signed URL for a GET, good for an hour."""
        with self._errors.translated():
            url: str = self._client().generate_presigned_url(
                "get_object", Params={**self._common, "Key": asset.id}, ExpiresIn=_LINK_SECONDS
            )
            return url

    def captions(self, asset: Asset) -> SideCaptions | None:
        """None: what lies beside a file may be anything."""
        return None

    def _prefix(self, source_path: str) -> tuple[str, bool]:
        """The prefix of a source path, and whether it may name a single key as well."""
        path = source_path
        if path.startswith("s3://"):
            bucket, _, path = path.removeprefix("s3://").partition("/")
            if bucket != self._bucket:
                raise ProviderError(
                    "SourcePathInvalid",
                    f"sourcePath names bucket {bucket[:64]}, the Connection {self._bucket}",
                    permanent=True,
                )
        else:
            path = path.removeprefix("/")
        if not path or path.endswith("/"):
            return path, False
        return f"{path}/", True

    def _pages(self, prefix: str) -> Iterator[Page]:
        # Not around the `yield`: faults of whoever uses the pages are not the source's.
        with self._errors.translated():
            pages = s3_listing.pages(self._client(), self._common, prefix)
        with closing(pages):
            while True:
                with self._errors.translated():
                    page = next(pages, None)
                if page is None:
                    return
                yield page

    def _single(self, key: str) -> Iterator[Page]:
        """The object of exactly that key; as the first of all keys that begin with it."""
        for page in self._pages(key):
            if page[0].id == key:
                yield page[:1]
            return

    def _head(self, asset: Asset) -> Any:
        """HeadObject. Its answers have no body: a refusal's reason is asked for by GetObject."""
        request = {**self._common, "Key": asset.id}
        client = self._client()
        try:
            return client.head_object(**request)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) not in _HEAD_HAS_NO_REASON:
                raise
            client.get_object(**request)["Body"].close()
            raise

    def _described(self, asset: Asset, head: Any, etag: str, size: int) -> dict[str, Any]:
        listed = dict(asset.metadata or {})
        modified = s3_listing.iso(head["LastModified"])
        # The listing may tell fractions of the same second.
        if str(listed.get("last_modified", ""))[:19] == modified[:19]:
            modified = listed["last_modified"]
        storage = head.get("StorageClass") or listed.get("storage_class") or "STANDARD"
        return {
            "bucket": self._bucket,
            "key": asset.id,
            "size": size,
            "etag": etag,
            "last_modified": modified,
            "storage_class": storage,
            "content_type": head.get("ContentType") or "binary/octet-stream",
            "metadata": dict(head.get("Metadata") or {}),
        } | {name: head[header] for header, name in _HEADERS.items() if head.get(header)}

    def _tags(self, key: str) -> dict[str, str]:
        answer = self._client().get_object_tagging(**self._common, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _require_unchanged(self, asset: Asset, etag: str, size: int) -> None:
        if s3_listing.fingerprint(etag, size) != asset.fingerprint:
            raise AssetChangedError(
                self._errors.text(f"{asset.id} was replaced since it was listed")
            )


def _if_match(asset: Asset) -> dict[str, Any]:
    etag = asset.fingerprint.rpartition("-")[0]
    return {"IfMatch": f'"{etag}"'} if etag else {}
