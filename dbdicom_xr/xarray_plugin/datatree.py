"""A database, or a part of it, as an ``xarray.DataTree``: patients, studies, series."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

import xarray as xr

from dbdicom_xr.errors import GridError, InvalidValue, LayoutError, NotInDatabase, PixelError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.records.attributes.filters import parse_filters
from dbdicom_xr.records.attributes.modules import keys_of
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.database import Database
from dbdicom_xr.records.exporting.plain_header import constant, keyword_of, storable
from dbdicom_xr.records.levels import NodeRecord, Series
from dbdicom_xr.records.reading.series_array import check_options
from dbdicom_xr.records.reading.sorting import requested
from dbdicom_xr.xarray_plugin.choosing import has_images
from dbdicom_xr.xarray_plugin.datasets import dataset_of, dropped, series_attributes
from dbdicom_xr.xarray_plugin.waiting import waiting_tree

__all__ = ["NOT_SORTED", "NO_PIXELS", "Making", "to_datatree"]

NO_PIXELS: Final = "why_no_pixels"
"""The attribute that tells why the node of a series of images holds no array."""

NOT_SORTED: Final = "why_not_sorted"
"""The attribute that tells why ``sortby="auto"`` did not arrange the images of a node."""

# What belongs to the patient, and to the study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2).
_OF_LEVEL: Final = {"patient": ("patient",), "study": ("study", "patient study")}
# What can be wrong in one series, and does not concern the others.
_UNREADABLE: Final = (GridError, InvalidValue, LayoutError, NotInDatabase, PixelError)

_EVERYTHING: Final = parse_filters((), {})

Attributes = dict[str, Any]


def to_datatree(
    record: NodeRecord | Database,
    sortby: Any = None,
    *,
    chunks: Any = "auto",
    drop_variables: str | Iterable[str] | None = None,
    **array_options: Any,
) -> xr.DataTree:
    """Return a record and all below it as a tree. See :meth:`Database.to_datatree`."""
    return Making(record, chunks, drop_variables, {"sortby": sortby, **array_options}).tree()


class Making:
    """A tree in the making.

    Parameters
    ----------
    top : NodeRecord or Database
        The record that the tree begins at.
    chunks, drop_variables
        As in ``to_datatree``.
    array : dict
        Arguments of ``series.array``; ``sortby`` as in ``to_datatree``.
    finish : callable, optional
        What is made of each Dataset at last.
    """

    def __init__(
        self,
        top: Any,
        chunks: Any,
        drop_variables: str | Iterable[str] | None,
        array: Mapping[str, Any],
        finish: Callable[[xr.Dataset], xr.Dataset] | None = None,
    ) -> None:
        array_options = dict(array)
        sortby = array_options.pop("sortby", None)
        check_options(**array_options)
        self._top = top
        self._sortby = sortby if isinstance(sortby, Mapping) else None
        self._otherwise = None if isinstance(sortby, Mapping) else sortby
        for names in [self._otherwise] if self._sortby is None else self._sortby.values():
            if names != "auto":
                requested(names)  # misspelt ones are told of now, not in the nodes
        self._sorted = {} if self._sortby is None else _by_series(top, self._sortby)
        self._chunks = chunks
        self._drop = drop_variables
        self._finish = finish
        self._options = array_options
        # Asked for by all series below.
        self._level_attributes = cache(_shared)

    def tree(self) -> xr.DataTree:
        """Return the tree."""
        return self._node(self._top)

    def groups(self) -> dict[str, xr.Dataset]:
        """Return the Datasets of the tree by path."""
        return {node.path: node.to_dataset(inherit=False) for node in self.tree().subtree}

    def _node(self, record: Any) -> xr.DataTree:
        """Return the node of a record, with those below it."""
        children = {}
        if record.level != "series":
            nodes = record._node.children
            below = record._children_matching(_EVERYTHING)
            children = {name: self._node(child) for name, child in zip(nodes, below, strict=True)}
        name = record.name if record == self._top else None
        return waiting_tree(self._filler(record), children, name)

    def _filler(self, record: Any) -> Callable[[], xr.Dataset]:
        return lambda: self._dataset(record)

    def _dataset(self, record: Any) -> xr.Dataset:
        dataset = self._series(record) if record.level == "series" else xr.Dataset()
        if record.level in _OF_LEVEL:
            dataset.attrs = dict(self._level_attributes(record))
        if record == self._top:
            database = record.database
            dataset.attrs["database"] = str(database.path_on_disk)
            dataset.attrs["index"] = str(database._store.path)
            dataset.attrs["path"] = record.path
        dataset = dropped(dataset, self._drop)
        return dataset if self._finish is None else self._finish(dataset)

    def _series(self, series: Series) -> xr.Dataset:
        attributes = series_attributes(series)
        above = series.parent
        while above.level != "database" and series != self._top:
            for name, value in self._level_attributes(above).items():
                if attributes.get(name) == value:
                    del attributes[name]
            if above == self._top:
                break
            above = above.parent
        if not has_images(series):
            return xr.Dataset(attrs=attributes)
        sortby = self._sorted.get(series, self._otherwise)
        notes: Attributes = {}
        dataset = xr.Dataset()
        try:
            try:
                dataset = self._images(series, sortby)
            except GridError as error:
                if not (isinstance(sortby, str) and sortby == "auto"):
                    raise
                dataset = self._images(series, None)
                notes[NOT_SORTED] = str(error)
        except _UNREADABLE as error:
            notes[NO_PIXELS] = str(error)
        dataset.attrs = {**notes, **attributes}
        return dataset

    def _images(self, series: Series, sortby: Any) -> xr.Dataset:
        array, _ = series.array(sortby, chunks=self._chunks, **self._options)
        return dataset_of(array, {})


def _shared(record: Any) -> Attributes:
    """Return what belongs to a level and all series below agree in."""
    keys = [key for module in _OF_LEVEL[record.level] for key in keys_of(module)]
    return _agreed(record, keys)


@of_one_state
def _agreed(record: Any, keys: list[Key]) -> Attributes:
    """Return attributes that all series at or below a record agree in."""
    found: Attributes | None = None
    for table, _ in record._tables() or [(table, None) for table in record._made_tables()]:
        if found is not None:
            keys = [key for key in keys if keyword_of(key) in found]
        if not keys:
            break
        present = set(table.keys)
        own = {keyword_of(key): storable(constant(table, key)) for key in keys if key in present}
        if found is None:
            found = {name: value for name, value in own.items() if value is not None}
        else:
            found = {name: value for name, value in found.items() if own.get(name) == value}
    return found or {}


def _by_series(top: Any, sortby: Mapping[Any, Any]) -> dict[Series, Any]:
    """Return how each series is sorted, where ``sortby`` tells.

    Raises
    ------
    InvalidValue
        Something is named that is no series here.
    """
    every = [top] if top.level == "series" else top.series()
    found: dict[Series, Any] = {}
    for wanted, names in sortby.items():
        matching = _meant(top, every, wanted)
        if not matching:
            raise InvalidValue(
                f"sortby names {wanted!r}, which is no series of {top!r}. Name series by path, "
                "SeriesInstanceUID or SeriesDescription, which may hold * and ?, give the series "
                "itself, or filters as a tuple: {(('Modality', 'MR'),): 'SliceLocation'}."
            )
        for series in matching:
            found.setdefault(series, names)
    return found


def _meant(top: Any, every: list[Series], wanted: Any) -> list[Series]:
    if isinstance(wanted, Series):
        return [series for series in every if series == wanted]
    if isinstance(wanted, str):
        pattern = re.compile(
            "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in wanted.strip("/"))
        )
        return [
            series
            for series in every
            if any(
                pattern.fullmatch(text)
                for text in (series._node.uid, series.path[1:], series.name,
                             *map(str, series.SeriesDescription))
            )
        ]  # fmt: skip
    if isinstance(wanted, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in wanted):
        matching = top.series(dict(wanted))
        return matching if isinstance(matching, list) else [matching] if matching else []
    return []
