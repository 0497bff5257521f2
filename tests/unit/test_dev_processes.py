"""Names, ports, records and ends of processes, without any server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from telecine.dev import components, crds
from telecine.dev.environment import Instance, State
from telecine.dev.processes import Running, free_ports, is_free, spawn, stop
from telecine.execution.process import start_time

from tests.support import eventually

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def sleeper() -> Iterator[Running]:
    process = subprocess.Popen(["sleep", "600"])
    started = start_time(process.pid)
    assert started is not None
    yield Running("sleeper", process.pid, started)
    process.kill()
    process.wait()


def test_a_running_process_is_stopped_and_named(sleeper: Running) -> None:
    assert stop([sleeper]) == ["sleeper"]
    assert not sleeper.alive


def test_a_recycled_pid_is_left_alone(sleeper: Running) -> None:
    before = Running("etcd", sleeper.pid, sleeper.started - 1)
    assert stop([before]) == []
    assert sleeper.alive


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    process = spawn("stubborn", [sys.executable, "-c", STUBBORN], log)
    eventually(lambda: "ready" in log.read_text(), message="it never ran")
    assert stop([process], seconds=0.1) == ["stubborn"]
    assert not process.alive


def test_a_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    process = spawn("sleeper", ["sleep", "600"], tmp_path / "log")
    try:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    finally:
        stop([process])


def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    for word in ("first", "second"):
        process = spawn("part", ["echo", word], log)
        eventually(lambda: not process.alive)  # noqa: B023
    assert (tmp_path / "part.log.1").read_text() == "first\n"
    assert log.read_text() == "second\n"


def test_free_ports_differ_and_are_out_of_reach_of_outgoing_connections() -> None:
    ports = free_ports(40)
    assert len(set(ports)) == 40
    assert all(is_free(port) for port in ports)
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < lowest


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "A", "a b", "-a", "a" * 64])
def test_a_name_that_could_be_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name of an environment"):
        Instance(name, root=tmp_path)


def test_down_stops_recorded_workers_and_no_others(tmp_path: Path, sleeper: Running) -> None:
    instance = Instance("one", root=tmp_path)
    folder = instance.state_dir / "workers"
    folder.mkdir(parents=True)
    record = {"name": "sync-a", "pid": sleeper.pid, "started": sleeper.started}
    (folder / "sync-a.json").write_text(json.dumps(record))
    (folder / "sync-b.json").write_text(json.dumps({**record, "started": sleeper.started - 1}))
    (folder / "sync-c.json").write_text(json.dumps({**record, "pid": os.getpid(), "started": None}))
    assert instance.down() == ["sync-a"]


def test_a_broken_record_of_a_worker_stops_nothing_else(tmp_path: Path, sleeper: Running) -> None:
    said: list[str] = []
    instance = Instance("one", root=tmp_path, say=said.append)
    folder = instance.state_dir / "workers"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text(json.dumps({"pid": sleeper.pid, "started": sleeper.started}))
    assert instance.down() == ["b"]
    assert any("a.json" in line for line in said)


def test_down_with_delete_leaves_the_other_environments(tmp_path: Path) -> None:
    one, two = (Instance(name, root=tmp_path) for name in ("one", "two"))
    for instance in (one, two):
        instance.down()
        instance.state_dir.mkdir(parents=True)
    one.down(delete=True)
    assert not one.root.exists()
    assert two.root.exists()


def test_down_of_what_never_ran_makes_nothing(tmp_path: Path) -> None:
    instance = Instance("never", root=tmp_path)
    assert instance.down(delete=True) == []
    assert not instance.root.exists()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    instance = Instance("one", root=tmp_path)
    instance.state = State({"etcd": 1}, "token", "key", {"etcd": Running("etcd", 2, 3.5)})
    instance.root.mkdir()
    instance._save()
    assert Instance("one", root=tmp_path).state == instance.state
    assert (instance.root / "state.json").stat().st_mode & 0o777 == 0o600


def test_weaviate_is_open_by_default_and_closed_with_a_key(tmp_path: Path) -> None:
    ports = {port: 1 for keys in components.PORTS.values() for port in keys}
    paths = {n: Path(n) for n in ("etcd", "kube-apiserver", "kube-controller-manager", "weaviate")}
    closed, opened = (
        components.commands(paths, tmp_path, ports, key)["weaviate"].env for key in ("k", None)
    )
    assert opened["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] == "true"
    assert closed["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] == "false"
    assert closed["AUTHENTICATION_APIKEY_ALLOWED_KEYS"] == "k"
    assert opened["DISABLE_TELEMETRY"] == "true"


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    ports = {port: 1 for keys in components.PORTS.values() for port in keys}
    paths = {n: Path(n) for n in ("etcd", "kube-apiserver", "kube-controller-manager", "weaviate")}
    for command in components.commands(paths, tmp_path, ports, "secret-key").values():
        assert not any("secret-key" in part for part in command.line)


def test_crds_come_from_the_models_unless_a_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELECINE_CRDS", raising=False)
    assert {body["spec"]["names"]["kind"] for body in crds.bodies()} == {
        "Namespace", "Connection", "Bucket", "Sync", "Pipeline",
    }  # fmt: skip
    monkeypatch.setenv("TELECINE_CRDS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="TELECINE_CRDS"):
        crds.bodies()
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"kind": "CustomResourceDefinition"}))
    assert crds.bodies() == [{"kind": "CustomResourceDefinition"}]
