"""What images say of where they come from: sources, derivation, equipment, time.

PS3.3 C.7.6.1 (General Image), C.12.4 (General Reference), C.12.1 (SOP Common). From which frames
an image was computed is for the caller to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr._version import __version__
from dbdicom_xr.emit.elements import Elements, constant, key_of, put
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.elements import Malformed
from dbdicom_xr.index.values import Kind as Encoding
from dbdicom_xr.staging.charsets import UTF8
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.items import Item, element, sequence, split_items
from dbdicom_xr.staging.patch import delta

if TYPE_CHECKING:
    from dbdicom_xr.emit.kinds import Kind

__all__ = [
    "DERIVATION",
    "MOST_REFERENCES",
    "Origins",
    "derived_image_type",
    "described",
    "equipment_item",
    "moments",
    "source_images",
    "untraced",
    "with_equipment",
    "with_related_series",
]

DERIVATION: Final = f"Computed with dbdicom_xr {__version__}"
"""What DerivationDescription says."""

MOST_REFERENCES: Final = 1000
"""An image computed from more instances refers to their series, not to each of them."""

_LONGEST_TEXT: Final = 1024  # ST, PS3.5 6.2
_LONGEST_NUMBERS: Final = 65534  # bytes of IS in explicit VR
_MOSAICS: Final = frozenset(("MOSAIC", "VFRAME"))
# Values of ImageType that an IOD wants and the source lacks (PS3.3 C.7.6.1.1.2, C.8.2.1.1.1,
# C.8.3.1.1.1, C.8.9.4). AXIAL is what CT calls all that is no localizer.
_IMAGE_TYPES: Final = {
    "mri": ("DERIVED", "SECONDARY", "OTHER"),
    "ct": ("DERIVED", "SECONDARY", "AXIAL"),
    "pet": ("DERIVED", "PRIMARY"),
}
_PURPOSE: Final = encode(
    0x0040A170,
    {
        "CodeValue": "121322",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Source image for image processing operation",
    },
)


@dataclass(frozen=True, eq=False)
class Origins:
    """The frames that each of some images was computed from.

    Parameters
    ----------
    sop_classes, uids : sequence of str, length instances
        Of the instances that hold them. One without UID cannot be referred to.
    counts : ndarray of int, shape (instances,)
        Number of frames of each instance, 1 where it has no frame numbers (a mosaic has none).
    instance_of, numbers : ndarray of int, shape (frames,)
        For each source frame its instance, and its number in it, from 1.
    starts : ndarray of int, shape (images + 1,)
        Image ``i`` was computed from the frames ``starts[i]`` to ``starts[i + 1]``.
    """

    sop_classes: Sequence[str]
    uids: Sequence[str]
    counts: npt.NDArray[Any]
    instance_of: npt.NDArray[Any]
    numbers: npt.NDArray[Any]
    starts: npt.NDArray[Any]


def source_images(origins: Origins) -> tuple[Column | None, npt.NDArray[np.bool_]]:
    """Return SourceImageSequence of each image, and which images have too many sources for it.

    One item for each instance, with ReferencedFrameNumber where only some of its frames were used
    (PS3.3 table 10-3). 100,000 images with one source each take 1 s.

    Parameters
    ----------
    origins : Origins

    Returns
    -------
    column : Column or None
        None where no image has any.
    too_many : ndarray of bool, shape (images,)
        Images computed from more than ``MOST_REFERENCES`` instances, or from more frames of one
        than can be listed.

    Examples
    --------
    >>> origins = Origins(
    ...     ["1.2"], ["1.2.3"], np.array([9]), np.array([0]), np.array([7]), np.array([0, 1])
    ... )
    >>> column, too_many = source_images(origins)
    >>> item = column.value(0)[0]
    >>> str(item.ReferencedSOPInstanceUID), int(item.ReferencedFrameNumber), too_many.tolist()
    ('1.2.3', 7, [False])
    """
    instance_of, numbers = origins.instance_of.tolist(), origins.numbers.tolist()
    counts, starts = origins.counts.tolist(), origins.starts.tolist()
    whole: dict[int, bytes] = {}

    def item(instance: int, frames: list[int]) -> bytes | None:
        used = sorted(set(frames))
        if len(used) < counts[instance]:
            text = "\\".join(map(str, used)).encode("ascii")
            return None if len(text) > _LONGEST_NUMBERS else _item(origins, instance, text)
        found = whole.get(instance)
        if found is None:
            found = whole[instance] = _item(origins, instance, b"")
        return found

    too_many = np.zeros(len(starts) - 1, bool)
    distinct: dict[bytes, int] = {}
    codes = np.full(len(starts) - 1, -1, np.int32)
    for image, (start, stop) in enumerate(pairwise(starts)):
        if stop - start == 1:
            value = item(instance_of[start], numbers[start:stop])
        else:
            used: dict[int, list[int]] = {}
            for instance, number in zip(instance_of[start:stop], numbers[start:stop], strict=True):
                used.setdefault(instance, []).append(number)
            few = len(used) <= MOST_REFERENCES
            items = [item(*one) for one in used.items()] if few else [None]
            value = None if None in items else b"".join(one for one in items if one)
        if value is None:
            too_many[image] = True
        elif value:
            codes[image] = distinct.setdefault(value, len(distinct))
    if not distinct:
        return None, too_many
    key = key_of("SourceImageSequence")
    return delta(
        key, [Encoded(Encoding("SQ"), value) for value in distinct], codes, len(codes)
    ), too_many


def _item(origins: Origins, instance: int, frames: bytes) -> bytes:
    """Return the item that refers to an instance, b"" where that is not possible."""
    sop_class, uid = origins.sop_classes[instance], origins.uids[instance]
    if not (sop_class and uid and sop_class.isascii() and uid.isascii()):
        return b""
    assert _PURPOSE is not None
    parts = [
        element(0x00081150, "UI", _even(sop_class.encode("ascii"), b"\0"), False, False),
        element(0x00081155, "UI", _even(uid.encode("ascii"), b"\0"), False, False),
        element(0x0040A170, "SQ", _PURPOSE.value, False, False),
    ]
    if frames:
        parts.insert(2, element(0x00081160, "IS", _even(frames, b" "), False, False))
    return sequence([b"".join(part.raw for part in parts)], False)


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad if len(value) % 2 else value


def with_related_series(earlier: bytes, series: Iterable[tuple[str, str]]) -> Encoded | None:
    """Return RelatedSeriesSequence that names the series which images were computed from.

    Parameters
    ----------
    earlier : bytes
        What the source says of other relations, which stays; what it was computed from itself goes.
    series : iterable of (str, str)
        StudyInstanceUID and SeriesInstanceUID.

    Returns
    -------
    Encoded or None
        None where there is none.

    Notes
    -----
    PS3.3 C.7.3.1. The codes that it suggests for the purpose (CID 7210) mean other relations; it
    is the one by which SourceImageSequence names sources.

    Examples
    --------
    >>> sequence = with_related_series(b"", [("1.2", "1.2.3")])
    >>> with_related_series(sequence.value, []) is None
    True
    """
    assert _PURPOSE is not None
    kept = [one.content for one in _items(earlier) if _PURPOSE.value not in one.content]
    for study, uid in series:
        if not (study and uid and study.isascii() and uid.isascii()):
            continue
        parts = (
            element(0x0020000D, "UI", _even(study.encode("ascii"), b"\0"), False, False),
            element(0x0020000E, "UI", _even(uid.encode("ascii"), b"\0"), False, False),
            element(0x0040A170, "SQ", _PURPOSE.value, False, False),
        )
        kept.append(b"".join(part.raw for part in parts))
    return Encoded(Encoding("SQ"), sequence(kept, False)) if kept else None


def _items(value: bytes) -> list[Item]:
    try:
        return split_items(value, False, False)[0]
    except Malformed:
        return []


def derived_image_type(values: Sequence[str], kind: str) -> list[str]:
    """Return ImageType of an image that was computed from one of this ImageType.

    Value 1 is DERIVED; the others stay, but the words by which tiles are known; what the IOD wants
    besides is added.

    Parameters
    ----------
    values : sequence of str
        Of the sources; empty where they have none, or differ.
    kind : str
        Name of the kind of the new image.

    Examples
    --------
    >>> derived_image_type(["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "mri")
    ['DERIVED', 'PRIMARY', 'M', 'ND']
    >>> derived_image_type([], "ct")
    ['DERIVED', 'SECONDARY', 'AXIAL']
    """
    wanted = _IMAGE_TYPES.get(kind, ("DERIVED", "SECONDARY"))
    kept = [value for value in values[1:] if value not in _MOSAICS and value != "ORIGINAL"]
    result = ["DERIVED", *kept]
    for place, word in enumerate(wanted):
        if place >= len(result):
            result.append(word)
        elif not result[place]:
            result[place] = word
    return result


def described(earlier: str | None) -> str:
    """Return DerivationDescription, behind that of the source where there is room for both.

    Examples
    --------
    >>> described("Motion corrected").startswith("Motion corrected; Computed with dbdicom_xr")
    True
    """
    if not earlier or earlier.endswith(DERIVATION):
        return earlier or DERIVATION
    both = f"{earlier}; {DERIVATION}"
    return both if len(both) <= _LONGEST_TEXT else DERIVATION


def equipment_item(now: datetime) -> Encoded:
    """Return ContributingEquipmentSequence with one item: this package (PS3.3 C.12.1).

    Parameters
    ----------
    now : datetime

    Examples
    --------
    >>> from datetime import UTC
    >>> item = equipment_item(datetime(2026, 3, 1, 12, tzinfo=UTC))
    >>> b"20260301120000.000000+0000" in item.value
    True
    """
    made = encode(
        0x0018A001,
        {
            "Manufacturer": "dbdicom_xr",
            "ManufacturerModelName": "dbdicom_xr",
            "SoftwareVersions": __version__,
            "ContributionDateTime": now.astimezone(now.tzinfo).strftime("%Y%m%d%H%M%S.%f%z"),
            "ContributionDescription": "Computed the pixels and wrote the object",
            "PurposeOfReferenceCodeSequence": {
                "CodeValue": "109102",
                "CodingSchemeDesignator": "DCM",
                "CodeMeaning": "Processing Equipment",
            },
        },
    )
    assert made is not None
    return made


def with_equipment(earlier: bytes, now: datetime) -> Encoded:
    """Return ContributingEquipmentSequence with this package as the last item.

    Parameters
    ----------
    earlier : bytes
        What the source says of other equipment.
    now : datetime

    Examples
    --------
    >>> now = datetime(2026, 3, 1, 12)
    >>> first = with_equipment(b"", now)
    >>> with_equipment(first.value, now).value == 2 * first.value
    True
    """
    made = equipment_item(now)
    kept = sequence([one.content for one in _items(earlier)], False)
    # The text of earlier items is in UTF-8, as everywhere here.
    charset = made.kind.charset if earlier.isascii() else UTF8
    return Encoded(Encoding("SQ", charset=charset), kept + made.value)


def moments(now: datetime, offset: str | None = None) -> dict[str, str]:
    """Return the dates and times of making an image.

    Parameters
    ----------
    now : datetime
    offset : str, optional
        TimezoneOffsetFromUTC of the image, which its dates and times are understood in.

    Examples
    --------
    >>> from datetime import UTC
    >>> moments(datetime(2026, 3, 1, 23, 30, tzinfo=UTC), "+0100")["ContentDate"]
    '20260302'
    """
    zone = _zone(offset)
    local = now if zone is None else now.astimezone(zone)
    date, time = local.strftime("%Y%m%d"), local.strftime("%H%M%S.%f")
    return {
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        "ContentDate": date,
        "ContentTime": time,
    }


def _zone(offset: str | None) -> timezone | None:
    """Return the time zone of a value of TimezoneOffsetFromUTC, None where it is none."""
    if not isinstance(offset, str):
        return None
    try:
        minutes = int(offset[:-2]) * 60 + int(offset[0] + offset[-2:])
        return timezone(timedelta(minutes=minutes))
    except (ValueError, IndexError):
        return None


def untraced(kind: Kind, images: int, now: datetime | None = None) -> Elements:
    """Return what images without sources say of how they came to be.

    Parameters
    ----------
    kind : Kind
    images : int
        Number of rows.
    now : datetime, optional
        By default the present.
    """
    now = datetime.now().astimezone() if now is None else now
    elements: Elements = {}
    put(elements, images, {"ImageType": derived_image_type([], kind.name), **moments(now)})
    key = key_of("ContributingEquipmentSequence")
    elements[key] = constant(key, with_equipment(b"", now), images)
    return elements
