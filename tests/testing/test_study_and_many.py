"""Hierarchies, odd files, and thousands of files."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from dbdicom_xr.testing import make_many, make_study


def tree_of(files):
    tree = {}
    for file in files:
        d = pydicom.dcmread(file)
        studies = tree.setdefault(d.PatientID, {})
        series = studies.setdefault(d.StudyInstanceUID, {})
        series.setdefault(d.SeriesInstanceUID, []).append(d.SOPInstanceUID)
    return tree


@pytest.mark.parametrize("reports", [False, True])
def test_tree_is_what_the_files_say(tmp_path, reports):
    made = make_study(tmp_path, patients=2, studies=3, series=2, images=2, reports=reports)
    assert tree_of(made.files) == made.tree
    assert len(made.files) == 2 * 3 * (2 * 2 + reports)
    assert sorted(made.files) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    modalities = [pydicom.dcmread(f).Modality for f in made.files]
    assert {m: modalities.count(m) for m in set(modalities)} == (
        {"MR": 12, "CT": 12, "SR": 6} if reports else {"MR": 12, "CT": 12}
    )


def test_patients_and_studies_have_headers_of_their_own(tmp_path):
    made = make_study(tmp_path, patients=2, studies=2, series=1, images=1)
    found = [pydicom.dcmread(f) for f in made.files]
    assert [str(d.PatientName) for d in found] == ["Phantom^Number 1"] * 2 + [
        "Phantom^Number 2"
    ] * 2
    assert [d.StudyDescription for d in found] == ["Visit 1", "Visit 2"] * 2
    assert len({(d.pixel_array.tobytes()) for d in found}) == 4


def test_everything_is_valid(tmp_path, dciodvfy):
    made = make_study(tmp_path, patients=1, studies=1, series=2, images=1, reports=True)
    assert [dciodvfy(file) for file in made.files] == [[], [], []]


def test_odd_files_are_odd(tmp_path):
    made = make_study(tmp_path, patients=1, studies=1, series=1, images=1, odd=True)
    assert made.odd["empty"].stat().st_size == 0
    with pytest.raises(InvalidDicomError):
        pydicom.dcmread(made.odd["text"])
    truncated = pydicom.dcmread(made.odd["truncated"])
    assert "PixelData" not in truncated
    assert truncated.SOPInstanceUID not in [pydicom.dcmread(f).SOPInstanceUID for f in made.files]
    assert truncated.PatientName == "Pha"  # the end of the file, in the middle of a value
    assert pydicom.dcmread(made.odd["DICOMDIR"]).file_meta.MediaStorageSOPClassUID.name.startswith(
        "Media Storage Directory"
    )
    twin, first = pydicom.dcmread(made.odd["twin"]), pydicom.dcmread(made.files[0])
    assert twin.SOPInstanceUID == first.SOPInstanceUID


def test_many_files_differ_where_they_should(tmp_path):
    made = make_many(tmp_path, 25, shape=(12, 8), slices=5, private_bytes=1001, seed=3)
    found = [pydicom.dcmread(file) for file in made.files]
    assert [d.SOPInstanceUID for d in found] == made.uids
    assert [d.file_meta.MediaStorageSOPInstanceUID for d in found] == made.uids
    assert len(set(made.uids)) == 25
    assert [d.InstanceNumber for d in found] == list(range(1, 26))
    assert [d.SliceLocation for d in found] == made.locations.tolist()
    assert made.locations.tolist() == [0, 2, 4, 6, 8] * 5
    assert [d.ImagePositionPatient[2] - 40 for d in found] == made.locations.tolist()
    assert found[-1].AcquisitionTime == "010002.400000"
    assert len(np.unique(made.times)) == 25
    for i, d in enumerate(found):
        np.testing.assert_array_equal(d.pixel_array.T, made.frame(i))
    assert len({made.frame(i).tobytes() for i in range(25)}) == 25
    assert len(found[0]) > 100
    assert len(found[0][0x0029, 0x1010].value) == 1002
    constant = {d.SeriesInstanceUID for d in found} | {d.PatientName for d in found}
    assert len(constant) == 2


def test_many_without_pixels_in_subfolders(tmp_path):
    made = make_many(tmp_path, 7, shape=(0, 0), per_folder=3)
    assert [f.parent.name for f in made.files] == ["00000"] * 3 + ["00001"] * 3 + ["00002"]
    assert "PixelData" not in pydicom.dcmread(made.files[6])


def test_many_are_valid(tmp_path, dciodvfy):
    made = make_many(tmp_path, 2, shape=(8, 8))
    assert [dciodvfy(file) for file in made.files] == [[], []]
