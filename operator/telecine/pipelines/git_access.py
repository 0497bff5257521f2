"""How a repository is reached: its address, checked and pinned, and the credentials for it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from telecine.pipelines.git_errors import DEPLOY_KEY, TOKEN, GitError
from telecine.pipelines.git_process import clean_environment
from telecine.providers.addresses import public_addresses
from telecine.providers.base import ProviderError

_SCP = re.compile(r"(?P<user>[^@:/\s]+)@(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\s\[\]]+):(?P<path>\S+)")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*")
_PORTS = {"http": 80, "https": 443, "ssh": 22}
#: The first that knows http.curloptResolve.
_PINNING = (2, 37)
#: Where a token is the password, GitHub, GitLab, Gitea, Forgejo and Azure take any name.
_TOKEN_USER = "x-access-token"
_TOKEN_USERS = {"bitbucket.org": "x-token-auth"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Remote:
    """A repository's address in its parts."""

    scheme: str
    user: str | None
    host: str
    port: int
    path: str
    """Of the form user@host:path it has no `/` before it: servers tell the two apart."""

    @property
    def url(self) -> str:
        """Without a user for http and https: credentials come from a Secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if not self.path.startswith("/"):
            return f"{self.user}@{host}:{self.path}"
        user = f"{self.user}@" if self.scheme == "ssh" and self.user else ""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}{self.path}"

    @classmethod
    def parse(cls, url: str) -> Remote:
        """Reads `https://host/path`, `ssh://user@host:port/path` and `user@host:path`.

        Raises:
            GitError: it is none of these, or carries a password.
        """
        scp = None if "://" in url else _SCP.fullmatch(url)
        if scp:
            return cls._checked("ssh", scp["user"], scp["host"].strip("[]"), 22, scp["path"])
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise GitError("GitNotFound", f"git.url is no URL: {error}") from error
        if parts.scheme not in _PORTS:
            raise GitError(
                "GitNotFound",
                "git.url must begin with https:// or ssh://, or be of the form user@host:path",
            )
        if parts.password is not None:
            raise GitError(
                "GitAuthenticationFailed",
                "git.url has a password in it: move it to the Secret of git.secretRef, as "
                "`password` or `token`, and replace it at the server, since it was readable",
            )
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        port = port or _PORTS[parts.scheme]
        return cls._checked(parts.scheme, parts.username, parts.hostname or "", port, path)

    @classmethod
    def _checked(cls, scheme: str, user: str | None, host: str, port: int, path: str) -> Remote:
        if not _HOST.fullmatch(host) or (user is not None and not _USER.fullmatch(user)):
            raise GitError("GitNotFound", "git.url has no valid host or user: correct it")
        if not path.strip("/") or not path.isprintable() or path.lstrip("/").startswith("-"):
            raise GitError("GitNotFound", "git.url has no valid path of a repository: correct it")
        return cls(scheme, user, host, port, path)


def environment(
    remote: Remote, home: Path, secret: Mapping[str, str], allow_private: bool
) -> dict[str, str]:
    """The environment in which git reaches a repository; credentials become files of `home`.

    Raises:
        GitError: the address is refused, or the Secret lacks a key.
    """
    addresses = [] if allow_private else _checked_addresses(remote)
    settings = [
        ("credential.helper", ""),
        ("http.followRedirects", "false"),
        ("core.hooksPath", os.devnull),
        ("core.fsmonitor", "false"),
        ("fetch.recurseSubmodules", "false"),
        ("transfer.bundleURI", "false"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("fetch.writeCommitGraph", "false"),
        ("pack.threads", "1"),
        # Large files go through git in pieces, and none is unpacked into a file of its own.
        ("core.bigFileThreshold", "1m"),
        ("core.packedGitLimit", "64m"),
        ("core.packedGitWindowSize", "1m"),
        ("core.deltaBaseCacheLimit", "16m"),
        ("fetch.unpackLimit", "1"),
        ("remote.origin.url", remote.url),
        ("advice.detachedHead", "false"),
    ]
    if addresses and remote.scheme != "ssh":
        settings.append(("http.curloptResolve", _resolve_option(remote, addresses)))
    made = clean_environment(home, settings)
    if remote.scheme == "ssh":
        made |= {"GIT_SSH_COMMAND": _ssh(remote, home, secret, addresses), "GIT_SSH_VARIANT": "ssh"}
        return made
    if allow_private:
        # Through a proxy no address can be pinned: it looks the name up itself.
        for name in (*_PROXIES, *(name.lower() for name in _PROXIES)):
            if os.environ.get(name):
                made[name] = os.environ[name]
    return made | _askpass(remote, home, secret)


def _checked_addresses(remote: Remote) -> list[str]:
    try:
        found = public_addresses(remote.host)
    except ProviderError as error:
        reason = "GitUnreachable" if error.reason == "Unreachable" else error.reason
        raise GitError(reason, str(error), permanent=error.permanent) from error
    if remote.scheme != "ssh" and _version() < _PINNING:
        raise GitError(
            "GitMissing",
            "git 2.37 or newer is needed where private addresses are forbidden "
            "(TELECINE_ALLOW_PRIVATE_ENDPOINTS): install it where the operator runs",
        )
    return found


@cache
def _version() -> tuple[int, ...]:
    try:
        told = subprocess.run(["git", "version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", told)[:2])


def _resolve_option(remote: Remote, addresses: list[str]) -> str:
    shown = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    return f"{host}:{remote.port}:{shown}"


def _askpass(remote: Remote, home: Path, secret: Mapping[str, str]) -> dict[str, str]:
    """Settings that answer git's questions for user and password, or leave them unanswered."""
    token, password = secret.get("token", "").strip(), secret.get("password", "").strip("\r\n")
    if token:
        usual = _TOKEN_USERS.get(remote.host.lower(), _TOKEN_USER)
        user, answer = secret.get("username", "").strip() or remote.user or usual, token
    elif password:
        user, answer = secret.get("username", "").strip() or remote.user or "", password
        if not user:
            raise _lacks("`username` beside `password`")
    elif secret:
        raise _lacks(f"`token`, or `username` and `password`, for an http URL: {TOKEN}")
    else:
        return {"GIT_ASKPASS": "", "SSH_ASKPASS": ""}
    for name, content in (("username", user), ("password", answer)):
        _write(home / name, content)
    # Only the host of git.url is answered.
    where = quote(remote.url.partition("://")[2].partition("/")[0], safe="[]:.-_")
    script = home / "askpass"
    script.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f"Username*//{_pattern(where)}*) cat {shlex.quote(str(home / 'username'))} ;;\n"
        f"Password*@{_pattern(where)}*) cat {shlex.quote(str(home / 'password'))} ;;\n"
        "*) exit 1 ;;\n"
        "esac\n"
    )
    script.chmod(0o700)
    return {"GIT_ASKPASS": str(script)}


def _pattern(text: str) -> str:
    """A pattern of `case` that matches the text itself."""
    return f'"{text}\'"'


def _ssh(remote: Remote, home: Path, secret: Mapping[str, str], addresses: list[str]) -> str:
    names = ("ssh_private_key", "identity", "ssh-privatekey")
    key = next((secret[name] for name in names if secret.get(name, "").strip()), None)
    if key is None:
        raise _lacks(f"`ssh_private_key` for an ssh URL: {DEPLOY_KEY}")
    hosts = secret.get("known_hosts", "")
    if not hosts.strip():
        raise GitError(
            "HostKeyUnknown",
            f"the Secret in git.secretRef has no key `known_hosts`: `ssh-keyscan -p {remote.port} "
            f"{remote.host}` prints its content; compare it with what the host publishes",
        )
    _write(home / "identity", key.replace("\r\n", "\n").rstrip("\n") + "\n")
    _write(home / "known_hosts", hosts.replace("\r\n", "\n").rstrip("\n") + "\n")
    options = {
        "BatchMode": "yes",
        "CanonicalizeHostname": "no",
        "CheckHostIP": "no",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": "30",
        "ForwardAgent": "no",
        "GlobalKnownHostsFile": os.devnull,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PasswordAuthentication": "no",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": str(home / "known_hosts"),
    }
    if addresses:
        # ssh looks the alias up as it stands, so it has the port that known_hosts has.
        alias = remote.host if remote.port == 22 else f"[{remote.host}]:{remote.port}"
        options |= {"HostName": addresses[0], "HostKeyAlias": alias}
    line = ["ssh", "-F", os.devnull, "-i", str(home / "identity")]
    for name, value in options.items():
        line += ["-o", f"{name}={value}"]
    return shlex.join(line)


def _lacks(what: str) -> GitError:
    return GitError("GitAuthenticationFailed", f"the Secret in git.secretRef needs {what}")


def _write(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(content)
