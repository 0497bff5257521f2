"""The demo of Mux: `make demo-mux`, or `python -m telecine.dev.demo_mux`.

Three films at a test server with the manners of Mux, two of them flagged for indexing. Runs the
operator and the gateway, applies `examples/mux/`, searches; then flags the third film, takes the
flag from another, and deletes one, each told by a signed webhook. Ends with exit code 1 when the
index does not follow. Leaves nothing running.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from telecine.dev import binaries
from telecine.dev.demo import (
    MEDIA,
    ROOT,
    DemoError,
    Shell,
    environment,
    operator,
    render,
    say,
    service,
    terminated,
    wait_until_synced,
)
from telecine.dev.mux import MuxLibrary, MuxServer
from telecine.dev.processes import free_ports

EXAMPLES = ROOT / "examples" / "mux"
WEBHOOK_SECRET = "demo-signing-secret-of-32-letters"
_SECONDS = 60.0


@dataclass(frozen=True)
class Asset:
    """A film of the demo, and how it is asked for."""

    id: str
    title: str
    query: str

    @property
    def path(self) -> str:
        return f"mux-videos/{self.id}.mp4"


class Story:
    """The steps, each told as it is taken."""

    def __init__(self, shell: Shell, mux: MuxServer) -> None:
        self.shell, self.mux = shell, mux

    def add(self, film: str, query: str, passthrough: str) -> Asset:
        path = MEDIA / "films" / f"{film}.mp4"
        ident = self.mux.library.add(path, passthrough=passthrough, meta={"title": film})
        say(f"at Mux: {ident}  {film}  passthrough={passthrough}")
        return Asset(ident, film, query)

    def find(self, asset: Asset) -> None:
        """The film must come first, with what a player needs."""
        self.shell.run("telecine", "search", asset.query, "-n", "films", "--limit", "1")
        found = self.search(asset)
        if not found or found[0]["path"] != f"{asset.id}.mp4":
            raise DemoError(f"{asset.query!r} should find {asset.title}, and found {found[:1]}")
        url = found[0]["source_metadata"]["playback_url"]
        if not url.endswith(".m3u8") or httpx2.get(url, trust_env=False).status_code != 200:
            raise DemoError(f"the result's playback_url {url} does not play")
        say(f"   plays at {url}")

    def search(self, asset: Asset) -> list[dict[str, Any]]:
        """Results that are this film's."""
        told = self.shell.run(
            "telecine", "search", asset.query, "-n", "films", "-o", "json", shown=False
        )
        moments: list[dict[str, Any]] = json.loads(told)
        return [one for one in moments if one["path"] == f"{asset.id}.mp4"]

    def change(self, asset: Asset, passthrough: str) -> None:
        say(f"\nAt Mux, the passthrough of {asset.title} becomes {passthrough}:")
        self._call("PATCH", asset, {"passthrough": passthrough})

    def delete(self, asset: Asset) -> None:
        say(f"\nAt Mux, {asset.title} is deleted:")
        self._call("DELETE", asset)

    def _call(self, method: str, asset: Asset, body: dict[str, str] | None = None) -> None:
        answer = httpx2.request(
            method,
            f"{self.mux.url}/video/v1/assets/{asset.id}",
            json=body,
            auth=(self.mux.token_id, self.mux.token_secret),
            trust_env=False,
        )
        answer.raise_for_status()
        self.mux.webhooks.flush()
        last = self.mux.webhooks.sent[-1]
        say(f"   webhook {last.event['type']}, answered {last.status} after {last.seconds:.2f} s:")
        say(f"   {json.dumps(last.answer)}")
        if last.status != 200 or not last.answer["handled"]:
            raise DemoError("the webhook was not handled")

    def until(self, what: str, look: Callable[[], bool]) -> None:
        started = time.monotonic()
        while not look():
            if time.monotonic() - started > _SECONDS:
                raise DemoError(f"not within {_SECONDS:.0f} s: {what}")
            time.sleep(0.5)
        say(f"   {what}, {time.monotonic() - started:.1f} s later")


def tell(story: Story) -> None:
    """Everything after the start."""
    shell = story.shell
    shell.run("kubectl", "get", "tconn,tsync")
    say("\nWhat was left out, and why:")
    shell.run("telecine", "plan", "sync/flagged", "--skipped", ok=(0, 2))


def counted(shell: Shell) -> str:
    """The numbers of objects that `kubectl get` shows."""
    path = "{.items[0].status.objects} {.items[1].status.objects} {.items[2].status.indexed}"
    return shell.run(
        "kubectl", "get", "tns/films", "tbucket/mux-videos", "tsync/flagged",
        "-o", f"jsonpath={path}", shown=False,
    )  # fmt: skip


def subscribe(shell: Shell, mux: MuxServer) -> None:
    url = shell.run("kubectl", "get", "tconn", "mux", "-o", "jsonpath={.status.webhookUrl}{'\\n'}")
    mux.webhooks.subscribe(url.strip(), WEBHOOK_SECRET)
    say("(registered as a webhook at Mux)")


def start_gateway(stack: ExitStack, shell: Shell, log: Path) -> None:
    running = stack.enter_context(service(shell, "gateway", "telecine.gateway.main", log))
    health = f"{shell.env['TELECINE_GATEWAY_URL']}/readyz"
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and running.poll() is None:
        try:
            if httpx2.get(health, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.1)
    raise DemoError("the gateway did not start")


def demo() -> None:
    """Raises DemoError when something did not come out as it should."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telecine-demo-")))
        manifests = folder / "mux"
        manifests.mkdir()
        outer = stack.enter_context(environment(folder / "bin"))
        mux = stack.enter_context(MuxServer(MuxLibrary(), requests_per_second=5, burst=10))
        port = free_ports(1)[0]
        shell = Shell(
            outer.env
            | {
                "TELECINE_GATEWAY_URL": f"http://127.0.0.1:{port}",
                "TELECINE_GATEWAY_HOST": "127.0.0.1",
                "TELECINE_GATEWAY_PORT": str(port),
            }
        )
        story = Story(shell, mux)
        say("")
        morning = story.add("a-slow-morning", "what makes the coffee sour", "demo|vi:1")
        stars = story.add("to-the-stars", "how astronauts train", "demo|vi:1")
        sight = story.add("how-we-see", "a doctor looks into the eye", "demo|vi:0")
        replacements = {
            "https://api.mux.com": mux.url,
            "https://stream.mux.com": mux.url,
            "00000000-0000-0000-0000-000000000000": mux.token_id,
            "replace-me-with-the-signing-secret": WEBHOOK_SECRET,
            "access_token_secret: replace-me": f"access_token_secret: {mux.token_secret}",
        }
        render(manifests, replacements, EXAMPLES)
        running = stack.enter_context(operator(shell, folder / "operator.log"))
        start_gateway(stack, shell, folder / "gateway.log")
        shell.run("kubectl", "apply", "-f", str(manifests))
        wait_until_synced(shell, running)
        subscribe(shell, mux)
        tell(story)
        story.find(morning)
        story.find(stars)
        if story.search(sight):
            raise DemoError(f"{sight.title} is not flagged, and was found")

        story.change(sight, "demo|vi:1")
        story.until("it is indexed", lambda: bool(story.search(sight)))
        story.find(sight)
        story.change(morning, "demo|vi:0")
        story.until("it is not found any more", lambda: not story.search(morning))
        story.delete(stars)
        story.until("it is not found any more", lambda: not story.search(stars))
        story.find(sight)
        story.until("one object is counted", lambda: counted(shell) == "1 1 1")
        shell.run("kubectl", "get", "tns,tbucket,tsync")
        calls = sum(mux.calls.values())
        say(
            f"\nThe index followed. {calls} calls of Mux's API; "
            f"{time.monotonic() - started:.0f} s from nothing running."
        )


def main() -> None:
    # So that what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, terminated)
    try:
        demo()
    except (DemoError, binaries.BinaryError) as error:
        say(f"\ndemo-mux: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
