"""Mosaics as they are indexed: a frame per tile, each with its place; doubtful ones stay whole."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dbdicom_xr.index.blocks import Block
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.gather import Findings, gather
from dbdicom_xr.index.mosaic import is_mosaic
from dbdicom_xr.testing import Geometry, make_mosaic
from dbdicom_xr.testing.mosaic import csa_header

ROWS, COLUMNS = Key(0x00280010), Key(0x00280011)
POSITION, LOCATION, TIME = Key(0x00200032), Key(0x00201041), Key(0x00080032)
CSA = Key(0x00290010, "SIEMENS CSA HEADER")


def gathered(made: Any) -> tuple[Block, Findings]:
    findings = gather([str(file) for file in made.files])
    (block,) = findings.blocks
    return block, findings


def each(block: Block, key: Key) -> list[Any]:
    column = block.frames[key]
    return [column.value(row) for row in range(int(block.places["frames"].sum()))]


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
@pytest.mark.parametrize("vendor", ["siemens", "uih"])
def test_tiles_are_frames(tmp_path, vendor, syntax):
    keys = {"SliceLocation": [10.0, 14.0, 18.0, 22.0, 26.0], "EchoTime": [2.0, 4.0]}
    made = make_mosaic(tmp_path, keys=keys, vendor=vendor, transfer_syntax=syntax)
    block, findings = gathered(made)
    assert findings.notes == {}
    assert block.places["frames"].tolist() == [5, 5]
    assert each(block, ROWS) == [12] * 10
    assert each(block, COLUMNS) == [16] * 10
    assert each(block, LOCATION) == keys["SliceLocation"] * 2
    places = [Geometry().position(z) for z in keys["SliceLocation"]]
    np.testing.assert_allclose(each(block, POSITION), places * 2, atol=1e-9)
    # What stands in the file is kept as it is.
    rows = {"siemens": 36, "uih": 24}[vendor]
    assert block.columns[ROWS].decoded() == [rows]
    assert block.columns[COLUMNS].decoded() == [48]
    assert (POSITION in block.columns) == (vendor == "siemens")


def test_times_of_slices_where_the_header_tells_them(tmp_path):
    block, _ = gathered(make_mosaic(tmp_path / "uih", vendor="uih"))
    assert each(block, TIME) == ["090100.000000", "090100.050000", "090100.100000"]
    block, _ = gathered(make_mosaic(tmp_path / "siemens"))
    assert TIME not in block.frames
    assert block.columns[TIME].decoded() == ["090100.000000"]


def test_slices_against_the_normal(tmp_path):
    made = make_mosaic(tmp_path, keys={"SliceLocation": [9.0, 6.0, 3.0, 0.0]})
    block, findings = gathered(made)
    assert findings.notes == {}
    assert each(block, LOCATION) == [9.0, 6.0, 3.0, 0.0]
    np.testing.assert_allclose(np.array(each(block, POSITION))[:, 2], [49.0, 46.0, 43.0, 40.0])


# Siemens counts SliceLocation along an axis of the patient, so that it may run against the normal:
# normal, what is written for the first of two slices 5 mm apart, what the second has.
LOCATIONS = [
    ((1, 0, 0, 0, 1, 0), 40.0, 45.0),  # +z, as the axis
    ((0, 1, 0, 0, 0, -1), -20.0, -25.0),  # -x, against the axis
    ((0, 1, 0, 0, 0, -1), 20.0, 25.0),  # counted along the normal all the same
    ((0, 1, 0, 0, 0, -1), 3.0, -2.0),  # from some other zero: along the axis
    ((1, 0, 0, 0, 1, 0), None, 45.0),  # not told: the position along the normal
    ((0, 1, 0, 0, 0, -1), None, 25.0),
]


@pytest.mark.parametrize(("orientation", "written", "second"), LOCATIONS)
def test_slice_locations(tmp_path, orientation, written, second):
    made = make_mosaic(
        tmp_path,
        keys={"SliceLocation": [0.0, 5.0]},
        geometry=Geometry(orientation=orientation),
        header={"SliceLocation": written},
    )
    block, _ = gathered(made)
    found = each(block, LOCATION)
    if written is not None:
        assert found[0] == written
    assert found[1] == pytest.approx(second, abs=1e-6)


def test_a_long_csa_header_that_was_left_in_the_file(tmp_path):
    def header(dataset: Dataset, _: Any) -> None:
        long = csa_header({"Filler": ("LO", ["x" * 70000])})
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER")
        tags = block[0x10].value
        number = int.from_bytes(tags[8:12], "little") + 1
        block[0x10].value = tags[:8] + number.to_bytes(4, "little") + tags[12:] + long[16:]

    block, findings = gathered(make_mosaic(tmp_path, header=header))
    assert findings.notes == {}
    assert block.columns[CSA].left_in_files
    assert block.places["frames"].tolist() == [3]


# -- what cannot be trusted --------------------------------------------------------------------


def changed_csa(**tags: Any) -> Any:
    """An edit of the header that replaces the CSA header, of three tiles along +z by default."""
    usual = {
        "NumberOfImagesInMosaic": ("US", [3]),
        "SliceNormalVector": ("FD", [0.0, 0.0, 1.0]),
        "MosaicRefAcqTimes": ("FD", [0.0, 50.0, 100.0]),
    }

    def edit(dataset: Dataset, _: Any) -> None:
        merged = {name: tag for name, tag in {**usual, **tags}.items() if tag is not None}
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER")
        block[0x10].value = csa_header(merged)

    return edit


def csa_bytes(change: Any) -> Any:
    def edit(dataset: Dataset, _: Any) -> None:
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER")
        block[0x10].value = change(block[0x10].value)

    return edit


def without_csa(dataset: Dataset, _: Any) -> None:
    dataset.private_block(0x0029, "SIEMENS CSA HEADER")
    del dataset[0x00291010]


DOUBTFUL = {
    "no CSA header": (without_csa, r"the CSA header of Siemens, .*, is missing"),
    "empty CSA header": (csa_bytes(lambda raw: b""), "is missing"),
    "cut off": (csa_bytes(lambda raw: raw[: len(raw) // 2 // 2 * 2]), "CSA header is damaged"),
    "zeros": (csa_bytes(lambda raw: bytes(len(raw))), "CSA header is damaged"),
    "no number": (changed_csa(NumberOfImagesInMosaic=None), "does not tell their number"),
    "number 0": (changed_csa(NumberOfImagesInMosaic=("US", [0])), "does not tell their number"),
    "no text": (changed_csa(NumberOfImagesInMosaic=("US", ["many"])), "CSA header is damaged"),
    "no normal": (changed_csa(SliceNormalVector=None), "does not tell their order"),
    "no finite normal": (
        changed_csa(SliceNormalVector=("FD", [0.0, 0.0, "nan"])), "does not tell their order",
    ),
    "another normal": (
        changed_csa(SliceNormalVector=("FD", [0.0, 1.0, 0.0])), "not the normal of the plane",
    ),
    "another number of times": (
        changed_csa(MosaicRefAcqTimes=("FD", [0.0, 50.0])), "3 tiles, but of 2 slice times",
    ),
    "another number beside it": (
        changed_csa(NumberOfImagesInMosaic=("US", [4]), MosaicRefAcqTimes=None),
        r"4 by the CSA header, but 3 by \(0019,xx0a\)",
    ),
    "an image that is no multiple": ({"Rows": 25}, "do not fit an image of 25 rows"),
    "no position": ({"ImagePositionPatient": None}, "ImagePositionPatient is None"),
    "half a position": ({"ImagePositionPatient": [1.0]}, "ImagePositionPatient is 1.0"),
    "no orientation": ({"ImageOrientationPatient": None}, "ImageOrientationPatient is None"),
    "a skew plane": (
        {"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]}, "which is no orientation",
    ),
    "no pixel spacing": ({"PixelSpacing": None}, "PixelSpacing is None"),
    "pixel spacing 0": ({"PixelSpacing": [0, 1]}, "not above 0"),
    "no spacing of slices": ({"SpacingBetweenSlices": None}, "SpacingBetweenSlices is None"),
    "spacing of slices 0": ({"SpacingBetweenSlices": 0}, "not above 0"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
@pytest.mark.parametrize(("header", "reason"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_doubtful_mosaic_stays_one_image_with_a_note(tmp_path, header, reason):
    made = make_mosaic(tmp_path, header=header)
    block, findings = gathered(made)
    assert block.places["frames"].tolist() == [1]
    assert block.frames == {}
    assert list(findings.notes) == [0]
    pattern = f"the tiles of the mosaic cannot be told apart: .*{reason}"
    assert re.search(pattern, findings.notes[0])


def uih_edit(change: Any) -> Any:
    def edit(dataset: Dataset, _: Any) -> None:
        change(dataset.private_block(0x0065, "Image Private Header"))

    return edit


def _drop_position(block: Any) -> None:
    del block[0x51].value[1].ImagePositionPatient


DOUBTFUL_UIH = {
    "no number": (uih_edit(lambda block: block.__delitem__(0x50)), r"\(0065,xx50\) is None"),
    "a broken number": (
        uih_edit(lambda block: setattr(block[0x50], "value", "3.5")), "does not tell their number",
    ),
    "no slices": (uih_edit(lambda block: block.__delitem__(0x51)), "does not tell their number"),
    "fewer slices": (
        uih_edit(lambda block: block[0x51].value.pop()), r"3 by \(0065,xx50\), but 2 by",
    ),
    "a slice without place": (uih_edit(_drop_position), "does not tell ImagePositionPatient"),
    "an image that is no multiple": ({"Columns": 33}, "do not fit an image"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "reason"), DOUBTFUL_UIH.values(), ids=DOUBTFUL_UIH)
def test_a_doubtful_mosaic_of_united_imaging(tmp_path, header, reason):
    block, findings = gathered(make_mosaic(tmp_path, vendor="uih", header=header))
    assert block.places["frames"].tolist() == [1]
    assert block.frames == {}
    assert re.search(reason, findings.notes[0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_csa_headers_end_in_tiles_or_a_note(tmp_path_factory, data):
    """Whatever bytes are there: either all is as it was, or the mosaic stays whole, with a note."""
    folder = tmp_path_factory.mktemp("damaged")

    def damage(raw: bytes) -> bytes:
        changed = bytearray(raw[: data.draw(st.integers(1, len(raw) // 2)) * 2])
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(changed) - 1))
            changed[place] = data.draw(st.integers(0, 255))
        return bytes(changed)

    block, findings = gathered(make_mosaic(folder, header=csa_bytes(damage)))
    frames = int(block.places["frames"][0])
    assert (frames, len(findings.notes)) in ((3, 0), (1, 1))
    if frames == 3:
        assert np.array(each(block, POSITION))[:, 2].tolist() == [40.0, 45.0, 50.0]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb"ORIGINAL\PRIMARY\M\ND\MOSAIC", True),
        (rb"ORIGINAL\PRIMARY\M\ND\MOSAIC ", True),
        (rb"ORIGINAL\PRIMARY\M\VFRAME", True),
        (rb"MOSAIC", True),
        (rb"ORIGINAL\PRIMARY\M\ND\MOSAICS", False),
        (rb"ORIGINAL\PRIMARY\NOMOSAIC\ND", False),
        (b"", False),
        (None, False),
    ],
)
def test_which_images_are_mosaics(raw, expected):
    assert is_mosaic(raw) is expected


@pytest.mark.parametrize("frames", [1, None])
def test_a_mosaic_may_say_that_it_is_one_image(tmp_path, frames):
    block, findings = gathered(make_mosaic(tmp_path, header={"NumberOfFrames": frames}))
    assert block.places["frames"].tolist() == [3]
    assert findings.notes == {}


def test_a_mosaic_that_claims_several_images_stays_whole(tmp_path):
    block, findings = gathered(make_mosaic(tmp_path, header={"NumberOfFrames": 2}))
    assert ROWS not in block.frames
    assert "NumberOfFrames is 2" in findings.notes[0]


def test_other_images_are_not_touched(tmp_path):
    made = make_mosaic(tmp_path, header={"ImageType": ["ORIGINAL", "PRIMARY", "M"]})
    block, findings = gathered(made)
    assert block.places["frames"].tolist() == [1]
    assert findings.notes == {}
