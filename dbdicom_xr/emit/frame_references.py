"""References of frames to other images: what they come from, and what they were planned on.

PS3.3 C.7.6.16.2.5 and C.7.6.16.2.6, and C.8.13.1 for the list of all of them by study and series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dbdicom_xr.emit.elements import key_of
from dbdicom_xr.emit.macros import Frames, Member, Part, copied, in_all_frames
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging import items
from dbdicom_xr.staging.encode import Encoded, encode

__all__ = ["derivation", "evidence", "references", "source_evidence"]

_PURPOSE: Final = key_of("PurposeOfReferenceCodeSequence")
_PURPOSE_BYTES: Final = b"\x40\x00\x70\xa1SQ"
_CLASS_AND_UID: Final = (
    key_of("ReferencedSOPClassUID").tag, key_of("ReferencedSOPInstanceUID").tag,
)  # fmt: skip
_SOURCE: Final = [
    {
        "CodeValue": "121322",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Source image for image processing operation",
    }
]
# How they were computed stands in DerivationDescription; no code of CID 7203 says just that.
_DERIVED: Final = [
    {
        "CodeValue": "DERIVED",
        "CodingSchemeDesignator": "99DBDICOM_XR",
        "CodeMeaning": "Derived image",
    }
]


def derivation(frames: Frames) -> Part | None:
    """Return the Derivation Image macro (PS3.3 C.7.6.16.2.6)."""
    sources = frames.elements.get(key_of("SourceImageSequence"))
    if sources is None and frames.values("DerivationDescription", "DerivationCodeSequence") is None:
        return None
    members: list[Member | Part] = [
        Member("DerivationDescription"),
        Member("DerivationCodeSequence", default=_DERIVED),
    ]
    if sources is not None:
        frames.used.add(sources.key)
        members.append(copied(_with_purpose(sources)))
    return frames.macro("DerivationImageSequence", members)


def references(frames: Frames) -> Part | None:
    """Return the Referenced Image macro (PS3.3 C.7.6.16.2.5).

    It wants the studies and series of all images in ReferencedImageEvidenceSequence. Where that is
    not known, references that differ from frame to frame have no place; common ones stay with the
    object.
    """
    column = frames.elements.get(key_of("ReferencedImageSequence"))
    evidence = key_of("ReferencedImageEvidenceSequence")
    if column is not None and evidence in frames.elements:
        frames.used.add(column.key)
        return in_all_frames(copied(_with_purpose(column)))
    frames.used.add(evidence)
    if column is not None and column.codes is not None:
        frames.used.add(column.key)
    return None


def _with_purpose(column: Column) -> Column:
    """Return references to images, each with its purpose, which the macros demand."""
    purpose = encode(_PURPOSE.tag, _SOURCE)
    values: list[bytes | External] = []
    for raw in column.values:
        contents = []
        for item in items.split_items(raw if isinstance(raw, bytes) else b"", False, False)[0]:
            content = item.content
            if _PURPOSE_BYTES not in content:
                content = items.edited(content, [_PURPOSE], purpose, False, False)
            contents.append(content)
        values.append(items.sequence(contents, False))
    return Column(column.key, column.kinds, values, column.kind_of, column.codes, column.rows)


def evidence(frames: Frames) -> Encoded | None:
    """Return SourceImageEvidenceSequence: the sources of all frames by study and series.

    Returns
    -------
    Encoded or None
        None where no frame names its sources, or where their series is not known: the elements
        hold the sequence, from :func:`source_evidence`, or RelatedSeriesSequence gives one series
        as the source.
    """
    sources = frames.elements.get(key_of("SourceImageSequence"))
    key = key_of("SourceImageEvidenceSequence")
    frames.used.add(key)
    if sources is None:
        return None
    if (given := frames.elements.get(key)) is not None:
        raw = given.values[0]
        assert isinstance(raw, bytes)
        return Encoded(given.kinds[given.kind_of[0]], raw)
    series = _source_series(frames)
    if len(series) != 1:
        return None
    instances: dict[bytes, None] = {}
    for raw in sources.values:
        assert isinstance(raw, bytes)
        for item in items.split_items(raw, False, False)[0]:
            elements = items.split_elements(item.content, False, False)[0]
            named = [part.raw for part in elements if part.tag in _CLASS_AND_UID and part.value]
            if len(named) == len(_CLASS_AND_UID):
                instances[b"".join(named)] = None
    return _by_study_and_series({next(iter(series)): instances})


def source_evidence(instances: Iterable[tuple[str, str, str, str]]) -> Encoded | None:
    """Return SourceImageEvidenceSequence (PS3.3 C.8.13.1): instances by study and series.

    Parameters
    ----------
    instances : iterable of (str, str, str, str)
        StudyInstanceUID, SeriesInstanceUID, SOPClassUID and SOPInstanceUID of all instances that
        any frame names as its source. One that lacks a UID is left out, as it cannot be named.

    Returns
    -------
    Encoded or None
        None where there is none.

    Examples
    --------
    >>> source_evidence([("1.2", "1.2.3", "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4")]).kind.vr
    'SQ'
    """
    by_series: dict[tuple[str, str], dict[bytes, None]] = {}
    for study, series, *named in instances:
        if study and series and all(named):
            content = b"".join(map(_uid, _CLASS_AND_UID, named))
            by_series.setdefault((study, series), {})[content] = None
    return _by_study_and_series(by_series) if by_series else None


def _by_study_and_series(
    instances: Mapping[tuple[str, str], Mapping[bytes, None]],
) -> Encoded:
    studies: dict[str, list[bytes]] = {}
    for (study, series), named in instances.items():
        content = _sequence("ReferencedSOPSequence", list(named))
        content += _uid(key_of("SeriesInstanceUID").tag, series)
        studies.setdefault(study, []).append(content)
    contents = [
        _sequence("ReferencedSeriesSequence", of_study)
        + _uid(key_of("StudyInstanceUID").tag, study)
        for study, of_study in studies.items()
    ]
    return Encoded(Kind("SQ"), items.sequence(contents, False))


def _sequence(keyword: str, contents: list[bytes]) -> bytes:
    value = items.sequence(contents, False)
    return items.element(key_of(keyword).tag, "SQ", value, False, False).raw


def _uid(tag: int, uid: str) -> bytes:
    raw = uid.encode("ascii", "replace")
    return items.element(tag, "UI", raw + b"\0" * (len(raw) % 2), False, False).raw


def _source_series(frames: Frames) -> set[tuple[str, str]]:
    """Return study and series of the images that the frames were computed from."""
    related = frames.values("RelatedSeriesSequence")
    found = set()
    for sequence in [] if related is None else related.occurring():
        for item in sequence:
            purposes = item.get("PurposeOfReferenceCodeSequence") or []
            if any(str(code.get("CodeValue", "")) == "121322" for code in purposes):
                found.add((str(item.get("StudyInstanceUID", "")), str(item.SeriesInstanceUID)))
    return found
