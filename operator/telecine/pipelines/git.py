"""Reads one folder of a Git repository at one commit; nothing of it is checked out or executed.

The git program works on a bare temporary repository, so no hook, filter, submodule or LFS server
has a part in it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from telecine.api.pipeline import GitSource
from telecine.pipelines.bundle import HANDLER, MOST_FILES, MOST_UNPACKED, BundleError, check_path
from telecine.pipelines.config import CONFIG
from telecine.pipelines.git_access import Remote, environment
from telecine.pipelines.git_errors import GitError
from telecine.pipelines.git_process import GitLimits, GitRunner

__all__ = ["GitError", "GitLimits", "default_branch", "fetch", "fetch_folders", "resolve"]

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,63}")
#: What git-check-ref-format(1) forbids, in the parts that could mean something else here.
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/]|//|[/.]$|\.lock$")
_MOST_FOLDERS = 1000
_BRANCH = "ref: refs/heads/"
#: What is wrong with one folder and not with its neighbours.
_FOLDERS_OWN = frozenset({"UnsupportedContent", "TooLarge"})
_LFS = b"version https://git-lfs.github.com/spec/"
_PEELED = "^{}"


class _Entry(NamedTuple):
    path: str
    object_id: str


def resolve(
    source: GitSource,
    credentials: Mapping[str, str],
    *,
    limits: GitLimits = GitLimits(),
    allow_private: bool = False,
) -> str:
    """The full id of the commit that `source.ref` means now.

    A ref is a branch, else a tag (an annotated one is peeled), else a commit id of at least seven
    digits. `credentials` are the decoded Secret.

    Raises:
        GitError: see there.
    """
    ref = source.ref.strip() or "HEAD"
    if _NO_REF.search(ref):
        raise GitError("RefNotFound", f"git.ref {ref!r} is no name of a branch, tag or commit")
    with _repository(source, credentials, limits, allow_private) as git:
        known = _advertised(git, ref)
        for name in _names(ref):
            if name in known:
                return known.get(name + _PEELED, known[name])
        if _COMMIT.fullmatch(ref.lower()):
            return ref.lower()
        if _ABBREVIATED.fullmatch(ref.lower()):
            return _expand(git, ref.lower())
        raise GitError(
            "RefNotFound", f"{git.url} has no branch, tag or commit {ref!r}: correct git.ref"
        )


def fetch(
    source: GitSource,
    commit: str,
    path: str,
    credentials: Mapping[str, str],
    *,
    limits: GitLimits = GitLimits(),
    allow_private: bool = False,
) -> Mapping[str, bytes]:
    """The files of one folder at one commit, by path relative to that folder.

    Raises:
        GitError: see there; also for what no bundle can have (symbolic links, submodules).
    """
    folder = _folder(path)
    with _repository(source, credentials, limits, allow_private) as git:
        _fetch_commit(git, commit)
        return _read(git, commit, folder)


def fetch_folders(
    source: GitSource,
    commit: str,
    credentials: Mapping[str, str],
    *,
    limits: GitLimits = GitLimits(),
    allow_private: bool = False,
) -> Mapping[str, Mapping[str, bytes] | GitError]:
    """As `fetch`, each folder directly below the root that has `handler.py` or `config.json`.

    The root itself is `.`, when it has a `handler.py`. For a folder that no bundle can be made of
    there is the error in its place.

    Raises:
        GitError: the commit cannot be had.
    """
    found: dict[str, Mapping[str, bytes] | GitError] = {}
    with _repository(source, credentials, limits, allow_private) as git:
        _fetch_commit(git, commit)
        for folder in _pipelines(git, commit):
            try:
                found[folder or "."] = _read(git, commit, folder)
            except GitError as error:
                if error.reason not in _FOLDERS_OWN:
                    raise
                found[folder or "."] = error
    return found


def default_branch(
    source: GitSource,
    credentials: Mapping[str, str],
    *,
    limits: GitLimits = GitLimits(),
    allow_private: bool = False,
) -> str:
    """The branch that the repository's HEAD is.

    Raises:
        GitError: see there; `RefNotFound` when it is none.
    """
    with _repository(source, credentials, limits, allow_private) as git:
        told = git.run("ls-remote", "--quiet", "--symref", "origin", "HEAD", network=True)
        for line in told.decode("utf-8", "replace").splitlines():
            target, _, name = line.partition("\t")
            if name == "HEAD" and target.startswith(_BRANCH):
                return target.removeprefix(_BRANCH)
        raise GitError("RefNotFound", f"{git.url} names no default branch: give a ref")


@contextmanager
def _repository(
    source: GitSource, credentials: Mapping[str, str], limits: GitLimits, allow_private: bool
) -> Iterator[GitRunner]:
    remote = Remote.parse(source.url)
    with tempfile.TemporaryDirectory(prefix="telecine-git-") as name:
        home = Path(name)
        made = environment(remote, home, credentials, allow_private)
        yield GitRunner(home, made, credentials, limits, remote.url.partition("?")[0])


def _names(ref: str) -> Sequence[str]:
    if ref == "HEAD" or ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}")


def _advertised(git: GitRunner, ref: str) -> dict[str, str]:
    """The ids of the refs that may be meant, by name. ls-remote matches the ends of names."""
    patterns = [name + end for name in _names(ref) for end in ("", _PEELED)]
    output = git.run("ls-remote", "--quiet", "origin", *patterns, network=True)
    found = (line.partition("\t") for line in output.decode("utf-8", "replace").splitlines())
    return {name: object_id for object_id, _, name in found}


def _expand(git: GitRunner, short: str) -> str:
    """The commit that an abbreviated id means. Only commits are fetched, where the host can."""
    git.run("init", "--quiet", "--bare", "--template=")
    refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    git.run("fetch", "--quiet", "--filter=tree:0", "--no-tags", "origin", *refs, network=True)
    listed = git.run("rev-parse", f"--disambiguate={short}").decode().split()
    kinds = git.run(
        "cat-file", "--batch-check=%(objecttype) %(objectname)", stdin="\n".join(listed).encode()
    )
    pairs = [line.split() for line in kinds.decode().splitlines()]
    commits = sorted({pair[1] for pair in pairs if pair[0] == "commit"})
    if len(commits) == 1:
        return commits[0]
    what = f"has {len(commits)} commits" if commits else "has no branch, tag or commit"
    raise GitError("RefNotFound", f"{git.url} {what} {short!r}: give the full id in git.ref")


def _fetch_commit(git: GitRunner, commit: str) -> None:
    """Into a new repository, with its trees, and contents only where the host cannot filter."""
    if not _COMMIT.fullmatch(commit):
        raise GitError("RefNotFound", f"{commit!r} is no full commit id")
    form = "sha256" if len(commit) == 64 else "sha1"
    git.run("init", "--quiet", "--bare", "--template=", f"--object-format={form}")
    shallow = ("--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin")
    try:
        git.run("fetch", *shallow, commit, network=True)
    except GitError as error:
        # Old hosts give only what a branch or tag points to.
        if error.reason != "RefNotFound" or "unadvertised" not in error.message:
            raise
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git.run("fetch", "--quiet", "--filter=blob:none", "origin", *refs, network=True)
    kind = git.run("cat-file", "--batch-check=%(objecttype)", stdin=commit.encode())
    if kind.strip() != b"commit":
        raise GitError("RefNotFound", f"{git.url} has no commit {commit}: check git.ref")


def _read(git: GitRunner, commit: str, folder: str) -> dict[str, bytes]:
    tree = _tree(git, commit, folder)
    entries = _entries(git, tree)
    _fetch_contents(git, tree)
    _check_sizes(git, entries)
    return _contents(git, entries)


def _pipelines(git: GitRunner, commit: str) -> Sequence[str]:
    """The folders of pipelines, sorted; the root is empty. Hidden ones are none."""
    listed = _lines(git.run("ls-tree", "-z", "--full-tree", commit))
    kinds = {
        name: head.split(" ")[1] for head, _, name in (line.partition("\t") for line in listed)
    }
    folders = [name for name, kind in kinds.items() if kind == "tree" and not name.startswith(".")]
    if len(folders) > _MOST_FOLDERS:
        raise GitError(
            "TooLarge", f"{git.url} has {len(folders):,} folders: {_MOST_FOLDERS:,} are allowed"
        )
    files = [f"{folder}/{file}" for folder in folders for file in (HANDLER, CONFIG)]
    options = ("-z", "--full-tree", "--name-only", commit, "--")
    there = _lines(git.run("ls-tree", *options, *files)) if files else []
    found = sorted({path.rpartition("/")[0] for path in there})
    return ["", *found] if kinds.get(HANDLER) == "blob" else found


def _lines(output: bytes) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in output.split(b"\0") if line]


def _folder(path: str) -> str:
    """The folder as git names it; empty for the root."""
    parts = PurePosixPath(path.strip()).parts
    if ".." in parts or path.startswith("/") or not path.isprintable():
        raise GitError("PathNotFound", f"git.path {path!r} is no folder inside of the repository")
    return "/".join(parts)


def _tree(git: GitRunner, commit: str, folder: str) -> str:
    """What git calls the folder. Its kind is asked for without its content, which is elsewhere."""
    if not folder:
        return f"{commit}^{{tree}}"
    found = git.run("ls-tree", "-z", "--full-tree", commit, "--", folder)
    if found:
        _, kind, object_id = found.partition(b"\t")[0].decode().split(" ")
        if kind == "tree":
            return object_id
    what = f"{folder!r} is no folder" if found else f"there is no folder {folder!r}"
    raise GitError("PathNotFound", f"{git.url}: {what} at commit {commit[:12]}: correct git.path")


def _entries(git: GitRunner, tree: str) -> list[_Entry]:
    """The files of a folder. Raises GitError for what is no file, or too many."""
    output = git.run("ls-tree", "-r", "-z", "--full-tree", tree)
    entries = []
    for line in filter(None, output.split(b"\0")):
        head, _, name = line.partition(b"\t")
        mode, _, object_id = head.decode().split(" ")
        entries.append(_entry(name.decode("utf-8", "surrogateescape"), mode, object_id))
    if len(entries) > MOST_FILES:
        raise GitError(
            "TooLarge",
            f"the folder has {len(entries):,} files and {MOST_FILES} are allowed: take out what is "
            "no code, or give the folder of one pipeline in git.path",
        )
    return entries


def _entry(path: str, mode: str, object_id: str) -> _Entry:
    if mode == "120000":
        raise _unsupported(path, "is a symbolic link: put the file itself there")
    if mode == "160000":
        raise _unsupported(path, "is a submodule: put its files there")
    try:
        check_path(path)
    except BundleError as error:
        raise GitError("UnsupportedContent", str(error)) from error
    return _Entry(path, object_id)


def _fetch_contents(git: GitRunner, tree: str) -> None:
    """In one request what a host that can filter has kept back: git would ask file by file."""
    options = ("--objects", "--no-object-names", "--no-walk", "--missing=print")
    listed = git.run("rev-list", *options, tree).decode().split()
    missing = "".join(f"{line[1:]}\n" for line in listed if line.startswith("?"))
    if missing:
        plain = ("--quiet", "--no-tags", "--no-write-fetch-head", "--filter=blob:none", "--stdin")
        git.run("fetch", *plain, "origin", stdin=missing.encode(), network=True)


def _check_sizes(git: GitRunner, entries: Sequence[_Entry]) -> None:
    asked = "".join(f"{entry.object_id}\n" for entry in entries).encode()
    told = git.run("cat-file", "--batch-check=%(objectsize)", stdin=asked).decode().split()
    sizes = [int(size) for size in told]
    if sum(sizes) > MOST_UNPACKED:
        size, largest = max(zip(sizes, (entry.path for entry in entries), strict=True))
        raise GitError(
            "TooLarge",
            f"the folder has {sum(sizes):,} bytes and {MOST_UNPACKED:,} are allowed; the largest "
            f"file is {largest} with {size:,}: take out what is no code",
        )


def _contents(git: GitRunner, entries: Sequence[_Entry]) -> dict[str, bytes]:
    asked = "".join(f"{entry.object_id}\n" for entry in entries).encode()
    output = git.run("cat-file", "--batch=%(objectsize)", stdin=asked)
    files, at = {}, 0
    for entry in entries:
        end = output.index(b"\n", at)
        size = int(output[at:end])
        content = output[end + 1 : end + 1 + size]
        at = end + size + 2
        if content.startswith(_LFS):
            raise _unsupported(
                entry.path, "is a pointer of Git LFS, whose content is not fetched: commit it plain"
            )
        files[entry.path] = content
    return files


def _unsupported(path: str, what: str) -> GitError:
    return GitError("UnsupportedContent", f"{path} {what}, or take it out of the folder")
