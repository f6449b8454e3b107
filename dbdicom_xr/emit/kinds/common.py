"""What all kinds of images share: their modules, and what stands in no file of one image.

PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.3.1 (General Series), C.7.4.1 (Frame of
Reference), C.7.5.1 (General Equipment), C.7.6.1 (General Image), C.7.6.2 (Image Plane), C.12.1 (SOP
Common). Image Pixel (C.7.6.3) follows from the pixels, when they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dbdicom_xr.emit.elements import (
    Elements,
    key_of,
    lookup,
    per_image,
    put,
    put_missing,
    without,
)
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.values import Kind as Encoding
from dbdicom_xr.pixels.quantise import Target
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import delta, overlay
from dbdicom_xr.staging.uids import new_uid

__all__ = [
    "Kind",
    "absent",
    "complete_image_type",
    "complete_patient_position",
    "complete_plane",
    "complete_shared",
    "first_of",
    "put_per_image",
    "set_class",
]


@dataclass(frozen=True)
class Kind:
    """A kind of object that images can be written as.

    Parameters
    ----------
    name : str
        ``"mri"``, ``"ct"``, ``"pet"``, ``"sc"`` or ``"cr"``.
    modality : str
        What Modality says where the images do not.
    sop_class : str
        UID.
    target : Target
        How its pixels may be stored.
    colour : bool
        Whether it takes RGB.
    rescale_type : str, optional
        RescaleType where nothing else is known; None: the object has no RescaleType of its own.
    rescales : bool
        Whether RescaleSlope and RescaleIntercept must stand in it (Type 1).
    """

    name: str
    modality: str
    sop_class: str
    target: Target
    colour: bool = False
    rescale_type: str | None = None
    rescales: bool = False


# Type 2 in every image (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.6.1).
_EMPTY: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "SeriesNumber", "InstanceNumber",
)  # fmt: skip

# How several frames stand in one object, which this is not any more (PS3.3 C.7.6.5, C.7.6.6,
# C.7.6.16, C.7.6.17, C.8.4.8, C.8.6.4, C.8.8.3.2).
_OF_MANY_FRAMES: Final = (
    "NumberOfFrames", "FrameIncrementPointer", "FrameDimensionPointer", "RepresentativeFrameNumber",
    "FrameNumbersOfInterest", "FrameOfInterestDescription", "FrameOfInterestType",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence", "DimensionIndexSequence", "DimensionOrganizationType",
    "DimensionIndexValues", "ConcatenationUID", "InConcatenationNumber",
    "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber",
    "SOPInstanceUIDOfConcatenationSource", "EncapsulatedPixelDataValueTotalLength",
    "FrameExtractionSequence", "StereoPairsPresent", "GridFrameOffsetVector",
    "FrameTimeVector", "PageNumberVector", "FrameLabelVector", "FramePrimaryAngleVector",
    "FrameSecondaryAngleVector", "SliceLocationVector", "DisplayWindowLabelVector",
    "EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector",
    "TimeSlotVector", "SliceVector", "AngularViewVector", "TimeSliceVector",
    "TotalPixelMatrixColumns", "TotalPixelMatrixRows", "TotalPixelMatrixFocalPlanes",
    "TotalPixelMatrixOriginSequence",
)  # fmt: skip

# What enhanced objects say instead of ImageType, of their frames and of all of them, and the macros
# that hold what stands on its own in a classic one (PS3.3 C.7.6.16.2, C.8.13, C.8.15, C.8.16).
_OF_ENHANCED: Final = (
    "FrameType", "PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique",
    "AcquisitionContrast", "PixelMeasuresSequence", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence",
    "FrameContentSequence", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence",
    "PETFrameTypeSequence", "ParametricMapFrameTypeSequence",
    "UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence",
)  # fmt: skip

# Of pixels that were stored otherwise. RescaleSlope and its like are set when pixels are written;
# an image must not have a table beside them (PS3.3 C.11.1), nor another kind of pixels.
_OF_OTHER_PIXELS: Final = (
    "ModalityLUTSequence", "VOILUTSequence", "WindowCenterWidthExplanation",
    "PixelPaddingRangeLimit", "PresentationLUTShape", "RealWorldValueMappingSequence",
    "FloatPixelData", "DoubleFloatPixelData", "FloatPixelPaddingValue",
    "FloatPixelPaddingRangeLimit",
    "DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit", "DoseGridScaling",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "AlphaPaletteColorLookupTableDescriptor",
    "PaletteColorLookupTableUID", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "AlphaPaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SegmentedAlphaPaletteColorLookupTableData", "PixelDataProviderURL", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "IconImageSequence",
)  # fmt: skip
_OF_GREY: Final = ("WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue",
                   "SmallestImagePixelValue", "LargestImagePixelValue", "RescaleSlope",
                   "RescaleIntercept", "RescaleType")  # fmt: skip
_OF_COLOUR: Final = ("PlanarConfiguration", "ICCProfile", "ColorSpace")

# Indexes of what the functional groups of the source refer to (PS3.3 C.12.2).
_OF_REFERENCES: Final = (
    "ReferencedSeriesSequence",
    "StudiesContainingOtherReferencedInstancesSequence",
)
# What tells of which part of the body an image is; a specimen has no sides.
_BODY_PARTS: Final = (
    "BodyPartExamined", "AnatomicRegionSequence", "ImageLaterality", "SegmentSequence",
    "ContainerIdentifier",
)  # fmt: skip
# Parts of the body that have no left and right one (PS3.16 annex L).
_ONE_OF_EACH: Final = frozenset(
    (
        "ABDOMEN", "AORTA", "BLADDER", "BRAIN", "CHEST", "COLON", "CSPINE", "ESOPHAGUS", "HEAD",
        "HEART", "LIVER", "LSPINE", "NECK", "PANCREAS", "PELVIS", "PROSTATE", "SKULL", "SPINE",
        "SPLEEN", "STOMACH", "TSPINE", "UTERUS", "WHOLEBODY",
    )
)  # fmt: skip
_COMPONENTS: Final = frozenset(("MAGNITUDE", "PHASE", "REAL", "IMAGINARY"))
_AXIAL: Final = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def absent(elements: Elements, images: int, keyword: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which images lack an attribute, or have it empty, shape (images,)."""
    column = elements.get(key_of(keyword))
    return np.ones(images, bool) if column is None else ~column.present()


def set_class(kind: Kind, elements: Elements, images: int) -> bool:
    """Set SOPClassUID, and return whether an image was of another class before."""
    before = lookup(elements, "SOPClassUID") or []
    put(elements, images, {"SOPClassUID": kind.sop_class})
    return any(uid not in (None, kind.sop_class) for uid in before)


def complete_shared(kind: Kind, elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what every image needs, and take out what belongs to other pixels, or to many frames.

    Identifiers of the study, the series and the instance are for the caller to give.
    """
    if other_class:
        without(elements, _OF_REFERENCES)
        region = elements.get(key_of("AnatomicRegionSequence"))
        if region is not None and not any(region.values):  # in projections only, PS3.3 C.8.11.2
            del elements[region.key]
    without(elements, (*_OF_MANY_FRAMES, *_OF_ENHANCED, *_OF_OTHER_PIXELS))
    without(elements, _OF_GREY if kind.colour else _OF_COLOUR)
    # Frames of one object may differ in this, one image cannot (PS3.3 C.8.13.3.1.1); else it stays:
    # it tells magnitude from phase, where ImageType does not.
    component = lookup(elements, "ComplexImageComponent")
    if component is not None and not _COMPONENTS.issuperset(c for c in component if c):
        without(elements, ["ComplexImageComponent"])
    _take_out_overlays(elements)
    put_missing(elements, images, {"Modality": kind.modality, **dict.fromkeys(_EMPTY, "")})
    _complete_laterality(elements, images, other_class)


def _complete_laterality(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in Laterality, or take out an empty one, by what is known of the body part.

    It is Type 2C, for parts of which there are two (PS3.3 C.7.3.1). Templates have it empty; where
    the class stays, the source has decided.
    """
    unknown = all(absent(elements, images, keyword).all() for keyword in _BODY_PARTS)
    if other_class and unknown:
        put_missing(elements, images, {"Laterality": ""})
    if not absent(elements, images, "Laterality").all():
        return
    parts = set(lookup(elements, "BodyPartExamined") or [None])
    one_each = None not in parts and _ONE_OF_EACH.issuperset(parts)
    if one_each or not absent(elements, images, "ImageLaterality").any():
        without(elements, ["Laterality"])


def _take_out_overlays(elements: Elements) -> None:
    """Take out overlays whose bits were those of the pixels left over (PS3.3 C.9.2)."""
    groups = {key.tag >> 16 for key in elements}
    for group in groups:
        overlay = group & 0xFF00 == 0x6000 and not group & 1
        if overlay and Key(group << 16 | 0x3000) not in elements:
            for key in [key for key in elements if key.tag >> 16 == group]:
                del elements[key]


def complete_plane(elements: Elements, images: int) -> None:
    """Fill in a frame of reference and the plane of each image (PS3.3 C.7.4.1, C.7.6.2).

    Images without a place are axial slices of one stack, 1 mm apart, with pixels of 1 mm.
    """
    unplaced = absent(elements, images, "ImagePositionPatient")
    if unplaced.any():
        places = [[0.0, 0.0, float(image)] for image in range(images)]
        put_per_image(elements, images, "ImagePositionPatient", places)
    put_missing(
        elements, images, {"ImageOrientationPatient": _AXIAL, "PixelSpacing": [1.0, 1.0]}
    )  # fmt: skip
    put_missing(elements, images, {"SliceThickness": 1.0 if unplaced.all() else ""})
    if absent(elements, images, "FrameOfReferenceUID").any():
        put_missing(elements, images, {"FrameOfReferenceUID": new_uid()})
    # General Equipment (PS3.3 C.7.5.1), which Secondary Capture does without.
    put_missing(elements, images, dict.fromkeys(("PositionReferenceIndicator", "Manufacturer"), ""))


def complete_patient_position(elements: Elements, images: int) -> None:
    """Fill in PatientPosition where codes do not say the same (PS3.3 C.7.3.1, Type 2C)."""
    if key_of("PatientOrientationCodeSequence") not in elements:
        put_missing(elements, images, {"PatientPosition": ""})


def put_per_image(elements: Elements, images: int, keyword: str, values: Sequence[Any]) -> None:
    """Set an attribute in the images that lack it, each to its own value; None leaves it out."""
    column = elements.get(key_of(keyword))
    new = per_image(keyword, values)
    if column is None:
        if any(value is not None for value in values):
            elements[new.key] = new
        return
    replaced = ~column.present() & (new.codes_of() >= 0)
    codes = np.where(replaced, -1, column.codes_of()).astype(np.int32)
    over = Column(column.key, column.kinds, column.values, column.kind_of, codes, images)
    combined = overlay(new.key, new, over)
    assert combined is not None
    elements[new.key] = combined


def complete_image_type(
    elements: Elements,
    images: int,
    default: Sequence[str],
    rule: Callable[[list[str]], list[str]] = lambda words: words,
) -> None:
    """Make ImageType one of a single image, with the values that the IOD wants (PS3.3 C.7.6.1.1.2).

    Parameters
    ----------
    elements : Elements
    images : int
    default : sequence of str
        What images say that have none; also the values that a shorter one lacks.
    rule : callable, optional
        What the IOD wants besides.
    """
    key = key_of("ImageType")
    put_missing(elements, images, {"ImageType": list(default)})
    column = elements[key]
    values = []
    for raw, kind in zip(column.values, column.kind_of, strict=True):
        assert isinstance(raw, bytes)
        text = raw.decode("ascii", "replace")
        old = [word.strip(" \0") for word in text.split("\\")]
        new = rule(_of_one_image(old, default))
        if new == old:
            values.append(Encoded(column.kinds[kind], raw))
            continue
        text = "\\".join(new)
        values.append(
            Encoded(Encoding("CS"), (text + " " * (len(text) % 2)).encode("ascii", "replace"))
        )
    elements[key] = delta(key, values, column.codes, images)


def _of_one_image(words: list[str], default: Sequence[str]) -> list[str]:
    """Return ImageType without MIXED, which only objects of many frames can say."""
    mixed = ("DERIVED", "PRIMARY", "OTHER")
    words = [
        mixed[place] if word == "MIXED" else word
        for place, word in enumerate(words)
        if word != "MIXED" or place < len(mixed)
    ]
    return [*words, *default[len(words) :]]


def first_of(elements: Elements, keywords: Sequence[str], images: int, other: Any) -> list[Any]:
    """Return for each image the first of these attributes that it has, else another value."""
    columns = [column for column in (lookup(elements, k) for k in keywords) if column is not None]
    return [
        next((c[image] for c in columns if c[image] is not None), other) for image in range(images)
    ]
