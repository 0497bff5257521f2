"""The collection that the tests of the index write documents to."""

from __future__ import annotations

from telecine.index.schema import DocumentCollection
from telecine.planning.types import Property

TEXTS = DocumentCollection(
    "Telecine_index_tests_v1",
    ("text_embedding", "title_embedding"),
    (Property("title", "text", searchable=True), Property("start_time", "number")),
)
