"""Exact floating point images as Parametric Map Storage (PS3.3 A.75), through highdicom.

One object holds the slices of one volume: highdicom wants each frame at a place of its own, and all
parallel. So an array of several volumes becomes as many objects, which :func:`volumes` tells apart.

What the images say beyond the modules of the map stays: what all frames agree in stands in the
object itself (a Standard Extended SOP Class, PS3.2 3.11.3), what differs stands with each frame in
the macro that PS3.3 C.7.6.16.2.25.2 has for attributes of classic images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr._version import __version__
from dbdicom_xr.emit.assemble import element_bytes
from dbdicom_xr.emit.elements import Elements, key_of, lookup
from dbdicom_xr.emit.obsolete import is_obsolete
from dbdicom_xr.emit.tracing import equipment_item
from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.geometry.planes import positions_along_normal
from dbdicom_xr.geometry.stacks import SAME_PLACE
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.staging.uids import new_uid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["PARAMETRIC_MAP", "parametric_map", "require_highdicom", "volumes"]

PARAMETRIC_MAP: Final = "1.2.840.10008.5.1.4.1.1.30"

_LARGEST: Final = 0xFFFFFFFE  # bytes of an element, PS3.5 7.1.1
_NAME: Final = "dbdicom_xr"
_WIDEST: Final = 9e18  # a window; dciodvfy takes what 64 bits do not hold for negative
_DIGITS: Final = 6  # to which direction cosines and spacings of one volume agree

# Said by the modules and macros of the map in their own way, of the object or of each frame.
_TOLD_ANEW: Final = frozenset(
    key_of(keyword)
    for keyword in (
        "SOPClassUID", "SOPInstanceUID", "ImageType", "FrameType", "InstanceCreationDate",
        "InstanceCreationTime", "InstanceNumber", "ImagePositionPatient",
        "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
        "DerivationCodeSequence", "ContributingEquipmentSequence", "ReferencedSeriesSequence",
        "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
        "LargestImagePixelValue", "SmallestImagePixelValue", "PixelAspectRatio", "SliceLocation",
        "ContentDate", "ContentTime", "LossyImageCompression", "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    )
)  # fmt: skip
# UCUM codes of what images say of their values (PS3.3 C.8.9.1.1.3 and C.11.1.1.2), with the
# meanings of PS3.16 CID 83 and CID 84.
_UNITS: Final = {
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "BQML": ("Bq/ml", "Becquerels/milliliter"),
    "GML": ("g/ml", "gram per milliliter"),
    "CNTS": ("{counts}", "Counts"),
    "CPS": ("{counts}/s", "Counts per second"),
    "PCNT": ("%", "Percent"),
}
_NO_UNITS: Final = ("1", "no units")
_NO_SERIAL_NUMBER: Final = "0"  # of Type 1 (PS3.3 C.7.5.2), and programs have none

_SOURCE_IMAGE: Final = ("121322", "DCM", "Source image for image processing operation")
_MR: Final = "1.2.840.10008.5.1.4.1.1.4"
_EVIDENCE: Final = key_of("SourceImageEvidenceSequence")
_PLACE: Final = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "FrameOfReferenceUID",
)
# What highdicom reads of its sources.
_WANTED: Final = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_OF_SOURCES: Final = frozenset(
    key_of(keyword)
    for keyword in (
        *_PLACE, "SOPInstanceUID", "InstanceNumber", "SliceThickness", "Manufacturer",
        "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
    )
)  # fmt: skip
# Set by highdicom to what holds for maps in general; that of the images says more.
_OF_THE_SERIES: Final = frozenset(
    ("Modality", "PositionReferenceIndicator", "BurnedInAnnotation", "RecognizableVisualFeatures")
)


def require_highdicom() -> Any:
    """Return highdicom.

    Raises
    ------
    InvalidValue
        It is not installed.

    Examples
    --------
    >>> require_highdicom().__name__
    'highdicom'
    """
    try:
        import highdicom
    except ImportError as error:
        raise InvalidValue(
            "Exact floating point images are written with highdicom, which is not installed: "
            'pip install "dbdicom_xr[maps]". Without dtype= they are rounded to 16 bits.'
        ) from error
    return highdicom


def volumes(elements: Elements, images: int) -> list[npt.NDArray[np.intp]]:
    """Return which images can stand in one Parametric Map each.

    These are parallel, of one pixel spacing, and no two of them at one place. The first image at
    each place comes into the first object, the second one into the second, so that there is an
    object per volume, in whichever order the dimensions of an array stand. Images without a place
    have an object each, at the origin of a frame of reference of its own.

    Parameters
    ----------
    elements : Elements
        What the images say.
    images : int
        Their number.

    Returns
    -------
    list of ndarray of int
        Numbers of images, ascending; each image in one of them.

    Examples
    --------
    >>> from dbdicom_xr.emit.elements import constant, per_image
    >>> places = [[0, 0, 0], [0, 0, 5], [0, 0, 0], [0, 0, 5]]
    >>> elements = {
    ...     one.key: one
    ...     for one in (
    ...         per_image("ImagePositionPatient", places),
    ...         constant("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], 4),
    ...         constant("PixelSpacing", [1, 1], 4),
    ...         constant("FrameOfReferenceUID", "1.2", 4),
    ...     )
    ... }
    >>> volumes(elements, 4)
    [array([0, 1]), array([2, 3])]
    """
    position = _numbers(elements, "ImagePositionPatient", images, 3)
    orientation = _numbers(elements, "ImageOrientationPatient", images, 6)
    spacing = _numbers(elements, "PixelSpacing", images, 2)
    frames = np.array(lookup(elements, "FrameOfReferenceUID") or [None] * images, object)
    placed = np.isfinite(np.concatenate([position, orientation, spacing], axis=1)).all(axis=1)
    placed &= np.array([bool(one) for one in frames], bool)
    result = [np.array([image], np.intp) for image in np.flatnonzero(~placed)]
    # highdicom says the orientation once for all frames.
    shared = np.round(np.concatenate([orientation, spacing], axis=1), _DIGITS) + 0.0
    groups: dict[tuple[Any, ...], list[int]] = {}
    for image in np.flatnonzero(placed).tolist():
        groups.setdefault((frames[image], *shared[image].tolist()), []).append(image)
    for group in groups.values():
        result += _apart(np.array(group, np.intp), position, orientation)
    return sorted(result, key=lambda volume: int(volume[0]))


def _apart(
    group: npt.NDArray[np.intp], position: npt.NDArray[Any], orientation: npt.NDArray[Any]
) -> list[npt.NDArray[np.intp]]:
    """Return parallel images as volumes, in which each place is there once."""
    along = positions_along_normal(position[group], orientation[group])
    if along is None:
        return [np.array([image], np.intp) for image in group]
    # Places along the normal, as highdicom sorts by them; they need not be evenly spaced.
    order = np.argsort(along, kind="stable")
    place = np.empty(len(group), np.intp)
    place[order] = np.cumsum(np.diff(along[order], prepend=along[order[0]]) > SAME_PLACE)
    # The images at one place are those of one volume each, in their order.
    turns = np.zeros(len(group), np.intp)
    counts: dict[int, int] = {}
    for number, at in enumerate(place.tolist()):
        turns[number] = counts.get(at, 0)
        counts[at] = counts.get(at, 0) + 1
    return [group[turns == turn] for turn in range(int(turns.max(initial=-1)) + 1)]


def _numbers(elements: Elements, keyword: str, images: int, count: int) -> npt.NDArray[np.float64]:
    """Return an attribute of several numbers, shape (images, count); NaN where it is missing."""
    result = np.full((images, count), np.nan)
    for image, value in enumerate(lookup(elements, keyword) or ()):
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == count:
            result[image] = value
    return result


def parametric_map(
    elements: Elements,
    values: npt.NDArray[Any],
    *,
    label: str = "",
    unit: tuple[str, str] | None = None,
) -> Dataset:
    """Return one volume as a Parametric Map, with its values bit for bit.

    Parameters
    ----------
    elements : Elements
        What its images say, a row per image, identifiers of the study, the series and the instance
        included. The first image speaks for all in what belongs to the object.
    values : ndarray of float32 or float64, shape (images, rows, columns)
        NaN and infinity are kept.
    label : str, optional
        What the values are, at most 16 characters. Default: the beginning of SeriesDescription.
    unit : (str, str), optional
        UCUM code of the unit of the values, and its meaning. Default: that of Units or RescaleType
        where they are known, else no units.

    Returns
    -------
    pydicom.Dataset
        With file meta information. Frames are in the order of their places, not of the images.
        SourceImageSequence of each image stands in its frame; the series of the sources is named
        where SourceImageEvidenceSequence tells.

    Raises
    ------
    InvalidValue
        highdicom is not installed, or the volume does not fit into 4 GiB.
    LayoutError
        The values are not floats, or not one frame per image; or images lie at one place.

    Examples
    --------
    >>> import numpy as np
    >>> from dbdicom_xr.emit.kinds import complete, kind_named, template
    >>> kind = kind_named("mri")
    >>> elements = template(kind, 3)
    >>> complete(kind, elements, 3)
    >>> dataset = parametric_map(elements, np.full((3, 8, 8), np.float32(0.1)))
    >>> int(dataset.NumberOfFrames), len(dataset.FloatPixelData)
    (3, 768)
    """
    highdicom = require_highdicom()
    images = _checked(elements, values)
    unnamed = new_uid()  # study and series of images that have not been put anywhere
    sources = [_source(elements, image, values.shape[1:], unnamed) for image in range(images)]
    first = sources[0]
    description = str(first.get("SeriesDescription") or "")
    label = (label or description or "MAP").replace("\\", " ").strip()[:16].strip()
    ends = _ends(values, ~np.isnan(values))
    low, high = _ends(values, np.isfinite(values))
    code, meaning = unit or _unit(elements)
    dataset: Dataset = highdicom.pm.ParametricMap(
        sources,
        values,
        series_instance_uid=first.SeriesInstanceUID,
        series_number=int(first.get("SeriesNumber") or 1),
        sop_instance_uid=first.SOPInstanceUID,
        instance_number=int(first.get("InstanceNumber") or 1),
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=__version__,
        device_serial_number=_NO_SERIAL_NUMBER,
        contains_recognizable_visual_features=first.get("RecognizableVisualFeatures") == "YES",
        real_world_value_mappings=[
            highdicom.pm.RealWorldValueMapping(
                lut_label=label,
                lut_explanation=(description or label)[:64],
                unit=highdicom.sr.CodedConcept(code, "UCUM", meaning),
                value_range=ends,
                slope=1.0,
                intercept=0.0,
            )
        ],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(
                window_center=low / 2 + high / 2,
                window_width=min(high - low, _WIDEST) or 1.0,
                voi_lut_function="LINEAR_EXACT",
            )
        ],
        content_description=description[:64] or None,
        specific_character_set="ISO_IR 192",
    )
    _finish(dataset, elements, _order(dataset, sources))
    return dataset


def _ends(values: npt.NDArray[Any], counted: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the smallest and the largest of some values; zeros where there are none."""
    if not counted.any():
        return 0.0, 0.0
    return (
        float(values.min(where=counted, initial=np.inf)),
        float(values.max(where=counted, initial=-np.inf)),
    )


def _checked(elements: Elements, values: npt.NDArray[Any]) -> int:
    """Return the number of images."""
    if values.dtype not in (np.float32, np.float64) or values.ndim != 3 or not values.size:
        raise LayoutError(
            f"A Parametric Map holds float32 or float64 of shape (images, rows, columns), not "
            f"{values.dtype} of shape {values.shape}."
        )
    images = len(values)
    if values.nbytes > _LARGEST:
        raise InvalidValue(
            f"A volume of shape {values.shape} takes {values.nbytes / 2**30:.1f} GiB as "
            f"{values.dtype}, and one object holds 4 at most."
        )
    if any(column.rows != images for column in elements.values()):
        raise LayoutError(f"There are {images} frames, and another number of images in the header.")
    if len(volumes(elements, images)) != 1:
        raise LayoutError(
            f"{images} frames are not one volume: some lie at one place, or at none, or are not "
            "parallel. volumes() tells which can stand together."
        )
    return images


def _dataset(elements: Elements, image: int, keys: Iterable[Key]) -> Dataset:
    """Return what an image says in some elements."""
    from pydicom.filereader import read_dataset

    parts = []
    for key in sorted(keys):
        column = elements[key]
        code = column.code(image)
        if code >= 0:
            value = column.values[code]
            assert isinstance(value, bytes)
            parts.append(element_bytes(key.tag, column.kinds[column.kind_of[code]].vr, value))
    # The bytes of elements are UTF-8, whatever the images say.
    return read_dataset(BytesIO(b"".join(parts)), False, True, parent_encoding="utf_8")


def _source(elements: Elements, image: int, shape: tuple[int, ...], others: str) -> Dataset:
    """Return an image as highdicom wants to see it: it copies the patient, the study, the place."""
    keys = [key for key in elements if _is_kept(key) or key in _OF_SOURCES]
    source = _dataset(elements, image, keys)
    for keyword in _WANTED:
        if keyword not in source:
            setattr(source, keyword, "")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not source.get(keyword):
            setattr(source, keyword, others)
    if not source.get("SOPInstanceUID"):
        source.SOPInstanceUID = new_uid()
    if not source.get("SliceThickness"):
        source.SliceThickness = None
    # highdicom makes no object without a place. What has none gets one that claims nothing, as
    # other images made from nothing do: in a frame of reference of its own.
    if not all(source.get(keyword) for keyword in _PLACE):
        source.FrameOfReferenceUID = others
        source.ImagePositionPatient = [0.0, 0.0, 0.0]
        source.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        source.PixelSpacing = source.get("PixelSpacing") or [1.0, 1.0]
    source.SOPClassUID = _MR  # of the classes that have a place
    source.Rows, source.Columns = shape
    return source


def _is_kept(key: Key) -> bool:
    """Return whether the map says of its images what they say by themselves."""
    return not key.creator and key not in _TOLD_ANEW and not is_obsolete(key)


def _order(dataset: Dataset, sources: Sequence[Dataset]) -> list[int]:
    """Return of which image each frame is: highdicom sorts them by their places."""
    if len(sources) == 1:
        return [0]
    places = np.array([source.ImagePositionPatient for source in sources], np.float64)
    order = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        order.append(int(np.abs(places - place).sum(axis=1).argmin()))
    assert sorted(order) == list(range(len(sources)))
    return order


def _finish(dataset: Dataset, elements: Elements, order: Sequence[int]) -> None:
    """Say what highdicom does not know: the modality, the sources, and all else of the images."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence as Items

    # highdicom took the new images themselves for the sources.
    for keyword in ("SourceImageSequence", "ReferencedSeriesSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    told = [_EVIDENCE] if _EVIDENCE in elements else []
    evidence = _dataset(elements, 0, told).get("SourceImageEvidenceSequence")
    kept = [key for key in elements if _is_kept(key) and key != _EVIDENCE]
    shared = [key for key in kept if _is_shared(elements[key])]
    for element in _dataset(elements, 0, shared):
        if element.tag not in dataset or element.keyword in _OF_THE_SERIES:
            dataset[element.tag] = element
    # One of them tells how the patient lies (PS3.3 C.7.3.1.1.2).
    if "PatientOrientationCodeSequence" in dataset and "PatientPosition" in dataset:
        coded = bool(dataset.PatientOrientationCodeSequence)
        del dataset["PatientPosition" if coded else "PatientOrientationCodeSequence"]
    _add_equipment(dataset)
    differing = [key for key in kept if key not in shared]
    sources = key_of("SourceImageSequence")
    referred: set[str] = set()
    for frame, image in zip(dataset.PerFrameFunctionalGroupsSequence, order, strict=True):
        derivation = frame.pop("DerivationImageSequence", None)
        if sources in elements and elements[sources].code(image) >= 0:
            (item,) = derivation.value if derivation is not None else [Dataset()]
            item.SourceImageSequence = _dataset(elements, image, [sources]).SourceImageSequence
            for source in item.SourceImageSequence:
                referred.add(source.ReferencedSOPInstanceUID)
                if "PurposeOfReferenceCodeSequence" not in source:
                    source.PurposeOfReferenceCodeSequence = [_coded(*_SOURCE_IMAGE)]
            frame.DerivationImageSequence = Items([item])
        own = _dataset(elements, image, differing)
        if len(own):
            frame.UnassignedPerFrameConvertedAttributesSequence = Items([own])
    if referred and evidence is not None:
        _refer(dataset, evidence, referred)


def _refer(dataset: Dataset, evidence: Iterable[Dataset], referred: Iterable[str]) -> None:
    """Name the studies and series that the sources are in (PS3.3 C.12.2)."""
    from pydicom import Dataset

    wanted = set(referred)
    for study in evidence:
        found = []
        for series in study.ReferencedSeriesSequence:
            named = [
                instance
                for instance in series.ReferencedSOPSequence
                if instance.ReferencedSOPInstanceUID in wanted
            ]
            if named:
                one = Dataset()
                one.SeriesInstanceUID = series.SeriesInstanceUID
                one.ReferencedInstanceSequence = named
                found.append(one)
        if found and study.StudyInstanceUID == dataset.StudyInstanceUID:
            dataset.ReferencedSeriesSequence = found
        elif found:
            other = Dataset()
            other.StudyInstanceUID = study.StudyInstanceUID
            other.ReferencedSeriesSequence = found
            others = dataset.get("StudiesContainingOtherReferencedInstancesSequence") or []
            dataset.StudiesContainingOtherReferencedInstancesSequence = [*others, other]


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _is_shared(column: Column) -> bool:
    return column.codes is None and len(column.values) == 1


def _add_equipment(dataset: Dataset) -> None:
    """Name this package in place of highdicom as what made the object."""
    from pydicom.filereader import read_dataset

    ours = equipment_item(datetime.now(UTC))
    made = read_dataset(
        BytesIO(element_bytes(0x0018A001, "SQ", ours.value)), False, True, parent_encoding="utf_8"
    )
    dataset.ContributingEquipmentSequence.extend(made.ContributingEquipmentSequence)


def _unit(elements: Elements) -> tuple[str, str]:
    """Return the UCUM code of what the values are in, and its meaning."""
    for keyword in ("Units", "RescaleType"):
        for text in lookup(elements, keyword) or ():
            if text in _UNITS:
                return _UNITS[str(text)]
    return _NO_UNITS
