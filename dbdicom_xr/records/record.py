"""What all records have in common: they are handles on a database, mappings of their children.

A record holds the database and a name within it, nothing else, so that it is small, can be
pickled, and always shows the database as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.locator import release
from dbdicom_xr.arrays.source import remember
from dbdicom_xr.errors import UnknownKeyword
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Talk, Voice
from dbdicom_xr.records.attributes.filters import Filter, parse_filters
from dbdicom_xr.records.attributes.likeness import same_as_standard
from dbdicom_xr.records.attributes.lookup import (
    Attribute,
    Name,
    is_attribute_name,
    parse_name,
    suggestion,
)
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.distinct import Distinct, distinct, own
from dbdicom_xr.records.editable import Editable
from dbdicom_xr.records.importing.methods import Exchanging

if TYPE_CHECKING:
    import pandas as pd

    from dbdicom_xr.records.database import Database

__all__ = ["Children", "Distinct", "Record", "distinct", "own"]

R = TypeVar("R", bound="Record")


class Children(Mapping[str, R]):
    """The children of a record by name; called with filters, a list of those that match."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getitem__(self, name: str) -> R:
        child = self._record._child(name) if isinstance(name, str) else None
        if child is None:
            raise UnknownKeyword(self._record._no_such_child(name))
        return child  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record._child_names())

    def __len__(self) -> int:
        return len(self._record._child_names())

    def __call__(self, *filters: Mapping[Name, Any], **conditions: Any) -> list[R]:
        """Return the children in which some frame satisfies the filters; see ``series``."""
        wanted = parse_filters(filters, conditions, self._record._has)
        return self._record._children_matching(wanted)

    def __repr__(self) -> str:
        names = list(self)
        shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        return f"<children of {self._record!r}: {shown or 'none'}>"


class Record(Editable, Exchanging, Talk, Mapping[str, "Record"]):
    """A handle on a database, patient, study, series or instance."""

    __slots__ = ("__weakref__",)

    level: str = ""
    # Methods come first, then DICOM keywords, which are all CamelCase.

    # -- what a kind of record has to provide ------------------------------------------------

    @property
    def database(self) -> Database:
        """The database that the record belongs to."""
        raise NotImplementedError

    def _identity(self) -> tuple[Any, ...]:
        """Return what the record names, comparable and hashable."""
        raise NotImplementedError

    def _tables(self) -> list[tuple[Table, npt.NDArray[np.intp] | None]]:
        """Return the series that the record covers, and which frames (None for all)."""
        raise NotImplementedError

    def _child_names(self) -> list[str]:
        raise NotImplementedError

    def _child(self, name: str) -> Record | None:
        """Return the child of a name, None if there is none."""
        raise NotImplementedError

    def _below(self, level: str, wanted: Filter) -> list[Any]:
        """Return the records of a lower level in which some frame satisfies the filter."""
        raise NotImplementedError

    def _children_matching(self, wanted: Filter) -> list[Any]:
        from dbdicom_xr.records.tree import LEVELS

        place = LEVELS.index(self.level) + 1
        return self._below(LEVELS[place], wanted) if place < len(LEVELS) else []

    @property
    def parent(self) -> Record:
        """The record above; the database is its own."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Its name among its siblings."""
        raise NotImplementedError

    # -- identity ----------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __bool__(self) -> bool:
        return True

    def __copy__(self: R) -> R:
        return self

    def __deepcopy__(self: R, memo: dict[int, Any]) -> R:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.object_]:
        result = np.empty((), object)
        result[()] = self
        return result

    def __call__(self: R) -> R:
        """Return the record itself, so that ``series.parent()`` reads like ``series.parent``."""
        return self

    @property
    def _voice(self) -> Voice:
        return self.database._own_voice

    # -- as a mapping of its children --------------------------------------------------------

    @overload
    def __getitem__(self, name: list[Name]) -> list[Any]: ...
    @overload
    def __getitem__(self, name: Name) -> Any: ...
    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, list):
            return self.database._at_once(lambda: [self[part] for part in name])
        if isinstance(name, str) and not is_attribute_name(name):
            return self._descendant(name)
        return self._value(parse_name(name, self._has))

    def __iter__(self) -> Iterator[str]:
        return iter(self._child_names())

    def __len__(self) -> int:
        return len(self._child_names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._child(name) is not None

    def _descendant(self, path: str) -> Any:
        record: Record = self
        if path.startswith("/"):
            record, path = self.root, path.strip("/")
        parts = path.split("/")
        for i, part in enumerate(parts):
            if part in ("", "."):
                continue
            if part == "..":
                record = record.parent
                continue
            child = record._child(part)
            if child is None:
                # What is left may name an attribute, also a private one with a "/" in its name.
                rest = "/".join(parts[i:])
                try:
                    attribute = parse_name(rest, record._has)
                except UnknownKeyword:
                    wrong = rest if same_as_standard(rest) else part
                    raise UnknownKeyword(record._no_such_child(wrong)) from None
                return record._value(attribute)
            record = child
        return record

    def _no_such_child(self, name: Any) -> str:
        names = self._child_names()
        hint = suggestion(str(name), names)
        if not hint and names:
            listed = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
            hint = f" Its children are {listed}."
        return f"{name!r} is neither a child of {self!r} nor a DICOM keyword.{hint}"

    @property
    def children(self) -> Children[Any]:
        """The children by name; ``children(FlipAngle=10)`` lists those that match."""
        return Children(self)

    @property
    def root(self) -> Database:
        """The database, which is the root of the tree."""
        return self.database

    @property
    def path(self) -> str:
        """The names from the root to here, as in a file path."""
        parts: list[str] = []
        record: Record = self
        while record.level != "database":
            parts.append(record.name)
            record = record.parent
        return "/" + "/".join(reversed(parts))

    @property
    def depth(self) -> int:
        """How many levels the record stands below the root."""
        return 0 if self.level == "database" else self.parent.depth + 1

    @property
    def leaves(self) -> tuple[Record, ...]:
        """The records without children at or below this one, as instances are."""
        return tuple(record for record in self.subtree if not record._child_names())

    @property
    def subtree(self) -> Iterator[Record]:
        """The record and all below it, parents first."""
        yield self
        for child in self._children_matching(parse_filters((), {})):
            yield from child.subtree

    def siblings(self, *filters: Mapping[Name, Any], **conditions: Any) -> list[Any]:
        """Return the other children of the parent.

        Parameters
        ----------
        **conditions
            Filters, see :meth:`series`.
        """
        wanted = parse_filters(filters, conditions, self.parent._has)
        if self.level == "database":
            return []
        return [record for record in self.parent._children_matching(wanted) if record != self]

    # -- downwards and upwards ---------------------------------------------------------------

    def patients(self, *filters: Mapping[Name, Any], **conditions: Any) -> Any:
        """Return the patients below, or the patient above. See :meth:`series`."""
        return self._relatives("patient", filters, conditions)

    def studies(self, *filters: Mapping[Name, Any], **conditions: Any) -> Any:
        """Return the studies below, or the study above. See :meth:`series`."""
        return self._relatives("study", filters, conditions)

    def series(self, *filters: Mapping[Name, Any], **conditions: Any) -> Any:
        """Return the series below, or the series above.

        Parameters
        ----------
        *filters : mapping
            Conditions on attributes that are no Python names: ``{(0x0019, 0x100c): 1000}``.
        **conditions
            Conditions by keyword. A value matches itself, text may hold ``*`` and ``?``, a list
            means any of its members, a slice a closed range, a function decides on the value, and
            None means absent. One frame must satisfy all.

        Returns
        -------
        list of Series, or Series
            A list downwards, one record upwards.

        Raises
        ------
        UnknownKeyword
            A keyword that does not exist.
        """
        return self._relatives("series", filters, conditions)

    def instances(self, *filters: Mapping[Name, Any], **conditions: Any) -> Any:
        """Return the instances below. See :meth:`series`."""
        return self._relatives("instance", filters, conditions)

    def _relatives(
        self, level: str, filters: tuple[Mapping[Name, Any], ...], conditions: Mapping[str, Any]
    ) -> Any:
        from dbdicom_xr.records.tree import LEVELS

        wanted = parse_filters(filters, conditions, self._has)
        if LEVELS.index(level) > LEVELS.index(self.level):
            return self._below(level, wanted)
        record: Record = self
        while record.level != level:
            record = record.parent
        return record if not wanted or record._matches(wanted) else None

    @of_one_state
    def _matches(self, wanted: Filter) -> bool:
        return any(
            bool(wanted.rows(table)[slice(None) if rows is None else rows].any())
            for table, rows in self._tables()
        )

    # -- attributes --------------------------------------------------------------------------

    def __getattr__(self, keyword: str) -> Any:
        if keyword.startswith("_"):
            raise AttributeError(keyword)
        return self._value(self._of_keyword(keyword))

    @of_one_state
    def _value(self, attribute: Attribute) -> Any:
        """Return the distinct values at or below the record, sorted, None left out."""
        found: list[Any] = []
        for table, rows in self._tables():
            found.extend(attribute.occurring(table, rows))
        for table in self._made_tables():
            values = attribute.values(table)
            found.extend([] if values is None else values.occurring())
        return distinct(found, attribute.name)

    def _made_tables(self) -> list[Table]:
        """Return what holds for records made by hand that nothing stands in yet."""
        return []

    @of_one_state
    def _has(self, attribute: Attribute) -> bool:
        """Return whether some header at or below the record has a private attribute."""
        tables = [*(table for table, _ in self._tables()), *self._made_tables()]
        return any(attribute.keys(table) for table in tables)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._keywords()})

    def _ipython_key_completions_(self) -> list[str]:
        return [*self._child_names(), *self._keywords()]

    @of_one_state
    def _keywords(self) -> list[str]:
        from pydicom.datadict import keyword_for_tag

        tables = self._tables()[:1]
        found = {
            keyword_for_tag(key.tag) for table, _ in tables for key in table.keys if not key.creator
        }
        return sorted(found - {""})

    # -- tables and files --------------------------------------------------------------------

    @of_one_state
    def to_dataframe(self, *keywords: Name | list[Name]) -> pd.DataFrame:
        """Return the header as a table with one row per frame.

        Parameters
        ----------
        *keywords : name, or a list of them
            The attributes that make the columns; by default all but sequences and values that
            were left in the files because of their length.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``SOPInstanceUID`` and ``frame``.
        """
        from dbdicom_xr.records.reading.header_table import dataframe

        names = [n for part in keywords for n in (part if isinstance(part, list) else [part])]
        return dataframe(self._tables(), names, self._has)

    @of_one_state
    def files(self) -> list[str]:
        """Return the paths of the files at or below the record, without what is not saved yet."""
        paths: list[str] = []
        view = self.database._view()
        for table, rows in self._tables():
            own = view.has_file(table.series.id)
            instances = np.arange(len(own)) if rows is None else np.unique(table.instance_of[rows])
            numbers = table.places["file"][instances[own[instances]]].tolist()
            known = table.store.files(numbers)
            paths += [f"{table.root}/{known[number].path}" for number in numbers]
        return paths

    @of_one_state
    def read(self: R) -> R:
        """Read header and pixels of the record into memory, to work with it again and again.

        Arrays of it, also those made before, are computed from memory then. What is staged stays
        as it is.

        Returns
        -------
        Record
            Itself.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0].read()
        >>> mean = series.array()[0].mean().compute()  # without a look at the disk
        >>> series.clear()
        """
        store = self.database._store
        for table, files in self._pixel_files():
            table.load()
            remember(table.root, str(store.path), store.identity, files)
        return self

    @of_one_state
    def clear(self) -> None:
        """Give back the memory that ``read`` took. What is staged stays as it is."""
        for _, files in self._pixel_files():
            release(str(self.database._store.path), files)

    def _pixel_files(self) -> Iterator[tuple[Table, npt.NDArray[np.int64]]]:
        for table, rows in self._tables():
            files = table.places["file"]
            if rows is not None:
                files = files[np.unique(table.instance_of[rows])]
            yield table, np.unique(files[files >= 0]).astype(np.int64)

    # -- what a person sees ------------------------------------------------------------------

    def __repr__(self) -> str:
        from dbdicom_xr.records.display import short

        return short(self)

    def __str__(self) -> str:
        from dbdicom_xr.records.display import tree_text

        return tree_text(self)

    def _repr_html_(self) -> str:
        from dbdicom_xr.records.display import tree_html

        return tree_html(self)

    def print(self) -> None:
        """Print the tree at and below the record."""
        print(self)
