"""The work queue, by a clock of its own."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from telecine.controllers.queue import FRESH, ROUTINE, Priority, WorkQueue, run_workers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, base=5.0, cap=60.0, jitter=0.1, chance=lambda: 0.5)


def take(queue: WorkQueue[str]) -> str | None:
    return queue.get(timeout=0)


def test_a_key_added_twice_comes_out_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert take(queue) == "a"
    queue.done("a")
    assert take(queue) is None


def test_a_key_comes_out_when_it_is_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=10)
    clock.now += 9.9
    assert take(queue) is None
    clock.now += 0.2
    assert take(queue) == "a"


def test_an_earlier_due_time_wins(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=300)
    queue.add("a", after=10)
    queue.add("a", after=200)
    clock.now += 10
    assert take(queue) == "a"
    queue.done("a")
    clock.now += 1000
    assert take(queue) is None


def test_fresh_keys_go_before_routine_ones(queue: WorkQueue[str]) -> None:
    for number in range(100):
        queue.add(f"old-{number}", priority=ROUTINE)
    queue.add("new", priority=FRESH)
    assert take(queue) == "new"


def test_a_routine_key_that_changes_becomes_fresh(queue: WorkQueue[str], clock: Clock) -> None:
    for name in ("a", "b", "c"):
        queue.add(name, priority=ROUTINE)
    clock.now += 5
    queue.add("c", priority=FRESH)
    assert [take(queue) for _ in range(3)] == ["c", "a", "b"]


def test_a_key_is_never_worked_on_twice_at_once_and_runs_again_afterwards(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    assert take(queue) == "a"
    queue.add("a")
    assert take(queue) is None
    queue.done("a")
    assert take(queue) == "a"
    queue.done("a")
    assert take(queue) is None


def test_backoff_doubles_up_to_its_cap_and_begins_anew_after_success(
    queue: WorkQueue[str],
) -> None:
    delays = [queue.retry("a") for _ in range(6)]
    assert delays == pytest.approx([5.25, 10.5, 21.0, 42.0, 63.0, 63.0])
    queue.forget("a")
    assert queue.retry("a") == pytest.approx(5.25)


def test_a_key_that_fails_a_thousand_times_still_backs_off(queue: WorkQueue[str]) -> None:
    for _ in range(1000):
        delay = queue.retry("a")
    assert delay == pytest.approx(63.0)


def test_a_change_does_not_wait_for_the_backoff(queue: WorkQueue[str]) -> None:
    queue.retry("a")
    queue.add("a")
    assert take(queue) == "a"


def test_a_discarded_key_does_not_come_out(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=5)
    queue.add("b")
    assert take(queue) == "b"
    queue.add("b")
    queue.discard("a")
    queue.discard("b")
    queue.done("b")
    clock.now += 100
    assert take(queue) is None
    assert len(queue) == 0


def test_thousands_of_postponements_of_few_keys_stay_small(
    queue: WorkQueue[str], clock: Clock
) -> None:
    for number in range(20_000):
        queue.add("a", after=86_400 - number)
    assert len(queue._later) + len(queue._ready) < 200


def test_a_closed_queue_lets_its_waiters_go(queue: WorkQueue[str]) -> None:
    got: list[str | None] = ["unset"]
    thread = threading.Thread(target=lambda: got.append(queue.get()))
    thread.start()
    queue.close()
    thread.join(5)
    assert got == ["unset", None]


def test_workers_go_on_after_a_reconcile_that_raises() -> None:
    queue: WorkQueue[str] = WorkQueue(base=0.01, cap=0.01)
    seen: list[str] = []
    ended = threading.Event()

    def reconcile(key: str) -> None:
        seen.append(key)
        if len(seen) == 1:
            raise RuntimeError("first time")
        ended.set()

    threads = run_workers(queue, reconcile, 2)
    queue.add("a")
    assert ended.wait(5)
    queue.close()
    for thread in threads:
        thread.join(5)
    assert seen == ["a", "a"]


def test_several_threads_share_keys_without_overlap() -> None:
    queue: WorkQueue[int] = WorkQueue()
    running: set[int] = set()
    overlaps: list[int] = []
    counts: dict[int, int] = {}
    mutex = threading.Lock()

    def reconcile(key: int) -> None:
        with mutex:
            if key in running:
                overlaps.append(key)
            running.add(key)
        with mutex:
            counts[key] = counts.get(key, 0) + 1
            running.discard(key)

    threads = run_workers(queue, reconcile, 4)
    for number in range(2000):
        queue.add(number % 7)
    deadline = time.monotonic() + 10
    while len(queue) and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    queue.close()
    for thread in threads:
        thread.join(5)
    assert not overlaps
    assert set(counts) == set(range(7))


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls, against a list that is searched through each time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[int] = WorkQueue(clock=self.clock)
        self.waiting: dict[int, tuple[float, Priority]] = {}
        self.running: dict[int, tuple[float, Priority] | None] = {}

    @rule(
        key=st.integers(0, 5),
        after=st.sampled_from([0.0, 1.0, 7.0, 60.0]),
        priority=st.sampled_from(Priority),
    )
    def add(self, key: int, after: float, priority: Priority) -> None:
        self.queue.add(key, after, priority)
        place = self.running if key in self.running else self.waiting
        old = place.get(key)
        due = self.clock.now + after
        place[key] = (due, priority) if old is None else (min(old[0], due), min(old[1], priority))

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def get(self) -> None:
        key = self.queue.get(timeout=0)
        ready = {k: v for k, v in self.waiting.items() if v[0] <= self.clock.now}
        if not ready:
            assert key is None
            return
        assert key in ready
        assert ready[key][1] == min(priority for _, priority in ready.values())
        del self.waiting[key]
        self.running[key] = None

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        again = self.running.pop(key)
        if again is not None:
            self.waiting[key] = again

    @rule(key=st.integers(0, 5))
    def discard(self, key: int) -> None:
        self.queue.discard(key)
        self.waiting.pop(key, None)
        if key in self.running:
            self.running[key] = None

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == len(self.waiting) + len(self.running)


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrderOfCalls = QueueMachine.TestCase
