"""Properties that documents bring themselves: a Pipeline's documents have those of its dicts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import UUID

from telecine.index.client import IndexSchemaError, Session
from telecine.index.documents import StoredDocument
from telecine.index.schema import Shape, add_property
from telecine.planning.types import JSON


def plain(value: JSON) -> tuple[str, JSON] | None:
    """A value's type in Weaviate, and the value as it is kept; None for what has no value.

    All numbers are `number`, so that 1 and 1.5 fit one property. A dict, or a list of unlike
    things, is kept as JSON text.
    """
    match value:
        case None | []:
            return None
        case bool():
            return "boolean", value
        case int() | float():
            return "number", float(value)
        case str():
            return "text", value
        case list():
            types = {found[0] if (found := plain(one)) else "" for one in value}
            alike = types <= {"boolean"} or types <= {"number"} or types <= {"text"}
            if alike and not any(isinstance(one, dict | list) for one in value):
                return f"{types.pop()}[]", value
    return "text", json.dumps(value, ensure_ascii=False, sort_keys=True)


class Freeform:
    """The properties of one collection, which grow with the documents."""

    def __init__(self, session: Session, collection: str) -> None:
        self._session, self._name = session, collection
        self._types: dict[str, str] = {}

    def fit(self, documents: Iterable[StoredDocument]) -> dict[UUID, str]:
        """Makes room for what documents bring, and their values of its types.

        Returns objects that have a value of another type than the property of its name has, and
        says which. Raises IndexUnavailableError.
        """
        refused: dict[UUID, str] = {}
        for document in documents:
            kept: dict[str, JSON] = {}
            for name, value in document.document.properties.items():
                found = plain(value)
                if found is None:
                    continue
                there = self._type(name, found[0])
                if there != found[0]:
                    refused[document.object_id] = (
                        f"`{name}` is {found[0]}, and {there} in collection {self._name}"
                    )
                kept[name] = found[1]
            document.document.properties = kept
        return refused

    def _type(self, name: str, wanted: str) -> str:
        if name not in self._types:
            self._types = self._read()
        if name not in self._types:
            use = "both" if wanted.startswith("text") else "filter"
            shape: Shape = (name, wanted, use)
            with self._session.call():
                add_property(self._session, self._name, shape)
            # Another worker may have been first, with another type.
            self._types = self._read()
        found = self._types.get(name)
        if found is None:
            raise IndexSchemaError(f"property {name} was not added to collection {self._name}")
        return found

    def _read(self) -> dict[str, str]:
        with self._session.call():
            config = self._session.client.collections.use(self._name).config.get()
        return {p.name: str(getattr(p.data_type, "value", p.data_type)) for p in config.properties}
