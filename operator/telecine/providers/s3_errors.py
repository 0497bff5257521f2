"""What goes wrong with S3, in the words of a condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.redact import redact

#: Error codes of S3 and STS ("Error responses" in the API references) by what they mean here.
_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "InvalidClientTokenId",
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
        "InvalidSecurity",
        "AuthFailure",
        "AuthorizationHeaderMissing",
        "MissingAuthenticationToken",
        "NotSignedUp",
        "AccountProblem",
        "Unauthorized",
        "InvalidIdentityToken",
    }
)
THROTTLED = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "ServiceUnavailable",
        "503",
        "429",
    }
)
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
    }
)
_GONE = frozenset(
    {
        "NoSuchKey",
        "NoSuchVersion",
        "PreconditionFailed",
        "404",
        "412",
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "401",
        "403",
    }
)

#: What a request, or the reading of an answer, may raise; RuntimeError is botocore's for
#: credentials that are expired when they are fetched.
FAULTS = (boto.BotoCoreError, boto.ClientError, HTTPError, OSError, ValueError, RuntimeError)


class S3Errors:
    """Translates for one Connection: its secret is what messages must not contain."""

    def __init__(self, bucket: str, secret: Mapping[str, str]) -> None:
        self._bucket, self._secret = bucket, secret

    @contextmanager
    def translated(self, key: str | None = None) -> Iterator[None]:
        """Makes faults `ProviderError`s; with a key, those that may be of that object alone."""
        try:
            yield
        except ProviderError:
            raise
        except FAULTS as error:
            raise self.translate(error, key) from error

    def text(self, message: str) -> str:
        """A message fit to be seen."""
        return redact(message, self._secret)

    def translate(self, error: Exception, key: str | None = None) -> ProviderError:
        if isinstance(error, boto.ClientError):
            return self._refused(error, key)
        text = str(error)
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            return self._failed(
                "Unauthorized",
                f"{text}: name a Secret in secretRef, or give the workload an identity",
                permanent=True,
            )
        if isinstance(
            error, boto.CredentialRetrievalError | boto.MetadataRetrievalError | RuntimeError
        ):
            return self._failed("CredentialsUnavailable", text)
        if isinstance(error, boto.ParamValidationError | ValueError):
            return self._failed("InvalidConfiguration", text, permanent=key is None, key=key)
        if isinstance(error, boto.FlexibleChecksumError):
            return self._failed("ChecksumMismatch", text, key=key)
        if key is not None and isinstance(
            error, boto.IncompleteReadError | boto.ResponseStreamingError
        ):
            return self._failed("ReadInterrupted", text, key=key)
        return self._failed("Unreachable", text)

    def _refused(self, error: boto.ClientError, key: str | None) -> ProviderError:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = f"{code}: {told.get('Message') or 'no message'}"
        if error.operation_name == "AssumeRole" and status < 500:
            return self._failed(
                "Unauthorized", f"the role of roleArn cannot be assumed: {text}", permanent=True
            )
        if code in _CREDENTIALS or (status == 401 and code not in _DENIED):
            return self._unauthorized(text)
        if code == "NoSuchBucket":
            return self._failed("BucketNotFound", f"{self._bucket}: {text}", permanent=True)
        if code in _WRONG_REGION or status in (301, 307):
            return self._failed("WrongRegion", _with_region(text, error), permanent=True)
        if code in THROTTLED or status in (429, 503):
            return self._failed("Throttled", text)
        if code == "RequestTimeTooSkewed":
            return self._failed("ClockSkewed", f"{text} Check the clocks of both sides.")
        if status >= 500 and status != 501:
            return self._failed("SourceUnavailable", text)
        if key is not None:
            return self._refused_object(code, status, text, key)
        if code in _DENIED or status == 403:
            return self._unauthorized(text)
        if code in _GONE:
            return self._failed("BucketNotFound", f"{self._bucket}: {text}", permanent=True)
        return self._failed("SourceRefused", text, permanent=status == 501)

    def _refused_object(self, code: str, status: int, text: str, key: str) -> ProviderError:
        if code in _GONE or status in (404, 412):
            return AssetChangedError(self.text(f"{key} is gone or was replaced: {text}"))
        if code == "InvalidObjectState":
            return self._failed("Archived", f"{text} Restore it first.", key=key)
        if code in _DENIED or status == 403:
            return self._failed("AccessDenied", text, key=key)
        return self._failed("SourceRefused", text, key=key)

    def _unauthorized(self, text: str) -> ProviderError:
        hint = (
            "check access_key_id, secret_access_key (and session_token) of the Secret, and that "
            "they may list the bucket and read its objects"
            if self._secret
            else "check that the workload's identity may list the bucket and read its objects"
        )
        # First the hint: the provider's words may be long enough to be cut.
        return self._failed("Unauthorized", f"{hint}. {text}", permanent=True)

    def _failed(
        self, reason: str, text: str, *, permanent: bool = False, key: str | None = None
    ) -> ProviderError:
        message = self.text(text if key is None else f"{key}: {text}")
        return ProviderError(reason, message, permanent=permanent, asset_only=key is not None)


def _with_region(text: str, error: boto.ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
    return f"{text} Set region to {region}." if region else f"{text} Check region and endpoint."
