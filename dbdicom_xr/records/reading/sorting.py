"""From attributes to the keys by which frames are arranged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.align import SortKey, text_of
from dbdicom_xr.arrays.coordinates import (
    date_values,
    datetime_values,
    default_decimals,
    default_tolerance,
    time_values,
)
from dbdicom_xr.arrays.suggest import full_grids, varying
from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.records.attributes.lookup import Attribute, Name, parse_name, private_attribute
from dbdicom_xr.records.attributes.slices import with_slice_locations

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["best_grids", "sort_key", "varying_table"]

_TIMES: Final = {"DA": date_values, "TM": time_values, "DT": datetime_values}

# What arranges images, the most telling first: place, then what the scanner varied on purpose,
# then what tells time, then mere numbers.
_PREFERRED: Final = (
    "SliceLocation", "EchoTime", "EchoNumbers", "InversionTime", "FlipAngle", "RepetitionTime",
    "DiffusionBValue", "DiffusionGradientOrientation", "MRDiffusionSequence", "image_type",
    "ComplexImageComponent", "TemporalPositionIdentifier", "TriggerTime", "TriggerDelayTime",
    "FrameReferenceTime", "ActualFrameDuration", "EnergyWindowNumber", "ImageType",
    "AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime", "ContentTime",
    "InstanceNumber",
)  # fmt: skip
_SLICE_LOCATION: Final = "SliceLocation"
# What is said of an image after it was made; that two are equal in it, is chance.
_CHANCE: Final = frozenset((
    "WindowCenter", "WindowWidth", "SmallestImagePixelValue", "LargestImagePixelValue",
    "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "RescaleSlope", "RescaleIntercept",
    "InstanceCreationDate", "InstanceCreationTime", "PixelPaddingValue",
))  # fmt: skip
_NEVER: Final = frozenset(("UI", "SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UT", "LT", "ST"))


def sort_key(
    attribute: Attribute,
    table: Table,
    rows: npt.NDArray[Any],
    tolerance: float | Mapping[Name, float] | None = None,
) -> SortKey:
    """Return the values of an attribute in frames, as numbers, times or text.

    Parameters
    ----------
    attribute : Attribute
    table : Table
    rows : ndarray of int
        The frames.
    tolerance : float or mapping, optional
        As in :meth:`Series.array`.

    Raises
    ------
    GridError
        It is a sequence, or its values are of several types.
    """
    values = attribute.values(table)
    if attribute.name == _SLICE_LOCATION:
        values = with_slice_locations(table, values, rows)
    if values is None:
        return SortKey(
            attribute.name, np.zeros(len(rows)), np.zeros(len(rows), np.bool_), 0.0, None
        )
    values = values.take(rows)
    used = np.unique(values.codes)
    used = used[used >= 0]
    distinct = [values.distinct[code] for code in used.tolist()]
    renumber = np.full(len(values.distinct) + 1, -1, np.int64)
    renumber[used] = np.arange(len(used))
    codes = renumber[values.codes]
    filled = np.array([value is not None for value in distinct] + [False])
    present = filled[codes]
    pool = _pool(attribute, table, distinct)
    chosen = default_tolerance(attribute.name)
    if isinstance(tolerance, Mapping):
        for name, wanted in tolerance.items():
            if parse_name(name) == attribute:
                chosen = _number(wanted)
    elif tolerance is not None:
        chosen = _number(tolerance)
    if pool.dtype == object:
        chosen = 0.0
    return SortKey(attribute.name, pool[codes], present, chosen, default_decimals(attribute.name))


def _number(tolerance: Any) -> float:
    if isinstance(tolerance, (int, float, np.number)) and 0 <= tolerance < np.inf:
        return float(tolerance)
    raise InvalidValue(f"tolerance is {tolerance!r}; it is a number from 0, or a dict of numbers.")


def _pool(attribute: Attribute, table: Table, distinct: list[Any]) -> npt.NDArray[Any]:
    """Return the distinct values as one array, with a last element for frames without."""
    known = [value for value in distinct if value is not None]
    convert = _TIMES.get(_vr(attribute, table))
    if convert is not None and all(isinstance(value, str) for value in known):
        try:
            times = convert([value or "" for value in distinct])
        except InvalidValue as error:
            raise GridError(f"{attribute} cannot order frames: {error}") from error
        return np.append(times, np.array(["NaT"], times.dtype))
    types = {type(value) for value in known}
    if types <= {int}:
        numbers = [0 if value is None else value for value in distinct]
        exact = max(map(abs, numbers), default=0) < 2**63
        return np.array([*numbers, 0], np.int64 if exact else np.float64)
    if types <= {int, float}:
        return np.array([*(np.nan if value is None else value for value in distinct), np.nan])
    if types == {list}:
        return _lists(distinct, known)
    if types <= {str, list}:
        texts = [_joined(value) for value in distinct]
        return _objects([*texts, ""])
    if types <= {bytes}:
        return _objects([*("" if value is None else value.hex(" ") for value in distinct), ""])
    names = " and ".join(sorted(kind.__name__ for kind in types))
    raise GridError(
        f"{attribute} cannot order frames: its values are {names}. Numbers, dates, times and text "
        "can."
    )


def _lists(distinct: list[Any], known: list[Any]) -> npt.NDArray[Any]:
    lengths = {len(value) for value in known}
    numeric = all(isinstance(part, (int, float)) for value in known for part in value)
    if numeric and len(lengths) == 1:
        width = lengths.pop()
        empty = [np.nan] * width
        return np.array([*(empty if value is None else value for value in distinct), empty], float)
    return _objects([*(_joined(value) for value in distinct), ""])


def _joined(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "\\".join("" if part is None else str(part) for part in value)
    return str(value)


def _objects(items: list[str]) -> npt.NDArray[np.object_]:
    result = np.empty(len(items), object)
    result[:] = items
    return result


def _vr(attribute: Attribute, table: Table) -> str:
    if attribute.custom is not None:
        return ""
    for key in attribute.keys(table):
        for scope in (0, 1):
            column = table.column(key, scope)
            if column is not None:
                vr = column.kinds[0].vr
                if vr and vr != "UN":
                    return vr
                return known_vr(key.dictionary_tag, key.creator)
    return known_vr(attribute.tag)


# -- what varies -------------------------------------------------------------------------------


def _candidates(table: Table, rows: npt.NDArray[Any]) -> list[SortKey]:
    """Return the keys of all attributes that could arrange the frames, preferred ones first."""
    from pydicom.datadict import keyword_for_tag

    names: dict[Name, None] = dict.fromkeys(_PREFERRED)
    names.pop("MRDiffusionSequence")
    for key in table.keys:
        if key.tag >> 16 in (0x0002, 0xFFFE) or key.tag in (0x7FE00001, 0x7FE00002):
            continue
        if not key.creator:
            # Overlays repeat in groups 6000, 6002...: their keyword would not say which.
            repeats = key.tag >> 24 == 0x60
            name: Name = (key.tag >> 16, key.tag & 0xFFFF) if repeats else keyword_for_tag(key.tag)
            if name and known_vr(key.tag) not in _NEVER:
                names.setdefault(name)
    keys = []
    for name in names:
        try:
            attribute = parse_name(name)
            if _varies(attribute, table):
                keys.append(sort_key(attribute, table, rows))
        except (GridError, InvalidValue):
            continue  # what cannot be a dimension is none
    return keys


def _varies(attribute: Attribute, table: Table) -> bool:
    if attribute.custom is not None or attribute.name == _SLICE_LOCATION:
        return True
    if attribute.tag and table.left_in_files(Key(attribute.tag)):
        return False
    values = attribute.values(table)
    return values is not None and (len(values.distinct) > 1 or bool((values.codes < 0).any()))


def best_grids(table: Table, rows: npt.NDArray[Any]) -> list[tuple[str, ...]]:
    """Return the attributes that arrange the frames in a full grid, best first."""
    keys = [key for key in _candidates(table, rows) if key.name not in _CHANCE]
    return full_grids(keys, len(rows))


def varying_table(table: Table) -> pd.DataFrame:
    """Return a table of the attributes that vary, the preferred ones first, private ones last."""
    import pandas as pd

    from dbdicom_xr.records.shown_whole import ShownWhole

    rows = np.arange(len(table))
    keys = _candidates(table, rows)
    for key in table.keys:
        if key.creator and not table.left_in_files(key):
            try:
                keys.append(sort_key(private_attribute(key.tag, key.creator), table, rows))
            except (GridError, InvalidValue):
                continue
    found = varying(keys)
    shown = pd.DataFrame(
        {
            "distinct": [row.distinct for row in found],
            "minimum": pd.Series([_shown(row.minimum) for row in found], dtype=object),
            "maximum": pd.Series([_shown(row.maximum) for row in found], dtype=object),
            "missing": [row.missing for row in found],
        },
    ).set_index(pd.Index([row.name for row in found], name="attribute", dtype=object))
    return ShownWhole(shown)


def _shown(value: Any) -> Any:
    """Return a value as a table shows it: times as text, for a timedelta would be nanoseconds."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return text_of(value)
    if isinstance(value, str) and len(value) > 40:
        return f"{value[:39]}…"
    return value


def requested(sortby: Name | Sequence[Name] | None, table: Table | None = None) -> list[Attribute]:
    """Return the attributes that a user asks to sort by."""
    has = None if table is None else lambda attribute: bool(attribute.keys(table))
    if sortby is None:
        return []
    single = isinstance(sortby, (str, int)) or (
        isinstance(sortby, tuple) and len(sortby) == 2 and isinstance(sortby[1], (int, np.integer))
    )
    names: list[Any] = [sortby] if single or not isinstance(sortby, Iterable) else list(sortby)
    return [parse_name(name, has) for name in names]
