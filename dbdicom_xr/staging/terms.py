"""Attributes whose values the standard lists: what to write in place of one that cannot be."""

from __future__ import annotations

__all__ = ["way_out"]

_YES_NO = ("YES", "NO")
_MODALITIES = (
    "MR CT PT US NM XA CR DX AR ASMT AU BDUS BI BMD CFM CTPROTOCOL DG DMS DOC ECG EEG EMG EOG EPS "
    "ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS M3D MG OAM OCT OP OPM OPT OPTBSV OPTENF OPV "
    "OSS OT PA PLAN POS PR PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD "
    "RTSEGANN RTSTRUCT RX SEG SM SMR SR SRF STAIN TEXTUREMAP TG VA XAPROTOCOL XC"
)
_POSITIONS = (
    "HFS HFP HFDR HFDL FFS FFP FFDR FFDL LFP LFS RFP RFS AFDR AFDL PFDR PFDL"  # the last: animals
)
# Values, and where PS3.3 lists them.
_TERMS: dict[int, tuple[tuple[str, ...], str]] = {
    0x00080060: (tuple(_MODALITIES.split()), "C.7.3.1.1.1"),  # Modality
    0x00080068: (("FOR PRESENTATION", "FOR PROCESSING"), "C.8.11.1"),  # PresentationIntentType
    0x00089208: (
        ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED"),
        "C.8.13.3.1.1",
    ),  # ComplexImageComponent
    0x00100040: (("M", "F", "O"), "C.7.1.1"),  # PatientSex
    0x00102203: (("ALTERED", "UNALTERED"), "C.2.4"),  # PatientSexNeutered
    0x001021A0: (("YES", "NO", "UNKNOWN"), "C.2.4"),  # SmokingStatus
    0x00120062: (_YES_NO, "C.7.1.1"),  # PatientIdentityRemoved
    0x00180023: (("2D", "3D"), "C.8.3.1"),  # MRAcquisitionType
    0x00185100: (tuple(_POSITIONS.split()), "C.7.3.1.1.2"),  # PatientPosition
    0x00200060: (("R", "L"), "C.7.3.1"),  # Laterality
    0x00200062: (("R", "L", "U", "B"), "C.8.11.2"),  # ImageLaterality
    0x00280301: (_YES_NO, "C.7.6.1"),  # BurnedInAnnotation
    0x00280302: (_YES_NO, "C.7.6.1"),  # RecognizableVisualFeatures
}
_SHOWN = 8


def way_out(upper: str, tag: int) -> str:
    """Return what to write in place of a code string that is not in upper case.

    Parameters
    ----------
    upper : str
        It in upper case; "" where that is no code string either.
    tag : int
        Of the attribute.

    Examples
    --------
    >>> way_out("MALE", 0x00100040), way_out("KIDNEY", 0x00180015)
    ("write 'M', 'F' or 'O' (PS3.3 C.7.1.1)", "write 'KIDNEY'")
    """
    terms, clause = _TERMS.get(tag, ((upper,), ""))
    if upper in terms:
        return f"write {upper!r}" if upper else "write it with those only"
    *others, last = map(repr, terms[:_SHOWN])
    if len(terms) > _SHOWN:
        return f"write one of the terms of PS3.3 {clause}, such as {', '.join([*others, last])}"
    return f"write {', '.join(others)} or {last} (PS3.3 {clause})"
