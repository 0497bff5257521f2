"""Runs the git program with bounds on time, disk and output, and none of the machine's settings."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from telecine.pipelines.git_errors import GitError, from_output

_TICK_SECONDS = 0.1
_MOST_STDERR = 64 << 10
_CHUNK = 64 << 10
#: In the child, before it is git: from here it would be too late, and threads forbid preexec_fn.
#: Systems that know no such limit (macOS) are no places for an operator.
_BOUNDED = 'ulimit -v "$0" 2>/dev/null || :; exec "$@"'


@dataclass(frozen=True)
class GitLimits:
    """Of one `resolve` or `fetch`, all of its programs together."""

    seconds: float = 60.0
    disk: int = 512 << 20
    """Bytes of the temporary folder."""
    output: int = 16 << 20
    """Bytes that one program may print."""
    memory: int = 320 << 20
    """Bytes of address space of one program: a small pack may hold what is huge unpacked."""


@dataclass
class GitRunner:
    """Runs git on one bare repository in a temporary folder."""

    folder: Path
    environment: Mapping[str, str]
    secret: Mapping[str, str]
    limits: GitLimits
    url: str
    """As it may be shown."""
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limits.seconds

    def run(self, *arguments: str, stdin: bytes = b"", network: bool = False) -> bytes:
        """What a git program prints. Raises GitError, also for an exit code that is not 0."""
        program = shutil.which("git", path=self.environment["PATH"])
        if program is None:
            raise GitError(
                "GitMissing",
                "the program git is not installed where the operator runs; Telecine's image has it",
            )
        given = self.folder / "stdin"
        given.write_bytes(stdin)
        environment = dict(self.environment)
        if not network:
            environment["GIT_ALLOW_PROTOCOL"] = "none"
        with given.open("rb") as source:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _BOUNDED, str(self.limits.memory >> 10), program, *arguments],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            output, complaint = self._watch(process)
        finally:
            _end(process)
        if process.returncode:
            text = complaint.decode("utf-8", "replace")
            raise from_output(self.url, text, self.secret)
        return output

    def _watch(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        output, complaint = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            for stream, kept in ((process.stdout, output), (process.stderr, complaint)):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ, kept)
            looked = 0.0
            while selector.get_map():
                for key, _ in selector.select(_TICK_SECONDS):
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fileobj)
                    key.data.extend(data)
                del complaint[:-_MOST_STDERR]
                if len(output) > self.limits.output:
                    raise self._too_large(f"git printed more than {self.limits.output:,} bytes")
                self._check_time()
                if time.monotonic() - looked >= _TICK_SECONDS:
                    self._check_disk()
                    looked = time.monotonic()
        while True:
            self._check_time()
            try:
                process.wait(_TICK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            self._check_disk()
            return bytes(output), bytes(complaint)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise GitError(
                "GitTimeout",
                f"{self.url}: no answer, or not all of it, in {self.limits.seconds:g} s: check "
                "that the host can be reached, and how large the repository is",
                permanent=False,
            )

    def _check_disk(self) -> None:
        if _used(self.folder) > self.limits.disk:
            raise self._too_large(
                f"one commit of it takes more than {self.limits.disk >> 20:,} MiB"
            )

    def _too_large(self, what: str) -> GitError:
        return GitError(
            "TooLarge",
            f"{self.url}: {what}: move pipelines into a repository of their own, without media "
            "and models",
        )


def _used(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                # git renames its temporary files while we look.
                continue
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends git and what it started (ssh, index-pack), which are one process group.

    One that has been waited for is over with all it started, and its id may be another's by now.
    """
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            # To its end: then none of them is left that writes into the temporary folder.
            while stream.read(_CHUNK):
                continue
            stream.close()


def clean_environment(home: Path, settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Nothing of the machine's Git or ssh settings; `settings` are pairs of a name and value."""
    kept = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE")
    environment = {name: os.environ[name] for name in kept if os.environ.get(name)}
    environment.setdefault("PATH", os.defpath)
    if "SSL_CERT_FILE" in environment:
        # Not every libcurl that git is linked with reads it.
        environment.setdefault("GIT_SSL_CAINFO", environment["SSL_CERT_FILE"])
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C",
        "GIT_DIR": str(home / "repository"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment
