"""Takes environments down when the process that wanted them is gone, however it ended.

`python -m telecine.dev.guard FOLDER` reads stdin to its end, which comes with the end of the
process at the other side of the pipe, by SIGKILL too; then it stops every environment in FOLDER
and removes the folder.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from telecine.dev.environment import Instance
from telecine.dev.progress import say


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """For a block: whatever runs below the folder ends with the block or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def main() -> None:
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    # Environments of its own, and of a TELECINE_CACHE in it.
    for pattern in ("*/state.json", "*/dev/*/state.json"):
        for state in folder.glob(pattern):
            root = state.parent.parent
            Instance(state.parent.name, root=root, say=say).down(delete=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
