"""Functional groups of enhanced files: a column per attribute, a row per frame."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.values import plain
from dbdicom_xr.testing import make_enhanced
from tests.data import testdata_files
from tests.index.judge import same
from tests.index.test_values import undefined

SKIPPED = ("Referenced", "Source", "Derivation", "Purpose", "IconImage")


IDENTITY_AND_LAYOUT = {
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyID",
    "SeriesNumber", "SamplesPerPixel", "SamplesPerPixelUsed", "PhotometricInterpretation",
    "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "UltrasoundColorDataPresent",
    "PixelAspectRatio", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
}  # fmt: skip


def nested(groups: Dataset) -> dict[Key, tuple[int, Any]]:
    """Depth and value of the attributes of an item and of those nested in it; the outermost."""
    found: dict[Key, tuple[int, Any]] = {}

    def visit(item: Dataset, path: tuple[pydicom.DataElement, ...]) -> None:
        for element in item:
            tag = int(element.tag)
            key = Key(tag)
            if element.tag.is_private:
                if element.tag.element >= 0x1000:
                    key = Key(tag & 0xFFFF00FF, item[tag >> 16, (tag & 0xFFFF) >> 8].value)
            elif (
                (path and path[-1].tag.is_private)
                or element.tag.group in (0x0002, 0x0010, 0x7FE0)
                or element.keyword in IDENTITY_AND_LAYOUT
                or "PaletteColorLookupTable" in element.keyword
            ) or (
                element.keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType")
                and [part.keyword for part in path] != ["PixelValueTransformationSequence"]
            ):
                continue
            depth = max(len(path), 1)
            if key not in found or depth < found[key][0]:
                found[key] = depth, plain(element.value)
            if (
                element.VR == "SQ"
                and len(element.value) == 1
                and not {"CodeValue", "LongCodeValue", "URNCodeValue"} & {*element.value[0].dir()}
                and not element.keyword.startswith(SKIPPED)
            ):
                visit(element.value[0], (*path, element))

    visit(groups, ())
    return found


def check(path: Path) -> int:
    """Compare all frames, and return the number of values compared."""
    dataset = pydicom.dcmread(path)
    (block,) = gather([str(path)]).blocks
    columns = {key: Column.unpack(key, c.pack()) for key, c in block.frames.items()}
    frames = int(block.places["frames"][0])
    assert frames == int(dataset.get("NumberOfFrames", 1))
    shared = dataset.get("SharedFunctionalGroupsSequence")
    common = nested(shared[0]) if shared else {}
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in range(frames):
            own = nested(per_frame[row]) if row < len(per_frame) else {}
            wanted = common | {
                key: part
                for key, part in own.items()
                if key not in common or part[0] <= common[key][0]
            }
            for key, (_, value) in wanted.items():
                assert same(columns[key].value(row), value), (path, row, key)
            for key in columns.keys() - wanted.keys():
                assert columns[key].value(row) is None, (path, row, key)
            compared += len(wanted)
    return compared


FILES = [
    path
    for folder in ("canon61/enh", "xa30", "philips_enh", "enh", "agfa")
    for path in testdata_files(folder)
    if path.suffix in (".dcm", ".img", "") and path.stat().st_size > 200_000
]


@pytest.mark.realdata
@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_real_files(path: Path) -> None:
    header = gather([str(path)])
    if not header.blocks or not header.blocks[0].frames:
        pytest.skip("not an enhanced file")
    assert check(path) > 100


SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("of_undefined_length", [False, True])
def test_made_files(tmp_path: Path, syntax: str, of_undefined_length: bool) -> None:
    made = make_enhanced(tmp_path, shape=(4, 4))
    dataset = pydicom.dcmread(made.files[0])
    frame = dataset.PerFrameFunctionalGroupsSequence[1]
    frame.private_block(0x0021, "VENDOR", create=True).add_new(0x01, "SL", -7)
    code = Dataset()
    code.CodeValue = "1"
    frame.add_new(0x00089215, "SQ", Sequence([code]))  # DerivationCodeSequence
    if of_undefined_length:
        undefined(dataset)
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    words = np.frombuffer(dataset.PixelData, "<u2")
    dataset.PixelData = words.astype(">u2").tobytes() if syntax == "big" else dataset.PixelData
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = tmp_path / "changed.dcm"
    pydicom.dcmwrite(path, dataset, implicit_vr=syntax == "implicit", little_endian=syntax != "big")
    assert check(path) > 40
    columns = gather([str(path)]).blocks[0].frames
    assert Key(0x00080100) not in columns  # codes say nothing about the frame itself
    if syntax != "implicit":
        assert columns[Key(0x00210001, "VENDOR")].value(1) == -7
    assert columns[Key(0x00210001, "VENDOR")].value(0) is None


def test_fewer_items_than_frames(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(make_enhanced(tmp_path, shape=(4, 4)).files[0])
    del dataset.PerFrameFunctionalGroupsSequence[2:]
    dataset.save_as(tmp_path / "x")
    assert check(tmp_path / "x") > 40
    assert "per-frame functional groups describe 2" in gather([str(tmp_path / "x")]).notes[0]


def test_more_items_than_frames(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(make_enhanced(tmp_path, shape=(4, 4)).files[0])
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups.append(groups[0])
    dataset.save_as(tmp_path / "x")
    assert check(tmp_path / "x") > 40
    assert f"describe {len(groups)}" in gather([str(tmp_path / "x")]).notes[0]


def test_frames_of_several_files_in_one_block(tmp_path: Path) -> None:
    paths = []
    for i in range(3):
        dataset = pydicom.dcmread(make_enhanced(tmp_path / "m", shape=(4, 4)).files[0])
        dataset.SOPInstanceUID = f"1.2.{i}"
        for item in dataset.PerFrameFunctionalGroupsSequence:
            item.FrameContentSequence[0].FrameAcquisitionNumber = i
        if i == 1:
            del dataset.PerFrameFunctionalGroupsSequence
            del dataset.SharedFunctionalGroupsSequence
        dataset.save_as(tmp_path / f"{i}")
        paths.append(str(tmp_path / f"{i}"))
    (block,) = gather(paths).blocks
    frames = int(block.places["frames"][0])
    column = block.frames[Key(0x00209156)]
    assert [column.value(row) for row in range(3 * frames)] == (
        [0] * frames + [None] * frames + [2] * frames
    )


def test_damaged_groups_are_noted_and_the_instance_stays(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path, shape=(4, 4)).files[0]
    raw = Path(path).read_bytes()
    at = raw.index(b"\x20\x00\x11\x91SQ")  # FrameContentSequence
    (tmp_path / "x").write_bytes(raw[: at + 12] + b"\x01" + raw[at + 13 :])
    findings = gather([str(tmp_path / "x")])
    assert "functional groups cannot be read" in findings.notes[0] or findings.problems


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def in_private(group: int, **attributes: Any) -> Dataset:
    """An item with a private sequence, which holds a copy of some header."""
    made = item()
    block = made.private_block(group, "ACME", create=True)
    inner = item(**attributes)
    inner.private_block(group, "ACME", create=True).add_new(0x01, "SL", 5)
    block.add_new(0x0F, "SQ", Sequence([inner]))
    return made


def transformed(slope: float) -> Dataset:
    values = item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")
    return item(PixelValueTransformationSequence=Sequence([values]))


def both(one: Dataset, other: Dataset) -> Dataset:
    one.update(other)
    return one


def deeper() -> Dataset:
    """An echo time in a sequence before that of the macro, one level deeper."""
    odd = item(MRTimingAndRelatedParametersSequence=Sequence([item(EffectiveEchoTime=99.0)]))
    return item(
        CTExposureSequence=Sequence(
            [item(MREchoSequence=Sequence([item(EffectiveEchoTime=98.0)]))]
        ),
        ContrastBolusUsageSequence=Sequence([odd]),
        MREchoSequence=Sequence([item(EffectiveEchoTime=7.0)]),
    )


HEADER = {
    "Rows": 2, "Columns": 6, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
    "PixelRepresentation": 1, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME1",
}  # fmt: skip
# What the shared item and that of each frame hold, and values of the frames.
HIDDEN: dict[str, tuple[Dataset, Dataset, dict[str, Any]]] = {
    "an icon": (item(), item(IconImageSequence=Sequence([item(**HEADER, RescaleSlope=3)])), {}),
    "layout beside the macros": (item(), item(**HEADER, SOPInstanceUID="9.9", PatientID="x"), {}),
    "a private copy": (
        transformed(2),
        in_private(0x2005, **HEADER, RescaleSlope=5, SOPInstanceUID="9.9", SOPClassUID="9"),
        {"RescaleSlope": 2.0},
    ),
    "a private copy before the macro": (
        item(),
        both(in_private(0x0019, RescaleSlope=7), transformed(2)),
        {"RescaleSlope": 2.0},
    ),
    "a private copy of a macro": (
        transformed(2),
        in_private(0x2005, PixelValueTransformationSequence=Sequence([item(RescaleSlope=5)])),
        {"RescaleSlope": 2.0},
    ),
    "a slope elsewhere": (item(), item(MREchoSequence=Sequence([item(RescaleSlope=4)])), {}),
    "deeper in the same item": (item(), deeper(), {"EffectiveEchoTime": 7.0}),
    "deeper in the item of the frame": (
        item(MREchoSequence=Sequence([item(EffectiveEchoTime=7.0)])),
        item(CTExposureSequence=deeper().CTExposureSequence),
        {"EffectiveEchoTime": 7.0},
    ),
}


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", HIDDEN)
def test_only_what_belongs_to_the_frame_is_its_attribute(
    tmp_path: Path, name: str, implicit: bool
) -> None:
    shared, frame, expected = HIDDEN[name]
    dataset = pydicom.dcmread(make_enhanced(tmp_path, shape=(4, 4)).files[0])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frame] * int(dataset.NumberOfFrames))
    dataset.file_meta.TransferSyntaxUID = SYNTAXES["implicit" if implicit else "explicit"]
    pydicom.dcmwrite(tmp_path / "x", dataset, implicit_vr=implicit, little_endian=True)
    check(tmp_path / "x")
    columns = gather([str(tmp_path / "x")]).blocks[0].frames
    for keyword in (*HEADER, "RescaleSlope", "SOPInstanceUID", "SOPClassUID", "PatientID"):
        if keyword not in expected:
            assert Key(pydicom.datadict.tag_for_keyword(keyword) or 0) not in columns, keyword
    for keyword, value in expected.items():
        column = columns[Key(pydicom.datadict.tag_for_keyword(keyword) or 0)]
        assert [column.value(row) for row in range(column.rows)] == [value] * column.rows
    if "private" in name and not implicit:
        group = next(element.tag.group for element in frame if element.tag.is_private)
        assert columns[Key(group << 16 | 1, "ACME")].value(0) == 5
