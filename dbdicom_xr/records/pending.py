"""What a database remembers of its records between two calls: edits of a batch, and new names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes import Attribute
from dbdicom_xr.records.edits import encoder_of, keys_to_write
from dbdicom_xr.staging.encode import Encoded, encode

__all__ = ["Queue", "Renamed"]

Edits = dict[Key, tuple[list[Encoded | None], Any]]


class Queue:
    """Edits of single instances in a batch: applied together, 1,000 take 0.1 s in place of 30."""

    def __init__(self) -> None:
        self._tables: dict[int, tuple[Table, dict[Key, dict[int, Encoded | None]]]] = {}
        self._arguments: dict[tuple[int, str], tuple[Key, dict[str, Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._tables)

    def clear(self) -> None:
        """Forget all edits."""
        self._tables.clear()
        self._arguments.clear()

    def add(self, table: Table, row: int, attribute: Attribute, value: Any) -> bool:
        """Note an edit; False where it is more than a value of one instance.

        Raises
        ------
        InvalidValue
            The value is not valid.
        """
        name = (id(table), attribute.name)
        if name not in self._arguments:
            if table.column(Key(PER_FRAME)) is not None or table.column(Key(SHARED)) is not None:
                return False
            if not table.is_classic:
                return False
            keys = keys_to_write(attribute, table)
            if len(keys) != 1:
                return False
            self._arguments[name] = (keys[0], encoder_of(table, attribute, keys[0]))
        key, arguments = self._arguments[name]
        encoded = encode(value=value, **arguments)
        _, edits = self._tables.setdefault(id(table), (table, {}))
        edits.setdefault(key, {})[row] = encoded
        return True

    def tables(self) -> Iterator[tuple[Table, Edits]]:
        """Yield the edits by series: distinct values, and a code per instance (-1 for none)."""
        for table, edits in self._tables.values():
            result: Edits = {}
            for key, values in edits.items():
                numbers: dict[Encoded | None, int] = {}
                codes = np.full(len(table.places), -1, np.int32)
                for row, value in values.items():
                    codes[row] = numbers.setdefault(value, len(numbers))
                result[key] = (list(numbers), codes)
            yield table, result


class Renamed:
    """Which records are known by other names since their identifiers were edited.

    A handle that was made before goes on naming the same thing, also when the edit is undone.
    """

    def __init__(self) -> None:
        self._others: dict[tuple[str, str], list[str]] = {}

    def note(self, level: str, old: str, new: Sequence[str]) -> None:
        """Note that what had one name may be found by others, and the other way round."""
        for name in new:
            if name != old:
                self._others.setdefault((level, old), []).append(name)
                self._others.setdefault((level, name), []).append(old)

    def others(self, level: str, name: str) -> Iterator[str]:
        """Yield the other names of a record, the latest first."""
        seen = {name}
        waiting = [name]
        while waiting:
            for other in reversed(self._others.get((level, waiting.pop()), [])):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
                    yield other
