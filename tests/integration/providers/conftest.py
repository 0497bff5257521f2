"""A scripted S3 endpoint for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted_s3 import Reply, ScriptedS3, listing, scripted_s3


@pytest.fixture
def scripted() -> Iterator[ScriptedS3]:
    with scripted_s3(lambda _: Reply(body=listing([]))) as server:
        yield server
