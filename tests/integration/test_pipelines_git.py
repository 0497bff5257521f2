"""Code from real Git servers on loopback: what is found, what is refused, what is never told."""

from __future__ import annotations

import base64
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from telecine.api.pipeline import GitSource
from telecine.pipelines.git import GitError, GitLimits, fetch, resolve

from tests.integration.git_servers import HANDLER, HttpServer, Repository, SshServer

TOKEN = {"token": HttpServer.TOKEN, "username": HttpServer.USER}
FILES = {"handler.py": HANDLER.encode(), "lib/words.py": b"WORDS = 1\n"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.commit("First", one__handler_py=HANDLER, one__lib__words_py="WORDS = 1\n", README="a")
    return made


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpServer]:
    with HttpServer(tmp_path).serving() as server:
        yield server


@pytest.fixture
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with SshServer(tmp_path_factory.mktemp("ssh")).serving() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> Iterator[None]:
    """Of the temporary folders, which have had credentials in them."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert os.listdir(folder) == []


def source(url: str, ref: str = "main") -> GitSource:
    return GitSource(url=url, ref=ref)


def find(url: str, ref: str = "main", secret: Mapping[str, str] = TOKEN, **more: Any) -> str:
    return resolve(source(url, ref), secret, allow_private=True, **more)


def get(
    url: str, commit: str, path: str = "one", secret: Mapping[str, str] = TOKEN, **more: Any
) -> Mapping[str, bytes]:
    return fetch(source(url), commit, path, secret, allow_private=True, **more)


def refused(reason: str, call: Any, *given: Any, **more: Any) -> GitError:
    with pytest.raises(GitError) as caught:
        call(*given, **more)
    assert caught.value.reason == reason, caught.value.message
    for secret in (HttpServer.TOKEN, "PRIVATE KEY"):
        assert secret not in str(caught.value)
    return caught.value


@pytest.fixture
def url(http: HttpServer, repository: Repository) -> str:
    return f"{http.url}/private/{repository.bare.name}"


def test_a_branch_is_resolved_and_its_folder_fetched(url: str, repository: Repository) -> None:
    commit = find(url)
    assert commit == repository.git("rev-parse", "HEAD")
    assert get(url, commit) == FILES
    assert set(get(url, commit, ".")) == {"README", "one/handler.py", "one/lib/words.py"}
    assert get(url, commit, "./one/lib/") == {"words.py": b"WORDS = 1\n"}


def test_tags_are_commits(url: str, repository: Repository) -> None:
    repository.git("tag", "light")
    repository.git("tag", "--annotate", "v1", "--message", "One")
    first = repository.git("rev-parse", "HEAD")
    repository.commit("Second")
    repository.push("--tags")
    assert repository.git("rev-parse", "v1") != first
    assert find(url, "light") == find(url, "v1") == find(url, "refs/tags/v1") == first
    assert get(url, find(url, "v1")) == FILES


def test_a_branch_wins_over_a_tag_of_its_name(url: str, repository: Repository) -> None:
    repository.git("tag", "both")
    repository.push("--tags")
    second = repository.commit("Second")
    repository.push("HEAD:refs/heads/both")
    assert find(url, "both") == second


def test_the_end_of_a_branchs_name_is_another_branch(url: str, repository: Repository) -> None:
    repository.push("HEAD:refs/heads/feature/x", "HEAD:refs/heads/refs/heads/y")
    assert find(url, "feature/x")
    refused("RefNotFound", find, url, "x")
    refused("RefNotFound", find, url, "y")


def test_a_branch_that_moved_is_another_commit_and_the_old_one_stays(
    url: str, repository: Repository
) -> None:
    first = find(url)
    second = repository.commit(one__handler_py="def handler(event): ...\n")
    assert find(url) == second != first
    assert get(url, second)["handler.py"] == b"def handler(event): ...\n"
    assert get(url, first) == FILES


def test_the_default_branch_is_head(url: str, repository: Repository) -> None:
    assert find(url, "HEAD") == find(url, "")


def test_a_commit_is_found_by_its_id_and_by_the_beginning_of_it(
    url: str, repository: Repository
) -> None:
    first, _ = find(url), repository.commit("Second")
    assert find(url, first) == find(url, first.upper()) == find(url, first[:9]) == first
    assert "has no branch, tag or commit 'abcdef0'" in str(
        refused("RefNotFound", find, url, "abcdef0")
    )


@pytest.mark.parametrize("filters", ["true", "false"])
def test_a_host_that_cannot_filter_gives_the_same(
    url: str, repository: Repository, filters: str
) -> None:
    repository.allow("uploadpack.allowFilter", filters)
    repository.write("media/film.bin", random.Random(1).randbytes(3_000_000))
    commit = repository.commit()
    limits = GitLimits(disk=1_000_000)
    if filters == "true":
        assert get(url, commit, limits=limits) == FILES
    else:
        refused("TooLarge", get, url, commit, limits=limits)
        assert get(url, commit) == FILES


def test_files_are_fetched_in_one_request_and_not_one_by_one(
    url: str, repository: Repository, http: HttpServer
) -> None:
    for number in range(60):
        repository.write(f"one/part{number}.py", f"PART = {number}\n")
    commit = repository.commit()
    http.requests.clear()
    assert len(get(url, commit)) == 62
    assert len(http.requests) < 12


def test_a_wrong_token_is_told_and_not_quoted(url: str) -> None:
    wrong = {"token": "wr0ng-t0ken-value"}
    error = refused("GitAuthenticationFailed", find, url, secret=wrong)
    assert error.permanent
    assert "check `token`" in error.message
    assert "Personal access tokens" in error.message
    assert "git.secretRef" in error.message
    assert "wr0ng" not in error.message


def test_without_a_token_it_is_told_that_one_is_needed(url: str) -> None:
    assert "Secret" in str(refused("GitAuthenticationFailed", find, url, secret={}))
    assert "`token`" in str(refused("GitAuthenticationFailed", find, url, secret={"x": "y"}))
    assert "`username`" in str(
        refused("GitAuthenticationFailed", find, url, secret={"password": "y"})
    )


def test_username_and_password_do_too(url: str, repository: Repository) -> None:
    assert find(url, secret={"username": HttpServer.USER, "password": f"{HttpServer.TOKEN}\n"})


@pytest.mark.parametrize(
    ("host", "user"), [("films.invalid", "x-access-token"), ("bitbucket.org", "x-token-auth")]
)
def test_a_token_alone_comes_with_the_name_that_the_host_takes(
    url: str, http: HttpServer, host: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telecine.pipelines.git_access.public_addresses", lambda _: ["127.0.0.1"])
    named = source(url.replace("127.0.0.1", host))
    refused("GitAuthenticationFailed", resolve, named, {"token": "a-token"})
    given = base64.b64encode(f"{user}:a-token".encode()).decode()
    assert http.requests[-1][1] == f"Basic {given}"


def test_a_public_repository_needs_no_secret(http: HttpServer, repository: Repository) -> None:
    where = f"{http.url}/public/{repository.bare.name}"
    assert get(where, find(where, secret={}), secret={}) == FILES


def test_what_is_not_there_is_told(http: HttpServer, url: str) -> None:
    error = refused("GitNotFound", find, f"{http.url}/private/none.git")
    assert "check git.url" in error.message
    assert "git.ref" in str(refused("RefNotFound", find, url, "none"))
    refused("RefNotFound", get, url, "0123456789" * 4)
    commit = find(url)
    assert "correct git.path" in str(refused("PathNotFound", get, url, commit, "none"))
    assert "is no folder" in str(refused("PathNotFound", get, url, commit, "one/handler.py"))
    refused("PathNotFound", get, url, commit, "o*")
    refused("PathNotFound", get, url, commit, "../one")
    refused("PathNotFound", get, url, commit, "/one")


def test_an_object_that_is_no_commit_is_refused(url: str, repository: Repository) -> None:
    refused("RefNotFound", get, url, repository.git("rev-parse", "HEAD:one"))
    refused("RefNotFound", get, url, "main")


def test_a_host_that_hangs_is_given_up(http: HttpServer) -> None:
    began = time.monotonic()
    error = refused("GitTimeout", find, f"{http.url}/hang/a.git", limits=GitLimits(seconds=1))
    assert not error.permanent
    assert time.monotonic() - began < 10


def test_a_host_that_is_down_or_broken_is_no_fault_of_the_spec(http: HttpServer) -> None:
    assert not refused("GitUnreachable", find, "http://127.0.0.1:9/a.git").permanent
    assert not refused("GitUnreachable", find, f"{http.url}/broken/a.git").permanent


def test_a_repository_too_large_is_cut_off(url: str, repository: Repository) -> None:
    repository.write("one/film.bin", random.Random(2).randbytes(30_000_000))
    commit = repository.commit()
    error = refused("TooLarge", get, url, commit, limits=GitLimits(disk=5_000_000))
    assert "repository of their own" in error.message
    assert "one/film.bin" not in error.message
    error = refused("TooLarge", get, url, commit)
    assert "film.bin with 30,000,000" in error.message


def test_what_is_small_packed_and_huge_unpacked_takes_no_memory(
    url: str, repository: Repository
) -> None:
    """As a file that compresses well, and as one that is told by what another one has not."""
    limits = GitLimits(memory=40 << 20)
    repository.write("one/zeros.bin", bytes(44 << 20))
    error = refused("TooLarge", get, url, repository.commit(), limits=limits)
    assert "zeros.bin with 46,137,344" in error.message
    block = random.Random(3).randbytes(1 << 20)
    for name in ("a", "b"):
        repository.write(f"two/{name}.bin", name.encode() + block * 44)
    commit = repository.commit()
    repository.repack()
    error = refused("TooLarge", get, url, commit, "two", limits=limits)
    assert error.permanent
    assert "too large to be unpacked" in error.message
    assert get(url, commit, "one/lib", limits=limits) == {"words.py": b"WORDS = 1\n"}


def test_a_folder_with_too_many_files_is_refused(url: str, repository: Repository) -> None:
    for number in range(501):
        repository.write(f"many/{number}", "")
    assert "501 files" in str(refused("TooLarge", get, url, repository.commit(), "many"))


def test_credentials_do_not_follow_to_another_host(tmp_path: Path, repository: Repository) -> None:
    with (
        HttpServer(tmp_path).serving() as other,
        HttpServer(tmp_path, elsewhere=other.url).serving() as first,
    ):
        where = f"{first.url}/moved/{repository.bare.name}"
        error = refused("GitUnreachable", find, where)
        assert error.permanent
        assert "write that address in git.url (GitLab wants `.git`" in error.message
        assert first.requests
        assert other.requests == []


@pytest.mark.parametrize("target", ["/etc/passwd", "lib/words.py"])
def test_a_symbolic_link_is_refused_by_name(url: str, repository: Repository, target: str) -> None:
    (repository.tree / "one" / "link.py").symlink_to(target)
    error = refused("UnsupportedContent", get, url, repository.commit())
    assert "link.py is a symbolic link" in error.message


def test_a_submodule_is_refused_by_name(url: str, repository: Repository) -> None:
    head = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},one/vendor")
    repository.git("commit", "--quiet", "--message", "Submodule")
    repository.push("HEAD")
    assert "vendor is a submodule" in str(refused("UnsupportedContent", get, url, find(url)))


def test_a_pointer_of_lfs_is_refused_by_name(url: str, repository: Repository) -> None:
    repository.write(".gitattributes", "*.bin filter=lfs\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    commit = repository.commit(**{"one__model.bin": pointer})
    error = refused("UnsupportedContent", get, url, commit)
    assert "model.bin is a pointer of Git LFS" in error.message


def test_contents_come_as_they_were_committed(url: str, repository: Repository) -> None:
    repository.write(
        "one/.gitattributes", "* text eol=crlf export-subst\nhidden.py export-ignore\n"
    )
    repository.write("one/hidden.py", "$Format:%H$\n")
    repository.write("one/binary", bytes(range(256)) * 3)
    repository.write("one/ünïcode name.py", "x = 1\n")
    files = get(url, repository.commit())
    assert files["hidden.py"] == b"$Format:%H$\n"
    assert files["binary"] == bytes(range(256)) * 3
    assert files["ünïcode name.py"] == b"x = 1\n"


def test_a_name_with_a_line_break_is_refused(url: str, repository: Repository) -> None:
    repository.write("one/two\nlines", "")
    refused("UnsupportedContent", get, url, repository.commit())


@pytest.mark.parametrize(
    "ref", ["--upload-pack=touch /tmp/x", "-q", "a b", "main:other", "a..b", "^main", "*", "x\n"]
)
def test_a_ref_is_no_option_and_no_pattern(url: str, ref: str) -> None:
    refused("RefNotFound", find, url, ref)


@pytest.mark.parametrize(
    "given",
    [
        "ssh://-oProxyCommand=touch%20{mark}/a.git", "ssh://u@-oProxyCommand=touch {mark}/a.git",
        "u@-oProxyCommand=touch:a.git", "-oProxyCommand=x@host:a.git", "u@host:-a.git",
        "ssh://host/-a.git", "file:///etc", "/etc", "ext::sh -c touch% {mark}", "git://host/a",
        "https:///a.git", "https://host", "https://host:x/a.git", "--upload-pack=touch {mark}",
    ],
)  # fmt: skip
def test_an_url_is_no_option_and_no_other_transport(given: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile = GitSource.model_construct(url=given.format(mark=mark), ref="main")
    secret = {"ssh_private_key": "k", "known_hosts": "h"}
    with pytest.raises(GitError):
        resolve(hostile, secret, allow_private=True)
    assert not mark.exists()


def test_a_password_in_the_url_is_refused_and_not_quoted() -> None:
    error = refused("GitAuthenticationFailed", find, "https://u:hunter22@git.test/a.git")
    assert "hunter22" not in error.message


def test_private_addresses_are_refused_unless_they_are_allowed(url: str, http: HttpServer) -> None:
    for given in (url, url.replace("127.0.0.1", "localhost"), "http://169.254.169.254/a.git"):
        with pytest.raises(GitError, match="TELECINE_ALLOW_PRIVATE_ENDPOINTS") as caught:
            resolve(source(given), TOKEN)
        assert caught.value.reason == "EndpointRefused"
    secret = {"ssh_private_key": "k", "known_hosts": "h"}
    with pytest.raises(GitError, match="TELECINE_ALLOW_PRIVATE_ENDPOINTS"):
        resolve(source("git@localhost:a.git"), secret)
    assert http.requests == []


def test_the_address_that_was_checked_is_the_one_connected_to(
    url: str, http: HttpServer, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def checked(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr("telecine.pipelines.git_access.public_addresses", checked)
    # A name that nothing resolves: only the pinned address can have answered.
    named = source(url.replace("127.0.0.1", "films.invalid"))
    commit = resolve(named, TOKEN)
    assert fetch(named, commit, "one", TOKEN) == FILES
    assert asked == ["films.invalid"] * 2


def test_secrets_are_on_no_command_line(
    url: str,
    ssh: SshServer,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seen: list[str] = []
    popen = subprocess.Popen

    def spy(*given: Any, **more: Any) -> Any:
        seen.append(repr(given) + repr(more.get("env")))
        return popen(*given, **more)

    monkeypatch.setattr("telecine.pipelines.git_process.subprocess.Popen", spy)
    get(url, find(url))
    keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": ssh.known()}
    find(ssh.url(repository.bare), secret=keys)
    assert seen
    for secret in (HttpServer.TOKEN, ssh.deploy_key.splitlines()[1]):
        assert not [line for line in seen if secret in line]


def test_nothing_of_the_machines_settings_is_used(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, settings = tmp_path / "mark", tmp_path / "gitconfig"
    settings.write_text(
        f'[url "http://127.0.0.1:9/"]\n\tinsteadOf = {url}\n[core]\n\tsshCommand = touch {mark}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {mark}")
    assert find(url)
    assert not mark.exists()


def test_the_missing_program_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "git is not installed" in str(refused("GitMissing", find, url))


@pytest.mark.parametrize("name", ["ssh_private_key", "identity", "ssh-privatekey"])
def test_a_deploy_key_reads_over_ssh(ssh: SshServer, repository: Repository, name: str) -> None:
    keys = {name: ssh.deploy_key.replace("\n", "\r\n"), "known_hosts": ssh.known()}
    where = ssh.url(repository.bare)
    commit = find(where, secret=keys)
    assert get(where, commit, secret=keys) == FILES


def certificate(folder: Path, name: str) -> Path:
    """Key and certificate of a host that vouches for itself."""
    path = folder / "certificate.pem"
    line = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(path), "-out", "-",
    ]  # fmt: skip
    made = subprocess.run(line, capture_output=True, check=True).stdout
    path.write_bytes(path.read_bytes() + made)
    return path


def test_a_certificate_must_be_trusted_and_that_of_the_name(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telecine.pipelines.git_access.public_addresses", lambda _: ["127.0.0.1"])
    file = certificate(tmp_path, "films.invalid")
    with HttpServer(tmp_path, certificate=file).serving() as server:
        path = f":{server.port}/private/{repository.bare.name}"
        named, other = (source(f"https://{host}{path}") for host in ("films.invalid", "b.invalid"))
        assert refused("GitUnreachable", resolve, named, TOKEN).permanent
        monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert fetch(named, resolve(named, TOKEN), "one", TOKEN) == FILES
        before = len(server.requests)
        assert refused("GitUnreachable", resolve, other, TOKEN).permanent
        assert len(server.requests) == before


def test_the_missing_ssh_is_told(
    ssh: SshServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": ssh.known()}
    error = refused("GitMissing", find, ssh.url(repository.bare), secret=keys)
    assert "openssh-client" in error.message


def test_over_ssh_the_checked_address_is_the_one_connected_to(
    ssh: SshServer, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telecine.pipelines.git_access.public_addresses", lambda _: ["127.0.0.1"])
    where = source(ssh.url(repository.bare).replace("127.0.0.1", "films.invalid"))
    known = ssh.known().replace("127.0.0.1", "films.invalid")
    keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": known}
    assert fetch(where, resolve(where, keys), "one", keys) == FILES


def test_another_host_key_is_refused(ssh: SshServer, repository: Repository) -> None:
    where = ssh.url(repository.bare)
    for known in (ssh.known("other"), f"elsewhere.test {ssh.public('host')}\n"):
        keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": known}
        assert "ssh-keyscan" in str(refused("HostKeyUnknown", find, where, secret=keys))


def test_without_known_hosts_nothing_is_asked(ssh: SshServer, repository: Repository) -> None:
    where = ssh.url(repository.bare)
    error = refused("HostKeyUnknown", find, where, secret={"ssh_private_key": ssh.deploy_key})
    assert f"ssh-keyscan -p {ssh.port} 127.0.0.1" in error.message


def test_another_deploy_key_is_refused(ssh: SshServer, repository: Repository) -> None:
    for key in (ssh.other_key, "-----BEGIN OPENSSH PRIVATE KEY-----\nrubbish\n"):
        keys = {"ssh_private_key": key, "known_hosts": ssh.known()}
        error = refused("GitAuthenticationFailed", find, ssh.url(repository.bare), secret=keys)
        assert error.permanent
        assert "deploy key" in error.message
        assert "`token`" not in error.message


def test_without_a_key_it_is_told_that_one_is_needed(ssh: SshServer) -> None:
    error = refused("GitAuthenticationFailed", find, ssh.url(Path("/a.git")), secret=TOKEN)
    assert "`ssh_private_key`" in error.message


def test_a_repository_that_is_not_there_over_ssh_is_told(ssh: SshServer, tmp_path: Path) -> None:
    keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": ssh.known()}
    refused("GitNotFound", find, ssh.url(tmp_path / "none.git"), secret=keys)


def test_a_host_without_ssh_is_unreachable(ssh: SshServer) -> None:
    keys = {"ssh_private_key": ssh.deploy_key, "known_hosts": ssh.known()}
    error = refused("GitUnreachable", find, "ssh://git@127.0.0.1:9/a.git", secret=keys)
    assert not error.permanent
