"""Which attributes of a source do not hold for an image that was computed from it.

Most describe pixels: how they are stored, scaled, windowed, drawn upon, signed. Left beside other
pixels they make other programs show wrong numbers, private ones of scanners too. The others
describe the file that the source is, or say where its frames stand in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydicom.datadict import tag_for_keyword

from dbdicom_xr.index.columns import Key

__all__ = ["is_obsolete", "is_of_a_mosaic"]

# Of group 0028 all but these describes stored values (PS3.3 C.7.6.3, C.11).
_KEPT_0028: Final = frozenset(
    (
        "PixelSpacing", "ZoomFactor", "ZoomCenter", "PixelAspectRatio", "CorrectedImage",
        "QualityControlImage", "BurnedInAnnotation", "RecognizableVisualFeatures",
        "LongitudinalTemporalInformationModified", "ReferencedColorPaletteInstanceUID",
        "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription",
        "PixelIntensityRelationship", "PixelIntensityRelationshipSign", "ICCProfile",
        "ColorSpace", "LossyImageCompression", "LossyImageCompressionRatio",
        "LossyImageCompressionMethod", "BreastImplantPresent", "PartialView",
        "PartialViewDescription", "PartialViewCodeSequence",
    )
)  # fmt: skip
_GROUPS: Final = frozenset(
    (
        0x0000, 0x0002, 0x0004,  # messages, file meta, directories
        0x0070,  # graphics and presentation states
        0x2050,  # presentation LUT
        0x4FFE, 0xFFFA, 0xFFFC, 0xFFFE,  # MAC, digital signatures, padding, items
        0x5200,  # functional groups
        0x7FE0,  # pixel data and offset tables
    )
)  # fmt: skip
_REPEATING: Final = (0x5000, 0x6000, 0x7F00)  # curves, overlays, variable pixel data
_KEYWORDS: Final = (
    # of the file, not of the image
    "SpecificCharacterSet", "InstanceCreatorUID", "RelatedGeneralSOPClassUID",
    "OriginalSpecializedSOPClassUID", "SOPInstanceStatus", "SOPAuthorizationDateTime",
    "SOPAuthorizationComment", "AuthorizationEquipmentCertificationNumber",
    "AlternateRepresentationSequence", "InstanceOriginStatus", "QueryRetrieveView",
    "ConversionSourceAttributesSequence", "MACParametersSequence",
    # how stored values become real ones
    "RealWorldValueMappingSequence", "RealWorldValueFirstValueMapped",
    "RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueFirstValueMapped",
    "DoubleFloatRealWorldValueLastValueMapped", "RealWorldValueIntercept", "RealWorldValueSlope",
    "RealWorldValueLUTData", "LUTLabel", "MeasurementUnitsCodeSequence", "DoseGridScaling",
    "IconImageSequence", "PixelPresentation", "TotalPixelMatrixColumns", "TotalPixelMatrixRows",
    # many frames in one object
    "FrameTime", "FrameTimeVector", "StartTrim", "StopTrim", "FrameDelay",
    "PreferredPlaybackSequencing", "RecommendedDisplayFrameRate", "CineRate", "EffectiveDuration",
    "StackID", "InStackPositionNumber", "FrameContentSequence", "DimensionIndexValues",
    "DimensionOrganizationUID", "DimensionIndexPointer", "FunctionalGroupPointer",
    "DimensionIndexPrivateCreator", "FunctionalGroupPrivateCreator", "DimensionDescriptionLabel",
    "DimensionOrganizationSequence", "DimensionIndexSequence", "DimensionOrganizationType",
    "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber", "SOPInstanceUIDOfConcatenationSource", "FrameLabel",
    "GridFrameOffsetVector", "ReferencedFrameNumber", "ReferencedSOPClassUID",
    "ReferencedSOPInstanceUID", "SourceImageEvidenceSequence", "ReferencedImageEvidenceSequence",
    # what is told anew
    "SourceImageSequence", "DerivationImageSequence",
)  # fmt: skip

_SIEMENS_MR: Final = "SIEMENS MR HEADER"
_SIEMENS_CSA: Final = "SIEMENS CSA HEADER"
_PHILIPS: Final = "Philips MR Imaging DD 001"
_PHILIPS_GROUPS: Final = "Philips MR Imaging DD 005"
# Private elements that scale, window or hold pixels, or give their range. From conformance
# statements and the dictionaries of pydicom; those of Philips are unnamed there: dcm2niix reads
# (2005,xx0d) and (2005,xx0e) as the scale to the values of the scanner.
_PRIVATE: Final = {
    _PHILIPS: (0x20050009, 0x2005000A, 0x2005000B, 0x2005000C, 0x2005000D, 0x2005000E, 0x2005000F,
               0x20050010),
    # Rescale intercept, slope and type again; copies of the headers of frames, scales included.
    _PHILIPS_GROUPS: (0x20050009, 0x2005000A, 0x2005000B, 0x2005000E, 0x2005000F),
    "Philips Imaging DD 001": (0x20010053, 0x20010074, 0x20010075),
    "PHILIPS MR/LAST": (0x00290030, 0x00290040, 0x00290050, 0x00290060),
    "Philips PET Private Group": (0x70530000, 0x70530009),
    "GEMS_IMAG_01": (0x00290015, 0x00290016, 0x00290017, 0x00290018),
    "GEMS_IMPS_01": tuple(0x00290000 | number for number in (*range(4, 11), *range(21, 25))),
    "GEMS_PARM_01": (0x00430010, 0x00430017),
    "GEMS_RELA_01": (0x00210081, 0x00210082, 0x00210083, 0x00210084),
    "GEMS_PETD_01": (0x00090083, 0x00090089, 0x0009008A),
    "GEMS_FUNCTOOL_01": (0x00510004,),
    "GEMS_GENIE_1": (0x0011003B, 0x0011003C),
    "GEMS_FALCON_03": (0x00450062, 0x00450063, 0x00450067),
    "GEMS_SENO_02": (0x0045003F, 0x00450062, 0x00450063),
    "GEIIS": (0x00090010,),
    "SIEMENS MED NM": (0x00330038, 0x00570006, 0x00570007, 0x7FE10010, 0x7FE30014, 0x7FE30015),
    "SPI-P Release 1": (0x7FE10010,),
    "TOSHIBA_MEC_MR3": (0x700D0000,),
    "CANON_MEC_MR3": (0x700D0000,),
    "MMCPrivate": (0x0019001C, 0x0019001D, 0x00290050, 0x00290051, 0x00290052, 0x00290053,
                   0x00290054, 0x0029005C, 0x0029005D, 0x00290060, 0x00290061),
    "PMOD_1": (0x00550005,),
    "ELSCINT1": (0x07A1000A, 0x07A10011),
    # written by this package
    "DBDICOM_XR": (0x00990001,),
}  # fmt: skip

# What says of an image that it is a mosaic, of what size its tiles are, or when each was measured.
_MOSAIC: Final = frozenset(
    (
        Key(0x0019000A, _SIEMENS_MR),  # number of tiles
        Key(0x00190029, _SIEMENS_MR),  # times of tiles
        Key(0x0051000B, _SIEMENS_MR),  # matrix, as text
        Key(0x00510016, _SIEMENS_MR),  # ImageType, as text
        Key(0x00290010, _SIEMENS_CSA),
        Key(0x00290008, _SIEMENS_CSA),
        Key(0x00290009, _SIEMENS_CSA),
        Key(0x00650050, "Image Private Header"),
        Key(0x00650051, "Image Private Header"),
    )
)


@lru_cache(maxsize=1)
def _obsolete() -> frozenset[Key]:
    # Older dictionaries of pydicom lack the newest attributes.
    tags = (tag_for_keyword(keyword) for keyword in _KEYWORDS)
    private = {Key(tag, creator) for creator, tags in _PRIVATE.items() for tag in tags}
    return frozenset({Key(tag) for tag in tags if tag is not None} | private)


@lru_cache(maxsize=1)
def _kept_0028() -> frozenset[int | None]:
    return frozenset(map(tag_for_keyword, _KEPT_0028))


def is_obsolete(key: Key) -> bool:
    """Return whether an attribute of a source does not hold for what is computed from it.

    Private elements without a known creator do not either: nothing says what they mean, and in
    another file they would stand in somebody else's block (PS3.5 7.8.1).

    Examples
    --------
    >>> is_obsolete(Key(0x00281053)), is_obsolete(Key(0x00280030)), is_obsolete(Key(0x00180081))
    (True, False, False)
    """
    group, element = key.tag >> 16, key.tag & 0xFFFF
    if group & 1:
        return not key.creator or key in _obsolete()
    if element == 0 or group in _GROUPS or group & 0xFF00 in _REPEATING:
        return True
    if group == 0x0028:
        return key.tag not in _kept_0028()
    return key in _obsolete()


def is_of_a_mosaic(key: Key) -> bool:
    """Return whether an attribute says how the tiles of a mosaic lie, so that it is none of a tile.

    Examples
    --------
    >>> is_of_a_mosaic(Key(0x0019000A, "SIEMENS MR HEADER"))
    True
    """
    return key in _MOSAIC
