"""References in sequences follow what was copied or moved; all other bytes stay."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dbdicom_xr.index.elements import Malformed
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging.references import replace_hierarchy, replace_uids
from tests.index.test_values import undefined

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # files have them too

# -- sequences as raw bytes -----------------------------------------------------------------

ENCODINGS = {
    "explicit": Kind("SQ"),
    "implicit": Kind("", implicit=True),
    "big": Kind("SQ", big_endian=True),
}
TAG = 0x00081115


def raw(items: list[Dataset], kind: Kind, of_undefined_length: bool = False) -> bytes:
    """The value of a sequence as pydicom writes it."""
    dataset = Dataset()
    dataset.add_new(TAG, "SQ", Sequence(items))
    if of_undefined_length:
        undefined(dataset)
    dataset[TAG].is_undefined_length = False
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = kind.implicit, not kind.big_endian
    write_dataset(buffer, dataset)
    return buffer.getvalue()[8 if kind.implicit else 12 :]


def parsed(value: bytes, kind: Kind) -> list[Dataset]:
    """The items of a sequence as pydicom reads them."""
    order = "big" if kind.big_endian else "little"
    head = (TAG >> 16).to_bytes(2, order) + (TAG & 0xFFFF).to_bytes(2, order)
    head += b"" if kind.implicit else b"SQ\0\0"
    data = head + len(value).to_bytes(4, order) + value
    return list(read_dataset(BytesIO(data), kind.implicit, not kind.big_endian)[TAG].value)


def item(**attributes: Any) -> Dataset:
    """An item; lists of data sets are sequences."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


encodings = pytest.mark.parametrize("encoding", ENCODINGS)
lengths = pytest.mark.parametrize("of_undefined_length", [False, True])

# -- UIDs -----------------------------------------------------------------------------------


def references() -> list[Dataset]:
    """UIDs at all depths, among elements of other kinds."""
    code = item(CodeValue="1.2.3", CodingSchemeDesignator="99X", CodeMeaning="1.2.3")
    first = item(
        ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4",
        ReferencedSOPInstanceUID="1.2.3",
        ReferencedFrameNumber=[1, 2],
        PurposeOfReferenceCodeSequence=[code],
    )
    second = item(
        ReferencedSOPInstanceUID="1.2.30",
        ReferencedSeriesSequence=[
            item(
                SeriesInstanceUID="1.2.4",
                ReferencedInstanceSequence=[
                    item(ReferencedSOPInstanceUID="1.2.3"),
                    item(ReferencedSOPInstanceUID="1.2.77"),
                    item(),
                ],
            )
        ],
        FailedSOPInstanceUIDList=["1.2.3", "1.2.99", "1.2.4"],
        FloatingPointValue=1.5,
        ReferencedStudySequence=[],
    )
    second.private_block(0x0031, "ACME", create=True).add_new(1, "UI", "1.2.3")
    return [first, second]


def with_uids(items: list[Dataset], mapping: Mapping[str, str]) -> list[Dataset]:
    """The same edit by pydicom."""
    for one in items:
        for element in one:
            if element.VR == "UI" and element.VM > 1:
                element.value = [mapping.get(uid, uid) for uid in element.value]
            elif element.VR == "UI" and element.value:
                element.value = mapping.get(element.value, element.value)
            elif element.VR == "SQ":
                with_uids(element.value, mapping)
    return items


@encodings
@lengths
def test_uids_are_replaced_at_all_depths(encoding: str, of_undefined_length: bool) -> None:
    kind = ENCODINGS[encoding]
    mapping = {"1.2.3": "2.25.1234567", "1.2.4": "9", "1.2.5": "8"}
    value = raw(references(), kind, of_undefined_length)
    wanted = references()
    with_uids(wanted, mapping)
    if kind.implicit:  # what no dictionary knows has no VR there
        wanted[1][0x0031, 0x1001].value = "1.2.3"
    assert replace_uids(value, kind, mapping) == raw(wanted, kind, of_undefined_length)


@encodings
def test_nothing_to_replace(encoding: str) -> None:
    kind = ENCODINGS[encoding]
    value = raw(references(), kind)
    assert replace_uids(value, kind, {"1.2": "5", "2.3": "5", "1.2.3.4": "5"}) is None
    assert replace_uids(value, kind, {"1.2.3": "1.2.3"}) is None
    assert replace_uids(value, kind, {}) is None
    assert replace_uids(b"", kind, {"1.2": "3"}) is None


UIDS = ["1", "1.2", "1.2.3", "1.2.38", "1.2.3.0", "1.2.3a", "1.2.3.44", "2.25.123456789012345678"]
uids = st.sampled_from(UIDS)
# Elements that in some encoding begin, or are preceded, with bytes that look like digits.
NEIGHBOURS = [
    (0x00380010, "LO", "A"), (0x00321032, "PN", "A"), (0x31313131, "LO", "1" * 49),
    (0x00089007, "CS", "1.2.3"), (0x00081150, "UI", "1.2"), (0x00080058, "UI", ["1.2"] * 3),
    (0x00081140, "SQ", None),
]  # fmt: skip


@st.composite
def item_lists(draw: st.DrawFn, depth: int = 2) -> list[Dataset]:
    made = []
    for _ in range(draw(st.integers(0, 2))):
        one = Dataset()
        if draw(st.booleans()):
            one.add_new(0x00081155, "UI", draw(st.one_of(uids, st.lists(uids, min_size=2))))
        if draw(st.booleans()):
            one.add_new(0x00300010, "UI" if draw(st.booleans()) else "LO", draw(uids))
        for tag, vr, value in draw(st.lists(st.sampled_from(NEIGHBOURS), max_size=3)):
            if vr != "SQ":
                one.add_new(tag, vr, value)
            elif depth:
                one.add_new(tag, vr, Sequence(draw(item_lists(depth - 1))))
        made.append(one)
    return made


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(list(ENCODINGS)),
    st.booleans(),
    item_lists(),
    st.dictionaries(uids, st.sampled_from(["7", "7.77", "7.77.777.7777"])),
)
def test_any_sequence(
    encoding: str, of_undefined_length: bool, items: list[Dataset], mapping: dict[str, str]
) -> None:
    kind = ENCODINGS[encoding]
    if kind.implicit:
        for one in items:  # by the dictionary a text
            if 0x00300010 in one:
                del one[0x00300010]
    value = raw(items, kind, of_undefined_length)
    result = replace_uids(value, kind, mapping)
    wanted = raw(with_uids(parsed(value, kind), mapping), kind, of_undefined_length)
    assert (value if result is None else result) == wanted
    assert (result is None) == (wanted == value)


def test_sequences_of_unknown_vr() -> None:
    # Implicit items in an explicit data set (PS3.5 6.2.2, note 2), of both kinds of length.
    implicit = raw([item(ReferencedSOPInstanceUID="1.2.3")], ENCODINGS["implicit"])
    wanted = raw([item(ReferencedSOPInstanceUID="1.2.345")], ENCODINGS["implicit"])
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"

    def outer(inner: bytes, *, undefined: bool) -> bytes:
        length = b"\xff\xff\xff\xff" if undefined else len(inner).to_bytes(4, "little")
        content = b"\x08\0\x40\x11UN\0\0" + length + inner + (end if undefined else b"")
        return b"\xfe\xff\0\xe0" + len(content).to_bytes(4, "little") + content

    mapping = {"1.2.3": "1.2.345"}
    for undefined_length in (False, True):
        old = outer(implicit, undefined=undefined_length)
        new = outer(wanted, undefined=undefined_length)
        assert replace_uids(old, Kind("SQ"), mapping) == new
    assert replace_uids(implicit, Kind("SQ"), mapping) == wanted


@encodings
@lengths
def test_damaged_sequences(encoding: str, of_undefined_length: bool) -> None:
    kind = ENCODINGS[encoding]
    value = raw(references(), kind, of_undefined_length)
    refused = 0
    for end in range(len(value)):
        for function, mapping in (
            (replace_uids, {"1.2.3": "9.9.9"}),
            (replace_hierarchy, {"1.2.3": ("5", "6"), "1.2.77": ("5", "6")}),
        ):
            try:
                function(value[:end], kind, mapping)  # type: ignore[operator]
            except Malformed:
                refused += 1
    assert refused > len(value)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(list(ENCODINGS)),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_bytes_that_were_changed(
    encoding: str, of_undefined_length: bool, changes: list[tuple[int, int]]
) -> None:
    kind = ENCODINGS[encoding]
    value = bytearray(raw(references(), kind, of_undefined_length))
    for at, byte in changes:
        value[at % len(value)] = byte
    with suppress(Malformed):
        replace_uids(bytes(value), kind, {"1.2.3": "1.2.3.4"})
    with suppress(Malformed):
        replace_hierarchy(bytes(value), kind, {"1.2.3": ("5", "6"), "1.2.77": ("5", "6")})


def test_absurdly_deep() -> None:
    items = [item(ReferencedSOPInstanceUID="1.2.3")]
    for _ in range(70):
        items = [item(ReferencedImageSequence=items)]
    with pytest.raises(Malformed, match="deeper"):
        replace_uids(raw(items, Kind("SQ")), Kind("SQ"), {"1.2.3": "9"})


# -- series and studies ---------------------------------------------------------------------

Tree = list[tuple[str, list[tuple[str, list[str]]]]]  # studies, series, instances


def evidence(tree: Tree) -> list[Dataset]:
    """As in CurrentRequestedProcedureEvidenceSequence (PS3.3 C.17.2.1)."""
    return [
        item(
            ReferencedSeriesSequence=[
                item(
                    RetrieveAETitle="A",
                    ReferencedSOPSequence=[
                        item(ReferencedSOPClassUID="1.1", ReferencedSOPInstanceUID=uid)
                        for uid in uids
                    ],
                    SeriesInstanceUID=series,
                )
                for series, uids in members
            ],
            StudyInstanceUID=study,
        )
        for study, members in tree
    ]


def structure_set(tree: Tree) -> list[Dataset]:
    """As in ReferencedFrameOfReferenceSequence (PS3.3 C.8.8.5)."""
    studies = [
        item(
            ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
            ReferencedSOPInstanceUID=study,
            RTReferencedSeriesSequence=[
                item(
                    SeriesInstanceUID=series,
                    ContourImageSequence=[item(ReferencedSOPInstanceUID=uid) for uid in uids],
                )
                for series, uids in members
            ],
        )
        for study, members in tree
    ]
    return [item(FrameOfReferenceUID="7.7", RTReferencedStudySequence=studies)]


def series_only(keyword: str) -> Any:
    """As in ReferencedSeriesSequence of images and presentation states."""

    def made(tree: Tree) -> list[Dataset]:
        return [
            item(
                SeriesInstanceUID=series,
                **{keyword: [item(ReferencedSOPInstanceUID=uid) for uid in uids]},
            )
            for _, members in tree
            for series, uids in members
        ]

    return made


MAKERS = {
    "evidence": evidence,
    "structure set": structure_set,
    "images": series_only("ReferencedInstanceSequence"),
    "presentation state": series_only("ReferencedImageSequence"),
}


def moved(tree: Tree, placed: Mapping[str, tuple[str, str]]) -> Tree:
    """The same on lists: what is all known is sorted anew, what is not stays."""
    result: Tree = []
    for study, members in tree:
        series_of: list[tuple[str | None, str, list[str]]] = []
        for series, uids in members:
            if not uids:
                series_of.append(("", series, uids))
            elif not all(uid in placed for uid in uids):
                series_of.append((None, series, uids))
            else:
                for place in dict.fromkeys(placed[uid] for uid in uids):
                    own = [uid for uid in uids if placed[uid] == place]
                    series_of.append((*place, own))
        known = [new for new, _, _ in series_of if new != ""]
        if not known or None in known:
            result.append((study, [part[1:] for part in series_of]))
            continue
        for new in dict.fromkeys(known):
            own_series = [part[1:] for part in series_of if part[0] in (new, "")]
            result.append((str(new), own_series))
    return result


CASES: dict[str, tuple[Tree, Tree]] = {
    "one series moved whole": (
        [("1", [("1.1", ["a1", "a2"]), ("1.2", ["b1"])])],
        [("1", [("1.9", ["a1", "a2"]), ("1.2", ["b1"])])],
    ),
    "a series split": (
        [("1", [("1.1", ["a1", "b1", "a2"])])],
        [("1", [("1.9", ["a1", "a2"]), ("1.2", ["b1"])])],
    ),
    "a study split": (
        [("1", [("1.1", ["c1", "a1"]), ("1.5", []), ("1.2", ["b1"])])],
        [
            ("2", [("2.1", ["c1"]), ("1.5", [])]),
            ("1", [("1.9", ["a1"]), ("1.5", []), ("1.2", ["b1"])]),
        ],
    ),
    "a study moved whole": ([("1", [("1.1", ["c1"])])], [("2", [("2.1", ["c1"])])]),
    "an instance that is not known": (
        [("1", [("1.1", ["a1", "zz"]), ("1.2", ["c1"])])],
        [("1", [("1.1", ["a1", "zz"]), ("2.1", ["c1"])])],
    ),
    "all in place": ([("1", [("1.9", ["a1"])])], [("1", [("1.9", ["a1"])])]),
}  # fmt: skip
INSTANCES = {
    "a1": ("1.71", ("1", "1.9")),
    "a2": ("1.72", ("1", "1.9")),
    "b1": ("1.73", ("1", "1.2")),
    "c1": ("1.74", ("2", "2.1")),
    "zz": ("1.75", None),
}
PLACED = {uid: place for uid, place in INSTANCES.values() if place is not None}


def named(tree: Tree) -> Tree:
    return [(s, [(t, [INSTANCES[n][0] for n in names]) for t, names in m]) for s, m in tree]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("maker", MAKERS)
@encodings
@lengths
def test_series_and_studies(
    name: str, maker: str, encoding: str, of_undefined_length: bool
) -> None:
    before, after = map(named, CASES[name])
    assert moved(before, PLACED) == after
    kind = ENCODINGS[encoding]
    value = raw(MAKERS[maker](before), kind, of_undefined_length)
    if maker in ("images", "presentation state"):  # series without images in between
        after = [(s, [part for part in m if part[1]]) for s, m in after]
        before = [(s, [part for part in m if part[1]]) for s, m in before]
        value = raw(MAKERS[maker](before), kind, of_undefined_length)
    wanted = raw(MAKERS[maker](after), kind, of_undefined_length)
    assert replace_hierarchy(value, kind, PLACED) == (None if wanted == value else wanted)


trees = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3.33"]),
        st.lists(
            st.tuples(
                st.sampled_from(["1.1", "1.2", "2.2"]),
                st.lists(st.sampled_from(["5.1", "5.2", "5.3", "5.44"]), min_size=1, max_size=4),
            ),
            max_size=3,
        ),
    ),
    max_size=2,
)
places = st.dictionaries(
    st.sampled_from(["5.1", "5.2", "5.3", "5.44"]),
    st.sampled_from([("1", "1.1"), ("1", "1.2"), ("2", "2.2"), ("3.33", "3.34")]),
    min_size=2,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(list(ENCODINGS)), st.booleans(), trees, places)
def test_any_tree(
    encoding: str, of_undefined_length: bool, tree: Tree, placed: dict[str, tuple[str, str]]
) -> None:
    kind = ENCODINGS[encoding]
    for maker in (evidence, structure_set):
        value = raw(maker(tree), kind, of_undefined_length)
        wanted = raw(maker(moved(tree, placed)), kind, of_undefined_length)
        result = replace_hierarchy(value, kind, placed)
        assert result == (None if wanted == value else wanted)
