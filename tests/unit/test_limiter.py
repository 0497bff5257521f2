"""A rate limit that threads and processes keep together."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.providers.limiter import RateLimiter


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def made(folder: Path, clock: Clock, rate: float = 5, burst: int = 5) -> RateLimiter:
    return RateLimiter("mux", rate, burst, folder=folder, clock=clock, sleep=clock.sleep)


def test_a_burst_goes_at_once_and_the_rest_at_the_rate(tmp_path: Path) -> None:
    clock = Clock()
    limiter = made(tmp_path, clock)
    times = []
    for _ in range(15):
        limiter.wait()
        times.append(round(clock.now - 1000, 3))
    assert times[:5] == [0.0] * 5
    assert times[-1] == pytest.approx(2.0)


@given(st.lists(st.floats(0, 2), max_size=40), st.integers(1, 10), st.integers(1, 6))
def test_never_more_than_burst_and_rate_allow(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[float], rate: int, burst: int
) -> None:
    clock = Clock()
    limiter = made(tmp_path_factory.mktemp("limit"), clock, rate, burst)
    times = []
    for gap in gaps:
        clock.now += gap
        limiter.wait()
        times.append(clock.now)
    for first in range(len(times)):
        for last in range(first, len(times)):
            allowed = burst + rate * (times[last] - times[first])
            assert last - first + 1 <= allowed + 1e-6


def test_two_limiters_of_one_name_share_it_and_others_do_not(tmp_path: Path) -> None:
    clock = Clock()
    first, second = made(tmp_path, clock, burst=1), made(tmp_path, clock, burst=1)
    other = RateLimiter("another", 5, folder=tmp_path, clock=clock, sleep=clock.sleep)
    assert first.wait() == 0
    assert other.wait() == 0
    assert second.wait() == pytest.approx(0.2)


def test_a_pause_holds_for_everyone(tmp_path: Path) -> None:
    clock = Clock()
    made(tmp_path, clock).pause(7)
    assert made(tmp_path, clock).wait() == pytest.approx(7)


def test_times_of_another_boot_hold_nobody_up(tmp_path: Path) -> None:
    clock = Clock()
    made(tmp_path, clock).pause(50)
    clock.now = -90_000.0
    assert made(tmp_path, clock).wait() == 0


def test_an_early_reboot_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.now = 1800.0
    made(tmp_path, clock).wait()
    made(tmp_path, clock).pause(50)
    monkeypatch.setattr("telecine.providers.limiter._boot", lambda: b"another!")
    clock.now = 20.0
    assert made(tmp_path, clock).wait() == 0
    made(tmp_path, clock).pause(7)
    assert made(tmp_path, clock).wait() == pytest.approx(7)


def test_on_a_full_disk_it_holds_within_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        made(tmp_path, clock, burst=1).wait()
        assert made(tmp_path, clock, burst=1).wait() == pytest.approx(0.2)
    assert made(tmp_path, clock, burst=1).wait() == pytest.approx(0.2), "and goes on from there"


def test_without_a_directory_it_holds_within_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = Clock()
    first, second = (made(tmp_path / "file" / "under", clock, burst=1) for _ in range(2))
    first.wait()
    assert second.wait() == pytest.approx(0.2)


def test_processes_share_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from telecine.providers.limiter import RateLimiter\n"
        "limiter = RateLimiter('shared', 50, 1, folder=Path(sys.argv[1]))\n"
        "import time; print(*[(limiter.wait(), time.monotonic())[1] for _ in range(10)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    times = sorted(float(t) for one in running for t in one.communicate()[0].split())
    assert len(times) == 30
    assert times[-1] - times[0] >= 29 / 50 - 0.05


def test_what_would_wait_too_long_does_not_wait_at_all(tmp_path: Path) -> None:
    clock = Clock()
    made(tmp_path, clock).pause(500)
    with pytest.raises(TimeoutError, match="500 s"):
        made(tmp_path, clock).wait(120)
    assert clock.now == 1000.0
