"""A data set without identity: each element kept, replaced, emptied or taken out, at any depth.

What is kept is kept byte for byte, as it was read; only what the profile names is looked at.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dbdicom_xr._version import __version__
from dbdicom_xr.deidentify import csa
from dbdicom_xr.deidentify.cleaning import cleaned
from dbdicom_xr.deidentify.hidden_text import clear_hidden_text
from dbdicom_xr.deidentify.pixels import clear_unused_bits
from dbdicom_xr.deidentify.private import is_own, is_safe
from dbdicom_xr.deidentify.profile import Do, Options, decide
from dbdicom_xr.index.values import without_warnings
from dbdicom_xr.staging.splice import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement

__all__ = ["Treatment", "deidentified"]

_PATIENT: Final = (0x00100010, 0x00100020)
_CONTENT: Final = 0x0040A730
_DOCUMENT: Final = 0x00420011
_REMOVED: Final = "REMOVED"

# Without a hint of the day, and read by every program.
_DUMMIES: Final[dict[str, Any]] = {
    "AE": _REMOVED, "AS": "000Y", "AT": 0, "CS": _REMOVED, "DA": "19000101", "DS": "0",
    "DT": "19000101000000", "FD": 0.0, "FL": 0.0, "IS": "0", "LO": _REMOVED, "LT": _REMOVED,
    "OB": b"\0\0", "OD": bytes(8), "OF": bytes(4), "OL": bytes(4), "OV": bytes(8), "OW": b"\0\0",
    "PN": "ANONYMOUS", "SH": _REMOVED, "SL": 0, "SS": 0, "ST": _REMOVED, "SV": 0, "TM": "000000",
    "UC": _REMOVED, "UL": 0, "UN": b"\0\0", "US": 0, "UT": _REMOVED, "UV": 0,
}  # fmt: skip
_PDF: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n" \
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"  # fmt: skip
_TEXT: Final = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))

_DATE: Final = re.compile(r"(\d{4})([.]?)(\d\d)?\2(\d\d)?(.*)", re.DOTALL)

# PS3.16 CID 7050, with the options that it stands for.
_METHODS: Final[tuple[tuple[str, str, Callable[[Options], bool]], ...]] = (
    ("113100", "Basic Application Confidentiality Profile", lambda o: True),
    ("113104", "Clean Structured Content Option", lambda o: o.structured),
    ("113105", "Clean Descriptors Option", lambda o: o.descriptors is not None),
    ("113106", "Retain Longitudinal Temporal Information Full Dates Option",
     lambda o: o.dates == "full"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option",
     lambda o: o.dates == "modified"),
    ("113108", "Retain Patient Characteristics Option", lambda o: o.patient),
    ("113109", "Retain Device Identity Option", lambda o: o.device),
    ("113110", "Retain UIDs Option", lambda o: o.uids),
    ("113112", "Retain Institution Identity Option", lambda o: o.institution),
)  # fmt: skip
_SAFE_PRIVATE: Final = ("113111", "Retain Safe Private Option")
_TEMPORAL: Final = {None: "REMOVED", "full": "UNMODIFIED", "modified": "MODIFIED"}


@dataclass
class Treatment:
    """How the objects of one patient are treated.

    Parameters
    ----------
    options : Options
    patient : str
        The new PatientID and PatientName.
    uid : callable
        Gives the new UID for an old one.
    days : int
        By which dates are shifted.
    """

    options: Options
    patient: str
    uid: Callable[[str], str]
    days: int
    unreadable: set[str] = field(default_factory=set)
    """Elements that were taken out, since what they hold could not be read."""
    hidden: str | None = None
    """Why the pixels of the object that was treated last may hold text beside the image."""


def deidentified(dataset: Dataset, treatment: Treatment) -> None:
    """Take identity out of a data set, in place.

    Parameters
    ----------
    dataset : Dataset
        With its file meta information, as read from a file.
    treatment : Treatment

    Notes
    -----
    PS3.15 E.1 and E.2. Text that the pixels show is not looked for.
    """
    clear_unused_bits(dataset)
    treatment.hidden = clear_hidden_text(dataset)
    if dataset.get("EncapsulatedDocument"):  # what stands in its place
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        if "EncapsulatedDocumentLength" in dataset:
            dataset.EncapsulatedDocumentLength = len(_PDF)
    work = _Work(treatment, dataset.get("SpecificCharacterSet"))
    work.treat(dataset)
    dataset.PatientID = dataset.PatientName = treatment.patient  # also where there was none
    _say_so(dataset, treatment.options, kept_private=work.kept_private)
    _new_file_meta(dataset)


@dataclass
class _Work:
    """The walk through one data set and all that is in it."""

    treatment: Treatment
    charset: Any = None  # SpecificCharacterSet of the data set, which items share
    kept_private: bool = False

    def treat(self, dataset: Dataset) -> None:
        """Treat all elements of a data set or an item."""
        private = self._safe_private(dataset)
        for tag in list(dataset.keys()):
            if tag.is_private:
                if int(tag) not in private:
                    del dataset[tag]
                elif _vr(dataset.get_item(tag)) == "SQ":
                    self._sequence(dataset, int(tag), Do.INSIDE)
                continue
            element = dataset.get_item(tag)
            assert element is not None
            vr = _vr(element)
            do = decide(int(tag), vr, self.treatment.options)
            if do == Do.KEEP:
                continue
            if do == Do.REMOVE:
                del dataset[tag]
            elif int(tag) in _PATIENT:
                self._put(dataset, int(tag), vr, self.treatment.patient)
            else:
                self._change(dataset, int(tag), vr, do, element)

    def _safe_private(self, dataset: Dataset) -> set[int]:
        """Return the private elements that stay, with those that name their creators."""
        creators: dict[tuple[int, int], str] = {}
        kept: set[int] = set()
        for tag in sorted(dataset.keys()):
            if not tag.is_private:
                continue
            element = dataset.get_item(tag)
            assert element is not None
            if tag.is_private_creator:
                creators[tag.group, tag.element] = _plain_text(element)
                continue
            creator = creators.get((tag.group, tag.element >> 8), "")
            stays = is_own(creator, int(tag), element.value)
            if self.treatment.options.safe_private:
                stays |= is_safe(creator, int(tag), _vr(element)) or self._clean_csa(
                    dataset, creator, int(tag)
                )
            if stays:
                kept |= {int(tag), tag.group << 16 | tag.element >> 8}
        self.kept_private |= bool(kept)
        return kept

    def _clean_csa(self, dataset: Dataset, creator: str, tag: int) -> bool:
        """Leave the numbers in a CSA header; False where it is none."""
        if (creator, tag >> 16, tag & 0xFF) != (csa.CREATOR, csa.GROUP, csa.ELEMENT):
            return False
        value = getattr(dataset.get_item(tag), "value", None)
        numbers = csa.cleaned(value) if isinstance(value, bytes) else None
        if numbers is None:
            return False
        self._put(dataset, tag, "OB", numbers)
        return True

    def _put(self, dataset: Dataset, tag: int, vr: str, value: Any) -> None:
        from pydicom.dataelem import DataElement

        dataset[tag] = DataElement(tag, vr, value)

    def _change(
        self,
        dataset: Dataset,
        tag: int,
        vr: str,
        do: Do,
        element: RawDataElement | DataElement,
    ) -> None:
        if vr == "SQ":
            self._sequence(dataset, tag, do)
        elif not element.value or do == Do.EMPTY:
            self._put(dataset, tag, vr, _nothing(vr))
        elif do == Do.UID:
            uids = [self.treatment.uid(uid) for uid in _texts(element)]
            self._put(dataset, tag, "UI", uids if len(uids) > 1 else uids[0])
        elif do == Do.SHIFT:
            dates = [_shifted(text, vr, self.treatment.days) for text in _texts(element)]
            self._put(dataset, tag, vr, dates if len(dates) > 1 else dates[0])
        elif do == Do.CLEAN:
            self._clean(dataset, tag, vr)
        else:
            self._dummy(dataset, tag, vr)

    def _dummy(self, dataset: Dataset, tag: int, vr: str) -> None:
        if vr == "UI":
            uids = [self.treatment.uid(uid) for uid in _texts(dataset.get_item(tag))]
            self._put(dataset, tag, vr, uids)
        elif tag == _DOCUMENT:
            self._put(dataset, tag, vr, _PDF + bytes(len(_PDF) % 2))
        elif vr in _DUMMIES:
            self._put(dataset, tag, vr, _DUMMIES[vr])
        else:
            del dataset[tag]

    def _sequence(self, dataset: Dataset, tag: int, do: Do) -> None:
        from pydicom import Sequence

        items = self._items(dataset, tag)
        if items is None:
            return
        if do == Do.EMPTY:
            self._put(dataset, tag, "SQ", Sequence())
        elif tag == _CONTENT and do == Do.DUMMY:
            self._put(dataset, tag, "SQ", Sequence([_note()] if items else []))
        elif do == Do.DUMMY:
            kept = items[:1]
            for item in kept:
                self.treat(item)
                self._all_dummies(item)
            self._put(dataset, tag, "SQ", Sequence(kept))
        else:
            for item in items:
                self.treat(item)

    def _items(self, dataset: Dataset, tag: int) -> Any:
        """Return the items of a sequence; None where they cannot be read, and are taken out."""
        from pydicom import Sequence
        from pydicom.datadict import keyword_for_tag

        try:
            with without_warnings():
                items = dataset[tag].value
        except Exception:  # pydicom raises whatever it meets in a damaged value
            items = b"damaged"
        if isinstance(items, Sequence):
            return items
        if items:
            self.treatment.unreadable.add(keyword_for_tag(tag))
        del dataset[tag]
        return None

    def _all_dummies(self, item: Dataset) -> None:
        """Leave no text in an item that stands for one that is not told."""
        for tag in list(item.keys()):
            element = item.get_item(tag)
            vr = _vr(element)
            if vr == "SQ":
                for one in self._items(item, int(tag)) or ():
                    self._all_dummies(one)
            elif vr != "UI" and element is not None and element.value:
                self._dummy(item, int(tag), vr)

    def _clean(self, dataset: Dataset, tag: int, vr: str) -> None:
        """Let the function of the user say what stays of a text."""
        from pydicom.datadict import keyword_for_tag

        clean = self.treatment.options.descriptors
        if vr not in _TEXT or clean is None:
            self._dummy(dataset, tag, vr)
            return
        with without_warnings():
            value = dataset[tag].value
        texts = [value] if isinstance(value, str) else list(value or ())
        keyword = keyword_for_tag(tag)
        charset = dataset.get("SpecificCharacterSet", self.charset)
        found = [cleaned(clean, keyword, vr, str(text), charset) for text in texts]
        left = [text for text in found if text]
        if left:
            self._put(dataset, tag, vr, left if len(left) > 1 else left[0])
        elif decide(tag, vr, Options()) == Do.REMOVE:
            del dataset[tag]
        else:
            self._dummy(dataset, tag, vr)


def _vr(element: RawDataElement | DataElement | None) -> str:
    """Return the value representation, that of the dictionary where the file does not say."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    assert element is not None
    vr = element.VR
    if vr is not None and vr != "UN":
        return str(vr)
    return dictionary_VR(element.tag)[:2] if dictionary_has_tag(element.tag) else "UN"


def _nothing(vr: str) -> Any:
    from pydicom.dataelem import empty_value_for_VR

    return empty_value_for_VR(vr, raw=False)


def _texts(element: RawDataElement | DataElement | None) -> list[str]:
    assert element is not None
    value = element.value
    if isinstance(value, bytes):
        return [text.strip(" \0") for text in value.decode("latin-1").split("\\")]
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if value else []


def _plain_text(element: RawDataElement | DataElement) -> str:
    return "\\".join(_texts(element))


def _shifted(text: str, vr: str, days: int) -> str:
    """Return a date, or a date with a time, as many days later.

    Examples
    --------
    >>> _shifted("20240301", "DA", -1), _shifted("20240301101500.5+0100", "DT", 366)
    ('20240229', '20250302101500.5+0100')
    >>> _shifted("2024", "DT", -400), _shifted("spring", "DA", -1)
    ('2022', '19000101')
    """
    match = _DATE.fullmatch(text.strip())
    if match is not None:
        year, _, month, day, rest = match.groups()
        if not rest or (vr == "DT" and re.fullmatch(r"[\d.]*([+-]\d{4})?", rest)):
            try:
                old = datetime.date(int(year), int(month or 1), int(day or 1))
                new = (old + datetime.timedelta(days)).strftime("%Y%m%d").rjust(8, "0")
            except (ValueError, OverflowError):
                return str(_DUMMIES[vr])
            known = 4 + 2 * (month is not None) + 2 * (day is not None)
            return new[:known] + rest
    return str(_DUMMIES[vr])


def _note() -> Any:
    """Return an item of a report that stands for its content."""
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121106", "DCM", "Comment"
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [code]
    item.TextValue = _REMOVED
    return item


def _say_so(dataset: Dataset, options: Options, *, kept_private: bool) -> None:
    """Tell in the data set how identity was taken out (PS3.15 E.1.1, PS3.3 C.12.1.1.7)."""
    from pydicom import Dataset

    methods = [(code, meaning) for code, meaning, holds in _METHODS if holds(options)]
    if options.safe_private or kept_private:
        methods.append(_SAFE_PRIVATE)
    items = []
    for value, meaning in sorted(methods):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = f"PS3.15 Annex E 2026c, dbdicom_xr {__version__}"[:64]
    dataset.DeidentificationMethodCodeSequence = items
    dataset.LongitudinalTemporalInformationModified = _TEMPORAL[options.dates]


def _new_file_meta(dataset: Dataset) -> None:
    """Put file meta information in the place of the old, which names who sent the file."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import (
        UID,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    )

    old = getattr(dataset, "file_meta", None)
    syntax = None if old is None else old.get("TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        if not little:
            syntax = ExplicitVRBigEndian
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # written as it is then
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
