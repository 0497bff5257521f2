"""What runs do, on a real Weaviate and a real directory, without an operator around them."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

from telecine.api.namespace import FeatureExtractor
from telecine.index.search import Mode

from tests.integration.harness import PRIDE, RABBIT, WHALE, World, idle, run_job


def test_a_folder_is_indexed_and_the_right_passage_is_found(world: World) -> None:
    world.write("whale.txt", WHALE)
    world.write("sub/rabbit.txt", RABBIT)
    ran = world.run()
    assert (ran.plan.add, ran.progress.extracted, ran.progress.failed) == (2, 2, 0)
    world.assert_whole({"whale.txt", "sub/rabbit.txt"})
    assert world.search("an animal that is late")[0].path == "sub/rabbit.txt"
    assert world.search("going to sea")[0].path == "whale.txt"


def test_a_second_run_over_unchanged_sources_downloads_and_embeds_nothing(world: World) -> None:
    for number in range(30):
        world.write(f"{number}.txt", f"{WHALE} {number}")
    world.run()
    again = world.run()
    assert idle(again)
    assert (again.plan.keep, again.plan.add, again.plan.change) == (30, 0, 0)


def test_a_changed_asset_is_replaced(world: World) -> None:
    world.write("a.txt", WHALE)
    world.write("b.txt", PRIDE)
    world.run()
    world.write("a.txt", RABBIT)
    ran = world.run()
    assert (ran.plan.change, ran.progress.downloads) == (1, 1)
    world.assert_whole({"a.txt", "b.txt"})
    assert world.search("rabbit", Mode.KEYWORD)[0].path == "a.txt"
    assert not world.search("Ishmael", Mode.KEYWORD)


def test_a_changed_asset_is_replaced_without_a_moment_where_search_finds_neither(
    world: World,
) -> None:
    world.write("a.txt", f"common words. {WHALE} " * 40)
    world.run()
    misses, searches, stop = [], 0, threading.Event()

    def look() -> None:
        nonlocal searches
        while not stop.is_set():
            searches += 1
            if not world.search("common words", Mode.KEYWORD):
                misses.append(searches)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for number in range(4):
            world.write("a.txt", f"common words. {RABBIT} {number} " * 40)
            assert world.run().progress.extracted == 1
    finally:
        stop.set()
        thread.join()
    assert searches > 20
    assert not misses
    world.assert_whole({"a.txt"})


def test_prune_off_keeps_what_is_gone_at_the_source(world: World) -> None:
    world.write("a.txt", PRIDE)
    world.write("b.txt", WHALE)
    world.run(prune=False)
    (world.folder / "b.txt").unlink()
    assert world.run(prune=False).plan.unindex == 0
    world.assert_whole({"a.txt", "b.txt"})


def test_a_filter_changed_in_the_spec_takes_effect_on_the_next_run(world: World) -> None:
    for name in ("a.txt", "b.md", "c.txt"):
        world.write(name, f"{PRIDE} {name}")
    world.run()
    only_text = {"fileFilters": {"extensions": ["txt"]}}
    drifted = world.run(**only_text)
    assert (drifted.plan.drifted, drifted.plan.unindex) == (1, 0)
    world.assert_whole({"a.txt", "b.md", "c.txt"})
    reconciled = world.run(**only_text, reconcileOnSync=True)
    assert (reconciled.plan.unindex, reconciled.unindexed) == (1, 1)
    assert idle(reconciled)
    world.assert_whole({"a.txt", "c.txt"})
    wider = world.run()
    assert wider.plan.add == 1
    assert wider.progress.downloads == 1


def test_drift_policy_warn_changes_nothing(world: World) -> None:
    world.write("a.txt", PRIDE)
    world.run()
    world.write("b.txt", WHALE)
    (world.folder / "a.txt").unlink()
    ran = world.run(driftPolicy="Warn", deleteLimitPercent=100)
    assert (ran.plan.add, ran.plan.unindex, ran.progress.total) == (1, 1, 0)
    world.assert_whole({"a.txt"})


def test_max_objects_per_run_defers_the_rest(world: World) -> None:
    for number in range(7):
        world.write(f"{number}.txt", f"{PRIDE} {number}")
    first = world.run(maxObjectsPerRun=3)
    assert (first.plan.add, first.plan.deferred, first.progress.extracted) == (3, 4, 3)
    world.run(maxObjectsPerRun=3)
    assert world.run(maxObjectsPerRun=3).plan.add == 1
    world.assert_whole({f"{n}.txt" for n in range(7)})


def test_a_touched_file_with_the_same_content_is_not_embedded_again(world: World) -> None:
    path = world.write("a.txt", WHALE)
    world.run()
    os.utime(path, (1_000_000_000, 1_000_000_000))
    ran = world.run()
    assert (ran.progress.downloads, ran.progress.embeddings, ran.progress.extracted) == (1, 0, 1)
    assert idle(world.run())
    world.assert_whole({"a.txt"})


def test_a_failing_change_leaves_the_old_version_searchable(world: World) -> None:
    world.write("a.txt", WHALE)
    world.run()
    world.write("a.txt", b"\x00\x01\x02\xff\xfe binary " * 50)
    ran = world.run()
    assert ran.progress.failed == 1
    assert world.search("Ishmael", Mode.KEYWORD)[0].path == "a.txt"


def test_an_object_that_several_syncs_select_goes_when_none_selects_it(world: World) -> None:
    world.write("shared/a.txt", WHALE)
    world.write("b.txt", PRIDE)
    world.run("everything")
    adopted = world.run("markdown", fileFilters={"includePatterns": ["shared/*"]})
    assert (adopted.plan.adopt, adopted.plan.add) == (1, 0)
    assert idle(adopted)
    record = world.record("shared/a.txt")
    assert record is not None
    assert record.syncs == ["everything", "markdown"]
    narrower = {"fileFilters": {"excludePatterns": ["shared/*"]}, "reconcileOnSync": True}
    assert world.run("everything", **narrower).unindexed == 0
    world.assert_whole({"shared/a.txt", "b.txt"})
    none = {"fileFilters": {"includePatterns": ["nothing"]}, "reconcileOnSync": True}
    assert world.run("markdown", **none, deleteLimitPercent=100).unindexed == 1
    world.assert_whole({"b.txt"})


def test_changed_extractor_parameters_extract_again(world: World) -> None:
    world.write("a.txt", "\n\n".join(f"{WHALE} Paragraph {n}." for n in range(30)))
    world.run()
    before = world.record("a.txt")
    assert before is not None
    smaller = FeatureExtractor(name="text_extractor", parameters={"chunk_size": 300})
    other = replace(world, extractors=(smaller,))
    ran = other.run()
    assert (ran.plan.change, ran.progress.extracted) == (1, 1)
    after = world.record("a.txt")
    assert after is not None
    assert after.documents > before.documents
    other.assert_whole({"a.txt"})
    assert idle(other.run())


def test_source_metadata_reaches_documents_and_search_results_unchanged(world: World) -> None:
    world.write("a.txt", WHALE)
    world.run()
    record = world.record("a.txt")
    hit = world.search("whale")[0]
    assert record is not None
    listed = next(world.provider.list(""))[0]
    assert hit.source_metadata == record.source_metadata == listed.metadata


AWKWARD = [
    "with space.txt", "new\nline.txt", "tab\t.txt", "ünïcödé.txt", "u\u0308nfc.txt", "日本語.txt",
    "emoji 🎬.txt", "quote'\".txt", "per%20cent.txt", "plus+and&.txt", "[brackets]{braces}.txt",
    "back\\slash.txt", "-dash.txt", ".hidden.txt", "a" * 200 + ".txt", "rtl \u202e.txt",
]  # fmt: skip


def test_keys_with_newlines_and_any_unicode_are_handled(world: World) -> None:
    for name in AWKWARD:
        world.write(name, f"{RABBIT} {name}")
    ran = world.run()
    assert ran.progress.failed == 0
    world.assert_whole(set(AWKWARD))
    assert idle(world.run())


def test_awkward_contents_fail_with_a_reason_each_or_are_handled(world: World) -> None:
    cases: dict[str, tuple[bytes, str | None]] = {
        "empty.txt": (b"", "EmptyContent"),
        "blank.txt": (b" \n\t ", "EmptyContent"),
        "binary.txt": (bytes(range(256)) * 20, ""),
        "utf16.txt": (WHALE.encode("utf-16"), None),
        "latin1.txt": ("Ein schöner Tag für große Wale. ".encode("latin-1") * 20, ""),
        "broken.json": (b'{"a": ', "InvalidJson"),
        "line.txt": (b"word " * 20_000, None),
        "solid.txt": (b"x" * 20_000, None),
        "good.txt": (WHALE.encode(), None),
    }
    for name, (content, _) in cases.items():
        world.write(name, content)
    ran = world.run(fileFilters={"maxSize": 10_000_000})
    assert ran.progress.total == len(cases)
    assert ran.progress.extracted + ran.progress.failed == len(cases)
    for name, (_, reason) in cases.items():
        record = world.record(name)
        assert record is not None
        if reason is None:
            assert record.state == "COMPLETED", (name, record.message)
        elif reason:
            assert (record.state, record.reason) == ("FAILED", reason), name
        elif record.state == "FAILED":
            assert record.reason
            assert record.message, name
    assert idle(world.run(fileFilters={"maxSize": 10_000_000}))


def test_an_asset_over_the_size_limit_fails_with_the_remedy(world: World) -> None:
    small = replace(world, limits=replace(world.limits, max_asset_bytes=100))
    world.write("a.txt", WHALE * 10)
    assert small.run().progress.failed == 1
    record = world.record("a.txt")
    assert record is not None
    assert record.reason == "TooLarge"
    assert "maxSize" in record.message


def test_runs_of_two_workers_at_once_end_with_one_index(world: World) -> None:
    names = {f"{n}.txt" for n in range(20)}
    for name in names:
        world.write(name, f"{PRIDE} {name}")
    jobs = [world.job(), world.job()]
    errors: list[BaseException] = []

    def go(job: Any) -> None:

        try:
            run_job(job)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=go, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    world.run()
    world.assert_whole(names)


def test_only_what_carries_our_owner_id_is_deleted(world: World) -> None:
    world.write("a.txt", WHALE)
    world.run()
    record = world.record("a.txt")
    assert record is not None
    world.index.ledger(world.tenant).insert([replace(record, owner="somebody else")])
    (world.folder / "a.txt").unlink()
    world.run(deleteLimitPercent=100)
    assert world.record("a.txt") is not None
