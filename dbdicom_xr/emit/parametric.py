"""Exact floating point images as Parametric Map Storage (PS3.3 A.75), through highdicom.

One object holds the slices of one volume: highdicom wants each frame at a place of its own, and all
parallel. So an array of several volumes becomes as many objects, which ``map_volumes`` tells apart.

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
from dbdicom_xr.emit.map_volumes import places_of, volumes
from dbdicom_xr.emit.obsolete import is_obsolete
from dbdicom_xr.emit.tracing import equipment_item
from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.staging.uids import new_uid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["PARAMETRIC_MAP", "parametric_map", "require_highdicom"]

PARAMETRIC_MAP: Final = "1.2.840.10008.5.1.4.1.1.30"

_LARGEST: Final = 0xFFFFFFFE  # bytes of an element, PS3.5 7.1.1
_NAME: Final = "dbdicom_xr"
_WIDEST: Final = 9e18  # a window; dciodvfy takes what 64 bits do not hold for negative

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
        # what it says stands beside it, and a map of slides would have to say more
        "PlanePositionSlideSequence",
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
    # Units of maps as people write them into RescaleType, by their UCUM code (PS3.3 C.11.1.1.2
    # leaves the term open).
    "s": ("s", "second"),
    "ms": ("ms", "millisecond"),
    "us": ("us", "microsecond"),
    "1/s": ("/s", "per second"),
    "1/min": ("/min", "per minute"),
    "ml/min/100ml": ("ml/min/(100.ml)", "milliliter per minute per 100 milliliter"),
    "ml/100ml": ("ml/(100.ml)", "milliliter per 100 milliliter"),
    "mm2/s": ("mm2/s", "square millimeter per second"),
    "um2/ms": ("um2/ms", "square micrometer per millisecond"),
    "mm": ("mm", "millimeter"),
    "Hz": ("Hz", "hertz"),
    "ppm": ("[ppm]", "parts per million"),
    "rad": ("rad", "radian"),
    "deg": ("deg", "degree"),
    "%": ("%", "Percent"),
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
# What highdicom copies from its sources, and is put in here as it stands.
_COPIED: Final = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
# What would make modules of an acquisition or of a slide demand the rest of themselves.
_UNASSIGNED: Final = frozenset(
    map(key_of, ("ContrastBolusAgentSequence", "BulkMotionCompensationTechnique"))
)
_OF_SLIDES: Final = 0x0048  # group
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
        With file meta information. Frames are in the order of the images.
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
    sources = _sources(elements, images, values.shape[1:])
    first = sources[0]
    description = _text(elements, "SeriesDescription")
    label = (label or description or "MAP").replace("\\", " ").strip()[:16].strip()
    ends = _ends(values, ~np.isnan(values))
    low, high = _ends(values, np.isfinite(values))
    code, meaning = unit or _unit(elements)
    dataset: Dataset = highdicom.pm.ParametricMap(
        sources,
        values,
        series_instance_uid=first.SeriesInstanceUID,
        series_number=_number(elements, "SeriesNumber"),
        sop_instance_uid=first.SOPInstanceUID,
        instance_number=_number(elements, "InstanceNumber"),
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=__version__,
        device_serial_number=_NO_SERIAL_NUMBER,
        contains_recognizable_visual_features=_text(elements, "RecognizableVisualFeatures")
        == "YES",
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
    _put_in_order(dataset, sources, values)
    _finish(dataset, elements)
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


def _first(elements: Elements, keyword: str) -> Any:
    """Return what the first image says."""
    return (lookup(elements, keyword) or [None])[0]


def _text(elements: Elements, keyword: str) -> str:
    value = _first(elements, keyword) or ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(elements: Elements, keyword: str) -> int:
    value = _first(elements, keyword)
    return value if isinstance(value, int) and value > 0 else 1


def _sources(elements: Elements, images: int, shape: tuple[int, ...]) -> list[Dataset]:
    """Return the images as highdicom wants to see them: where they lie, and nothing else.

    It stumbles over values of other attributes that are no dates or numbers.
    """
    unnamed = new_uid()  # study and series of images that have not been put anywhere
    keys = [key for key in map(key_of, _PLACE) if key in elements]
    uids = lookup(elements, "SOPInstanceUID") or [None] * images
    thickness = _first(elements, "SliceThickness")
    places = places_of(elements, images)
    result: list[Dataset] = []
    for image in range(images):
        source = _dataset(elements, image, keys)
        if not places.known[image]:
            # highdicom makes no object without a place. What has none gets one that claims
            # nothing, as other images made from nothing do: in a frame of reference of its own.
            source.FrameOfReferenceUID = unnamed
            source.ImagePositionPatient = [0.0, 0.0, 0.0]
            source.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
            if not (places.spacing[image] > 0).all():
                source.PixelSpacing = [1.0, 1.0]
        elif result:  # highdicom takes only what is equal to the last digit
            source.ImageOrientationPatient = result[0].ImageOrientationPatient
        for keyword in _COPIED:
            setattr(source, keyword, "")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(source, keyword, _text(elements, keyword) or unnamed)
        source.SOPInstanceUID = uids[image] or new_uid()
        source.SliceThickness = thickness if isinstance(thickness, float) and thickness else None
        source.SOPClassUID = _MR  # of the classes that have a place
        source.Rows, source.Columns = shape
        result.append(source)
    return result


def _is_kept(key: Key) -> bool:
    """Return whether the map says of its images what they say by themselves."""
    return not key.creator and key not in _TOLD_ANEW and not is_obsolete(key)


def _put_in_order(dataset: Dataset, sources: Sequence[Dataset], values: npt.NDArray[Any]) -> None:
    """Put frames in the order of their images: highdicom sorts them by their places."""
    places = np.array([source.ImagePositionPatient for source in sources], np.float64)
    groups = dataset.PerFrameFunctionalGroupsSequence
    frame_of = np.empty(len(sources), np.intp)
    for frame, group in enumerate(groups):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        frame_of[np.abs(places - place).sum(axis=1).argmin()] = frame
    order = frame_of.tolist()
    assert sorted(order) == list(range(len(sources)))
    if order == sorted(order):
        return
    dataset.PerFrameFunctionalGroupsSequence = [groups[frame] for frame in order]
    keyword = "FloatPixelData" if values.dtype.itemsize == 4 else "DoubleFloatPixelData"
    setattr(dataset, keyword, values.astype(f"<f{values.dtype.itemsize}").tobytes())
    # "3D" says that places follow each other (PS3.3 C.7.6.17).
    dataset.pop("DimensionOrganizationType", None)


def _finish(dataset: Dataset, elements: Elements) -> None:
    """Say what highdicom does not know: the modality, the sources, and all else of the images."""
    from pydicom import Dataset
    from pydicom.charset import convert_encodings
    from pydicom.sequence import Sequence as Items

    # highdicom took the new images themselves for the sources.
    for keyword in ("SourceImageSequence", "ReferencedSeriesSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    told = [_EVIDENCE] if _EVIDENCE in elements else []
    evidence = _dataset(elements, 0, told).get("SourceImageEvidenceSequence")
    kept = [key for key in elements if _is_kept(key) and key != _EVIDENCE]
    shared = [key for key in kept if _is_shared(elements[key])]
    outside = [key for key in shared if key in _UNASSIGNED or key.tag >> 16 == _OF_SLIDES]
    said = _dataset(elements, 0, [key for key in shared if key not in outside])
    for tag in list(said.keys()):
        _put_in(dataset, said, tag)
    if outside:
        (common,) = dataset.SharedFunctionalGroupsSequence
        common.UnassignedSharedConvertedAttributesSequence = Items([_dataset(elements, 0, outside)])
    if _text(elements, "SeriesInstanceUID") and not _text(elements, "StudyInstanceUID"):
        # As its sources have none; with another it would lie in a study of its own.
        del dataset.StudyInstanceUID
    # One of them tells how the patient lies (PS3.3 C.7.3.1.1.2).
    if "PatientOrientationCodeSequence" in dataset and "PatientPosition" in dataset:
        coded = bool(dataset.PatientOrientationCodeSequence)
        del dataset["PatientPosition" if coded else "PatientOrientationCodeSequence"]
    _add_equipment(dataset)
    references = key_of("ReferencedImageSequence")
    differing = [key for key in kept if key not in shared and key != references]
    sources = key_of("SourceImageSequence")
    referred: set[str] = set()
    for image, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        derivation = frame.pop("DerivationImageSequence", None)
        if sources in elements and elements[sources].code(image) >= 0:
            (item,) = derivation.value if derivation is not None else [Dataset()]
            item.SourceImageSequence = _named(elements, image, sources)
            referred.update(one.ReferencedSOPInstanceUID for one in item.SourceImageSequence)
            frame.DerivationImageSequence = Items([item])
        if references in kept and references not in shared:
            # a macro that one frame has all must have (PS3.3 C.7.6.16.1)
            frame.ReferencedImageSequence = _named(elements, image, references)
        own = _dataset(elements, image, differing)
        if len(own):
            frame.UnassignedPerFrameConvertedAttributesSequence = Items([own])
    if referred and evidence is not None:
        _refer(dataset, evidence, referred)
    # So that pydicom writes what was put in byte for byte; of what is no number it makes none.
    dataset.set_original_encoding(False, True, convert_encodings("ISO_IR 192"))


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


def _named(elements: Elements, image: int, key: Key) -> list[Dataset]:
    """Return the images that a sequence of an image names, each with its purpose."""
    element = _dataset(elements, image, [key]).get(key.tag)
    named = [] if element is None else list(element.value)
    for one in named:
        if "PurposeOfReferenceCodeSequence" not in one:
            one.PurposeOfReferenceCodeSequence = [_coded(*_SOURCE_IMAGE)]
    return named


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _put_in(dataset: Dataset, said: Dataset, tag: Any) -> None:
    """Put an element in as it stands, unless highdicom has said that better."""
    own = dataset.get(tag)
    if own is None or own.is_empty or own.keyword in _OF_THE_SERIES:
        dataset[tag] = said.get_item(tag)


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
