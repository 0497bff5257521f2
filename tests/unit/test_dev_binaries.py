"""Where the programs of the development environment come from, without any of them."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from telecine.dev import binaries, building, releases
from telecine.dev.catalog import BINARIES, ETCD, HELM, KUBERNETES, WEAVIATE, BinaryError, cached
from telecine.dev.processes import free_ports
from telecine.dev.progress import stage

APISERVER, ETCD_BINARY, KUBECTL = (BINARIES[n] for n in ("kube-apiserver", "etcd", "kubectl"))
OS = platform.system().lower()
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
APISERVER_URL = f"/v{KUBERNETES}/bin/{OS}/{ARCH}/kube-apiserver"
ETCD_FILE = f"etcd-v{ETCD}-{OS}-{ARCH}.tar.gz"
CONTENT = b"#!/bin/sh\necho a release\n"


class Machine:
    """A machine with an empty PATH and cache, no Go, and no host that answers."""

    def __init__(self, folder: Path) -> None:
        self.path, self.given = folder / "path", folder / "given"
        self.path.mkdir()
        self.given.mkdir()
        self.builds = folder / "builds"
        self.said: list[str] = []

    def program(self, folder: Path, name: str, says: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return script(folder / name, f"echo '{name} v{says}'")

    def with_go(self, *, fails: bool = False) -> None:
        """A `go` that notes its arguments and flags, and builds a program that names itself."""
        end = "echo 'undefined: reason' >&2; exit 1" if fails else 'echo built > "$6"'
        note = f'echo "$7 [$GOFLAGS] cgo=$CGO_ENABLED" >> {self.builds}'
        script(self.path / "go", f'{note}; /bin/mkdir -p "${{6%/*}}"; {end}')

    @property
    def built(self) -> list[str]:
        return self.builds.read_text().splitlines() if self.builds.exists() else []

    def ensure(self, *names: str) -> dict[str, Path]:
        return binaries.ensure(names, say=self.said.append)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.path))
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TELECINE_BIN_DIR", raising=False)
    closed = f"http://127.0.0.1:{free_ports(1)[0]}"
    for part in ("KUBERNETES", "ETCD", "WEAVIATE"):
        monkeypatch.setenv(f"TELECINE_{part}_RELEASES", closed)
    return made


class Releases:
    """A release server of the test: what it has, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def publish(self, url: str, content: bytes, sha256: str | None = None) -> None:
        """With a checksum file beside it, as Kubernetes and Weaviate do."""
        self.files[url] = content
        self.files[f"{url}.sha256"] = (sha256 or digest(content)).encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, data in ((f"{name}-doc/README", b"read me"), (f"folder/{name}", content)):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def published(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    server = Releases()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            content = server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """The test's output stays free of its requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for part in ("KUBERNETES", "ETCD", "WEAVIATE"):
            url = f"http://127.0.0.1:{http.server_port}/"
            monkeypatch.setenv(f"TELECINE_{part}_RELEASES", url)
        yield server
        http.shutdown()
        thread.join()


# The order


def test_a_folder_given_by_hand_comes_first_whatever_its_version(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = machine.program(machine.given, "etcd", "1.0.0")
    machine.program(machine.path, "etcd", ETCD)
    monkeypatch.setenv("TELECINE_BIN_DIR", str(machine.given))
    assert machine.ensure("etcd") == {"etcd": given}


def test_a_server_on_path_of_the_right_version_comes_before_the_cache(machine: Machine) -> None:
    on_path = machine.program(machine.path, "etcd", ETCD)
    machine.program(cached(ETCD_BINARY).parent, cached(ETCD_BINARY).name, ETCD)
    assert machine.ensure("etcd") == {"etcd": on_path}


def test_a_server_on_path_of_another_version_is_passed_over(machine: Machine) -> None:
    machine.program(machine.path, "etcd", "3.4.0")
    in_cache = machine.program(cached(ETCD_BINARY).parent, cached(ETCD_BINARY).name)
    assert machine.ensure("etcd") == {"etcd": in_cache}


def test_any_kubectl_on_path_will_do(machine: Machine) -> None:
    on_path = machine.program(machine.path, "kubectl", "1.30.0-vendor")
    assert machine.ensure("kubectl") == {"kubectl": on_path}


def test_a_kubectl_on_path_that_does_not_run_is_passed_over(machine: Machine) -> None:
    script(machine.path / "kubectl", "exit 127")
    in_cache = machine.program(cached(KUBECTL).parent, cached(KUBECTL).name)
    assert machine.ensure("kubectl") == {"kubectl": in_cache}


def test_a_cached_program_of_another_version_is_not_used(machine: Machine) -> None:
    machine.program(cached(ETCD_BINARY).parent, "etcd-3.4.0", "3.4.0")
    assert binaries.find(ETCD_BINARY) is None


def test_a_download_comes_before_a_build(machine: Machine, published: Releases) -> None:
    machine.with_go()
    published.publish(APISERVER_URL, CONTENT)
    path = machine.ensure("kube-apiserver")["kube-apiserver"]
    assert path == cached(APISERVER)
    assert path.read_bytes() == CONTENT
    assert os.access(path, os.X_OK)
    assert machine.built == []


# Downloads


@pytest.mark.parametrize("name", ["etcd", "weaviate"])
def test_a_program_is_taken_out_of_its_archive(
    machine: Machine, published: Releases, name: str
) -> None:
    packed = archive(name, CONTENT)
    if name == "etcd":
        sums = f"{'0' * 64}  other.tar.gz\n{digest(packed)}  {ETCD_FILE}\n"
        published.files[f"/v{ETCD}/SHA256SUMS"] = sums.encode()
        published.files[f"/v{ETCD}/{ETCD_FILE}"] = packed
    else:
        published.publish(f"/v{WEAVIATE}/weaviate-v{WEAVIATE}-{OS}-{ARCH}.tar.gz", packed)
    assert machine.ensure(name)[name].read_bytes() == CONTENT


def test_a_wrong_checksum_is_an_error_and_nothing_is_installed_or_built(
    machine: Machine, published: Releases
) -> None:
    machine.with_go()
    published.publish(APISERVER_URL, CONTENT, sha256=digest(b"what was released"))
    with pytest.raises(BinaryError, match=digest(CONTENT)):
        machine.ensure("kube-apiserver")
    assert binaries.find(APISERVER) is None
    assert [p.name for p in cached(APISERVER).parent.iterdir()] == [".kubernetes.lock"]
    assert machine.built == []


@pytest.mark.parametrize("sums", ["<html>log in first</html>", "", f"{'0' * 64}  other"])
def test_a_checksum_file_without_the_checksum_is_an_error(
    machine: Machine, published: Releases, sums: str
) -> None:
    published.publish(APISERVER_URL, CONTENT)
    published.files[f"{APISERVER_URL}.sha256"] = sums.encode()
    with pytest.raises(BinaryError, match="no sha256 of kube-apiserver"):
        machine.ensure("kube-apiserver")
    assert APISERVER_URL not in published.asked


@pytest.mark.parametrize("line", ["{0}", "{0}  etcd.tar.gz", "{0} *./etcd.tar.gz", "{1}"])
def test_both_forms_of_checksum_files_are_read(line: str) -> None:
    wanted = digest(CONTENT)
    assert releases.published(line.format(wanted, wanted.upper()), "etcd.tar.gz") == wanted


def test_a_checksum_of_a_file_whose_name_only_ends_the_same_is_not_taken() -> None:
    with pytest.raises(BinaryError):
        releases.published(f"{digest(CONTENT)}  not-etcd.tar.gz", "etcd.tar.gz")


def test_a_release_that_is_not_there_is_built(machine: Machine, published: Releases) -> None:
    machine.with_go()
    assert machine.ensure("kube-apiserver")["kube-apiserver"].read_text() == "built\n"
    assert any("404" in line for line in machine.said)
    assert published.asked == [f"{APISERVER_URL}.sha256"]


def test_an_unreachable_host_is_tried_once_and_then_all_is_built(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.with_go()
    tried: list[str] = []

    def fetch(binary: binaries.Binary, say: Callable[[str], None]) -> Path:
        tried.append(binary.name)
        return releases.fetch(binary, say)

    monkeypatch.setattr(binaries, "fetch", fetch)
    machine.ensure("kube-apiserver", "kube-controller-manager", "kubectl")
    assert tried == ["kube-apiserver"]
    assert any("not reachable" in line for line in machine.said)
    assert len(machine.built) == 3


# Builds


def test_a_build_takes_the_pinned_packages_and_nothing_else(machine: Machine) -> None:
    machine.with_go()
    machine.ensure("etcd", "weaviate")
    assert machine.built == [
        "go.etcd.io/etcd/server/v3 [-mod=readonly -buildvcs=false] cgo=0",
        "github.com/weaviate/weaviate/cmd/weaviate-server [-mod=readonly -buildvcs=false] cgo=",
    ]


@pytest.mark.parametrize("binary", BINARIES.values(), ids=lambda b: b.name)
def test_the_pinned_modules_are_the_versions_that_are_asked_for(binary: binaries.Binary) -> None:
    wanted = {
        "etcd": f"go.etcd.io/etcd/server/v3 v{ETCD}",
        "weaviate": f"github.com/weaviate/weaviate v{WEAVIATE}",
        "helm": f"helm.sh/helm/v3 v{HELM}",
    }.get(binary.name, f"k8s.io/kubernetes v{KUBERNETES}")
    assert wanted in (building.MODULES / binary.module / "go.mod").read_text()


def test_without_go_the_error_tells_what_would_help(machine: Machine) -> None:
    with pytest.raises(BinaryError, match=r"etcd .* Install Go, or .* TELECINE_BIN_DIR"):
        machine.ensure("etcd")


def test_a_failed_build_shows_the_end_of_its_output(machine: Machine) -> None:
    machine.with_go(fails=True)
    with pytest.raises(BinaryError, match="undefined: reason"):
        machine.ensure("etcd")
    assert binaries.find(ETCD_BINARY) is None


def test_two_at_once_build_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, finish = threading.Event(), threading.Event()
    built: list[str] = []

    def build(wanted: list[binaries.Binary], say: Callable[[str], None]) -> None:
        built.extend(binary.name for binary in wanted)
        assert finish.wait(10)
        shutil.copyfile(machine.program(machine.given, "etcd"), cached(ETCD_BINARY))
        cached(ETCD_BINARY).chmod(0o755)

    def say(text: str) -> None:
        if "waiting for another process" in text:
            waits.set()

    monkeypatch.setattr(binaries, "build", build)
    threads = [
        threading.Thread(target=binaries.ensure, args=(["etcd"], say), daemon=True) for _ in "12"
    ]
    for thread in threads:
        thread.start()
    assert waits.wait(10), "nobody waited for the lock"
    finish.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert built == ["etcd"]


# Progress


def test_a_long_step_tells_again_and_again_that_it_goes_on() -> None:
    said: list[str] = []
    twice = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            twice.set()

    with stage("building etcd", say, every=0.01) as step:
        step.detail = "3 MB"
        assert twice.wait(10)
    assert said[0] == "building etcd: 0 s, 3 MB"


def test_a_long_step_says_nothing_more_when_it_has_ended() -> None:
    said: list[str] = []
    threads = threading.active_count()
    with stage("building etcd", said.append, every=60):
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert said == []
