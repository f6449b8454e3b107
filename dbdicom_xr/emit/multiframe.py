"""Many MR images as one Enhanced MR object (PS3.3 A.36.2).

Owns what is said of the object as a whole, the order of the frames, and what becomes of attributes
that have no place in it. The functional groups are in ``mr_macros``.
"""

from __future__ import annotations

import re
from math import hypot, nan
from typing import Any, Final

import numpy as np

from dbdicom_xr.emit.elements import Elements, key_of
from dbdicom_xr.emit.frame_order import (
    Stacks,
    dimensions_of,
    repeats_of,
    spacing_of,
    stacks_of,
)
from dbdicom_xr.emit.frame_references import evidence
from dbdicom_xr.emit.macros import (
    Frames,
    Member,
    Part,
    copied,
    item_of,
    made,
    per_frame,
    private_parts,
    shared,
)
from dbdicom_xr.emit.mr_macros import FRAME_TYPE, MACROS, PULSE_SEQUENCE, image_types, mr_macros
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED
from dbdicom_xr.index.table import Values
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.uids import new_uid

__all__ = ["ENHANCED_MR", "enhanced_mr"]

ENHANCED_MR: Final = "1.2.840.10008.5.1.4.1.1.4.1"

_PIXELS: Final = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
# What has one value for all frames, or cannot be one object (PS3.3 C.7.6.3, C.7.4.1).
_ONE_VALUE: Final = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "FrameOfReferenceUID",
)  # fmt: skip
# What an image says of itself as a file, and a frame cannot say.
_OF_A_FILE: Final = (
    "SOPInstanceUID", "InstanceNumber", "InstanceCreationDate", "InstanceCreationTime",
    "ContentDate", "ContentTime", "SmallestImagePixelValue", "LargestImagePixelValue",
    "SliceLocation", "ImagesInAcquisition", "NumberOfFrames", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
    "DimensionOrganizationType", "DimensionIndexValues", "StackID", "InStackPositionNumber",
    "FrameIncrementPointer", "IconImageSequence", "FileSetID",
)  # fmt: skip
# What the patient, the study and the series say is one for all.
_OF_THE_SERIES: Final = frozenset(
    key_of(keyword)
    for keyword in (
        "SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate", "StudyTime",
        "SeriesDate", "SeriesTime", "AccessionNumber", "Modality", "Manufacturer",
        "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "StationName",
        "StudyDescription", "SeriesDescription", "InstitutionalDepartmentName",
        "PerformingPhysicianName", "OperatorsName", "ManufacturerModelName", "ProtocolName",
        "DeviceSerialNumber", "SoftwareVersions", "PatientPosition", "StudyID", "SeriesNumber",
        "PositionReferenceIndicator", "PerformedProcedureStepID",
        "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
        "PerformedProcedureStepDescription", "RequestAttributesSequence", "TimezoneOffsetFromUTC",
        "ContributingEquipmentSequence", "AcquisitionContextSequence", "BodyPartExamined",
    )
)  # fmt: skip
_SYNCHRONIZED: Final = (
    "SynchronizationFrameOfReferenceUID", "SynchronizationTrigger", "AcquisitionTimeSynchronized",
    "TriggerSourceOrType", "SynchronizationChannel", "TimeSource", "TimeDistributionProtocol",
    "NTPSourceAddress",
)  # fmt: skip
# Unit vectors. What is none says nothing, and judges find fault with it; so it is left out.
_DIRECTIONS: Final = frozenset(
    map(key_of, ("SlabOrientation", "ASLSlabOrientation", "VelocityEncodingDirection"))
)
_NOT_ONE: Final = 1e-3
_UNKNOWN: Final = "unknown"
# Type 1 in an enhanced object and often missing in classic ones (PS3.3 C.7.5.2, C.8.13.1).
_OBJECT: Final = {
    "Manufacturer": _UNKNOWN,
    "ManufacturerModelName": _UNKNOWN,
    "DeviceSerialNumber": _UNKNOWN,
    "SoftwareVersions": _UNKNOWN,
    "PositionReferenceIndicator": "",
    "AcquisitionContextSequence": [],
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "PresentationLUTShape": "IDENTITY",
    "ContentQualification": "RESEARCH",
    "ApplicableSafetyStandardAgency": "IEC",
    "InstanceNumber": 1,
}
# Of an object that is not derived (PS3.3 C.8.13.1).
_OF_AN_ACQUISITION: Final = (
    Member("AcquisitionDuration", default=nan),
    Member("ResonantNucleus", translate=lambda name: {"H1": "1H"}.get(name, name),
           of=("ImagedNucleus",), default="1H"),
    Member("KSpaceFiltering", default="NONE"),
)  # fmt: skip


def enhanced_mr(elements: Elements, images: int) -> dict[Key, Encoded]:
    """Return all elements of the Enhanced MR object that holds MR images, but its pixels.

    Parameters
    ----------
    elements : Elements
        What the images say, by the attributes of classic MR images or of functional groups, also
        of their pixels. A row per image, which become the frames in this order.
    images : int

    Returns
    -------
    dict of Key to Encoded
        SOPInstanceUID is a new one, unless all images say the same.

    Raises
    ------
    InvalidValue
        The images cannot be one object: their sizes, the encoding of their pixels or their frames
        of reference differ; or SliceThickness is not known.

    Notes
    -----
    PS3.3 A.36.2 and C.8.13. What frames agree in stands in the shared functional groups, each
    macro as a whole. Attributes without a place in a macro stay as they are where all frames
    agree; the others stand, frame by frame, in the Unassigned Per-Frame Converted Attributes
    Sequence (PS3.3 C.7.6.16.2.25.2), private ones too. Directions that are no unit vectors are
    left out. What describes one file (InstanceNumber, SliceLocation, the smallest pixel
    value...) follows from the frame, or is left out. What of the patient, the study and the
    series differs is taken from the first image. Where nothing but their order tells frames of
    one place apart, TemporalPositionIndex counts them.

    10,000 images take about 2 s.

    Examples
    --------
    >>> from dbdicom_xr.emit.elements import constant, per_image
    >>> elements = {
    ...     key_of("EchoTime"): per_image("EchoTime", [2.0, 4.0]),
    ...     key_of("SliceThickness"): constant("SliceThickness", 5, 2),
    ... }
    >>> made = enhanced_mr(elements, 2)
    >>> made[key_of("NumberOfFrames")].value
    b'2 '
    """
    _require_one_object(elements)
    elements = {key: column for key, column in elements.items() if not _is_no_direction(column)}
    frames = Frames(elements, images)
    planes = stacks_of(frames)
    frames.elements = {**elements, **spacing_of(frames, planes)}
    _require_thickness(frames)
    types = image_types(frames)
    words = types.occurring()
    original = any(value[0] != "DERIVED" for value in words)
    parts = mr_macros(frames, types, original)
    content, dimensions = _frame_content(frames, planes, {part.tag for part in parts}, original)
    sources = evidence(frames)
    left, result = _left_over(frames, {part.tag for part in parts}, original)
    parts += left
    if sources is not None:
        result[key_of("SourceImageEvidenceSequence")] = sources
    for keyword, value in _described(frames, words, original).items():
        result[key_of(keyword)] = _encoded(keyword, value)
    for keyword, value in {**_OBJECT, **_content_time(frames)}.items():
        if not (key_of(keyword) in result and result[key_of(keyword)].value):
            result[key_of(keyword)] = _encoded(keyword, value)
    result.update((key_of(keyword), _encoded(keyword, value)) for keyword, value in dimensions)
    together = [part for part in parts if part.is_constant]
    each = [content, *[part for part in parts if not part.is_constant]]
    result[Key(SHARED)] = shared(together)
    result[Key(PER_FRAME)] = per_frame(each, images)
    return result


def _encoded(keyword: str, value: Any) -> Encoded:
    encoded = encode(key_of(keyword).tag, value)
    assert encoded is not None
    return encoded


def _require_one_object(elements: Elements) -> None:
    for keyword in _ONE_VALUE:
        column = elements.get(key_of(keyword))
        found = [] if column is None else sorted({str(value) for value in column.decoded()})
        if len(found) > 1:
            raise InvalidValue(
                f"These images cannot be the frames of one object: {keyword} is "
                f"{', '.join(found[:4])}{'...' * (len(found) > 4)}. Write them as one file per "
                "image, multiframe=False, or the parts that agree one by one."
            )


def _require_thickness(frames: Frames) -> None:
    """Refuse frames that have neither a thickness nor neighbours at one distance.

    Type 1C of volumes (PS3.3 C.7.6.16.2.1): a classic image may leave it empty, no frame may.
    """
    shown = frames.values("VolumetricProperties")
    if shown is not None and set(shown.occurring()) == {"DISTORTED"}:
        return
    known = frames.values("SliceThickness", "SpacingBetweenSlices")
    unknown = frames.count if known is None else int((known.codes < 0).sum())
    if unknown:
        raise InvalidValue(
            f"SliceThickness is empty in {unknown} of {frames.count} images, and their distances "
            "do not tell it; the frames of one object must have one. Give it to write(), "
            "SliceThickness=... in mm, or write one file per image, multiframe=False."
        )


def _is_no_direction(column: Column) -> bool:
    """Return whether a direction is none in some image, such as three zeros or three angles."""
    return column.key in _DIRECTIONS and any(
        not isinstance(value, list)
        or len(value) != 3
        or abs(hypot(*map(float, value)) - 1) > _NOT_ONE
        for value in column.decoded()
    )


# -- the object ----------------------------------------------------------------------------------


def _described(frames: Frames, types: list[list[str]], original: bool) -> dict[str, Any]:
    """Return what the MR modules say of the object (PS3.3 C.8.13.1, C.8.13.4)."""
    said: dict[str, Any] = {
        "SOPClassUID": ENHANCED_MR,
        "Modality": "MR",
        "NumberOfFrames": frames.count,
        "ImageType": [
            words[0] if len(set(words)) == 1 else "MIXED" for words in zip(*types, strict=True)
        ],
    }
    uids = frames.values("SOPInstanceUID")
    same = uids is not None and len(uids.occurring()) == 1
    said["SOPInstanceUID"] = frames.first("SOPInstanceUID") if same else new_uid()
    for member in FRAME_TYPE:
        values = frames.known(member, True)
        found = [] if values is None else list(dict.fromkeys(values.occurring()))
        said[member.keyword] = found[0] if len(found) == 1 else "MIXED"
    if not original:
        return said
    for member in (*_OF_AN_ACQUISITION, *PULSE_SEQUENCE):
        values = frames.known(member, True)
        if values is not None:
            said[member.keyword] = values.occurring()[0]
    moments = frames.translated(_moment, *_MOMENT)
    if known := moments.occurring():
        said["AcquisitionDateTime"] = min(known)
    if said.get("EchoPulseSequence") == "GRADIENT":
        said.pop("MultipleSpinEcho", None)
    return said


def _content_time(frames: Frames) -> dict[str, Any]:
    """Return ContentDate and ContentTime, which are demanded."""
    found = {}
    for keyword, others, pattern, nothing in (
        ("ContentDate", ("SeriesDate", "StudyDate"), _DAY, "19000101"),
        ("ContentTime", ("SeriesTime", "StudyTime"), _TIME, "000000"),
    ):
        values = frames.values(keyword, *others)
        texts = [] if values is None else [str(value) for value in values.occurring()]
        found[keyword] = max((text for text in texts if pattern.fullmatch(text)), default=nothing)
    return found


def _left_over(
    frames: Frames, macros: set[int], original: bool
) -> tuple[list[Part], dict[Key, Encoded]]:
    """Return what found no place in a macro: as macros of their own, and as elements."""
    gone = frames.used | MACROS | {key_of(keyword) for keyword in _OF_A_FILE}
    # A derived object has no MR Pulse Sequence module (PS3.3 A.36.2.3), and a few attributes alone
    # are no Synchronization module (C.7.4.2).
    hidden = set() if original else {key_of(member.keyword) for member in PULSE_SEQUENCE}
    if not original:
        hidden.add(key_of("BulkMotionCompensationTechnique"))
    # The agents demand the macro that tells in which frames they are (C.7.6.4b).
    if key_of("ContrastBolusUsageSequence").tag not in macros:
        hidden.add(key_of("ContrastBolusAgentSequence"))
    if not all(key_of(keyword) in frames.elements for keyword in _SYNCHRONIZED[:3]):
        hidden.update(map(key_of, _SYNCHRONIZED))
    constant: list[Column] = []
    varying: list[Column] = []
    result: dict[Key, Encoded] = {}
    for key, column in frames.elements.items():
        group, element = key.tag >> 16, key.tag & 0xFFFF
        if key in gone or key.tag in _PIXELS or group in (2, 0xFFFE) or element == 0:
            continue
        if group & 1 and not key.creator and element < 0x1000:
            continue  # private creators are put in where they are needed
        if key in _OF_THE_SERIES or group == 0x0010:
            result[key] = _first(column)
        elif group == 0x0018 and not bool(column.present().any()):
            continue  # what classic images must say, if only that nothing is known
        elif column.codes is not None:
            varying.append(column)
        elif key in hidden:
            constant.append(column)
        else:
            result[key] = _first(column)
    parts = []
    for keyword, columns in (
        ("UnassignedSharedConvertedAttributesSequence", constant),
        ("UnassignedPerFrameConvertedAttributesSequence", varying),
    ):
        if columns:
            standard = [copied(column) for column in columns if not column.key.tag >> 16 & 1]
            private = private_parts(column for column in columns if column.key.tag >> 16 & 1)
            tag = key_of(keyword).tag
            parts.append(item_of(tag, [*standard, *private], empty=True))
    return parts, result


def _first(column: Column) -> Encoded:
    """Return the value of the first image that has one."""
    codes = column.codes_of()
    code = int(codes[int((codes >= 0).argmax())])
    value = column.values[code]
    assert isinstance(value, bytes)
    return Encoded(column.kinds[column.kind_of[code]], value)


# -- the frames ----------------------------------------------------------------------------------

_DAY: Final = re.compile(r"(19|20)\d\d[01]\d[0-3]\d")
_TIME: Final = re.compile(r"[0-2]\d([0-5]\d([0-6]\d(\.\d{1,6})?)?)?")
_MOMENT: Final = (
    "AcquisitionDate", "AcquisitionTime", "FrameAcquisitionDateTime", "AcquisitionDateTime",
    "SeriesDate", "StudyDate",
)  # fmt: skip


def _moment(
    date: Any, time: Any, of_frame: Any, date_time: Any, series: Any, study: Any
) -> str | None:
    """Return when a frame was acquired, a DT; the classic attributes count most."""
    whole = str(of_frame or date_time or "")
    if time is None:
        return whole if _DAY.match(whole) else None
    days = (str(day).replace(".", "") for day in (date, whole[:8], series, study) if day)
    day = next((day for day in days if _DAY.fullmatch(day)), None)
    time = str(time).replace(":", "")
    return day + time if day and _TIME.fullmatch(time) else None


def _ordinal(value: Any) -> int | None:
    """Return a temporal position, which counts from 1."""
    return int(value) if isinstance(value, (int, float)) and value >= 1 else None


def _frame_content(
    frames: Frames, planes: Stacks, macros: set[int], original: bool
) -> tuple[Part, list[tuple[str, Any]]]:
    """Return the Frame Content macro, and the dimensions (PS3.3 C.7.6.16.2.2, C.7.6.17)."""
    moments = frames.translated(_moment, *_MOMENT)
    times = frames.values("AcquisitionTime", "FrameAcquisitionDateTime")
    if times is None or bool((moments.codes >= 0)[times.codes >= 0].all()):
        frames.used.update(
            key_of(keyword)
            for keyword in ("AcquisitionDate", "AcquisitionTime", "FrameAcquisitionDateTime")
        )
    temporal = frames.translated(_ordinal, "TemporalPositionIdentifier")
    if bool((temporal.codes >= 0).all()):
        frames.used.add(key_of("TemporalPositionIdentifier"))
    else:
        temporal = frames.values("TemporalPositionIndex") or Values([], temporal.codes * 0 - 1)
    stacks, places = planes.stacks, planes.places
    sorted_by = {
        "StackID": Values(list(map(str, range(1, int(stacks.max()) + 1))), stacks - 1),
        "InStackPositionNumber": Values(list(range(1, int(places.max()) + 1)), places - 1),
        "TemporalPositionIndex": temporal,
        "FrameAcquisitionDateTime": moments,
    }
    component = next(one for one in FRAME_TYPE if one.keyword == "ComplexImageComponent")
    others = {component.keyword: frames.known(component, True)}
    indices, dimensions = dimensions_of(frames, planes, {**sorted_by, **others}, macros)
    repeats = repeats_of(indices)
    if not _is_known(temporal) and int(repeats.max()) > 1:
        # Programs sort frames by their indices (dcm2niix), so that these must tell them apart.
        counts = list(range(1, int(repeats.max()) + 1))
        sorted_by["TemporalPositionIndex"] = Values(counts, repeats - 1)
        indices, dimensions = dimensions_of(frames, planes, {**sorted_by, **others}, macros)
    numbers, of = np.unique(indices, axis=0, return_inverse=True)
    index_values = Values(numbers.tolist(), of.reshape(-1).astype(np.int32))
    known = [*sorted_by.items(), ("DimensionIndexValues", index_values)]
    parts = [made(keyword, values) for keyword, values in known if _is_known(values)]
    column = frames.elements.get(key_of("ImageComments"))
    comments = column is not None and column.codes is not None
    members = [
        Member("FrameAcquisitionNumber", ("AcquisitionNumber",)),
        Member("FrameReferenceDateTime", translate=_moment, of=_MOMENT),
        Member("FrameAcquisitionDuration", default=nan if original else None),
        Member("CardiacCyclePosition"),
        Member("RespiratoryCyclePosition"),
        Member("FrameComments", ("ImageComments",) if comments else ()),
        Member("FrameLabel"),
    ]
    frames.used.add(key_of("TemporalPositionIndex"))
    content = frames.macro("FrameContentSequence", [*members, *parts])
    assert content is not None
    return content, dimensions


def _is_known(values: Values) -> bool:
    return bool((values.codes >= 0).any())
