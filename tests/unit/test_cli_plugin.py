"""The plugin's name, targets of commands, and what `trigger` tells of a result. No cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

import pytest
import typer
from telecine.cli import app, main, program
from telecine.cli.common import resource_of
from telecine.cli.trigger import result, standing
from typer.testing import CliRunner

START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def test_kubectl_finds_the_plugin_which_is_the_same_program() -> None:
    (plugin,) = entry_points(group="console_scripts", name="kubectl-telecine")
    (plain,) = entry_points(group="console_scripts", name="telecine")
    assert plugin.load() is plain.load() is main


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("/usr/local/bin/kubectl-telecine", "kubectl telecine"),
        ("kubectl-telecine.exe", "kubectl telecine"),
        ("/usr/local/bin/telecine", "telecine"),
        ("/srv/telecine/cli/__main__.py", "telecine"),
    ],
)
def test_help_shows_the_name_that_was_called(called: str, shown: str) -> None:
    assert program(called) == shown
    help = CliRunner().invoke(app, ["trigger", "--help"], prog_name=program(called))
    assert f"Usage: {shown} trigger" in help.output


@pytest.mark.parametrize("command", ["plan", "trigger", "logs", "search", "objects"])
def test_the_plugin_has_the_commands_of_daily_use(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("target", "kind", "name"),
    [
        ("papers", "Sync", "papers"),
        ("sync/papers", "Sync", "papers"),
        ("Sync/papers", "Sync", "papers"),
        ("tsync/papers", "Sync", "papers"),
        ("syncs.telecine.dev/papers", "Sync", "papers"),
        ("syncs.v1alpha1.telecine.dev/papers", "Sync", "papers"),
        ("connection/desk", "Connection", "desk"),
        ("tconn/desk", "Connection", "desk"),
        ("buckets/papers", "Bucket", "papers"),
        ("namespace.telecine.dev/library", "Namespace", "library"),
        ("tpipe/faces", "Pipeline", "faces"),
    ],
)
def test_a_target_is_named_as_for_kubectl(target: str, kind: str, name: str) -> None:
    assert resource_of(target) == (kind, name)


@pytest.mark.parametrize("target", ["job/papers", "syncs.example.com/papers", "bucket.v1/papers"])
def test_a_kind_of_others_is_refused_by_name(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        resource_of(target)
    assert ended.value.exit_code == 1
    assert target.split("/")[0] in capsys.readouterr().err


def a_record(id: str, trigger: str, phase: str = "COMPLETED", **fields: Any) -> dict[str, Any]:
    times = {
        "startedAt": START.isoformat(),
        "finishedAt": (START + timedelta(seconds=12)).isoformat(),
    }
    return {"id": id, "trigger": trigger, "phase": phase, **times, **fields}


def a_sync(*history: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {}, "status": {"phase": "COMPLETED", "history": list(history)}}


def test_the_result_is_that_of_the_run_that_was_asked_for() -> None:
    body = a_sync(
        a_record("9", "continued", message="later"),
        a_record("8", "requested", message="7 objects indexed"),
        a_record("7", "requested", "FAILED", message="earlier"),
    )
    assert result("Sync", body) == (True, "run 8 COMPLETED in 12 s: 7 objects indexed")


def test_a_failed_run_went_badly_and_one_with_failed_assets_did_not() -> None:
    failed = a_sync(a_record("8", "requested", "FAILED", message="AccessDenied: no"))
    assert result("Sync", failed) == (False, "run 8 FAILED in 12 s: AccessDenied: no")
    partly = a_sync(a_record("8", "requested", "COMPLETED_WITH_ERRORS", message="1 failed"))
    assert result("Sync", partly)[0]


@pytest.mark.parametrize(("ready", "well"), [("True", True), ("False", False), ("Unknown", False)])
def test_the_result_of_another_kind_is_its_condition(ready: str, well: bool) -> None:
    condition = {"type": "Ready", "status": ready, "reason": "Checked", "message": "it answers"}
    body = {"status": {"phase": "ACTIVE", "conditions": [condition]}}
    assert result("Connection", body) == (well, "ACTIVE (Checked): it answers")


def test_what_a_resource_waits_for_is_told_while_it_waits() -> None:
    ready = {"type": "Ready", "message": "6 objects indexed"}
    reconciling = {"type": "Reconciling", "message": "run 8: listing"}
    assert standing({}) == "waiting for the operator"
    assert standing({"status": {"conditions": [ready]}}) == "6 objects indexed"
    assert standing({"status": {"conditions": [ready, reconciling]}}) == "run 8: listing"
