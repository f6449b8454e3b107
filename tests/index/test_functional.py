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

SKIPPED = ("Referenced", "Source", "Derivation", "Purpose")


def nested(groups: Dataset) -> dict[Key, Any]:
    """The attributes of an item and of the single items nested in it; the first one counts."""
    found: dict[Key, Any] = {}
    inner = []
    for element in groups:
        tag = int(element.tag)
        key = Key(tag)
        if element.tag.is_private and element.tag.element >= 0x1000:
            key = Key(tag & 0xFFFF00FF, groups[tag >> 16, (tag & 0xFFFF) >> 8].value)
        found.setdefault(key, plain(element.value))
        if (
            element.VR == "SQ"
            and len(element.value) == 1
            and not {"CodeValue", "LongCodeValue", "URNCodeValue"} & {*element.value[0].dir()}
            and not element.keyword.startswith(SKIPPED)
        ):
            inner.append(element.value[0])
    for part in inner:
        for key, value in nested(part).items():
            found.setdefault(key, value)
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
            wanted = {**common, **(nested(per_frame[row]) if row < len(per_frame) else {})}
            for key, value in wanted.items():
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
    del dataset.PerFrameFunctionalGroupsSequence[3:]
    dataset.save_as(tmp_path / "x")
    assert check(tmp_path / "x") > 40


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
