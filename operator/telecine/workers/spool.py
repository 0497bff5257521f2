"""A run's scratch database: sorts a listing by object id and keeps decisions off the heap.

A listing arrives in the provider's order and the ledger in the order of its ids. SQLite sorts on
disk, so that a run over millions of assets needs no more memory than one over thousands.
"""

from __future__ import annotations

import marshal
import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from telecine.planning.types import Action, Asset, Decision

_DECISIONS_AT_ONCE = 500


class Spool:
    """One temporary file, gone when closed."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - lives as long as the spool
            prefix="telecine-spool-", suffix=".sqlite", dir=scratch
        )
        self._db = sqlite3.connect(self._file.name, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "temp_store=FILE",
            "cache_size=-2048",
            "locking_mode=EXCLUSIVE",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE listing (id BLOB NOT NULL, asset BLOB NOT NULL)")
        self._db.execute("CREATE TABLE decisions (action TEXT NOT NULL, decision BLOB NOT NULL)")

    def add_listing(self, pages: Iterable[list[Asset]], identify: Callable[[str], UUID]) -> int:
        """Stores a whole listing and returns the number of assets."""
        count = 0
        dumps = marshal.dumps
        self._db.execute("BEGIN")
        for page in pages:
            count += len(page)
            self._db.executemany(
                "INSERT INTO listing VALUES (?, ?)",
                [(identify(asset.id).bytes, dumps(cast("Any", asset[:]))) for asset in page],
            )
        self._db.execute("COMMIT")
        return count

    def listing(self) -> Iterator[tuple[UUID, Asset]]:
        """The assets in the order of their object ids."""
        loads, make = marshal.loads, Asset._make
        for key, blob in self._db.execute("SELECT id, asset FROM listing ORDER BY id"):
            yield UUID(bytes=key), make(loads(blob))

    def add_decisions(self, decisions: Sequence[Decision]) -> None:
        self._db.executemany(
            "INSERT INTO decisions VALUES (?, ?)",
            [(d.action.value, pickle.dumps(tuple(d), pickle.HIGHEST_PROTOCOL)) for d in decisions],
        )

    def decisions(self, *actions: Action) -> Iterator[list[Decision]]:
        """Batches of the decisions with one of these actions, in the order they were made."""
        marks = ",".join("?" * len(actions))
        cursor = self._db.execute(
            f"SELECT decision FROM decisions WHERE action IN ({marks}) ORDER BY rowid",
            [action.value for action in actions],
        )
        while rows := cursor.fetchmany(_DECISIONS_AT_ONCE):
            yield [Decision._make(pickle.loads(blob)) for (blob,) in rows]

    def close(self) -> None:
        self._db.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
