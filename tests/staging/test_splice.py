"""Saved files against an independent judge: pydicom's raw elements before and after."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import Malformed, Source, Unusual
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.values import Kind
from dbdicom_xr.index.walker import header_of
from dbdicom_xr.staging import splice as module
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.spans import Form, lay_out, lay_out_like_before
from dbdicom_xr.staging.splice import create, splice
from dbdicom_xr.testing import make_enhanced, make_series
from tests.data import testdata_files

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
SYNTAXES = ("explicit", "implicit", "big", "deflated")
WIDTHS = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip
WHEEL = Path(get_testdata_file("CT_small.dcm")).parent


def files_of_pydicom() -> list[Path]:
    """Those of the wheel and of the test data, each once, and few of the many alike."""
    found: dict[tuple[str, int], Path] = {}
    for path in [*sorted(WHEEL.rglob("*")), *testdata_files("pydicom")]:
        alike = "TINY_ALPHA" in path.parts or path.parent.name.isdigit()
        if (
            path.is_file()
            and path.suffix in ("", ".dcm")
            and not (alike and path.name[-1] not in "05")
        ):
            found.setdefault((path.name, path.stat().st_size), path)
    return list(found.values())


# -- the judge -----------------------------------------------------------------------------------


def read(path: Path | str) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def raw(dataset: Dataset) -> dict[int, Any]:
    """VR and bytes of each element; of sequences of undefined length the same of their items."""
    return {int(tag): _raw(element) for tag, element in dataset._dict.items()}


def _raw(element: Any) -> tuple[str | None, Any]:
    if isinstance(element, RawDataElement):
        return element.VR, element.value or b""
    if element.VR == "SQ":
        return "SQ", [raw(item) for item in element.value]
    return str(element.VR), element.value  # pydicom has read it already


def everything(path: Path | str) -> dict[int, Any]:
    dataset = read(path)
    return {**raw(dataset.file_meta), **raw(dataset)}


def without_lengths(elements: dict[int, Any]) -> dict[int, Any]:
    return {tag: value for tag, value in elements.items() if tag & 0xFFFF}


def check_meta_length(path: Path) -> None:
    """The file meta information ends where its length says: the last of its elements is there."""
    data = path.read_bytes()
    assert data[132:140] == b"\2\0\0\0UL\4\0"
    end = 144 + int.from_bytes(data[140:144], "little")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = pydicom.dcmread(path).file_meta
        cut = pydicom.dcmread(io.BytesIO(data[:end]), force=True)
        assert cut.file_meta == whole
    assert not len(cut)


def value(vr: str, content: bytes, charset: bytes = b"") -> Encoded:
    return Encoded(Kind(vr, charset=charset), content)


def text(vr: str, content: str, charset: bytes = b"ISO_IR 192") -> Encoded:
    encoded = content.encode("utf-8")
    return value(vr, encoded + b" " * (len(encoded) % 2), b"" if content.isascii() else charset)


def as_edit(vr: str | None, content: bytes, dataset: Dataset, tag: int) -> Encoded:
    """What stands in a file, as an edit."""
    little = dataset.original_encoding[1]
    vr = vr or ("UN" if tag >> 16 & 1 else str(dataset[tag].VR))
    if not little and vr in WIDTHS and tag >> 16 != 2:
        content = np.frombuffer(content, f"V{WIDTHS[vr]}").view("u1").reshape(
            -1, WIDTHS[vr])[:, ::-1].tobytes()  # fmt: skip
    return value(vr, content)


def dumped(path: Path | str) -> list[str]:
    """The errors of dcmdump, without what names a place in the file."""
    run = subprocess.run(
        ["dcmdump", "+Qn", "-q", str(path)], capture_output=True, text=True, check=False,
        errors="replace",
    )  # fmt: skip
    del run.stdout
    lines = [line for line in run.stderr.splitlines() if line.startswith(("E:", "F:"))]
    return [line.split(str(path))[0] for line in lines]


# -- every file of pydicom -----------------------------------------------------------------------


def readable(path: Path) -> Dataset | None:
    with contextlib.suppress(Exception):
        dataset = read(path)
        if len(dataset) and isinstance(dataset.original_encoding[1], bool):
            raw(dataset)
            return dataset
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spliced")


def sample(dataset: Dataset) -> list[int]:
    """The first, a middle and the last element that has bytes of its own."""
    tags = [
        int(tag)
        for tag, element in sorted(dataset._dict.items())
        if isinstance(element, RawDataElement)
        and element.length != 0xFFFFFFFF
        and int(tag) not in PIXELS
        and tag.element
        and tag.group not in (0, 0xFFFE)
        and element.is_implicit_VR == dataset.original_encoding[0]
        and len(element.value or b"") == element.length
        and (element.VR is None or element.VR in pydicom.valuerep.STANDARD_VR)
        and element.VR != "SQ"
        and (element.VR or pydicom.datadict.dictionary_has_tag(tag))
        and (element.VR or pydicom.datadict.dictionary_VR(tag) != "SQ")
    ]
    return sorted({tags[0], tags[len(tags) // 2], tags[-1]}) if tags else []


def attempt(source: Path, target: Path, edits: dict[Key, Encoded | None]) -> str:
    """Splice, and return why that was refused, if it was."""
    try:
        splice(str(source), str(target), edits)
    except LayoutError as error:
        return str(error)
    return ""


def test_every_file_of_pydicom(folder: Path) -> None:
    done, refused = 0, []
    for path in files_of_pydicom():
        dataset = readable(path)
        if dataset is None:
            continue
        done += 1
        if not check_file(path, dataset, folder / "target.dcm"):
            refused.append(str(path))
    assert done - len(refused) > 80
    # None of them can be in a database.
    assert gather(refused).problems.keys() == set(range(len(refused)))


def check_file(path: Path, dataset: Dataset, target: Path) -> bool:
    original = path.read_bytes()
    before = everything(path)
    kept = without_lengths(before)
    tags = sample(dataset)
    same: dict[Key, Encoded | None]
    same = {Key(tag): as_edit(*before[tag], dataset, tag) for tag in tags}
    if reason := attempt(path, target, same):
        assert reason.startswith(f"{path}: ")
        return False
    assert target.read_bytes() == original, path
    for tag in tags:
        if tag == 0x00080005:
            continue
        vr, content = before[tag]
        shorter = content[: len(content) // 4 * 2]
        for new in (content + b"1234", None, *[shorter, b""] * (tag == tags[0])):
            edit = None if new is None else as_edit("UN", new, dataset, tag)
            splice(str(path), str(target), {Key(tag): edit})
            expected = dict(kept)
            if new is None:
                del expected[tag]
            else:
                expected[tag] = (None if vr is None else "UN", new)
            if tag in (0x00080016, 0x00080018) and new is not None:
                media = 0x00020000 | tag & 0xFF - 0x14
                media = {0x00080016: 0x00020002, 0x00080018: 0x00020003}[tag]
                if media in expected:
                    expected[media] = ("UI", new)
            after = everything(target)
            assert without_lengths(after) == expected, (path, hex(tag))
            assert path.read_bytes() == original
    insertions = {
        Key(0x00080001): value("UL", b"\1\2\3\4"),
        Key(0x00280301): text("CS", "inserted"),
        Key(0x00190010 & 0xFFFF0000 | 0x07, "SPLICE TEST"): text("LO", "private"),
        Key(0x00990042, "SPLICE TEST"): value("US", b"\1\0"),
    }
    splice(str(path), str(target), insertions)
    after = without_lengths(everything(target))
    set_anew = {tag: kept.pop(tag) for tag in (0x00080001, 0x00280301) if tag in kept}
    assert {tag: after.get(tag) for tag in kept} == kept, (path, set_anew)
    written = read(target)
    assert written[0x00280301].value == "inserted"
    assert written.private_block(0x0019, "SPLICE TEST")[0x07].value in ("private", b"private ")
    little = b"\1\0" if dataset.original_encoding[1] else b"\0\1"
    assert written.private_block(0x0099, "SPLICE TEST")[0x42].value in (1, little)
    if shutil.which("dcmdump") and len(original) % 3 == 0:  # 20 ms each
        assert set(dumped(target)) <= set(dumped(path)), path
    return True


# -- files that this test makes ------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One image in each of the encodings."""
    top = tmp_path_factory.mktemp("made")
    files = {}
    for syntax in (*SYNTAXES, "rle"):
        series = make_series(
            top / syntax,
            keys={"SliceLocation": [0.0]},
            transfer_syntax=syntax,
            header={
                "SpecificCharacterSet": "ISO_IR 100",
                "PatientName": "Müller^Jörg",
                "FrameIncrementPointer": [0x00100010, 0x00200013],
            },
        )
        files[syntax] = series.files[0]
    return files


def outcome(source: Path, target: Path, edits: dict[Key, Encoded | None]) -> dict[int, Any]:
    """What stands in the target, if all that the edits do not name is as in the source."""
    splice(str(source), str(target), edits)
    return without_lengths(everything(target))


REPLACED = {
    "longer text": (0x00100020, "LO", b"A much longer identifier of nobody", None),
    "shorter text": (0x00081030, "LO", b"", None),
    "first element": (0x00080001, "UL", b"\x01\x02\x03\x04", b"\x04\x03\x02\x01"),
    "unsigned": (0x00280106, "US", b"\x01\x02", b"\x02\x01"),
    "unsigned long": (0x00189004, "UL", b"\x01\x02\x03\x04", b"\x04\x03\x02\x01"),
    "double": (0x00189087, "FD", b"12345678", b"87654321"),
    "two doubles": (0x00189089, "FD", b"12345678abcdefgh", b"87654321hgfedcba"),
    "tags": (0x00280009, "AT", b"\x10\x00\x20\x01", b"\x00\x10\x01\x20"),
    "words": (0x00281201, "OW", b"\x01\x02\x03\x04", b"\x02\x01\x04\x03"),
    "floats": (0x00660016, "OF", b"12345678", b"43218765"),
    "bytes": (0x00420011, "OB", b"12345678", b"12345678"),
    "behind the pixels": (0xFFFCFFFC, "OB", b"\0" * 4, b"\0" * 4),
    "text of any length": (0x0040A160, "UT", b"x" * 70000, None),
}


@pytest.mark.parametrize("syntax", [*SYNTAXES, "rle"])
def test_one_element(made: dict[str, Path], folder: Path, syntax: str) -> None:
    source, target = made[syntax], folder / f"{syntax}.dcm"
    before = without_lengths(everything(source))
    for name, (tag, vr, content, swapped) in REPLACED.items():
        after = outcome(source, target, {Key(tag): value(vr, content)})
        in_file = swapped if syntax == "big" and swapped is not None else content
        expected = before | {tag: (None if syntax == "implicit" else vr, in_file)}
        assert after == expected, name
        assert list(raw(read(target))) == sorted(raw(read(target))), name
        check_meta_length(target)
        # Deleted again, the file is as it was.
        outcome(target, folder / "again.dcm", {Key(tag): None})
        outcome(source, folder / "without.dcm", {Key(tag): None})
        assert (folder / "again.dcm").read_bytes() == (folder / "without.dcm").read_bytes(), name


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_an_edit_does_not_name_keeps_its_bytes(
    made: dict[str, Path], folder: Path, syntax: str
) -> None:
    source, target = made[syntax], folder / "plain.dcm"
    data = inflated_bytes(source)
    edits = {
        Key(0x00100020): value("LO", b"another identifier"),
        Key(0x00201041): None,
        Key(0x00000004 | 0x00190000, "DBDICOM_XR TESTING"): value("OB", bytes(10)),
    }
    splice(str(source), str(target), edits)
    new = inflated_bytes(target)
    for stop in (0x00100020, 0x00190000, 0x00201041, 0x7FE00010):
        for start in (0x00100021, 0x00191005, 0x00201042):
            if start < stop:
                part = between(source, data, start, stop)
                assert part, (start, stop)
                if not any(
                    start <= edit.tag | 0x1000 * bool(edit.creator) < stop for edit in edits
                ):
                    assert part in new
    assert read(target).PixelData == read(source).PixelData
    assert new[-len(read(source).PixelData) :] == read(source).PixelData


def inflated_bytes(path: Path) -> bytes:
    import zlib

    dataset = read(path)
    data = path.read_bytes()
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        end = 144 + dataset.file_meta.FileMetaInformationGroupLength
        return data[:end] + zlib.decompress(data[end:], -zlib.MAX_WBITS)
    return data


def between(path: Path, data: bytes, start: int, stop: int) -> bytes:
    """The bytes from the first element from ``start`` on to the first from ``stop`` on."""
    dataset = read(path)
    deflated = dataset.file_meta.TransferSyntaxUID.is_deflated
    shift = 144 + dataset.file_meta.FileMetaInformationGroupLength if deflated else 0
    implicit = dataset.original_encoding[0]

    def place(tag: int) -> int:
        element = min((e for t, e in dataset._dict.items() if t >= tag), key=lambda e: e.tag)
        long = not implicit and element.VR in pydicom.valuerep.EXPLICIT_VR_LENGTH_32
        return shift + element.value_tell - (12 if long else 8)

    return data[place(start) : place(stop)]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_uids_of_the_file_meta_information_follow(
    made: dict[str, Path], folder: Path, syntax: str
) -> None:
    source, target = made[syntax], folder / "uids.dcm"
    before = without_lengths(everything(source))
    edits = {
        Key(0x00080016): value("UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
        Key(0x00080018): value("UI", b"1.2.3\0"),
    }
    after = outcome(source, target, edits)
    vr = None if syntax == "implicit" else "UI"
    assert after == before | {
        0x00080016: (vr, b"1.2.840.10008.5.1.4.1.1.7\0"),
        0x00080018: (vr, b"1.2.3\0"),
        0x00020002: ("UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
        0x00020003: ("UI", b"1.2.3\0"),
    }
    check_meta_length(target)
    # Given themselves, they are what is given.
    edits = {Key(0x00080018): value("UI", b"1.5\0"), Key(0x00020003): value("UI", b"1.6\0")}
    after = outcome(source, target, edits)
    assert (after[0x00080018][1], after[0x00020003][1]) == (b"1.5\0", b"1.6\0")


# -- private elements ----------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_private_blocks(made: dict[str, Path], folder: Path, syntax: str) -> None:
    source, target, again = made[syntax], folder / "a.dcm", folder / "b.dcm"
    before = without_lengths(everything(source))
    own = "DBDICOM_XR TESTING"
    edits: dict[Key, Encoded | None] = {
        Key(0x00190001, own): value("LO", b"another "),
        Key(0x00190077, own): value("LO", b"inserted"),
        Key(0x00190001, "OTHER"): value("US", b"\1\0"),
        Key(0x00190002, "OTHER"): value("LO", b"2 "),
        Key(0x00190003, "THIRD"): None,  # reserves no block
    }
    after = outcome(source, target, edits)
    vr = None if syntax == "implicit" else "LO"
    number = b"\0\1" if syntax == "big" else b"\1\0"
    assert after == before | {
        0x00190011: (vr, b"OTHER "),
        0x00191001: (vr, b"another "),
        0x00191077: (vr, b"inserted"),
        0x00191101: (vr and "US", number),
        0x00191102: (vr, b"2 "),
    }
    assert list(raw(read(target))) == sorted(raw(read(target)))
    column = gather([str(target)]).blocks[0].columns[Key(0x00190002, "OTHER")]
    assert column.value(0) in ("2", b"2 ")
    # The last element goes, its creator stays.
    gone = {Key(0x00190001, "OTHER"): None, Key(0x00190002, "OTHER"): None}
    after = outcome(target, again, gone)
    assert 0x00190011 in after
    assert not {0x00191101, 0x00191102} & after.keys()


def test_an_element_is_edited_in_whichever_block_of_its_creator_it_is(folder: Path) -> None:
    dataset = Dataset()
    dataset.PatientID = "P"
    for tag, content in {0x10: "TWICE", 0x11: "TWICE", 0x1001: "a", 0x1102: "b"}.items():
        dataset.add_new(0x00190000 | tag, "LO", content)
    source = written(dataset, folder / "twice.dcm")
    edits = {
        Key(0x00190002, "TWICE"): value("LO", b"new "),
        Key(0x00190003, "TWICE"): value("LO", b"more"),
    }
    after = outcome(source, folder / "target.dcm", edits)
    assert after[0x00191102] == ("LO", b"new ")
    assert after[0x00191003] == ("LO", b"more")
    assert 0x00191002 not in after


def test_no_block_is_free(folder: Path) -> None:
    dataset = Dataset()
    for block in range(0x10, 0x100):
        dataset.add_new(0x00190000 | block, "LO", f"creator {block}")
    source = written(dataset, folder / "full.dcm")
    with pytest.raises(InvalidValue, match="no free private block"):
        splice(str(source), str(folder / "t.dcm"), {Key(0x00190001, "NEW"): value("LO", b"x ")})


def test_elements_without_creator_keep_their_block(folder: Path) -> None:
    dataset = Dataset()
    dataset.add_new(0x00191001, "LO", "orphan")
    source = written(dataset, folder / "orphan.dcm")
    edits = {Key(0x00190001, "NEW"): value("LO", b"x "), Key(0x00191001): value("LO", b"y ")}
    after = outcome(source, folder / "target.dcm", edits)
    assert after[0x00191001] == ("LO", b"y ")
    assert after[0x00190011] == ("LO", b"NEW ")
    assert after[0x00191101] == ("LO", b"x ")


def written(dataset: Dataset, path: Path, syntax: str = "1.2.840.10008.1.2.1") -> Path:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
    return path


# -- character sets ------------------------------------------------------------------------------

UTF_8 = {Key(0x00080005): value("CS", b"ISO_IR 192")}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_text_is_written_in_the_character_set_of_the_file(
    made: dict[str, Path], folder: Path, syntax: str
) -> None:
    edits = {Key(0x00100020): text("LO", "Zoë"), Key(0x00190001, "ZOË"): text("LO", "Zoë")}
    after = outcome(made[syntax], folder / "t.dcm", edits)
    vr = None if syntax == "implicit" else "LO"
    assert after[0x00100020] == (vr, b"Zo\xeb ")
    assert after[0x00190011] == (vr, b"ZO\xcb ")
    with pytest.raises(InvalidValue, match=r"(?s)made.*\(0010,0020\).*'ISO_IR 192'"):
        splice(str(made[syntax]), str(folder / "t.dcm"), {Key(0x00100020): text("LO", "王")})
    # Together with a character set that holds it:
    after = outcome(made[syntax], folder / "t.dcm", UTF_8 | {Key(0x00100020): text("LO", "王")})
    assert after[0x00100020] == (vr, "王 ".encode())


LANGUAGES = {
    "German": ("ISO_IR 100", "Äneas^Rüdiger"),
    "Greek": ("ISO_IR 126", "Διονυσιος"),
    "Japanese": ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japanese, half width": ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korean": ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "Russian": ("ISO_IR 144", "Люкceмбypг"),  # noqa: RUF001
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_a_new_character_set_takes_all_text_along(folder: Path, language: str, syntax: str) -> None:
    charset, name = LANGUAGES[language]
    inner = Dataset()
    inner.PatientName = name
    inner.PixelData = b"\xff\xfe\xfd\xfc"
    inner["PixelData"].VR = "OW"
    own = Dataset()
    own.SpecificCharacterSet = "ISO_IR 101"
    own.PatientName = "Łukasz"
    inner.ReferencedPatientSequence = Sequence([own])
    dataset = Dataset()
    dataset.SpecificCharacterSet = charset.split("\\")
    dataset.PatientName = name
    dataset.PatientID = "ASCII"
    dataset.ReferencedStudySequence = Sequence([inner])
    dataset.OtherPatientIDsSequence = Sequence([inner])
    dataset["OtherPatientIDsSequence"].value.is_undefined_length = True
    dataset["OtherPatientIDsSequence"].is_undefined_length = True
    dataset.add_new(0x00190010, "LO", "BYTES")
    dataset.add_new(0x00191001, "OB", b"\xe4\xf6\xfc\x00")
    syntaxes = {"explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2"}
    source = written(dataset, folder / "s.dcm", syntaxes.get(syntax, "1.2.840.10008.1.2.2"))
    target, back = folder / "utf.dcm", folder / "back.dcm"
    splice(str(source), str(target), UTF_8)
    found, original = read(target), read(source)
    assert found.PatientName == name == original.PatientName
    assert name.encode() in target.read_bytes()
    for sequence in (found.ReferencedStudySequence, found.OtherPatientIDsSequence):
        assert sequence[0].PatientName == name
        assert sequence[0].PixelData == inner.PixelData
        assert sequence[0].ReferencedPatientSequence[0].PatientName == "Łukasz"
    assert found["OtherPatientIDsSequence"].is_undefined_length
    assert found[0x00191001].value == original[0x00191001].value
    old = value("CS", charset.encode() + b" " * (len(charset) % 2))
    splice(str(target), str(back), {Key(0x00080005): old})
    assert read(back) == original
    if "ISO 2022" not in charset:
        assert back.read_bytes() == source.read_bytes()
    column = gather([str(target)]).blocks[0].columns[Key(0x00100010)]
    assert column.value(0) == name
    if name.isascii() or charset == "GB18030":
        return
    with pytest.raises(InvalidValue, match=r"\(0010,0010\).*does not|\(0010,0010\).*cannot"):
        splice(str(target), str(back), {Key(0x00080005): value("CS", b"ISO_IR 138")})


@pytest.mark.parametrize("charset", ["", "ISO_IR 192"])
def test_bytes_that_are_no_text_are_not_guessed(folder: Path, charset: str) -> None:
    dataset = Dataset()
    dataset.PatientID = "P"
    source = written(dataset, folder / "s.dcm")
    edits: dict[Key, Encoded | None] = {Key(0x00100010): value("PN", b"M\xfcller")}
    edits[Key(0x00080005)] = value("CS", charset.encode())
    splice(str(source), str(folder / "odd.dcm"), {**edits, Key(0x00080005): None})
    if charset:
        splice(str(source), str(folder / "odd.dcm"), edits)
    with pytest.raises(InvalidValue, match=r"odd.dcm: \(0010,0010\): b'M.*is not text"):
        change = {Key(0x00080005): value("CS", b"ISO_IR 100")}
        splice(str(folder / "odd.dcm"), str(folder / "t.dcm"), change)
    # Set anew in the same go, it need not be read.
    change[Key(0x00100010)] = text("PN", "Müller")
    splice(str(folder / "odd.dcm"), str(folder / "t.dcm"), change)
    assert read(folder / "t.dcm").PatientName == "Müller"
    # All else can be edited.
    after = outcome(folder / "odd.dcm", folder / "t.dcm", {Key(0x00100020): text("LO", "Q ")})
    assert after[0x00100010] == ("PN", b"M\xfcller")


def test_text_of_unknown_vr_is_known_by_the_dictionary(folder: Path) -> None:
    def implicit(tag: str, content: bytes) -> bytes:
        return bytes.fromhex(tag) + len(content).to_bytes(4, "little") + content

    def data(name: bytes) -> bytes:
        items = implicit("feff00e0", implicit("10001000", name))
        return b"".join([
            explicit(0x00081110, "UN", items),
            explicit(0x00100010, "UN", name),
            explicit(0x00191001, "UN", b"M\xfcll"),  # nobody knows what it is
        ])  # fmt: skip

    latin = explicit(0x00080005, "CS", b"ISO_IR 100")
    (folder / "un.dcm").write_bytes(bytes(128) + b"DICM" + META + latin + data(b"M\xfcll"))
    splice(str(folder / "un.dcm"), str(folder / "t.dcm"), UTF_8)
    unicode = explicit(0x00080005, "CS", b"ISO_IR 192")
    assert (folder / "t.dcm").read_bytes().endswith(unicode + data("Müll ".encode()))


def test_an_unknown_character_set(folder: Path) -> None:
    dataset = Dataset()
    source = written(dataset, folder / "s.dcm")
    edits = {Key(0x00100010): text("PN", "Müller"), Key(0x00080005): value("CS", b"KLINGON ")}
    with pytest.raises(InvalidValue, match="KLINGON"):
        splice(str(source), str(folder / "t.dcm"), edits)


# -- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_sequence(made: dict[str, Path], folder: Path, syntax: str) -> None:
    deep = Dataset()
    deep.PatientName = "Jörg"
    deep.Rows = 513
    deep.add_new(0x00281201, "OW", b"\1\2\3\4")
    deep.add_new(0x00190010, "LO", "CREATOR")
    deep.add_new(0x00191001, "FD", [0.5, 1.5])
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.ReferencedFrameNumber = [1, 2]
    item.OtherPatientIDsSequence = Sequence([deep, Dataset()])
    edits = {Key(0x00081140): encode(0x00081140, [item, item])}
    after = outcome(made[syntax], folder / "t.dcm", edits)
    before = without_lengths(everything(made[syntax]))
    found = read(folder / "t.dcm").ReferencedImageSequence
    assert len(found) == 2
    deeper = found[1].OtherPatientIDsSequence[0]
    assert (deeper.PatientName, deeper.Rows) == ("Jörg", 513)
    swapped = b"\2\1\4\3" if syntax == "big" else b"\1\2\3\4"
    assert deeper[0x00281201].value == swapped
    if syntax != "implicit":
        assert deeper[0x00191001].value == [0.5, 1.5]
    del after[0x00081140]
    assert after == before
    assert "ö".encode("latin-1") in inflated_bytes(folder / "t.dcm")
    # The same again changes nothing.
    outcome(folder / "t.dcm", folder / "u.dcm", edits)
    assert (folder / "u.dcm").read_bytes() == (folder / "t.dcm").read_bytes()


def test_per_frame_sequences_are_copied(folder: Path) -> None:
    for syntax in ("explicit", "implicit"):
        made = make_enhanced(folder / syntax, transfer_syntax=syntax, n=3)
        source = made.files[0]
        before = without_lengths(everything(source))
        after = outcome(source, folder / "t.dcm", {Key(0x00100020): text("LO", "X ")})
        assert after.pop(0x00100020)[1] == b"X "
        before.pop(0x00100020)
        assert after == before


# -- refusals ------------------------------------------------------------------------------------

REFUSED_EDITS = {
    "transfer syntax": (Key(0x00020010), value("UI", b"1.2 "), "encoded anew"),
    "group length": (Key(0x00080000), value("UL", bytes(4)), "length of a group"),
    "file meta length": (Key(0x00020000), None, "length of a group"),
    "item": (Key(0xFFFEE000), value("OB", b""), "no element of a data set"),
    "command": (Key(0x00000002), value("UI", b""), "no element of a data set"),
    "half a number": (Key(0x00280010), value("UL", b"\1\0"), "whole number"),
    "damaged sequence": (Key(0x00081140), value("SQ", b"\1\0" * 8), "else than items"),
    "cut sequence": (Key(0x00081140), value("SQ", b"\xfe\xff\0\xe0\x09\0\0\0"), "inside an item"),
}


@pytest.mark.parametrize("case", REFUSED_EDITS)
def test_refused(made: dict[str, Path], folder: Path, case: str) -> None:
    key, edit, reason = REFUSED_EDITS[case]
    with pytest.raises(InvalidValue, match=f"(?s)IM0001.*{reason}"):
        splice(str(made["big"]), str(folder / "t.dcm"), {key: edit})


def test_a_value_too_long_for_its_vr(made: dict[str, Path], folder: Path) -> None:
    edits = {Key(0x00200013): value("IS", b"1\\" * 40000)}
    with pytest.raises(InvalidValue, match=r"IM0001.*\(0020,0013\).*80000 bytes.*IS"):
        splice(str(made["explicit"]), str(folder / "t.dcm"), edits)
    after = outcome(made["implicit"], folder / "t.dcm", edits)
    assert after[0x00200013] == (None, b"1\\" * 40000)


def test_compressed_pixels_are_not_replaced(made: dict[str, Path], folder: Path) -> None:
    edits = {Key(0x7FE00010): value("OW", bytes(16 * 12 * 2))}
    with pytest.raises(InvalidValue, match="compressed"):
        splice(str(made["rle"]), str(folder / "t.dcm"), edits)
    after = outcome(made["rle"], folder / "t.dcm", {Key(0x7FE00010): None})
    assert 0x7FE00010 not in after
    edits = {Key(0x7FE00010): value("OW", b"\1\0" * (16 * 12))}
    for syntax in SYNTAXES:
        splice(str(made[syntax]), str(folder / "t.dcm"), edits)
        assert (read(folder / "t.dcm").pixel_array == 1).all()


def test_no_dicom_file(folder: Path) -> None:
    source = folder / "text.dcm"
    for content in (b"", b"text" * 100):
        source.write_bytes(content)
        with pytest.raises(LayoutError, match=r"text.dcm: not a DICOM file"):
            splice(str(source), str(folder / "t.dcm"), {})
    with pytest.raises(FileNotFoundError):
        splice(str(folder / "missing"), str(folder / "t.dcm"), {})


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_cut_off(made: dict[str, Path], folder: Path, syntax: str) -> None:
    data = made[syntax].read_bytes()
    source, target = folder / "cut.dcm", folder / "t.dcm"
    edits = {Key(0x00100020): text("LO", "LONGER IDENTIFIER ")}
    for count in range(140, len(data), 97):
        source.write_bytes(data[:count])
        if reason := attempt(source, target, edits):
            assert reason.startswith(f"{source}: ")
            assert "inside" in reason or "cut" in reason
            continue
        found = read(target)
        assert found.PatientID == "LONGER IDENTIFIER"
        if syntax != "deflated" and "PatientID" in (before := read(source)):  # which has all of it
            assert target.read_bytes()[-60:] == source.read_bytes()[-60:]
            assert {**raw(found), 0x00100020: 0} == {**raw(before), 0x00100020: 0}


def test_behind_pixels_that_are_cut_off(made: dict[str, Path], folder: Path) -> None:
    source = folder / "cut.dcm"
    source.write_bytes(made["explicit"].read_bytes()[:-10])
    with pytest.raises(LayoutError, match=r"\(fffc,fffc\).*\(7fe0,0010\).*ends inside"):
        splice(str(source), str(folder / "t.dcm"), {Key(0xFFFCFFFC): value("OB", b"\0\0")})
    splice(str(source), str(folder / "t.dcm"), {Key(0x00100020): text("LO", "Q ")})
    assert (folder / "t.dcm").read_bytes()[-100:] == source.read_bytes()[-100:]


# -- odd files -----------------------------------------------------------------------------------


def explicit(tag: int, vr: str, content: bytes) -> bytes:
    head = tag.to_bytes(4, "big")
    head = head[1::-1] + head[3:1:-1] + vr.encode()
    if vr in ("OB", "OW", "SQ", "UN"):
        return head + b"\0\0" + len(content).to_bytes(4, "little") + content
    return head + len(content).to_bytes(2, "little") + content


START = explicit(0x00080016, "UI", b"1.2\0") + explicit(0x00080018, "UI", b"1.3\0")
META = explicit(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")


def joined(path: Path, *elements: bytes) -> Path:
    path.write_bytes(bytes(128) + b"DICM" + META + START + b"".join(elements))
    return path


TWICE = {
    "same VR": ["LO", "LO"],
    "another VR": ["SH", "LO"],
    "three": ["LO", "SH", "LO"],
    "three others": ["SH", "LO", "SH"],
}


@pytest.mark.parametrize("case", TWICE)
def test_an_element_that_stands_twice(folder: Path, case: str) -> None:
    elements = [explicit(0x00100020, vr, f"{i} ".encode()) for i, vr in enumerate(TWICE[case])]
    other = explicit(0x00100040, "CS", b"O ")
    source = joined(folder / "twice.dcm", *elements, other)
    target = folder / "t.dcm"
    splice(str(source), str(target), {Key(0x00100020): text("LO", "new ")})
    assert read(target).PatientID == "new"
    header = header_of(target)
    assert [content for name, content in header.elements.items() if name[:4] == b"\x10\0 \0"
            ] == [b"new "]  # fmt: skip
    assert target.read_bytes().endswith(explicit(0x00100020, "LO", b"new ") + other)
    splice(str(source), str(target), {Key(0x00100020): None})
    assert "PatientID" not in read(target)
    assert target.read_bytes().endswith(START + other)
    # The value that is read already: nothing changes.
    last = f"{len(elements) - 1} ".encode()
    splice(str(source), str(target), {Key(0x00100020): value(TWICE[case][-1], last)})
    assert target.read_bytes() == source.read_bytes()


def test_elements_out_of_order(folder: Path) -> None:
    first = explicit(0x00200013, "IS", b"1 ")
    second = explicit(0x00100020, "LO", b"P ")
    source = joined(folder / "order.dcm", first, second)
    target = folder / "t.dcm"
    edits = {Key(0x00100020): text("LO", "new "), Key(0x00100040): text("CS", "O ")}
    splice(str(source), str(target), edits)
    inserted = explicit(0x00100040, "CS", b"O ")
    assert target.read_bytes().endswith(
        START + inserted + first + explicit(0x00100020, "LO", b"new ")
    )
    assert (read(target).PatientID, read(target).PatientSex) == ("new", "O")


def test_group_lengths_follow(folder: Path) -> None:
    def group(number: int, *elements: bytes) -> bytes:
        size = sum(map(len, elements)).to_bytes(4, "little")
        return explicit(number << 16, "UL", size) + b"".join(elements)

    patient = explicit(0x00100010, "PN", b"N ")
    relation = [explicit(0x00200013, "IS", b"1 "), explicit(0x00204000, "LT", b"comment ")]
    wrong = explicit(0x00280000, "UL", b"\7\0\0\0") + explicit(0x00280010, "US", b"\1\0")
    source = joined(folder / "g.dcm", group(0x10, patient), group(0x20, *relation), wrong)
    target = folder / "t.dcm"
    edits = {
        Key(0x00100020): text("LO", "identifier"),
        Key(0x00200013): None,
        Key(0x00280010): value("US", b"\2\0"),  # of the same size: a wrong length stays wrong
    }
    splice(str(source), str(target), edits)
    assert target.read_bytes().endswith(
        START
        + group(0x10, patient, explicit(0x00100020, "LO", b"identifier"))
        + group(0x20, relation[1])
        + wrong.replace(b"\1\0", b"\2\0")
    )
    splice(str(source), str(target), {Key(0x00100000): None})
    assert target.read_bytes().endswith(START + patient + group(0x20, *relation) + wrong)


BARE = {
    "without preamble": (META + START, 0),
    "without file meta information": (START, 0),
    "big endian": (bytes.fromhex("0008001655490004") + b"1.2\0", 0),
    "implicit": (bytes.fromhex("0800160004000000") + b"1.2\0", 0),
    "with preamble only": (bytes(128) + b"DICM" + START, 0),
    "zeros at the end": (bytes(128) + b"DICM" + META + START + bytes(21), 21),
    "implicit, and said to be explicit": (
        bytes(128) + b"DICM" + META + bytes.fromhex("0800160004000000") + b"1.2\0", 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BARE)
def test_bare_files(folder: Path, case: str) -> None:
    content, rest = BARE[case]
    source, target = folder / "bare.dcm", folder / "t.dcm"
    source.write_bytes(content)
    splice(str(source), str(target), {Key(0x00100020): text("LO", "identifier")})
    new = target.read_bytes()
    assert new.startswith(content[: len(content) - rest])
    assert new.endswith(b"identifier" + bytes(rest))
    assert read(target).PatientID == "identifier"
    assert read(target).SOPClassUID == read(source).SOPClassUID
    splice(str(target), str(folder / "u.dcm"), {Key(0x00100020): None})
    assert (folder / "u.dcm").read_bytes() == content
    edits = {Key(0x00020016): text("AE", "NOBODY")}
    if "meta" in case or case in ("big endian", "implicit", "with preamble only"):
        with pytest.raises(InvalidValue, match="no file meta information"):
            splice(str(source), str(target), edits)
    else:
        splice(str(source), str(target), edits)
        assert read(target).file_meta.SourceApplicationEntityTitle == "NOBODY"


def test_a_dicomdir(folder: Path) -> None:
    meta = explicit(0x00020002, "UI", b"1.2.840.10008.1.3.10") + META
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + meta + START)
    with pytest.raises(LayoutError, match="DICOMDIR"):
        splice(str(folder / "DICOMDIR"), str(folder / "t.dcm"), {})


# -- copying -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["system", "plain", "broken", "in parts", "other device"])
def test_large_files(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pixels = explicit(0x7FE00010, "OW", rng.bytes(3_000_000))
    blob = explicit(0x00191001, "OB", rng.bytes(1_500_000))
    creator = explicit(0x00190010, "LO", b"CREATOR ")
    source = joined(folder / "large.dcm", creator, blob, pixels)
    target = folder / "t.dcm"
    real = module._copy_file_range

    def few(fd: int, made: int, count: int, position: int) -> int:
        assert real is not None
        return real(fd, made, min(count, 100_001), position)

    def refused(fd: int, made: int, count: int, position: int) -> int:
        raise OSError(18, "Invalid cross-device link")

    if way in ("system", "in parts") and real is None:
        pytest.skip("this system does not copy from file to file")
    ways = {"system": real, "plain": None, "in parts": few, "other device": refused,
            "broken": lambda *_: 0}  # fmt: skip
    monkeypatch.setattr(module, "_copy_file_range", ways[way])
    edits: dict[Key, Encoded | None] = {Key(0x00200013): text("IS", "7 ")}
    edits[Key(0xFFFCFFFC)] = value("OB", b"\0\0")
    splice(str(source), str(target), edits)
    assert target.read_bytes() == b"".join([
        bytes(128), b"DICM", META, START, creator, blob, explicit(0x00200013, "IS", b"7 "),
        pixels, explicit(0xFFFCFFFC, "OB", b"\0\0"),
    ])  # fmt: skip
    splice(str(source), str(target), {})
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("most", [None, 0, 1, 200, 400, 700, 10**6])
def test_a_system_that_writes_only_a_part(
    most: int | None, made: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = {Key(0x00100020): text("LO", "another patient ")}
    splice(str(made["explicit"]), str(folder / "expected.dcm"), edits)

    def some(fd: int, parts: Any) -> int:
        return os.write(fd, b"".join(parts)[:most])

    monkeypatch.setattr(module, "_writev", None if most is None else some)
    splice(str(made["explicit"]), str(folder / "t.dcm"), edits)
    assert (folder / "t.dcm").read_bytes() == (folder / "expected.dcm").read_bytes()


def test_a_file_is_not_written_over_itself(made: dict[str, Path], folder: Path) -> None:
    source = folder / "one.dcm"
    shutil.copyfile(made["explicit"], source)
    with pytest.raises(InvalidValue, match="over itself"):
        splice(str(source), str(source), {Key(0x00100020): None})
    assert source.read_bytes() == made["explicit"].read_bytes()


def test_a_target_that_exists_is_truncated(made: dict[str, Path], folder: Path) -> None:
    target = folder / "long.dcm"
    target.write_bytes(bytes(1_000_000))
    splice(str(made["explicit"]), str(target), {})
    assert target.read_bytes() == made["explicit"].read_bytes()


def test_a_file_that_shrinks_while_it_is_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = joined(folder / "large.dcm", explicit(0x7FE00010, "OW", bytes(3_000_000)))
    monkeypatch.setattr(module, "_copy_file_range", None)
    monkeypatch.setattr(module, "pread", lambda fd, count, position: b"")
    with pytest.raises(LayoutError, match=r"large.dcm.*shorter"):
        splice(str(source), str(folder / "t.dcm"), {})


def test_a_long_sequence_of_undefined_length(folder: Path) -> None:
    inner = explicit(0x00080050, "SH", b"x" * 400)
    items = b"".join(
        b"\xfe\xff\0\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\r\xe0\0\0\0\0" for _ in range(5000)
    )
    head = bytes.fromhex("08004011") + b"SQ\0\0\xff\xff\xff\xff"
    sequence = head + items + b"\xfe\xff\xdd\xe0\0\0\0\0"
    source = joined(folder / "long.dcm", sequence, explicit(0x00100020, "LO", b"P "))
    splice(str(source), str(folder / "t.dcm"), {Key(0x00100020): text("LO", "new ")})
    assert (folder / "t.dcm").read_bytes() == source.read_bytes()[:-10] + explicit(
        0x00100020, "LO", b"new "
    )


# -- the walker of the index ---------------------------------------------------------------------


def test_elements_lie_where_the_walker_finds_them() -> None:
    compared = 0
    for path in files_of_pydicom():
        try:
            header = header_of(path)
        except (Unusual, Malformed):
            continue
        if header.deflated:
            continue
        data = path.read_bytes()
        meta = lay_out(Source(-1, 0, data), 132, Form(), meta=True)
        found = lay_out(Source(-1, 0, data), meta.end, Form(header.implicit, header.big_endian))
        names = {name[:4]: content for name, content in header.elements.items()}
        for tag, _, _, start, end in [*meta.spans, *found.spans]:
            key = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
            if tag in PIXELS or not isinstance(names[key], bytes):
                continue
            assert data[start:end] in (names[key], names[key] + data[end - 8 : end]), (path, tag)
            compared += 1
        assert found.end == len(data) or header.notes, path
    assert compared > 3000


def test_files_of_one_size_are_not_taken_for_one_shape(folder: Path) -> None:
    # Of several sizes, in each another tag, VR, length or item.
    def sequence(*lengths: int) -> bytes:
        items = [b"\xfe\xff\0\xe0" + n.to_bytes(4, "little") + bytes(n) for n in lengths]
        head = bytes.fromhex("08004011") + b"SQ\0\0\xff\xff\xff\xff"
        return head + b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0"

    def name(length: int) -> bytes:
        return explicit(0x00100010, "PN", b"N" * length)

    tail = explicit(0x00100020, "LO", b"P ")
    contents = [
        (name(16), tail),
        (explicit(0x00100010, "LO", b"N" * 16), tail),
        (explicit(0x00100011, "PN", b"N" * 16), tail),
        (name(4), explicit(0x00100018, "LO", b"ABCD"), tail),
        (name(6), explicit(0x00100018, "LO", b"AB"), tail),
        (sequence(0, 16), name(2), tail),
        (sequence(16, 0), name(2), tail),
        (sequence(4), name(22), tail),
        (sequence(30), name(2), tail),
        (sequence(4), explicit(0x00081150, "UI", b"1" * 18), name(2), tail),
    ]
    for _ in range(3):
        for number, elements in enumerate(contents):
            source = joined(folder / f"shape{number}.dcm", *elements)
            fresh = lay_out(Source(-1, 0, source.read_bytes()), 132 + len(META), Form())
            splice(str(source), str(folder / "t.dcm"), {Key(0x00100020): text("LO", "new ")})
            assert lay_out_like_before(source.read_bytes(), 132 + len(META), Form()) == fresh
            expected = source.read_bytes()[: -len(tail)] + explicit(0x00100020, "LO", b"new ")
            assert (folder / "t.dcm").read_bytes() == expected


# -- files from nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_create(folder: Path, syntax: str) -> None:
    uid = {
        "explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2",
        "big": "1.2.840.10008.1.2.2", "deflated": "1.2.840.10008.1.2.1.99",
    }[syntax]  # fmt: skip
    path = folder / "new.dcm"
    item = Dataset()
    item.PatientName = "Zoë"
    item.Rows = 3
    elements: dict[Key, Encoded | None] = {
        Key(0x7FE00010): value("OW", bytes(range(24))),
        Key(0x00280010): value("US", b"\3\0"),
        Key(0x00280011): value("US", b"\4\0"),
        Key(0x00280002): value("US", b"\1\0"),
        Key(0x00280100): value("US", b"\x10\0"),
        Key(0x00280101): value("US", b"\x10\0"),
        Key(0x00280103): value("US", b"\0\0"),
        Key(0x00280004): text("CS", "MONOCHROME2 "),
        Key(0x00081140): encode(0x00081140, [item]),
        Key(0x00100010): text("PN", "Zoë"),
        Key(0x00080005): value("CS", b"ISO_IR 192"),
        Key(0x00080016): value("UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
        Key(0x00080018): value("UI", b"1.2.3\0"),
        Key(0x00190001, "B"): text("LO", "b "),
        Key(0x00190001, "A"): text("LO", "a "),
        Key(0x00100020): None,
    }
    create(str(path), elements, uid)
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == uid
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert dataset.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert dataset.file_meta.ImplementationClassUID == module.IMPLEMENTATION_CLASS_UID
    assert pydicom.uid.UID(module.IMPLEMENTATION_CLASS_UID).is_valid
    assert dataset.file_meta.FileMetaInformationVersion == b"\0\1"
    check_meta_length(path)
    assert list(dataset.keys()) == sorted(dataset.keys())
    assert (dataset.PatientName, "PatientID" in dataset) == ("Zoë", False)
    sequence = dataset.ReferencedImageSequence
    assert (sequence[0].PatientName, sequence[0].Rows) == ("Zoë", 3)
    assert dataset.pixel_array.astype("<u2").tobytes() == bytes(range(24))
    for creator, content in ("A", "a"), ("B", "b"):
        assert str(dataset.private_block(0x19, creator)[1].value).strip("b' ") in (content, "")
    assert gather([str(path)]).problems == {}
    if shutil.which("dcmdump"):
        assert dumped(path) == []


def test_create_wants_what_a_file_must_have(folder: Path) -> None:
    elements = {Key(0x00080016): value("UI", b"1.2\0")}
    with pytest.raises(InvalidValue, match=r"\(0008,0018\) is needed"):
        create(str(folder / "new.dcm"), elements)
    elements[Key(0x00080018)] = value("UI", b"1.3\0")
    elements[Key(0x7FE00010)] = value("OW", bytes(4))
    with pytest.raises(InvalidValue, match="compressed"):
        create(str(folder / "new.dcm"), elements, "1.2.840.10008.1.2.4.50")


# -- any sequence of edits -----------------------------------------------------------------------

KEYS = [
    (Key(0x00080060), "CS"), (Key(0x00080018), "UI"), (Key(0x00100010), "PN"),
    (Key(0x00100020), "LO"), (Key(0x00181314), "DS"), (Key(0x00280106), "US"),
    (Key(0x00189087), "FD"), (Key(0x0040A160), "UT"), (Key(0x00420011), "OB"),
    (Key(0x00190001, "DBDICOM_XR TESTING"), "LO"), (Key(0x00190001, "ONE"), "LO"),
    (Key(0x001900FF, "ONE"), "UN"), (Key(0x00190001, "TWO"), "SH"), (Key(0x00210001, "ONE"), "LO"),
    (Key(0xFFFCFFFC), "OB"),
]  # fmt: skip
EDITS = st.dictionaries(
    st.sampled_from(KEYS),
    st.none() | st.integers(0, 40).map(lambda n: b"12345678" * n),
    max_size=5,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*SYNTAXES, "rle"]), st.lists(EDITS, min_size=1, max_size=4))
def test_any_edits(
    made: dict[str, Path],
    folder: Path,
    syntax: str,
    steps: list[dict[tuple[Key, str], bytes | None]],
) -> None:
    source, target = folder / "source.dcm", folder / "target.dcm"
    shutil.copyfile(made[syntax], source)
    dataset = read(source)
    implicit, big = dataset.original_encoding[0], not dataset.original_encoding[1]
    expected = model(source)
    for step in steps:
        edits = {key: None if new is None else value(vr, new) for (key, vr), new in step.items()}
        splice(str(source), str(target), edits)
        for (key, vr), new in step.items():
            if new is None:
                expected.pop((key.tag, key.creator), None)
                continue
            if big and vr in WIDTHS:
                new = b"".join(
                    new[i : i + WIDTHS[vr]][::-1] for i in range(0, len(new), WIDTHS[vr])
                )
            expected[key.tag, key.creator] = (None if implicit else vr, new)
            if key.tag == 0x00080018:
                expected[0x00020003, ""] = ("UI", new)
        assert model(target) == expected
        check_meta_length(target)
        os.replace(target, source)
    header = header_of(source)
    assert len(header.elements) + (header.pixels is not None) >= len(expected)


def model(path: Path) -> dict[tuple[int, str], Any]:
    """All elements but creators and lengths; private ones by creator."""
    elements = without_lengths(everything(path))
    result = {}
    for tag, content in elements.items():
        group, number = tag >> 16, tag & 0xFFFF
        if group & 1 and number > 0xFF and tag != 0xFFFCFFFC:
            _, creator = elements[group << 16 | number >> 8]
            name = creator.decode() if isinstance(creator, bytes) else str(creator)
            result[group << 16 | number & 0xFF, name.strip()] = content
        elif not (group & 1 and 0x10 <= number <= 0xFF):
            result[tag, ""] = content
    return result
