"""What can go wrong with a Git repository, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from telecine.providers.redact import redact


class GitError(Exception):
    """`str()` is fit for a status: what is wrong and the remedy, secrets redacted.

    `reason` is CamelCase for a condition: GitAuthenticationFailed, GitNotFound, RefNotFound,
    PathNotFound, GitUnreachable, GitTimeout, HostKeyUnknown, TooLarge, UnsupportedContent,
    EndpointRefused, GitMissing. `permanent` means that only a change of spec, Secret or
    repository can help.
    """

    def __init__(self, reason: str, message: str, *, permanent: bool = True) -> None:
        super().__init__(message)
        self.reason, self.message, self.permanent = reason, message, permanent


TOKEN = (
    "a token that may read the repository is made at GitHub under Settings > Developer settings > "
    "Personal access tokens (Contents: read), at GitLab under Settings > Access tokens "
    "(read_repository), at Gitea and Forgejo under Settings > Applications (repository: read)"
)
DEPLOY_KEY = (
    "its public half is added at the host to the repository as a deploy key, for reading only"
)
_HTTP = f"check `token`, or `username` and `password`, in the Secret of git.secretRef: {TOKEN}"
_SSH = f"check `ssh_private_key` in the Secret of git.secretRef: {DEPLOY_KEY}; it has no passphrase"
_KEYSCAN = (
    "the Secret's key `known_hosts` must have the host's own line: `ssh-keyscan HOST` prints it "
    "(-p PORT for another port than 22); compare it with what the host publishes"
)
_REACH = "check git.url, and that the operator's Pod may reach the host"

#: In order: a pattern in what git prints, the reason, whether it is permanent, and the remedy
#: (empty: by what the URL needs as credentials).
_RULES: tuple[tuple[str, str, bool, str], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known for",
     "HostKeyUnknown", True, _KEYSCAN),
    (r"No user exists for uid", "GitUnreachable", True,
     "ssh needs an entry in /etc/passwd for the user that the operator runs as; Telecine's image "
     "has one for 65532: use that as runAsUser, or an https URL"),
    (r"cannot run ssh|ssh: (command )?not found", "GitMissing", True,
     "install openssh-client where the operator runs; Telecine's image has it"),
    (r"not found in upstream|couldn't find remote ref|not our ref|unadvertised object|"
     r"bad object|remote error: upload-pack", "RefNotFound", True, "check git.ref"),
    (r"Permission denied \(|Authentication failed|could not read (Username|Password)|"
     r"Load key .*(invalid format|error in libcrypto|incorrect passphrase)|"
     r"HTTP (401|403)|returned error: (401|403)|Too many authentication failures",
     "GitAuthenticationFailed", True, ""),
    (r"returned error: 3\d\d", "GitUnreachable", True,
     "the server answers that the repository is elsewhere; credentials do not follow it: write "
     "that address in git.url (GitLab wants `.git` at its end)"),
    (r"repository '[^']*' not found|Repository not found|does not appear to be a git repository|"
     r"returned error: (404|410)|not found: did you run git update-server-info|"
     r"project you were looking for could not be found",
     "GitNotFound", True,
     "check git.url; without credentials a private repository may look absent"),
    (r"SSL certificate|certificate verify|server certificate|SSL peer certificate|"
     r"certificate subject name|does not match target host",
     "GitUnreachable", True,
     "the server's certificate is not that of this host, or not trusted where the operator runs "
     "(SSL_CERT_FILE)"),
    (r"(?m)^(fatal|error): .*(out of memory|memory exhausted|cannot allocate memory|"
     r"unable to create thread|(malloc|mmap|calloc|realloc) failed|index-pack died of signal)",
     "TooLarge", True,
     "a file of it is too large to be unpacked: move pipelines into a repository of their own"),
    (r"No space left|index-pack failed: .*space", "TooLarge", False,
     "the operator's temporary folder is full"),
    (r"transport '[^']*' not allowed", "GitUnreachable", True, "use an https or ssh URL"),
)  # fmt: skip
_COMPILED = tuple(
    (re.compile(pattern, re.IGNORECASE), reason, permanent, remedy)
    for pattern, reason, permanent, remedy in _RULES
)
#: Lines of ssh and git that say nothing of the cause.
_NOISE = re.compile(
    r"^(@+|warning: .*|hint: .*|remote: *|and the repository exists\.|"
    r"please make sure you have the correct access rights|"
    r"fatal: could not read from remote repository\.|\s*)$",
    re.IGNORECASE,
)


def from_output(what: str, stderr: str, secret: Mapping[str, str]) -> GitError:
    """The error that a git program's complaint stands for."""
    lines = [line for line in stderr.splitlines() if not _NOISE.match(line)]
    quoted = redact(" ".join(lines[-4:]) or stderr or "git said nothing", secret)
    for pattern, reason, permanent, remedy in _COMPILED:
        if pattern.search(stderr):
            told = remedy or (_HTTP if what.startswith("http") else _SSH)
            return GitError(reason, f"{what}: {quoted}: {told}", permanent=permanent)
    return GitError("GitUnreachable", f"{what}: {quoted}: {_REACH}", permanent=False)
