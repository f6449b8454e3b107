"""Arrays of real series written back, before judges from outside.

A part of what ``docs/make_written_table.py`` does for all of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import dbdicom_xr as db
from tests.emit.rewritten import WAYS, Judgement, judge_series

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore"),  # of odd values in the sources
]

FOLDERS = [
    ("dcmstack", ("unchanged", "mean", "map")),  # multi-echo, with long private headers
    ("rt-utils", ("unchanged", "mean", "RLE", "flip")),  # CT
    ("uih", ("unchanged",)),  # tiles in VFRAME
    ("pydicom-data", ("unchanged",)),  # palettes, CR, NM, odd headers
    ("dcm_qa", ("unchanged",)),  # mosaics
    ("philips_enh/enh", ("multiframe",)),  # conditional attributes outside of their macros
]
# Half a step of 16 bits, for sources of more bits.
HALF_A_STEP = 1 / 65_534 / 2 * 1.01


def opened(testdata: Path, name: str, tmp_path: Path) -> Any:
    """Return a database of a copy: images are written into its folder."""
    if not (testdata / name).is_dir():
        pytest.skip(f"no {name} in the test data")
    shutil.copytree(testdata / name, tmp_path / name, ignore=shutil.ignore_patterns(".dbdicom_xr"))
    return db.database(tmp_path / name)


def complaints(one: Judgement) -> list[Any]:
    said: list[Any] = [*one.new_errors, *one.wrong, *one.missing, *one.differing]
    said += [f"not {reader}" for reader, agrees in one.readers.items() if not agrees]
    if one.error > HALF_A_STEP * one.span:
        said.append(f"off by {one.error} of {one.span}")
    return said


@pytest.mark.parametrize(("name", "ways"), FOLDERS, ids=[name for name, _ in FOLDERS])
def test_written_series(testdata: Path, tmp_path: Path, name: str, ways: tuple[str, ...]) -> None:
    if "map" in ways:
        pytest.importorskip("highdicom")
    wrong: dict[str, list[Any]] = {}
    judged = compared = 0
    with opened(testdata, name, tmp_path) as database:
        for series in database.series():
            for way in ways:
                one = judge_series(series, WAYS[way], most=1)
                if one is None or "3 channels of uint16" in one.refused:
                    continue
                judged += 1
                compared += one.checked > 0
                said = [one.refused] if one.refused else complaints(one)
                if said:
                    wrong[f"{way}: {one.source}"] = said
        database.restore()
    assert wrong == {}
    assert judged > 0
    assert compared > 0


def test_images_are_added_behind_those_that_are_there(testdata: Path, tmp_path: Path) -> None:
    with opened(testdata, "rt-utils", tmp_path) as database:
        series = next(one for one in database.series() if one.Modality == ["CT"])
        before = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in series.files()}
        numbers = [one.InstanceNumber for one in series.instances()]
        array, _ = series.array()
        array.dicom.write(series, mode="a")
        after = [dcmread(path) for path in series.files()]
        new = sorted(
            (one for one in after if one.SOPInstanceUID not in before),
            key=lambda one: int(one.InstanceNumber),
        )
        assert len(after) == 2 * len(before)
        assert len(new) == len(before)
        first = max(len(before), *(number or 0 for number in numbers)) + 1
        assert [int(one.InstanceNumber) for one in new] == [*range(first, first + len(new))]
        assert {one.SeriesInstanceUID for one in after} == set(series.SeriesInstanceUID)
        for image, one in zip(array.values, new, strict=True):
            real = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
            np.testing.assert_allclose(real, image.T, rtol=1e-6)  # an array of float32
            (item,) = one.SourceImageSequence
            assert item.ReferencedSOPInstanceUID in before
        database.restore()


def test_nothing_of_another_patient_comes_along(testdata: Path, tmp_path: Path) -> None:
    for name in ("rt-utils", "dcmstack"):
        if not (testdata / name).is_dir():
            pytest.skip(f"no {name} in the test data")
        shutil.copytree(testdata / name, tmp_path / name)
    with db.database(tmp_path) as database:
        ct = next(one for one in database.series() if one.Modality == ["CT"])
        mr = next(one for one in database.series() if one.Modality == ["MR"])
        new = ct.parent.new_series()
        mr.array()[0].dicom.write(new)
        place, source = dcmread(ct.files()[0]), dcmread(mr.files()[0])
        for path in new.files():
            image = dcmread(path, stop_before_pixels=True)
            for keyword in (
                "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge",
                "PatientWeight", "PatientSize", "StudyInstanceUID", "StudyDate", "StudyTime",
                "StudyDescription", "StudyID", "AccessionNumber", "ReferringPhysicianName",
            ):  # fmt: skip
                assert (image.get(keyword) or None) == (place.get(keyword) or None), keyword
            assert image.Modality == "MR"
            frames = {one.get("FrameOfReferenceUID") for one in (place, source)}
            assert image.FrameOfReferenceUID not in frames
        database.restore()
