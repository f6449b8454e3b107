"""What images say that were computed from frames of a database.

What all frames behind an image agree in holds for it too, unless it describes pixels that are not
there any more. Of the rest only what an image cannot be without is taken from the first frame: the
attributes of type 1 of MR, CT and PET images. What is of type 2 is left out, and so becomes empty:
a mean over echo times has none.

Left to others: who and where the image is (patient, UIDs, InstanceNumber), a geometry that differs
from that of its frames, and its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby, zip_longest
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import Elements, key_of, per_image
from dbdicom_xr.emit.kinds import Kind
from dbdicom_xr.emit.obsolete import is_obsolete, is_of_a_mosaic
from dbdicom_xr.emit.tracing import (
    Origins,
    derived_image_type,
    described,
    moments,
    source_images,
    with_equipment,
    with_related_series,
)
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED
from dbdicom_xr.index.mosaic import is_tiled
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.index.values import Kind as Encoding
from dbdicom_xr.records.attributes.lookup import Attribute, Custom, parse_name
from dbdicom_xr.records.attributes.modules import IDENTITY
from dbdicom_xr.records.reading.gathered import Sources
from dbdicom_xr.records.reading.long_values import long_values
from dbdicom_xr.records.writing.classic import SPELLINGS, Spelling, stays
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.patch import delta, overlay, settled

__all__ = ["derived"]

# Type 1 and 1C in PS3.3 C.7.6.2 (Image Plane), C.7.4.1 (Frame of Reference), C.8.3.1 (MR), C.8.2.1
# (CT), C.8.9.1 to C.8.9.4 (PET), C.8.7.2 and C.8.11.3 (X-ray); ImageType is worked out.
_MANDATORY: Final = (
    "FrameOfReferenceUID", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
    "SOPClassUID", "Modality", "ScanningSequence", "SequenceVariant",
    "SeriesDate", "SeriesTime", "Units", "CountsSource", "SeriesType", "NumberOfSlices",
    "DecayCorrection", "FrameReferenceTime", "ImageIndex", "DecayFactor",
    "PixelIntensityRelationship", "PixelIntensityRelationshipSign", "RadiationSetting",
    "PresentationIntentType", "ConversionType",
)  # fmt: skip
# What is true of an image when it is true of one of its sources.
_INHERITED: Final = {
    "LossyImageCompression": "01",
    "BurnedInAnnotation": "YES",
    "RecognizableVisualFeatures": "YES",
}
_CODES: Final = Encoding("CS")
_IMAGE_TYPE: Final = key_of("ImageType")
_SOP_CLASS: Final = key_of("SOPClassUID")


@lru_cache(maxsize=1)
def _mandatory() -> frozenset[Key]:
    return frozenset(map(key_of, _MANDATORY))


@lru_cache(maxsize=1)
def _told_elsewhere() -> frozenset[Key]:
    return frozenset((*IDENTITY.values(), key_of("InstanceNumber"), _IMAGE_TYPE))


def derived(sources: Sources, kind: Kind, *, now: datetime | None = None) -> Elements:
    """Return what images say that were computed from frames.

    Parameters
    ----------
    sources : Sources
        The frames behind each image.
    kind : Kind
        Of the new images.
    now : datetime, optional
        When they were made, by default the present.

    Returns
    -------
    Elements
        A row per cell of the sources. Without PatientID, PatientName, UIDs of study, series and
        instance, InstanceNumber, and all that describes pixels. SOPClassUID and Modality are those
        of the sources, by which :func:`~dbdicom_xr.emit.kinds.complete` knows where they come from.

    Notes
    -----
    PS3.3 C.7.6.1 (General Image), C.12.4 (General Reference), C.12.1 (SOP Common).
    """
    now = datetime.now().astimezone() if now is None else now
    for table in sources.tables:
        table.load()
    elements = _kept(sources)
    if any(map(_is_enhanced, sources.tables)):
        _spell_as_classic(sources, elements)
    _inherit(sources, elements)
    elements[_IMAGE_TYPE] = _image_types(sources, kind)
    _trace(sources, elements, now)
    return elements


# -- what holds on ---------------------------------------------------------------------------------


def _kept(sources: Sources) -> Elements:
    """Return what the frames of each image say alike, and what it cannot be without."""
    tiles = _cells_where(sources, lambda table: _has_tiles(table)[table.instance_of])
    keys = [
        key
        for key in sources.keys()  # noqa: SIM118 - not a mapping
        if not (key in _told_elsewhere() or is_obsolete(key)) and _stays(sources, key)
    ]
    long = long_values(sources, keys)
    result: Elements = {}
    for key in keys:
        column = overlay(key, long.get(key), sources.common(key))
        if key in _mandatory() and (column is None or bool((column.codes_of() < 0).any())):
            column = overlay(key, sources.first(key), column)
        if column is not None and is_of_a_mosaic(key) and tiles.any():
            column = _without(column, tiles)
        if column is not None and _is_sequence_of_frames(sources, key):
            # Empty ones stand in functional groups only (PS3.3 C.7.6.16.2.8 against 10.5).
            empty = np.array([not raw for raw in column.values] + [False])
            column = _without(column, empty[column.codes_of()])
        if column is not None:
            result[key] = column
    return result


def _stays(sources: Sources, key: Key) -> bool:
    """Return whether an attribute stands in a classic image as it does in the sources."""
    if _is_sequence_of_frames(sources, key):
        return stays(key, True)
    of_enhanced = any(
        table.column(key, FRAME) is not None
        or (_is_enhanced(table) and table.column(key, INSTANCE) is not None)
        for table in sources.tables
    )
    return not of_enhanced or stays(key, False)


def _is_sequence_of_frames(sources: Sources, key: Key) -> bool:
    columns = [table.column(key, FRAME) for table in sources.tables]
    return any(
        encoding.vr == "SQ" for column in columns if column is not None for encoding in column.kinds
    )


def _is_enhanced(table: Table) -> bool:
    return any(table.column(Key(tag)) is not None for tag in (SHARED, PER_FRAME))


def _has_tiles(table: Table) -> npt.NDArray[np.bool_]:
    """Return for each instance whether its frames are the tiles of a mosaic."""
    rows = table.column(key_of("Rows"), FRAME)
    if rows is None or not is_tiled({rows.key: rows}):
        return np.zeros(len(table.places), np.bool_)
    return np.asarray(rows.codes_of(table.first_frames) >= 0)


def _cells_where(
    sources: Sources, read: Callable[[Table], npt.NDArray[np.bool_]]
) -> npt.NDArray[np.bool_]:
    """Return in which cells there is a frame of which something is true."""
    result = np.zeros(len(sources), np.bool_)
    for table, cells, rows in sources.by_table():
        result[cells[read(table)[rows]]] = True
    return result


def _has_value(attribute: Attribute, value: Any, table: Table) -> npt.NDArray[np.bool_]:
    """Return for each frame whether it has a value; None: any."""
    values = attribute.values(table)
    if values is None:
        return np.zeros(len(table), np.bool_)
    found = [one is not None if value is None else one == value for one in values.distinct]
    return np.array([*found, False])[values.codes]


def _without(column: Column, cells: npt.NDArray[np.bool_]) -> Column | None:
    codes = np.where(cells, -1, column.codes_of()).astype(np.int32)
    return settled(
        Column(column.key, column.kinds, column.values, column.kind_of, codes, column.rows)
    )


def _inherit(sources: Sources, elements: Elements) -> None:
    for keyword, value in _INHERITED.items():
        attribute = parse_name(keyword)
        cells = _cells_where(sources, partial(_has_value, attribute, value))
        if cells.any():
            key = key_of(keyword)
            column = per_image(key, [value if cell else None for cell in cells.tolist()])
            laid = overlay(key, elements.get(key), column)
            assert laid is not None
            elements[key] = laid


# -- from enhanced objects -------------------------------------------------------------------------


def _spell_as_classic(sources: Sources, elements: Elements) -> None:
    for spelling in SPELLINGS:
        if spelling.keyword == "ImageType":
            continue
        key = key_of(spelling.keyword)
        attribute = _as_classic(spelling)
        said = _cells_where(sources, partial(_has_value, attribute, None))
        if not said.any():
            continue
        column = elements.get(key)
        if column is not None:  # what is said of the frames counts before what is of the object
            column = _without(column, said)
        column = overlay(key, column, _column(key, sources.common_values(attribute)))
        elements.pop(key, None)
        if column is not None:
            elements[key] = column


@lru_cache(maxsize=64)
def _as_classic(spelling: Spelling) -> Attribute:
    """Return the attribute of enhanced objects only, as classic images have it."""
    key = key_of(spelling.enhanced)

    def read(table: Table) -> Values | None:
        if not _is_enhanced(table):
            return None
        values = table.values(key)
        if values is None:
            return None
        classic = [None if one is None else spelling.read(one) for one in values.distinct]
        return Values(classic, values.codes)

    return Attribute(spelling.keyword, custom=Custom(spelling.keyword, None, read, ""))


def _column(key: Key, values: npt.NDArray[np.object_]) -> Column | None:
    """Return a column of one value per image; None where it has none, or one that is not valid."""
    encoded: list[Encoded] = []
    numbers: dict[Any, int] = {None: -1}
    codes = np.empty(len(values), np.int32)
    for image, value in enumerate(values.tolist()):
        name = tuple(value) if isinstance(value, list) else value
        if name not in numbers:
            numbers[name] = -1
            with suppress(InvalidValue):
                encoded.append(_encoded(key, value))
                numbers[name] = len(encoded) - 1
        codes[image] = numbers[name]
    return delta(key, encoded, codes, len(codes)) if encoded else None


# -- where it comes from ---------------------------------------------------------------------------


def _image_types(sources: Sources, kind: Kind) -> Column:
    """Return ImageType: what all sources have in common, with DERIVED in front."""
    attribute = parse_name("ImageType")
    pool: list[list[str]] = []
    names = [np.empty(0, np.int64)]
    places = [np.empty(0, np.int64)]
    for table, cells, rows in sources.by_table():
        said = attribute.values(table) or Values([], np.full(len(table), -1, np.int32))
        names.append(said.codes[rows].astype(np.int64) + 1 + len(pool))
        places.append(cells.astype(np.int64))
        pool += [[], *map(_words, said.distinct)]
    pairs = np.unique(np.concatenate(places) * max(len(pool), 1) + np.concatenate(names))
    types: list[tuple[str, ...]] = [()] * len(sources)
    for cell, group in groupby(pairs.tolist(), lambda pair: pair // len(pool)):
        types[cell] = tuple(_agreed([pool[pair % len(pool)] for pair in group]))
    known = {found: number for number, found in enumerate(dict.fromkeys(types))}
    # Not checked: some scanners write values there that CS does not allow.
    texts = ["\\".join(derived_image_type(found, kind.name)) for found in known]
    values = [
        Encoded(_CODES, (text + " " * (len(text) % 2)).encode("ascii", "replace")) for text in texts
    ]
    return delta(_IMAGE_TYPE, values, np.array([known[found] for found in types]), len(types))


def _words(value: Any) -> list[str]:
    return [str(part) for part in (value if isinstance(value, list) else [value] if value else [])]


def _agreed(types: Sequence[Sequence[str]]) -> list[str]:
    """Return the values on which several agree, "" where they do not."""
    agreed = [
        words[0] if len(set(words)) == 1 else "" for words in zip_longest(*types, fillvalue="")
    ]
    while agreed and not agreed[-1]:
        agreed.pop()
    return agreed


def _trace(sources: Sources, elements: Elements, now: datetime) -> None:
    """Say which frames images were computed from, by what, and when."""
    images = len(sources)
    references, too_many = source_images(_origins(sources))
    if references is not None:
        elements[references.key] = references
    series: list[tuple[str, str]] = []
    if too_many.any():  # an attribute of the series, so that all of its images have the same
        keys = [table.series.key for table, _, _ in sources.by_table()]
        series = [(key.study_uid, key.series_uid) for key in keys]

    def rewrite(keyword: str, make: Callable[[Any], Any], *, raw: bool = False) -> None:
        key = key_of(keyword)
        laid = settled(_rewritten(elements.get(key), key, images, make, raw))
        elements.pop(key, None)
        if laid is not None:
            elements[key] = laid

    rewrite("RelatedSeriesSequence", lambda old: with_related_series(old or b"", series), raw=True)
    rewrite("ContributingEquipmentSequence", lambda old: with_equipment(old or b"", now), raw=True)
    rewrite("DerivationDescription", _described)
    zones = elements.get(key_of("TimezoneOffsetFromUTC"))
    for keyword in moments(now):
        key = key_of(keyword)
        elements[key] = _rewritten(zones, key, images, partial(_moment, now, keyword), False)


def _described(earlier: Any) -> Encoded:
    key = key_of("DerivationDescription")
    text = earlier if isinstance(earlier, str) else None
    with suppress(InvalidValue):  # text that scanners may write and ST does not allow
        return _encoded(key, described(text))
    return _encoded(key, described(None))


def _moment(now: datetime, keyword: str, zone: str | None) -> str:
    return moments(now, zone)[keyword]


def _rewritten(
    column: Column | None, key: Key, images: int, make: Callable[[Any], Any], raw: bool
) -> Column:
    """Return what a function makes of each value, and of None where an image lacks it."""
    old: list[Any] = []
    codes = np.full(images, -1, np.int32)
    if column is not None:
        old, codes = list(column.values if raw else column.decoded()), column.codes_of()
    made = [make(one) for one in (*old, None)]
    values = [_encoded(key, one) if isinstance(one, str) else one for one in made]
    return delta(key, values, np.where(codes < 0, len(old), codes), images)


def _encoded(key: Key, value: Any) -> Encoded:
    result = encode(key.tag, value)
    assert result is not None
    return result


def _origins(sources: Sources) -> Origins:
    classes: list[str] = []
    uids: list[str] = []
    counts = []
    instance_of = np.empty(len(sources.rows), np.intp)
    numbers = np.empty(len(sources.rows), np.intp)
    for number, table in enumerate(sources.tables):
        mine = np.flatnonzero(sources.table_of == number)
        rows = sources.rows[mine]
        instance_of[mine] = table.instance_of[rows] + len(uids)
        numbers[mine] = table.frame_numbers[rows]
        counts.append(np.where(_has_tiles(table), 1, table.places["frames"]))
        column = table.column(_SOP_CLASS)
        names = [str(one or "") for one in ([] if column is None else column.decoded())]
        names.append("")  # where the code is -1
        codes = np.full(len(table.uids), -1) if column is None else column.codes_of()
        classes += [names[code] for code in codes.tolist()]
        # A file without SOPInstanceUID goes by its path here, and cannot be referred to.
        uids += ["" if uid.startswith("file:") else uid for uid in table.uids]
    return Origins(classes, uids, np.concatenate(counts), instance_of, numbers, sources.starts)
