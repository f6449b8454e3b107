"""Files that the tests make are indexed as pydicom reads them: syntaxes, nesting, private, text."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from dbdicom_xr.errors import UndecodableValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.values import Kind, decode, decode_all
from dbdicom_xr.testing import make_enhanced, make_series, make_study
from tests.index.judge import count_values, differences, packed
from tests.index.made import SYNTAXES, dataset, write


def rich(number: int = 1) -> Dataset:
    """An object with every kind of element."""
    made = dataset(number)
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName = "Müller^Jürgen"
    made.ImageType = ["ORIGINAL", "PRIMARY", "", "M"]
    made.EchoTime = "4.600"
    made.PixelSpacing = [0.5, 1e-3]
    made.AcquisitionTime = "120000.123456"
    made.AccessionNumber = ""
    made.FrameIncrementPointer = [0x00181063, 0x00540080]
    made.PixelRepresentation = 0
    made.SmallestImagePixelValue = 3
    made.add_new(0x00089459, "FL", 12.5)  # a single float
    made.add_new(0x00189306, "FD", [0.1, -0.0])
    made.add_new(0x00081190, "UR", "http://example.org/a")
    made.add_new(0x0040A160, "UT", " text \\ with backslash ")
    made.add_new(0x00420011, "OB", b"\x01\x02\x03\x04")
    outer, inner = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "121", "schräg"
    outer.ReferencedSOPInstanceUID = "1.2.3"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, Dataset()])
    made.ReferencedImageSequence = Sequence([outer, Dataset()])
    made.SourceImageSequence = Sequence([])
    block = made.private_block(0x0019, "VENDOR A", create=True)
    block.add_new(0x0C, "DS", "1000")
    block.add_new(0x0D, "SQ", Sequence([inner]))
    made.private_block(0x0019, "VENDOR B", create=True).add_new(0x0C, "LO", "b")
    return made


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_syntaxes(tmp_path: Path, syntax: str) -> None:
    paths = [write(tmp_path / f"{i}", rich(i), syntax) for i in range(3)]
    findings = gather([str(path) for path in paths])
    assert differences(paths, findings) == []
    assert count_values(findings) > 100
    assert findings.notes == {}
    (block,) = findings.blocks
    columns = packed(block)
    assert columns[Key(0x00180081)].value(0) == 4.6
    if syntax != "implicit":  # there nobody knows what a vendor means
        assert columns[Key(0x0019000C, "VENDOR A")].decoded() == [1000.0]
    assert columns[Key(0x00100010)].decoded() == ["Müller^Jürgen"]


def test_all_syntaxes_side_by_side(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}", rich(i), syntax) for i, syntax in enumerate([*SYNTAXES] * 3)]
    assert differences(paths) == []


def undefined(made: Dataset) -> None:
    for element in made:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefined(item)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_of_undefined_length(tmp_path: Path, syntax: str) -> None:
    paths = []
    for i in range(3):
        made = rich(i)
        undefined(made)
        paths.append(write(tmp_path / f"{i}", made, syntax))
    assert b"\xfe\xff\xdd\xe0" in paths[0].read_bytes() or syntax in ("big", "deflated")
    assert differences(paths) == []


def element(tag: int, vr: str, value: bytes, *, undefined: bool = False) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    length = 0xFFFFFFFF if undefined else len(value)
    if vr in ("SQ", "UN", "OB", "UT"):
        return head + vr.encode() + b"\0\0" + length.to_bytes(4, "little") + value
    return head + vr.encode() + length.to_bytes(2, "little") + value


def implicit(tag: int, value: bytes) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return head + len(value).to_bytes(4, "little") + value


def item(value: bytes, *, undefined: bool = False) -> bytes:
    if undefined:
        return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + value + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value


END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize("of_items", [False, True])
def test_sequences_of_unknown_vr_are_implicit(tmp_path: Path, of_items: bool) -> None:
    inner = implicit(0x00080100, b"121 ") + implicit(0x00080104, b"meaning ")
    value = item(inner, undefined=of_items) * 2 + END
    body = element(0x00081140, "UN", value, undefined=True)
    body += element(0x00091010, "UN", value, undefined=True)
    path = write(tmp_path / "a", dataset())
    raw = path.read_bytes()
    at = raw.index(b"\x08\x00\x3e\x10LO")
    path.write_bytes(raw[:at] + element(0x00090010, "LO", b"VENDOR") + body + raw[at:])
    # Out of order on purpose: the walker does not count on ascending tags.
    assert differences([path]) == []
    column = gather([str(path)]).blocks[0].columns[Key(0x00081140)]
    assert column.value(0)[1].CodeMeaning == "meaning"


def test_values_over_64_kb_stay_in_the_file(tmp_path: Path) -> None:
    paths = []
    for i in range(3):
        made = dataset(i)
        block = made.private_block(0x0029, "VENDOR", create=True)
        block.add_new(0x10, "OB", bytes([i]) * 70000)
        block.add_new(0x11, "SQ", Sequence([rich(), *[Dataset()] * 9000]))
        made.TextValue = "x" * (65536 + i)
        paths.append(write(tmp_path / f"{i}", made))
    findings = gather([str(path) for path in paths])
    assert differences(paths, findings) == []
    assert sum(len(column.pack()) for column in findings.blocks[0].columns.values()) < 20000


# -- private blocks ------------------------------------------------------------------------------


def test_private_blocks_move_between_files(tmp_path: Path) -> None:
    paths = []
    for i, order in enumerate([("A", "B"), ("B", "A"), ("B",), (), ("A", "B")]):
        made = dataset(i)
        for creator in order:
            made.private_block(0x0019, creator, create=True).add_new(0x0C, "LO", f"{creator}{i}")
        paths.append(write(tmp_path / f"{i}", made))
    assert differences(paths) == []
    columns = packed(gather([str(path) for path in paths]).blocks[0])
    assert [columns[Key(0x0019000C, "A")].value(i) for i in range(5)] == [
        "A0", "A1", None, None, "A4",
    ]  # fmt: skip
    assert [columns[Key(0x0019000C, "B")].value(i) for i in range(5)] == [
        "B0", "B1", "B2", None, "B4",
    ]  # fmt: skip


def test_a_creator_with_two_blocks_keeps_both(tmp_path: Path) -> None:
    made = dataset()
    made.add_new(0x00190010, "LO", "A")
    made.add_new(0x00190011, "LO", "A")
    made.add_new(0x0019100C, "LO", "first")
    made.add_new(0x0019110C, "LO", "second")
    path = write(tmp_path / "a", made)
    assert differences([path]) == []
    columns = packed(gather([str(path)]).blocks[0])
    assert columns[Key(0x0019000C, "A")].value(0) == "first"
    assert columns[Key(0x0019110C)].value(0) == "second"


def test_private_elements_without_a_creator(tmp_path: Path) -> None:
    made = dataset()
    made.add_new(0x0019100C, "LO", "orphan")
    made.add_new(0x00190001, "LO", "illegal")
    assert differences([write(tmp_path / "a", made)]) == []


def test_a_creator_of_two_vrs_in_one_series(tmp_path: Path) -> None:
    paths = []
    for i in range(4):
        made = dataset(i)
        made.private_block(0x0019, "VENDOR", create=True).add_new(0x0C, "LO", f"{i}")
        path = write(tmp_path / f"{i}", made)
        if i % 2:
            raw = path.read_bytes().replace(
                element(0x00190010, "LO", b"VENDOR"), element(0x00190010, "UN", b"VENDOR")
            )
            path.write_bytes(raw)
        paths.append(path)
    columns = packed(gather([str(path) for path in paths]).blocks[0])
    assert [columns[Key(0x0019000C, "VENDOR")].value(i) for i in range(4)] == ["0", "1", "2", "3"]
    assert differences(paths) == []


# -- text ----------------------------------------------------------------------------------------

CHARSETS = {
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 144": "Люкceмбypг",  # noqa: RUF001
    "ISO_IR 192": "画像^naïve^Ω",
    "GB18030": "王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_character_sets_of_one_series(tmp_path: Path, syntax: str) -> None:
    paths = []
    for i, (charset, text) in enumerate(CHARSETS.items()):
        made = dataset(i)
        made.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        made.PatientComments = text.replace("^", " ").split("=")[-1]
        made.OperatorsName = [text, "Plain^Name"]
        nested = Dataset()
        nested.PersonName = text
        made.ReferencedPatientSequence = Sequence([nested])
        paths.append(write(tmp_path / f"{i}", made, syntax))
    findings = gather([str(path) for path in paths])
    assert differences(paths, findings) == []
    found = {
        value[0] for block in findings.blocks for value in packed(block)[Key(0x00081070)].decoded()
    }
    assert found == set(CHARSETS.values())


def test_what_cannot_be_decoded_is_text_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a", dataset(EchoTime="1.5"))
    path.write_bytes(path.read_bytes().replace(b"1.5 ", b"a.b "))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = gather([str(path)]).blocks[0].columns[Key(0x00180081)]
    with pytest.warns(UndecodableValue, match=r"0018,0081.*a\.b"):
        assert column.value(0) == "a.b"


@pytest.mark.parametrize(
    ("vr", "raw", "value"),
    [
        ("DS", b"1.5 ", 1.5), ("DS", b" 1e3", 1000.0), ("DS", b"", None), ("DS", b"  ", None),
        ("IS", b"1.5 ", 1.5), ("DS", b"1\\2.5", [1.0, 2.5]), ("DS", b"1\\\\2 ", [1.0, None, 2.0]),
        ("IS", b"12", 12), ("IS", b"+3 ", 3), ("IS", b"1\\-2", [1, -2]), ("IS", b"1.0 ", 1),
        ("CS", b"MR", "MR"), ("CS", b"A\\B ", ["A", "B"]), ("UI", b"1.2\0", "1.2"),
        ("UI", b"1.2\\1.3\0", ["1.2", "1.3"]), ("AE", b" STORE ", "STORE"),
        ("PN", b"A^B= ", "A^B"), ("LO", b" a ", " a"), ("LO", b"a\\b ", ["a", "b"]),
        ("LT", b"a\\b ", "a\\b"), ("UR", b"http://a  ", "http://a"),
        ("DA", b"20200101", "20200101"),
        ("TM", b"1200", "1200"), ("AS", b"030Y", "030Y"), ("US", b"\1\0", 1),
        ("US", b"\1\0\2\0", [1, 2]), ("SS", b"\xff\xff", -1), ("UL", b"\1\0\0\0", 1),
        ("SL", b"\xff\xff\xff\xff", -1), ("FL", b"\0\0\x80\x3f", 1.0), ("FD", b"\0" * 8, 0.0),
        ("UV", b"\1" + b"\0" * 7, 1), ("SV", b"\xff" * 8, -1), ("OB", b"ab", b"ab"),
        ("AT", b"\x18\0\x10\0", 0x00180010),
    ],
)  # fmt: skip
def test_values(vr: str, raw: bytes, value: Any) -> None:
    decoded = decode(0x00990099, "", Kind(vr), raw)
    assert decoded == value
    assert type(decoded) is type(value)


def test_numbers_in_big_endian() -> None:
    kind = Kind("US", big_endian=True)
    assert decode_all(0x00280010, "", kind, [b"\1\0", b"\0\1\0\2"]) == [256, [1, 2]]


def test_ambiguous_vr_follows_pixel_representation(tmp_path: Path) -> None:
    paths = []
    for i, signed in enumerate([1, 0]):
        made = dataset(i, series=i + 1)
        made.PixelRepresentation = signed
        made.SmallestImagePixelValue = -5 if signed else 65531
        paths.append(write(tmp_path / f"{i}", made, "implicit"))
    assert differences(paths) == []
    blocks = gather([str(path) for path in paths]).blocks
    assert [packed(b)[Key(0x00280106)].value(0) for b in blocks] == [-5, 65531]


# -- the makers of the package ---------------------------------------------------------------------

MAKERS: dict[str, Callable[[Path], Any]] = {
    "series": lambda folder: make_series(folder, shape=(4, 3)),
    "enhanced": lambda folder: make_enhanced(folder, shape=(4, 3)),
    "study": lambda folder: make_study(folder),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_made_by_the_package(tmp_path: Path, maker: str) -> None:
    MAKERS[maker](tmp_path)
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    findings = gather([str(path) for path in paths])
    assert findings.blocks
    assert differences(paths, findings) == []


# -- anything that pydicom writes ------------------------------------------------------------------

TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\\\x7f"), max_size=12
).map(str.strip)
ASCII = st.text(st.sampled_from("ABCDEFGHIJ 0123456789_"), max_size=12).map(str.strip)
NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda v: f"{v:.6g}")
ELEMENTS = st.one_of(
    st.tuples(st.sampled_from([0x00180081, 0x00180080]), st.just("DS"), NUMBER),
    st.tuples(st.just(0x00200032), st.just("DS"), st.lists(NUMBER, max_size=3)),
    st.tuples(st.just(0x00280008), st.just("IS"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(0x00080008), st.just("CS"), st.lists(ASCII, max_size=4)),
    st.tuples(st.just(0x00104000), st.just("LT"), TEXT),
    st.tuples(st.just(0x00081030), st.just("LO"), TEXT),
    st.tuples(st.just(0x00100010), st.just("PN"), TEXT),
    st.tuples(st.just(0x00280010), st.just("US"), st.integers(0, 65535)),
    st.tuples(st.just(0x00189306), st.just("FD"), st.lists(st.floats(), max_size=3)),
    st.tuples(st.just(0x0040A160), st.just("UT"), TEXT),
    st.tuples(st.just(0x00420011), st.just("OB"), st.binary(max_size=9).map(lambda b: b + b)),
    st.tuples(st.just(0x00080120), st.just("UR"), st.just("http://x")),
    st.tuples(st.just(0x00190010), st.just("LO"), st.sampled_from(["A", "B", ""])),
    st.tuples(st.just(0x00191001), st.just("LO"), TEXT),
    st.tuples(st.just(0x00191101), st.just("UN"), st.binary(max_size=4).map(lambda b: b + b)),
)
DATASETS = st.recursive(
    st.lists(ELEMENTS, max_size=8),
    lambda inner: st.lists(
        ELEMENTS | st.tuples(st.just(0x00081140), st.just("SQ"), st.lists(inner, max_size=3)),
        max_size=8,
    ),
    max_leaves=12,
)


def build(elements: list[Any]) -> Dataset:
    made = Dataset()
    for tag, vr, value in elements:
        content = Sequence([build(part) for part in value]) if vr == "SQ" else value
        made[tag] = DataElement(tag, vr, content)
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DATASETS, min_size=1, max_size=5), st.sampled_from([*SYNTAXES]), st.booleans())
def test_whatever_pydicom_writes(
    tmp_path: Path, contents: list[Any], syntax: str, of_undefined_length: bool
) -> None:
    paths = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, content in enumerate(contents):
            made = dataset(i, SpecificCharacterSet="ISO_IR 192")
            made.update(build(content))
            if of_undefined_length:
                undefined(made)
            paths.append(write(tmp_path / f"{i}", made, syntax))
    findings = gather([str(path) for path in paths])
    assert findings.problems == {}
    assert differences(paths, findings) == []


def test_files_of_two_series_take_turns(tmp_path: Path) -> None:
    paths = []
    for i in range(60):
        made = rich(i)
        made.SeriesInstanceUID = f"1.2.3.{i % 2}"
        for tag in range(0x00180010 + 2, 0x00180050, 2):
            made.add_new(0x99990000 + tag, "LO", f"{i % 2}")
        paths.append(write(tmp_path / f"{i}", made))
    findings = gather([str(path) for path in paths])
    assert len(findings.blocks) == 2
    assert differences(paths, findings) == []


def test_elements_come_and_go(tmp_path: Path) -> None:
    paths = []
    for i in range(40):
        made = rich(i)
        for k, keyword in enumerate(["EchoTime", "ImageType", "AccessionNumber", "PatientName"]):
            if (i >> k) % 3 == 0:
                delattr(made, keyword)
            elif i % 5 == 0:
                made[keyword].value = ["A", "B"][i % 2] if k else i
        paths.append(write(tmp_path / f"{i}", made))
    assert differences(paths) == []


def test_a_tag_twice_in_a_file(tmp_path: Path) -> None:
    paths = []
    for i in range(4):
        path = write(tmp_path / f"{i}", dataset(i, EchoTime=str(i)))
        raw = path.read_bytes()
        at = raw.index(b"\x18\x00\x81\x00DS")
        path.write_bytes(raw[:at] + element(0x00180081, "DS", b"77") + raw[at:])
        paths.append(path)
    assert differences(paths) == []


def test_no_group_of_file_meta_but_a_syntax(tmp_path: Path) -> None:
    made = pydicom.dcmread(write(tmp_path / "a", rich()))
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(tmp_path / "b")
    assert differences([tmp_path / "b"]) == []


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("big", [False, True])
def test_unknown_vr_of_what_follows_the_pixels(tmp_path: Path, signed: int, big: bool) -> None:
    order: Literal["big", "little"] = "big" if big else "little"
    for name, representation in (("a", signed), ("b", 1 - signed)):
        made = dataset(uid=f"1.2.{name == 'a':d}", PixelRepresentation=representation)
        made.add_new(0x00280106, "UN", (64536).to_bytes(2, order))
        write(tmp_path / name, made, "big" if big else "explicit")
    findings = gather([str(tmp_path / "a"), str(tmp_path / "b")])
    found = [
        block.columns[Key(0x00280106)].value(row)
        for block in findings.blocks
        for row in range(len(block.uids))
    ]
    assert found == [-1000 if one else 64536 for one in (signed, 1 - signed)]
