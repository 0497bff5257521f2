"""Documents and search over a real Weaviate."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import pytest
from index_samples import TEXTS
from telecine.index.client import IndexAbsentError, IndexWriteError
from telecine.index.documents import Documents, StoredDocument
from telecine.index.index import Index
from telecine.index.search import Hit

Make = Callable[..., StoredDocument]
QUERY = {"text_embedding": [1.0, 0.0, 0.0]}


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.text for hit in hits]


def ids(documents: Documents) -> set[uuid.UUID]:
    return {document_id for document_id, _, _ in documents.scan()}


def vectors(documents: Documents, ident: uuid.UUID) -> dict[str, list[float]]:
    found = documents._collection.query.fetch_object_by_id(ident, include_vector=True)
    assert found is not None
    return dict(found.vector)  # type: ignore[arg-type]


def test_a_document_comes_back_from_search_with_all_it_carries(
    documents: Documents, document: Make
) -> None:
    metadata = {"title": None, "rate": 23.976, "tags": {"Genre": ["noir", 1]}, "x": "\udc80"}
    written = document(
        "the lamp \udcff flickers",
        properties={"title": "Act \U0001f3ac one", "start_time": 12.5},
        path="reels/\udc80\n.txt",
        source_metadata=metadata,
        fields={"season": 2},
    )
    documents.write([written])
    (hit,) = documents.search("lamp", QUERY, mode="hybrid", limit=5)
    assert (hit.document_id, hit.object_id) == (written.id, written.object_id)
    assert (hit.text, hit.path, hit.bucket) == (written.document.text, written.path, "films")
    assert hit.properties == {"title": "Act \U0001f3ac one", "start_time": 12.5}
    assert hit.source_metadata == metadata
    assert hit.fields == {"season": 2}
    assert list(documents.scan()) == [(written.id, written.object_id, "hash")]


def test_vector_search_ranks_by_cosine_with_higher_scores_first(
    documents: Documents, document: Make
) -> None:
    documents.write(
        [
            document("far", vector=[-1.0, 0.0, 0.0]),
            document("near", vector=[2.0, 0.2, 0.0]),
            document("between", vector=[1.0, 1.0, 0.0]),
        ]
    )
    hits = documents.search(None, QUERY, mode="vector", limit=3)
    assert texts(hits) == ["near", "between", "far"]
    assert hits[0].score > hits[1].score > hits[2].score
    assert hits[1].score == pytest.approx(0.7071, abs=1e-3)
    assert hits[1].explain == "cosine similarity 0.707"


def test_several_named_vectors_count_together(documents: Documents, document: Make) -> None:
    documents.write([document("a", vector=[1.0, 0.0, 0.0]), document("b", vector=[0.0, 1.0, 0.0])])
    query = {"text_embedding": [1.0, 0.0, 0.0], "title_embedding": [0.0, 1.0]}
    for mode in ("vector", "hybrid"):
        hits = documents.search("a", query, mode=mode, limit=2)
        assert texts(hits)[0] == "a"


def test_keyword_search_finds_words_also_in_the_extractors_searchable_outputs(
    documents: Documents, document: Make
) -> None:
    documents.write(
        [
            document("a projector hums"),
            document("silence", properties={"title": "The Projector"}),
            document("nothing of it"),
        ]
    )
    hits = documents.search("PROJECTOR", None, mode="keyword", limit=10)
    assert set(texts(hits)) == {"a projector hums", "silence"}
    assert hits[0].score >= hits[1].score > 0
    assert hits[0].explain.startswith("keyword score ")


def test_hybrid_search_finds_by_words_and_by_vector_and_says_so(
    documents: Documents, document: Make
) -> None:
    documents.write(
        [
            document("by words: sprocket", vector=[0.0, 0.0, 1.0]),
            document("by vector", vector=[1.0, 0.0, 0.0]),
            document("by both: sprocket", vector=[1.0, 0.1, 0.0]),
        ]
    )
    hits = documents.search("sprocket", QUERY, mode="hybrid", limit=3)
    assert texts(hits)[0] == "by both: sprocket"
    assert len(hits) == 3
    assert hits[0].score > hits[1].score >= hits[2].score
    assert "keyword score" in hits[0].explain
    assert "cosine similarity" in hits[0].explain


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"genre": "noir"}, {"one"}),
        ({"genre": "Noir"}, set()),
        ({"tags.year": "1947"}, {"one", "two"}),
        ({"tags.year": "1947", "colour": "false"}, {"one"}),
        ({"cast": "Mitchum"}, {"two"}),
        ({"rate": "23.976"}, {"two"}),
        ({"note": "null"}, {"one"}),
        ({"season": "2"}, {"two"}),
        ({"long": "x" * 2000}, {"two"}),
        ({"long": "x" * 2001}, set()),
        ({"gen": "re=noir"}, set()),
    ],
)
def test_search_filters_by_metadata(
    documents: Documents, document: Make, filters: dict[str, str], found: set[str]
) -> None:
    one = {"genre": "noir", "tags": {"year": 1947}, "colour": False, "note": None}
    two = {"cast": ["Greer", "Mitchum"], "rate": 23.976, "tags": {"year": 1947}, "long": "x" * 2000}
    documents.write(
        [
            document("one", source_metadata=one),
            document("two", source_metadata=two, fields={"season": 2}),
        ]
    )
    for mode in ("hybrid", "vector"):
        hits = documents.search("one two", QUERY, mode=mode, limit=10, filters=filters)
        assert set(texts(hits)) == found


def test_search_can_be_limited_to_one_bucket(documents: Documents, document: Make) -> None:
    documents.write(
        [
            document("reel", bucket="films"),
            document("reel", bucket="stills"),
            document("reel", bucket="films", kube_namespace="other"),
        ]
    )
    assert len(documents.search("reel", QUERY, limit=10)) == 3
    (hit,) = documents.search("reel", QUERY, limit=10, bucket="stills", kube_namespace="media")
    assert hit.bucket == "stills"


@pytest.mark.parametrize(
    ("query", "given", "mode"),
    [(None, QUERY, "hybrid"), ("", {}, "keyword"), ("x", None, "vector"), ("x", {}, "hybrid")],
)
def test_a_search_that_lacks_what_its_mode_needs_is_refused(
    documents: Documents, query: str | None, given: dict[str, list[float]] | None, mode: str
) -> None:
    with pytest.raises(ValueError, match="needs"):
        documents.search(query, given, mode=mode)


def test_odd_queries_are_searched_for_like_any_other(documents: Documents, document: Make) -> None:
    documents.write([document("reel")])
    for query in ("\udc80 reel", '"reel" AND (', "reel\0\n", "é" * 5000 + " reel", "the"):
        assert texts(documents.search(query, QUERY, limit=1)) == ["reel"]


def test_writing_a_document_again_makes_no_second_one(documents: Documents, document: Make) -> None:
    first = document("first")
    second = document("second", id=first.id)
    documents.write([first])
    documents.write([first, second])
    assert documents.count() == 1
    assert texts(documents.search("second", None, mode="keyword")) == ["second"]
    assert documents.search("first", None, mode="keyword") == []


def test_a_refused_document_is_told_and_the_others_are_written(
    documents: Documents, document: Make
) -> None:
    good = [document(f"good {n}") for n in range(5)]
    documents.write(good)
    bad = document("bad", vector=[1.0, 2.0])
    more = document("more")
    with pytest.raises(IndexWriteError) as caught:
        documents.write([bad, more])
    assert [ident for ident, _ in caught.value.failures] == [bad.id]
    assert ids(documents) == {d.id for d in [*good, more]}


def test_a_batch_larger_than_a_message_is_written_in_parts(
    documents: Documents, document: Make
) -> None:
    documents.write([document("reel " * 400_000) for _ in range(60)])
    assert documents.count() == 60


def test_old_documents_go_and_those_of_the_kept_content_and_recipe_stay(
    documents: Documents, document: Make
) -> None:
    mine = uuid.uuid4()
    new = [document(object_id=mine, content_hash="new", recipe="r2") for _ in range(2)]
    old = [
        document(object_id=mine, content_hash="old", recipe="r2"),
        document(object_id=mine, content_hash="new", recipe="r1"),
    ]
    foreign = document(object_id=mine, content_hash="old", owner="them")
    other = document(content_hash="old")
    documents.write([*new, *old, foreign, other])
    owner = "telecine/media/films"
    assert documents.delete_object(mine, keep=("new", "r2"), owner=owner) == 2
    assert ids(documents) == {d.id for d in [*new, foreign, other]}
    assert documents.delete_object(mine, only=("new", "r1")) == 0
    assert documents.delete_object(mine, only=("new", "r2")) == 2
    assert documents.delete_object(mine) == 1
    assert ids(documents) == {other.id}


def test_documents_of_many_objects_go_at_once(documents: Documents, document: Make) -> None:
    docs = [document() for _ in range(30)]
    documents.write(docs)
    going = [d.object_id for d in docs[:20]]
    assert documents.delete_objects([*going, uuid.uuid4()], owner="them") == 0
    assert documents.delete_objects([*going, uuid.uuid4()]) == 20
    assert ids(documents) == {d.id for d in docs[20:]}


def test_an_object_with_more_documents_than_one_call_removes_leaves_none(
    documents: Documents, document: Make
) -> None:
    mine = uuid.uuid4()
    docs = [document("x", object_id=mine) for _ in range(10_050)]
    for doc in docs:
        doc.document.vectors.clear()
    documents.write(docs)
    assert documents.count(mine) == 10_050
    assert documents.delete_object(mine) == 10_050
    assert documents.count() == 0


def test_new_metadata_reaches_documents_and_leaves_text_and_vectors(
    documents: Documents, document: Make
) -> None:
    mine = uuid.uuid4()
    docs = [
        document(f"reel {n}", object_id=mine, vector=[1.0, n, 0.5], source_metadata={"a": "old"})
        for n in range(3)
    ]
    other = document("reel other", source_metadata={"a": "old"})
    documents.write([*docs, other])
    before = {d.id: vectors(documents, d.id) for d in docs}
    assert documents.update_metadata(mine, {"a": "new", "b": [None, 1]}, {"f": True}) == 3
    assert {d.id: vectors(documents, d.id) for d in docs} == before
    hits = documents.search("reel", QUERY, limit=10, filters={"a": "new", "f": "true"})
    assert {(h.document_id, h.text) for h in hits} == {(d.id, d.document.text) for d in docs}
    assert hits[0].source_metadata == {"a": "new", "b": [None, 1]}
    (old,) = documents.search("reel", QUERY, limit=10, filters={"a": "old"})
    assert old.document_id == other.id


def test_new_metadata_reaches_every_document_beyond_the_limit_of_a_query(
    index: Index, tenant: str, document: Make
) -> None:
    documents = Documents(index.session, tenant, TEXTS.name, most=10)
    mine = uuid.uuid4()
    docs = [document(object_id=mine, index=n // 3) for n in range(65)]
    documents.write(docs)
    assert documents.update_metadata(mine, {"a": 1}, {}) == 65
    hits = documents.search(None, QUERY, mode="vector", limit=100, filters={"a": "1"})
    assert len(hits) == 65


def test_a_tenant_that_a_collection_lacks_has_no_documents(index: Index, document: Make) -> None:
    documents = index.documents("no-such-tenant", TEXTS)
    assert documents.count() == 0
    assert list(documents.scan()) == []
    assert documents.delete_object(uuid.uuid4()) == 0
    assert documents.delete_objects([uuid.uuid4()]) == 0
    assert documents.update_metadata(uuid.uuid4(), {}, {}) == 0
    with pytest.raises(IndexAbsentError):
        documents.search("x", QUERY)
    with pytest.raises(IndexAbsentError):
        documents.write([document()])
