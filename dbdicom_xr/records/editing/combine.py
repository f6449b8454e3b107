"""Several records brought together, and one taken apart."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.records.attributes.filters import Filter
from dbdicom_xr.records.attributes.lookup import Name, parse_name
from dbdicom_xr.records.editing.making import make_siblings
from dbdicom_xr.records.editing.structure import copy_apart, place
from dbdicom_xr.records.instance import instances_of

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series

__all__ = ["copy_to", "group", "merge", "move_to", "split_by", "subseries"]


def _checked(records: Any, what: str) -> list[Any]:
    from dbdicom_xr.records.record import Record

    if not isinstance(records, Record) and (
        isinstance(records, (str, bytes)) or not np.iterable(records)
    ):
        raise InvalidValue(f"{reprlib.repr(records)} is no record, and no list of records.")
    listed = [records] if isinstance(records, Record) else list(records)
    if not listed:
        raise InvalidValue(f"There are no records to be {what}.")
    for record in listed:
        if not isinstance(record, Record):
            raise InvalidValue(f"{reprlib.repr(record)} is not a record.")
    if len({record.level for record in listed}) > 1:
        levels = ", ".join(sorted({record.level for record in listed}))
        raise InvalidValue(f"Records of several levels ({levels}) cannot be {what} together.")
    if len({record.database for record in listed}) > 1:
        raise InvalidValue(f"Records of several databases cannot be {what} together.")
    return list(dict.fromkeys(listed))


def copy_to(records: Any, parent: Any) -> list[Any]:
    """Copy records under a parent, as one change: references between them lead to the copies.

    Parameters
    ----------
    records : Record, or sequence of Record
        All of one level.
    parent : Record
        Of the level above.

    Returns
    -------
    list of Record
        The copies.

    Raises
    ------
    InvalidValue
        They cannot stand there, or are not of one level and one database; nothing is copied.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_study
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_study(folder, patients=2, studies=1)
    >>> database = db.database(folder)
    >>> first, second = database.studies()
    >>> copies = db.copy_to(first.series(), second)
    >>> len(copies), len(second.series())
    (2, 4)
    >>> database.restore()
    """
    return place(_checked(records, "copied"), parent, copies=True)


def move_to(records: Any, parent: Any) -> list[Any]:
    """Move records under a parent, as one change.

    Parameters
    ----------
    records : Record, or sequence of Record
        All of one level.
    parent : Record
        Of the level above.

    Returns
    -------
    list of Record
        The records.

    Raises
    ------
    InvalidValue
        They cannot stand there, or are not of one level and one database; nothing is moved.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_study
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_study(folder, patients=2, studies=1)
    >>> database = db.database(folder)
    >>> first, second = database.studies()
    >>> _ = db.move_to(first.series(), second)
    >>> len(first.series()), len(second.series())
    (0, 4)
    >>> database.restore()
    """
    listed = _checked(records, "moved")
    place(listed, parent, copies=False)
    return listed


def group(records: Any, into: Any = None, inplace: bool = False) -> Any:
    """Bring records under one parent: series into a study, instances into a series.

    Parameters
    ----------
    records : sequence of Record
        All of one level.
    into : Record, optional
        Of the level above; a new one beside the parent of the first record by default.
    inplace : bool
        Move the records, and not copies of them.

    Returns
    -------
    Record
        The parent.

    Raises
    ------
    InvalidValue
        They cannot stand there, or are not of one level and one database; nothing is changed.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_study
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_study(folder, patients=2, studies=1)
    >>> database = db.database(folder)
    >>> study = db.group(database.series(Modality="MR"))
    >>> len(study.series())
    2
    >>> database.restore()
    """
    listed = _checked(records, "grouped")
    with listed[0].database.batch():
        parent = listed[0].new_pibling() if into is None else into
        place(listed, parent, copies=not inplace)
    return parent


def merge(
    records: Any, *more: Any, into: Any = None, inplace: bool = False, **attributes: Any
) -> Any:
    """Bring all that is in some records into one of the same level.

    Parameters
    ----------
    records : sequence of Record
        Patients, studies or series.
    into : Record, optional
        Of their level; a new sibling of the first by default.
    inplace : bool
        Move what is in them, and remove them, instead of copying.
    **attributes
        Of the new record, and so of all that comes into it.

    Returns
    -------
    Record
        The record that holds all.

    Raises
    ------
    InvalidValue
        They are not of one level and one database; nothing is changed.
    UnknownKeyword
        An attribute that does not exist.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_study
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_study(folder, patients=2, studies=1)
    >>> database = db.database(folder)
    >>> series = db.merge(database.series(Modality="MR"), SeriesDescription="both")
    >>> len(series.instances()), series.SeriesDescription
    (6, ['both'])
    >>> database.restore()
    """
    if more:
        # One record and another look like the two that are to be merged.
        if len(more) > 1 or into is not None or not isinstance(records, (list, tuple)):
            raise InvalidValue(
                "merge() takes one list: db.merge([a, b]) makes a new record of both, and "
                "db.merge([a], into=b) puts what is in a into b, which is there already."
            )
        (into,) = more
    if into is not None and attributes:
        raise InvalidValue(
            f"{', '.join(attributes)}: for the new record that merge() makes, and with into= it "
            "makes none. Set them on the record that is given."
        )
    listed = _checked(records, "merged")
    if listed[0].level not in ("patient", "study", "series"):
        raise InvalidValue(f"A {listed[0].level} cannot be merged with others.")
    if into is not None and getattr(into, "level", None) != listed[0].level:
        raise InvalidValue(
            f"A {listed[0].level} can be merged into another {listed[0].level}, not into {into!r}."
        )
    sources = [record for record in listed if record != into]
    with listed[0].database.batch():
        target = listed[0].new_sibling(**attributes) if into is None else into
        children = [child for record in sources for child in _children(record)]
        place(children, target, copies=not inplace)
        if inplace:
            for record in sources:
                record.remove()
    return target


def _children(record: Any) -> list[Any]:
    return list(record._children_matching(Filter({})))


def subseries(series: Series, wanted: Filter) -> Any:
    """Return a new series with copies of the instances that match; see ``Series.subseries``."""
    table = series._own_table
    chosen = wanted.rows(table)
    if not chosen.any():
        raise InvalidValue(f"No instance of {series!r} matches, so there is no subseries.")
    whole = np.bincount(table.instance_of, chosen, len(table.places))
    partly = (whole > 0) & (whole < table.places["frames"])
    if partly.any():
        raise InvalidValue(
            f"{int(partly.sum())} instances of {series!r} hold frames that match and others that "
            "do not. A file is copied whole: select from the array instead, and write that."
        )
    database, key = series.database, series._key
    instances = instances_of(database, key, table, np.flatnonzero(chosen))
    with series.database.batch():
        made = series.new_sibling(SeriesDescription=next(iter(series.SeriesDescription), ""))
        place(instances, made, copies=True)
    return made


def split_by(series: Series, name: Name) -> dict[Any, Any]:
    """Return new series by value of an attribute; see ``Series.split_by``."""
    attribute = parse_name(name, series._has)
    table = series._own_table
    values = attribute.values(table)
    if values is None:
        raise GridError(f"No instance of {series!r} has {attribute}, so it cannot be split by it.")
    missing = int((values.codes < 0).sum())
    if missing:
        raise GridError(
            f"{missing} of {len(table)} frames of {series!r} have no {attribute}; a series is "
            "split by an attribute that all have."
        )
    found: dict[Any, list[int]] = {}
    originals: dict[Any, Any] = {}
    for instance in range(len(table.places)):
        first = int(table.first_frames[instance])
        mine = values.codes[first : first + int(table.places["frames"][instance])]
        several = {_hashable(values.distinct[code]) for code in mine.tolist()}
        if len(several) > 1:
            raise GridError(
                f"{attribute} varies inside the instance {table.uids[instance]}, which is one "
                "file: select from the array instead, and write that."
            )
        value = values.distinct[int(mine[0])]
        found.setdefault(_hashable(value), []).append(instance)
        originals.setdefault(_hashable(value), value)
    try:
        ordered = sorted(found)
    except TypeError:
        ordered = list(found)
    every = instances_of(series.database, series._key, table, None)
    description = next(iter(series.SeriesDescription), "")
    labels = [f"{description} {attribute} {originals[value]}".strip()[:64] for value in ordered]
    with series.database.batch():
        made = make_siblings(series, labels)
        parts = [[every[i] for i in found[value]] for value in ordered]
        copy_apart(series.database, list(zip(parts, made, strict=True)))
    return dict(zip(ordered, made, strict=True))


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value if type(value).__hash__ is not None else str(value)
