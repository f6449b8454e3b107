"""What all exports have in common: series by series, each named, those that cannot be left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import (
    DbdicomError,
    GridError,
    InvalidValue,
    LayoutError,
    LeftOut,
    PixelError,
    StaleArray,
)
from dbdicom_xr.formats.names import file_name, unique
from dbdicom_xr.formats.targets import Target
from dbdicom_xr.index.table import Table
from dbdicom_xr.names import safe_name
from dbdicom_xr.records.attributes.lookup import Attribute
from dbdicom_xr.records.current import levels_to_user

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series
    from dbdicom_xr.records.record import Record

__all__ = [
    "OF_A_SERIES",
    "Part",
    "identifies",
    "left_out",
    "parts_of",
    "planned_of",
    "prefix",
    "refuse_all",
    "refuse_several",
    "require_flags",
]

T = TypeVar("T")
Rows = npt.NDArray[np.intp]

# What can be wrong with one series, and not with the others.
OF_A_SERIES: Final = (GridError, InvalidValue, LayoutError, PixelError, StaleArray)
# Free text of the scanner, in which nobody's name is meant to stand; and what things are called.
_TOLD: Final = frozenset(
    ("SeriesDescription", "ProtocolName", "SOPInstanceUID", "SeriesInstanceUID")
)


@dataclass(frozen=True)
class Part:
    """What is exported of a series.

    Parameters
    ----------
    record : Record
        The series, or the instance or frame in it that was asked for.
    name : str
        Of the file, without its ending.
    """

    record: Record
    name: str

    @property
    def series(self) -> Series:
        """The series."""
        found: Series = self.record.series()
        return found

    def rows(self) -> tuple[Table, Rows]:
        """Return the table of the series, and which of its frames."""
        tables = self.record._tables()
        if not tables:
            raise PixelError(f"{self.record!r} holds no images: it is empty.")
        ((table, rows),) = tables
        return table, np.arange(len(table)) if rows is None else rows


def parts_of(record: Record) -> list[Part]:
    """Return what a record is exported as, named after series, instance and frame."""
    if record.level in ("instance", "frame"):
        return [Part(record, f"{_series_name(record.series())}_{_number(record)}")]
    if record.level == "series":
        return [Part(record, _series_name(record))]  # type: ignore[arg-type]
    found = record.series()
    names = unique([f"{prefix(record, series)}{_series_name(series)}" for series in found])
    return [Part(series, name) for series, name in zip(found, names, strict=True)]


def _series_name(series: Series) -> str:
    numbers, descriptions = series.SeriesNumber, series.SeriesDescription
    return file_name(
        numbers[0] if len(numbers) == 1 else None,
        str(descriptions[0]) if len(descriptions) == 1 else None,
    )


def _number(record: Record) -> str:
    if record.level == "frame":
        return f"{_number(record.parent)}_f{int(record.name):04d}"
    return f"i{safe_name(record.name, '1')}".replace(" ", "_")


def prefix(record: Record, series: Series) -> str:
    """Return what tells series of several patients or studies apart, which may be named alike."""
    parts = []
    study = series.parent
    if record.level == "database" and len(record.children) > 1:
        parts.append(safe_name(study.parent.name, "patient"))
    if record.level != "study" and len(study.parent.children) > 1:
        parts.append(safe_name(study.name, "study"))
    return "".join(f"{part}_" for part in parts).replace(" ", "_")


def planned_of(
    record: Record, plan: Callable[[Part], T]
) -> tuple[list[T], list[tuple[Record, DbdicomError]]]:
    """Return what is planned for each series, and those for which nothing can be, with the reason.

    Raises
    ------
    DbdicomError
        Nothing can be exported.
    """
    planned: list[T] = []
    refused: list[tuple[Record, DbdicomError]] = []
    parts = parts_of(record)
    for part in parts:
        try:
            planned.append(plan(part))
        except OF_A_SERIES as error:
            if record.level in ("series", "instance", "frame"):
                raise
            refused.append((part.record, error))
    if not planned:
        refuse_all(record, refused)
    return planned, refused


def refuse_all(record: Record, refused: Sequence[tuple[Record, DbdicomError]]) -> None:
    """Raise why nothing is exported."""
    if len(refused) == 1:
        raise refused[0][1]
    if not refused:
        raise GridError(f"There is nothing to export: {record!r} holds no series.")
    raise GridError(f"None of the series can be exported. {_reasons(record, refused)}")


def left_out(record: Record, refused: Sequence[tuple[Record, DbdicomError]]) -> None:
    """Warn of series that are not exported, each with the reason."""
    if refused:
        warnings.warn(_reasons(record, refused), LeftOut, stacklevel=levels_to_user())


def _reasons(record: Record, refused: Sequence[tuple[Record, DbdicomError]]) -> str:
    count = len(refused)
    texts = [str(error) for _, error in refused[:8]]
    more = f" And {count - 8} more." if count > 8 else ""
    return (
        f"{record!r}: {count} series {'is' if count == 1 else 'are'} not exported. "
        f"{' '.join(texts)}{more}"
    )


def refuse_several(record: Record, target: Target, names: Sequence[str]) -> None:
    """Raise where one file was asked for, and several would have to be written."""
    if target.file is not None and len(names) > 1:
        listed = ", ".join(f"{name}{target.ending}" for name in names[:6])
        more = f" and {len(names) - 6} more" * (len(names) > 6)
        raise InvalidValue(
            f"{target.path(target.file)} is one file, but {record!r} becomes {len(names)}: "
            f"{listed}{more}. Give a folder for them, or choose what to export."
        )


def require_flags(**flags: object) -> None:
    """Raise where something that is either true or false is neither.

    Raises
    ------
    InvalidValue
        A text such as "no", which Python takes for true, or a number.
    """
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise InvalidValue(f"{name} is {value!r}; it is True or False.")


def identifies(attribute: Attribute) -> bool:
    """Return whether an attribute may tell who was examined, when, where or by whom.

    These are the attributes that the Basic Profile of PS3.15 annex E does not keep, all private
    ones, and dates and times; but not the descriptions of series and protocols, nor the UIDs of
    images and series, which tell those who have the originals where numbers come from.
    """
    from dbdicom_xr.deidentify.profile import Do, Options, decide
    from dbdicom_xr.index.values import known_vr

    if attribute.custom is not None or attribute.name in _TOLD:
        return False
    if attribute.is_private:
        return True
    vr = known_vr(attribute.tag) or "UN"
    return decide(attribute.tag, vr, Options()) not in (Do.KEEP, Do.INSIDE)
