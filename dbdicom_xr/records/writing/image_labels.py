"""The labels of an array as attributes of its images: where they differ from what the frames say.

The way back of what ``sorting`` and ``coordinates`` do: numbers, text, and dates and times of numpy
become values of DICOM again.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.arrays.align import SortKey, text_of
from dbdicom_xr.arrays.coordinates import is_length, round_lengths
from dbdicom_xr.emit.elements import Elements, per_image
from dbdicom_xr.errors import GridError, InvalidValue, UnknownKeyword
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.records.attributes.lookup import Attribute, parse_name
from dbdicom_xr.records.attributes.modules import keys_of
from dbdicom_xr.records.reading.sorting import sort_key
from dbdicom_xr.records.writing.cells import per_cell

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.sources import Sources

__all__ = ["label_elements"]

# Of the array, or of what is written with it: the place of images, their identity.
_NOT_LABELS: Final = frozenset((
    "x", "y", "n", "channel", "frame", "X", "Y", "Z", "SOPInstanceUID", "InstanceNumber",
    "SliceLocation", "FrameOfReferenceUID",
))  # fmt: skip
_GEOMETRY: Final = frozenset(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
_MODULES: Final = ("patient", "study", "series")
_ROUNDING: Final = 1e-4  # of labels in mm
_DAY: Final = 86_400 * 10**6  # microseconds


def label_elements(array: xr.DataArray, sources: Sources | None) -> Elements:
    """Return the attributes that the coordinates of an array give to its images.

    Parameters
    ----------
    array : xarray.DataArray
        Coordinates count whose name is a keyword or a tag as text, and which are along dimensions
        of images, or along none.
    sources : Sources or None
        The frames that each image is made from.

    Returns
    -------
    Elements
        A row per image. With frames: the attributes whose labels differ from what these say, or
        in which the frames of an image differ. SliceLocation and other attributes of the plane are
        those of :func:`~dbdicom_xr.records.writing.image_planes.image_planes`.

    Raises
    ------
    InvalidValue
        A label cannot be the value of the attribute.

    Examples
    --------
    >>> array = xr.DataArray(
    ...     np.zeros((2, 4, 3)), dims=("EchoTime", "x", "y"), coords={"EchoTime": [2.3, 4.6]}
    ... )
    >>> [column.decoded() for column in label_elements(array, None).values()]
    [[2.3, 4.6]]
    """
    result: Elements = {}
    for name in map(str, array.coords):
        attribute = _attribute(name)
        labels = None if attribute is None else per_cell(array, name)
        if attribute is None or labels is None:
            continue
        column = _column(attribute, labels, sources)
        if column is not None:
            result[column.key] = column
    return result


def _attribute(name: str) -> Attribute | None:
    """Return the attribute that a coordinate stands for, None for what is none."""
    if name in _NOT_LABELS:
        return None
    try:
        attribute = parse_name(name)
    except UnknownKeyword:
        return None
    elsewhere = any(Key(attribute.tag) in keys_of(module) for module in _MODULES)
    return None if attribute.custom is not None or elsewhere else attribute


def _column(
    attribute: Attribute, labels: npt.NDArray[Any], sources: Sources | None
) -> Column | None:
    """Return the labels as a column; None where the frames say the same."""
    kept = np.ones(len(labels), np.bool_)
    is_utc, key = False, Key(attribute.tag, attribute.creator)
    if sources is not None:
        kept = np.diff(sources.starts) > 0  # gaps hold nothing
        if _is_said(attribute, labels, sources):
            return None
        is_utc = _is_utc(attribute, sources)
        own = [own for table in sources.tables for own in attribute.keys(table)]
        key = own[0] if own else key
    if attribute.name in _GEOMETRY:
        if sources is None:
            return None  # the planes are made of it
        raise InvalidValue(
            f"The labels of {attribute} are not those of the frames. A new place of the images is "
            "given by affine=."
        )
    if key.tag >> 16 & 1 and not key.creator:
        raise InvalidValue(
            f"{attribute} is private, and belongs to nobody as long as its creator is not known "
            "(PS3.5 7.8.1). Rename the dimension to a keyword of DICOM, or to a name that is none: "
            f"array.rename({{'{attribute}': ...}})."
        )
    convert = _converter(attribute, key, is_utc)
    pool, codes = _distinct(labels)
    used = set(codes[kept].tolist())
    try:
        values = [convert(label) if number in used else None for number, label in enumerate(pool)]
        return per_image(
            key, [values[code] if use else None for code, use in zip(codes, kept, strict=True)]
        )
    except InvalidValue as error:
        raise InvalidValue(
            f"The labels of {attribute} cannot be written: {error} Give other labels, or rename "
            f"the dimension to a name that is no attribute of DICOM."
        ) from error


def _distinct(labels: npt.NDArray[Any]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Return the labels that occur, and which of them each image has."""
    if labels.dtype != object:
        unique, codes = np.unique(labels, return_inverse=True)
        return list(unique), codes.reshape(-1)
    numbers: dict[Any, int] = {}
    codes = np.empty(len(labels), np.intp)
    for image, label in enumerate(labels.tolist()):
        known = tuple(label) if isinstance(label, list) else label
        codes[image] = numbers.setdefault(known, len(numbers))
    return list(numbers), codes


# -- what the frames say ---------------------------------------------------------------------------


def _is_said(attribute: Attribute, labels: npt.NDArray[Any], sources: Sources) -> bool:
    """Return whether the frames of each image say its label, and all of them the same."""
    cell_of = np.repeat(np.arange(len(labels)), np.diff(sources.starts))
    lengths = np.diff(sources.starts)
    same = np.ones(len(cell_of), np.bool_)
    for number, table in enumerate(sources.tables):
        at = np.flatnonzero(sources.table_of == number)
        if not len(at):
            continue
        rows = sources.rows[at]
        try:
            key = sort_key(attribute, table, rows)
        except GridError:
            return False
        same[at] = _equal(key, labels[cell_of[at]]) & key.present
    if not same.all():
        return False
    several = np.flatnonzero(lengths > 1)
    return not len(several) or _agree(attribute, sources, cell_of)


def _equal(key: SortKey, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return whether values are those of labels, within what is one value in an array."""
    values = key.values
    if values.ndim > 1:
        pool, codes = _distinct(labels)
        numbers = np.array([_numbers(label, values.shape[1]) for label in pool])[codes]
        # Labels have 10 digits, and stand for values that are within the tolerance.
        slack = key.tolerance + _ROUNDING + 1e-9 * np.abs(numbers)
        return np.asarray((np.abs(values - numbers) <= slack).all(axis=1))
    if values.dtype.kind in "iuf" and labels.dtype.kind in "iuf":
        slack = key.tolerance + (_ROUNDING if key.decimals is not None else 0.0)
        return np.asarray(np.abs(values - labels) <= slack + 1e-9 * np.abs(labels))
    if values.dtype.kind in "mM" and labels.dtype.kind == values.dtype.kind:
        return np.asarray(values == labels.astype(values.dtype))
    return np.array([own == label for own, label in zip(values, labels, strict=True)], np.bool_)


def _numbers(label: Any, width: int) -> list[float]:
    """Return the numbers of a label, NaN where it has not so many."""
    try:
        numbers = [float(part) for part in _parts(label)]
    except (TypeError, ValueError):
        numbers = []
    return numbers if len(numbers) == width else [np.nan] * width


def _agree(attribute: Attribute, sources: Sources, cell_of: npt.NDArray[np.intp]) -> bool:
    """Return whether the frames of each image have one value, to the last digit."""
    said = np.empty(len(cell_of), object)
    for number, table in enumerate(sources.tables):
        at = np.flatnonzero(sources.table_of == number)
        values = attribute.values(table)
        if len(at) and values is not None:
            said[at] = values.take(sources.rows[at]).as_objects()
    first = said[np.asarray(sources.starts)[cell_of]]
    return all(one == other for one, other in zip(said.tolist(), first.tolist(), strict=True))


def _is_utc(attribute: Attribute, sources: Sources) -> bool:
    """Return whether frames have an offset from UTC, so that their labels were converted to it."""
    if known_vr(attribute.tag) != "DT":
        return False
    for table in sources.tables:
        values = attribute.values(table)
        texts = [] if values is None else values.occurring()
        if any(isinstance(text, str) and re.search(r"[+-]\d{4}$", text) for text in texts):
            return True
    return False


# -- from labels to values -------------------------------------------------------------------------


def _converter(attribute: Attribute, key: Key, is_utc: bool) -> Callable[[Any], Any]:
    vr = known_vr(key.dictionary_tag, key.creator)
    length = is_length(attribute.name)

    def convert(label: Any) -> Any:
        if isinstance(label, np.datetime64):
            return _date(label, vr, is_utc)
        if isinstance(label, np.timedelta64):
            return _time(label, vr)
        plain = label.item() if isinstance(label, np.generic) else label
        if plain is None or plain == "" or plain != plain:
            raise InvalidValue(f"an image has no value ({plain!r}).")
        if isinstance(plain, (tuple, list)):
            return list(plain)
        if isinstance(plain, str) and vr in ("FD", "FL", "SL", "SS", "UL", "US", "IS", "DS"):
            return [_number(part, vr) for part in _parts(plain)]
        if isinstance(plain, float) and length:
            return float(round_lengths(np.array([plain]))[0])
        return plain

    return convert


def _parts(label: Any) -> Sequence[Any]:
    return label.split("\\") if isinstance(label, str) else label


def _number(text: str, vr: str) -> float | int | str:
    try:
        return text if vr in ("IS", "DS") else float(text) if vr in ("FD", "FL") else int(text)
    except ValueError:
        raise InvalidValue(f"{text!r} is no number, and {vr} is.") from None


def _date(label: np.datetime64, vr: str, is_utc: bool) -> Any:
    """Return a moment for a DA or DT: what ``date_values`` and ``datetime_values`` read."""
    if np.isnat(label):
        raise InvalidValue("an image has no value (NaT).")
    if vr == "TM":
        raise InvalidValue(
            f"{text_of(label)} has a date, and TM is a time since midnight: use timedelta64."
        )
    if vr == "DA":
        day = label.astype("datetime64[D]")
        if label != day:
            raise InvalidValue(f"{text_of(label)} is a moment, and DA a day.")
        return day.item()
    if label.dtype == np.dtype("datetime64[ns]"):
        # Averages are finer than DT: to its microseconds. Others: nanoseconds end in 2262.
        label = label + np.timedelta64(500, "ns")
    moment = label.astype("datetime64[us]").item()
    return moment.replace(tzinfo=datetime.UTC) if is_utc else moment


def _time(label: np.timedelta64, vr: str) -> Any:
    """Return a time since midnight for a TM: what ``time_values`` reads."""
    if np.isnat(label):
        raise InvalidValue("an image has no value (NaT).")
    if vr != "TM":
        raise InvalidValue(
            f"{text_of(label)} is a time since midnight, and {vr} is none: use numbers."
        )
    micro = (int(label.astype("timedelta64[ns]").astype(np.int64)) + 500) // 1000
    if not 0 <= micro < _DAY:
        raise InvalidValue(f"{micro / 1e6:g} s since midnight is not a time of day.")
    return (datetime.datetime.min + datetime.timedelta(microseconds=micro)).time()
