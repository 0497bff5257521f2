"""`telecine pipelines render` on a real checkout, and what a real API server says to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import yaml
from telecine.cli import app
from typer.testing import CliRunner, Result

from tests.integration.git_servers import HANDLER, HttpServer, Repository

CRDS = Path(__file__).parents[2] / "crds"
CONFIG = json.dumps(
    {
        "alias": "Video Processor",
        "source": {"connection_id": "conn_321", "filters": {"foo": "bar"}},
        "destination": {"connection_id": "conn_123", "collection": "data_bucket"},
    }
)


class Cluster(Protocol):
    """What these tests use of the fixture `cluster`."""

    def kubectl(
        self, *arguments: str, input: str | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.write("films/pipeline1/handler.py", HANDLER)
    made.write("films/pipeline1/config.json", CONFIG)
    made.write("films/pipeline2/handler.py", HANDLER)
    made.write("films/pipeline2/config.json", CONFIG.replace("Video", "Audio"))
    made.commit()
    made.git("remote", "set-url", "origin", "https://x-token:s3cr3t@git.test/films.git")
    made.git("checkout", "--quiet", "-b", "next")
    return made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Repository, str, Path]]:
    """A private repository, its URL, and a folder with the credentials."""
    made = Repository(tmp_path, "served")
    made.write("pipeline1/handler.py", HANDLER)
    made.write("pipeline1/config.json", CONFIG)
    made.write("docs/README.md", "no pipeline")
    made.write(".github/handler.py", HANDLER)
    made.commit()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "username").write_text(HttpServer.USER)
    (secret / "token").write_text(f"{HttpServer.TOKEN}\n")
    with HttpServer(tmp_path).serving() as server:
        yield made, f"{server.url}/private/served.git", secret


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["pipelines", "render", *arguments])


def test_url_ref_and_path_are_those_of_the_checkout(checkout: Repository) -> None:
    done = run(str(checkout.tree / "films"))
    assert done.exit_code == 0, done.output
    assert "s3cr3t" not in done.output
    manifests = list(yaml.safe_load_all(done.stdout))
    assert [manifest["metadata"]["name"] for manifest in manifests] == [
        "video-processor", "audio-processor",
    ]  # fmt: skip
    assert manifests[0]["spec"]["git"] == {
        "url": "https://git.test/films.git", "ref": "next", "path": "films/pipeline1",
    }  # fmt: skip
    assert run(str(checkout.tree / "films")).stdout == done.stdout


def test_the_api_server_takes_them(checkout: Repository, cluster: Cluster) -> None:
    applied = cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    assert applied.returncode == 0, applied.stderr
    waited = cluster.kubectl(
        "wait", "--for=condition=Established", "--timeout=60s", "crd/pipelines.telecine.dev"
    )
    assert waited.returncode == 0, waited.stderr
    arguments = ("--connection", "conn_321=films", "--connection", "conn_123=index")
    done = run(str(checkout.tree / "films"), *arguments, "-n", "default", "--secret", "git")
    assert done.exit_code == 0, done.output
    taken = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=done.stdout)
    assert taken.returncode == 0, taken.stderr
    assert taken.stdout.splitlines() == [
        "pipeline.telecine.dev/video-processor created (server dry run)",
        "pipeline.telecine.dev/audio-processor created (server dry run)",
    ]


def test_a_wrong_folder_is_told_and_the_others_are_printed(checkout: Repository) -> None:
    checkout.write("films/pipeline2/config.json", '{"alais": "a"}')
    done = run(str(checkout.tree / "films"))
    assert done.exit_code == 1
    assert "pipeline2/config.json: alais: unknown field; did you mean alias?" in done.stderr
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert manifest["metadata"]["name"] == "video-processor"


def test_what_cannot_be_known_must_be_given(checkout: Repository, tmp_path: Path) -> None:
    films = str(checkout.tree / "films")
    checkout.git("checkout", "--quiet", "--detach")
    assert "give --ref" in run(films).stderr
    assert run(films, "--ref", "v1").exit_code == 0
    checkout.git("remote", "remove", "origin")
    assert "give --url" in run(films, "--ref", "v1").stderr
    assert "give --url" in run(films, "--ref", "v1", "--url", str(tmp_path)).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--connection", "films"), "ID=NAME"), (("--connection", "a=Not_A_Name"), "no name"),
        (("--secret", "A B"), "no name"), (("-n", "A_B"), "no name"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(
    checkout: Repository, arguments: tuple[str, ...], told: str
) -> None:
    done = run(str(checkout.tree / "films"), *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stdout == ""


def test_a_url_is_rendered_as_its_checkout_is(served: tuple[Repository, str, Path]) -> None:
    repository, url, secret = served
    done = run(url, "--credentials", str(secret), "--secret", "git")
    assert done.exit_code == 0, done.output
    assert HttpServer.TOKEN not in done.output
    of_tree = run(str(repository.tree), "--url", url, "--ref", "main", "--secret", "git")
    assert done.stdout == of_tree.stdout
    assert run(url, "--credentials", str(secret), "--secret", "git").stdout == done.stdout
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert manifest["spec"]["git"] == {
        "url": url, "ref": "main", "path": "pipeline1", "secretRef": {"name": "git"},
    }  # fmt: skip


def test_of_a_url_the_default_branch_is_taken_or_the_ref_given(
    served: tuple[Repository, str, Path],
) -> None:
    repository, url, secret = served
    repository.write("pipeline1/config.json", CONFIG.replace("Video", "Next"))
    repository.git("checkout", "--quiet", "-b", "next")
    repository.commit()
    asked = ("--credentials", str(secret), "--url", "ssh://git@git.test/films.git")
    (of_main,) = yaml.safe_load_all(run(url, *asked).stdout)
    (of_next,) = yaml.safe_load_all(run(url, *asked, "--ref", "next").stdout)
    assert of_main["metadata"]["name"] == "video-processor"
    assert of_next["metadata"]["name"] == "next-processor"
    assert of_next["spec"]["git"] == {
        "url": "ssh://git@git.test/films.git", "ref": "next", "path": "pipeline1",
    }  # fmt: skip
    assert "git.ref" in run(url, *asked, "--ref", "none").stderr


def test_a_wrong_folder_of_a_url_is_told_and_the_others_are_printed(
    served: tuple[Repository, str, Path],
) -> None:
    repository, url, secret = served
    for name in ("linked", "broken"):
        repository.write(f"{name}/handler.py", HANDLER)
        repository.write(f"{name}/config.json", CONFIG.replace("Video", name))
    repository.write("broken/config.json", '{"alais": "a"}')
    (repository.tree / "linked" / "link.py").symlink_to("handler.py")
    repository.commit()
    done = run(url, "--credentials", str(secret))
    assert done.exit_code == 1
    assert "linked: link.py is a symbolic link" in done.stderr
    assert "broken/config.json: alais: unknown field; did you mean alias?" in done.stderr
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert manifest["metadata"]["name"] == "video-processor"


def test_a_url_that_cannot_be_read_is_told(
    served: tuple[Repository, str, Path], tmp_path: Path
) -> None:
    _, url, secret = served
    (secret / "token").write_text("wr0ng-t0ken")
    done = run(url, "--credentials", str(secret))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "`token`" in done.stderr
    assert "wr0ng" not in done.stderr
    assert "neither a folder nor the URL" in run(str(tmp_path / "none")).stderr
    assert "no url" in run("ftp://git.test/a.git").stderr
    told = run(str(tmp_path), "--credentials", str(secret), "--url", url).stderr
    assert "--credentials is for the URL" in told


def test_a_connection_that_nothing_names_is_told(checkout: Repository) -> None:
    done = run(str(checkout.tree / "films"), "--connection", "conn_9=films")
    assert done.exit_code == 0
    assert "no config.json names the connection_id conn_9" in done.stderr


def test_a_folder_without_pipelines_is_told(checkout: Repository) -> None:
    (checkout.tree / "empty").mkdir()
    done = run(str(checkout.tree / "empty"))
    assert done.exit_code == 1
    assert "no folder in it has a handler.py" in done.stderr
