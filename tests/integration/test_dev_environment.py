"""Environments as a user starts and stops them, with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from telecine.dev import binaries
from telecine.dev.environment import Instance, StartError
from telecine.execution.process import start_time
from telecine.index.client import IndexUnavailableError, WeaviateSettings, open_index

from tests.support import eventually

TELECINE = Path(sys.executable).parent / "telecine"
PARTS = {"etcd", "apiserver", "controller-manager", "weaviate"}
GUARDED = (
    "import sys, time; from pathlib import Path\n"
    "from telecine.dev.environment import Instance; from telecine.dev.guard import guarded\n"
    "with guarded(Path(sys.argv[1])):\n"
    "    Instance('one', root=Path(sys.argv[1])).s3(); print('up', flush=True); time.sleep(600)\n"
)


@pytest.fixture
def instance(environments: Path) -> Iterator[Instance]:
    """An environment of the test's own, not started yet."""
    made = Instance(f"own-{uuid.uuid4().hex[:8]}", root=environments)
    yield made
    made.down(delete=True)


def telecine(
    *arguments: str, cache: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [str(TELECINE), "dev", *arguments]
    return subprocess.run(command, env=env(cache, **variables), capture_output=True, text=True)


def env(cache: Path | None = None, **variables: str) -> dict[str, str]:
    """With programs of the real cache, and environments in another."""
    extra = {"TELECINE_CACHE": str(cache)} if cache else {}
    return {**os.environ, **extra, **variables}


@pytest.fixture
def cache(environments: Path, tmp_path: Path) -> Iterator[Path]:
    """A cache of its own that has the machine's programs, for tests of the command line."""
    cache = environments / f"cache-{tmp_path.name}"
    (cache / "bin").mkdir(parents=True)
    for name, path in binaries.ensure().items():
        (cache / "bin" / f"{name}-{binaries.BINARIES[name].version}").symlink_to(path)
    yield cache
    for state in (cache / "dev").glob("*/state.json"):
        Instance(state.parent.name, root=cache / "dev").down(delete=True)


def processes_of(folder: Path) -> list[str]:
    """Everything of this machine that has the folder in its command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            line, variables = process.cmdline(), process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(
            str(folder) in text for text in (*line, *variables.values())
        ):
            found.append(" ".join(line[:2]))
    return found


def keep(instance: Instance) -> None:
    """Puts something into the cluster and into Weaviate."""
    meta = ObjectMeta(name="kept", namespace="default")
    with instance.client() as client:
        client.create(ConfigMap(metadata=meta, data={"key": "value"}))
    httpx2.post(f"{instance.weaviate}/v1/schema", json={"class": "Kept"}).raise_for_status()


def assert_kept(instance: Instance) -> None:
    with instance.client() as client:
        found = client.get(ConfigMap, "kept", namespace="default")
    assert found.data == {"key": "value"}
    assert httpx2.get(f"{instance.weaviate}/v1/schema/Kept").status_code == 200


def weaviate_of(instance: Instance, api_key: str | None = None) -> WeaviateSettings:
    return WeaviateSettings(
        instance.weaviate, grpc_port=instance.state.ports["grpc"], api_key=api_key
    )


def test_a_second_start_takes_less_than_15_s_and_finds_its_data(instance: Instance) -> None:
    instance.up()
    keep(instance)
    assert set(instance.down()) == PARTS
    began = time.monotonic()
    instance.up()
    assert time.monotonic() - began < 15
    assert_kept(instance)


def test_ports_that_others_took_while_it_was_down_are_replaced_and_the_data_stays(
    instance: Instance,
) -> None:
    instance.up()
    keep(instance)
    before = dict(instance.state.ports)
    instance.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before["raft"]))
        other.listen()
        instance.up()
    assert instance.state.ports["raft"] != before["raft"]
    assert_kept(instance)
    made = httpx2.post(f"{instance.weaviate}/v1/schema", json={"class": "More"}, timeout=30)
    assert made.status_code == 200, "Weaviate finds no leader on its new ports"


def test_a_killed_etcd_is_started_again_by_up_and_the_others_stay(instance: Instance) -> None:
    instance.up()
    keep(instance)
    before = {name: process.pid for name, process in instance.state.processes.items()}
    os.kill(before["etcd"], signal.SIGKILL)
    eventually(lambda: not instance.running()["etcd"])
    assert not instance.ready("etcd")
    instance.up()
    after = {name: process.pid for name, process in instance.state.processes.items()}
    assert {name for name in PARTS if before[name] != after[name]} == {"etcd"}
    assert_kept(instance)


def test_up_of_what_runs_changes_nothing(environment: Instance) -> None:
    before = dict(environment.state.processes)
    Instance(environment.name, root=environment.root.parent).up()
    assert Instance(environment.name, root=environment.root.parent).state.processes == before


def test_two_environments_side_by_side_do_not_meet(
    environment: Instance, instance: Instance
) -> None:
    instance.up()
    for one in (environment, instance):
        assert all(one.ready(name) for name in PARTS), one.name
    assert not set(environment.state.ports.values()) & set(instance.state.ports.values())
    with instance.client() as there, environment.client() as here:
        there.create(Namespace(metadata=ObjectMeta(name="only-there")))
        names = {n.metadata.name for n in here.list(Namespace) if n.metadata}
    assert "only-there" not in names
    httpx2.post(f"{instance.weaviate}/v1/schema", json={"class": "OnlyThere"}).raise_for_status()
    assert httpx2.get(f"{environment.weaviate}/v1/schema/OnlyThere").status_code == 404
    instance.down()
    assert all(environment.ready(name) for name in PARTS)


def test_down_leaves_no_process_and_with_delete_no_file(instance: Instance) -> None:
    instance.up()
    instance.s3()
    worker = subprocess.Popen(["sleep", "600"], env=env(TELECINE_STATE_DIR=str(instance.root)))
    record = {"name": "sync-a", "pid": worker.pid, "started": start_time(worker.pid)}
    (instance.state_dir / "workers").mkdir()
    (instance.state_dir / "workers" / "sync-a.json").write_text(json.dumps(record))
    assert len(processes_of(instance.root)) >= len(PARTS)
    assert set(instance.down(delete=True)) == PARTS | {"s3", "sync-a"}
    worker.wait()
    assert processes_of(instance.root) == []
    assert not instance.root.exists()


def test_a_failed_start_names_the_part_shows_its_log_and_stops_the_others(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho 'the disk is on fire'\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TELECINE_BIN_DIR", str(tmp_path))
    with pytest.raises(StartError, match=r"apiserver ended:\nthe disk is on fire"):
        instance.up()
    assert processes_of(instance.root) == []


def test_a_start_that_is_interrupted_leaves_nothing_running(cache: Path) -> None:
    process = subprocess.Popen([TELECINE, "dev", "up"], env=env(cache), stderr=subprocess.PIPE)
    root = cache / "dev" / "default"
    eventually(lambda: (root / "apiserver.log").exists(), message="it never began")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    assert processes_of(root) == []


def test_an_api_key_closes_a_weaviate_that_was_open(instance: Instance) -> None:
    instance.up()
    with open_index(weaviate_of(instance)) as index:
        assert index.check().startswith("Weaviate ")
    instance.up(api_key=True)
    key = instance.variables()["TELECINE_WEAVIATE_API_KEY"]
    with open_index(weaviate_of(instance, key)) as index:
        assert index.check().startswith("Weaviate ")
    with pytest.raises(IndexUnavailableError), open_index(weaviate_of(instance)) as index:
        index.check()


def test_the_command_line_starts_shows_and_stops(cache: Path) -> None:
    absent = telecine("status", "-o", "json", cache=cache)
    assert (absent.returncode, json.loads(absent.stdout)["processes"]) == (1, {})
    started = telecine("up", "--s3", cache=cache)
    assert started.returncode == 0, started.stderr
    shown = telecine("status", "-o", "json", cache=cache)
    parts = json.loads(shown.stdout)["processes"]
    assert shown.returncode == 0
    assert {name for name, facts in parts.items() if facts["ready"]} == PARTS | {"s3"}
    variables = json.loads(telecine("env", "-o", "json", cache=cache).stdout)
    get = "kubectl get syncs.telecine.dev -A"
    script = f'eval "$("{TELECINE}" dev env)" && echo "$TELECINE_STATE_DIR" && {get}'
    evaluated = subprocess.run(["sh", "-c", script], env=env(cache), capture_output=True, text=True)
    assert evaluated.stdout.strip() == variables["TELECINE_STATE_DIR"], evaluated.stderr
    assert "No resources found" in evaluated.stderr
    bare = telecine("env", cache=cache, PATH="/nowhere").stdout
    script = f"PATH=/nowhere\n{bare}\nkubectl get --raw /readyz"
    assert subprocess.run(["/bin/sh", "-c", script], capture_output=True).stdout == b"ok"
    stopped = telecine("down", "--delete", cache=cache)
    assert all(name in stopped.stdout for name in PARTS | {"s3"})
    assert telecine("down", cache=cache).stdout == "default was not running\n"
    assert telecine("env", cache=cache).returncode == 1


def test_a_wrong_name_is_refused_by_the_command_line(cache: Path) -> None:
    refused = telecine("down", "--delete", "--name", "../bin", cache=cache)
    assert refused.returncode == 2
    assert "name of an environment" in refused.stderr
    assert len(list((cache / "bin").iterdir())) == len(binaries.BINARIES)


def test_the_current_cluster_gets_the_crds_and_nothing_is_started(
    environment: Instance, cache: Path
) -> None:
    done = telecine(
        "up", "--cluster", "current", "--weaviate", environment.weaviate,
        cache=cache, KUBECONFIG=str(environment.kubeconfig),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert environment.server in done.stdout
    assert environment.weaviate in done.stdout
    assert not (cache / "dev").exists()


@pytest.mark.parametrize("missing", ["weaviate", "cluster", "kubeconfig", "option"])
def test_a_current_cluster_or_weaviate_that_is_not_there_is_named(
    environment: Instance, cache: Path, tmp_path: Path, missing: str
) -> None:
    closed = "https://127.0.0.1:1"
    dead = tmp_path / "dead"
    dead.write_text(environment.kubeconfig.read_text().replace(environment.server, closed))
    kubeconfig = {"cluster": dead, "kubeconfig": tmp_path / "absent"}.get(
        missing, environment.kubeconfig
    )
    url = closed if missing == "weaviate" else environment.weaviate
    options = [] if missing == "option" else ["--weaviate", url]
    done = telecine("up", "--cluster", "current", *options, cache=cache, KUBECONFIG=str(kubeconfig))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    expected = {"weaviate": f"Weaviate at {closed}", "cluster": "kubeconfig's cluster"}
    assert expected.get(missing, "kubeconfig" if missing == "kubeconfig" else "--weaviate URL") in (
        done.stderr
    )


def test_what_a_killed_process_started_is_taken_down_by_its_guard(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    owner = subprocess.Popen(
        [sys.executable, "-c", GUARDED, folder], stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        server = Instance("one", root=folder).state.processes["s3"]
        assert server.alive
        owner.kill()
    eventually(lambda: not folder.exists(), message="the guard left the folder")
    assert not server.alive
    eventually(lambda: not processes_of(folder), message="the guard itself did not end")
