"""``export_as_npy``: NumPy reads the array, and the text beside it says what it is."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import (
    AlignedByOrder,
    FileExists,
    GridError,
    InvalidValue,
    LeftOut,
    NotAFolder,
)
from dbdicom_xr.formats.npy import NpyWriter
from dbdicom_xr.testing import make_dce, make_enhanced, make_series, make_study

SLICES = [0.0, 4.0, 8.0]
KEYS = {"SliceLocation": SLICES, "EchoTime": [2.5, 5.0]}
IDENTITY = {
    "PatientName": "Secret^Name", "PatientID": "S-1234", "InstitutionName": "Secret Clinic",
    "StudyDate": "20240229", "OperatorsName": "Secret^Person", "AccessionNumber": "S99",
}  # fmt: skip


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def beside(file: str) -> Any:
    with open(f"{file}.json", encoding="utf-8") as text:
        return json.load(text)


@pytest.mark.parametrize("maker", [make_series, make_enhanced])
@pytest.mark.parametrize("sortby", [None, "SliceLocation", ["EchoTime", "SliceLocation"]])
def test_numpy_reads_what_the_series_holds(maker: Any, sortby: Any, tmp_path: Path) -> None:
    maker(tmp_path / "in", keys=KEYS, slope=0.5, intercept=-3)
    series = series_of(tmp_path / "in")
    array, header = series.array(sortby)
    (file,) = series.export_as_npy(tmp_path / "out", sortby)
    assert np.array_equal(np.load(file), array.values)
    content = beside(file)
    assert content["dims"] == list(array.dims)
    assert sorted(os.listdir(tmp_path / "out")) == [
        "1_Synthetic_series.npy", "1_Synthetic_series.npy.json",
    ]  # fmt: skip
    xr.testing.assert_identical(
        db.load_npy(file).drop_attrs(), array.drop_attrs().assign_coords(array.coords).drop_attrs()
    )
    # The header, image by image.
    echoes = content["varying"]["EffectiveEchoTime" if maker is make_enhanced else "EchoTime"]
    read = np.array(echoes["values"])[np.array(echoes["of"])]
    assert np.array_equal(read, header.EchoTime)
    assert content["constant"]["Rows"] == 12


def test_as_the_guide_spells_it(tmp_path: Path) -> None:
    make_dce(tmp_path / "in")
    series = series_of(tmp_path / "in")
    with pytest.warns(AlignedByOrder) as caught:
        (file,) = series.export_as_npy(
            path=str(tmp_path / "out"), sortby=["SliceLocation", "AcquisitionTime"]
        )
    assert {warning.filename for warning in caught} == {__file__}
    assert np.load(file).shape == (3, 10, 1, 32, 24)
    times = beside(file)["coords"]["AcquisitionTime"]
    assert times["values"][0][:2] == ["09:01:00", "09:01:06"]
    assert db.load_npy(file).AcquisitionTime.dtype.kind == "m"


def test_dates_gaps_and_names(tmp_path: Path) -> None:
    make_series(
        tmp_path / "in", drop=[1], slope=2,
        keys={"SliceLocation": SLICES, "AcquisitionDate": ["20240228", "20240301"]},
        header={"SeriesNumber": 12, "SeriesDescription": "Größe: a/b"},
    )  # fmt: skip
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_npy(tmp_path / "out", ["SliceLocation", "AcquisitionDate"])
    assert os.path.basename(file) == "12_Groe__a_b.npy"
    content = beside(file)
    dates = content["coords"]["AcquisitionDate"]
    assert (dates["dtype"][:10], dates["values"]) == (
        "datetime64", ["2024-02-28T00:00:00", "2024-03-01T00:00:00"],
    )  # fmt: skip
    array = db.load_npy(file)
    original, _ = series.array(["SliceLocation", "AcquisitionDate"])
    assert np.isnan(array.values[0, 1]).all()
    assert np.isfinite(array.values[0, 0]).all()
    assert content["varying"]["InstanceNumber"]["of"][0][1] == [None]
    assert (array.AcquisitionDate == original.AcquisitionDate).all()
    assert array.name == "Größe: a/b"


def test_nobody_is_named_unless_asked_for(tmp_path: Path) -> None:
    def header(dataset: Any, index: Any) -> None:
        for name, value in IDENTITY.items():
            setattr(dataset, name, value)
        dataset.private_block(0x0019, "SECRET", create=True).add_new(1, "LO", "Secret text")

    make_series(tmp_path / "in", keys=KEYS, header=header)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_npy(tmp_path / "out")
    text = Path(f"{file}.json").read_text(encoding="utf-8")
    assert "Secret" not in text
    assert "S-1234" not in text
    assert "20240229" not in text
    # The way back for those who have the originals.
    uids = beside(file)["coords"]["SOPInstanceUID"]["values"]
    assert sorted(uids) == sorted(series.SOPInstanceUID)
    (file,) = series.export_as_npy(tmp_path / "out", identify=True, overwrite=True)
    assert beside(file)["constant"]["PatientName"] == "Secret^Name"
    assert "Secret text" in str(beside(file)["constant"])


def test_every_level(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    patient = database.patients()[0]
    study = patient.studies()[0]
    series = study.series()[0]
    instance = series.instances()[0]
    counts = []
    for number, record in enumerate([database, patient, study, series, instance]):
        files = record.export_as_npy(tmp_path / str(number))
        counts.append(len(files))
        assert len(set(files)) == len(files)
        assert all(Path(file).is_file() for file in files)
    assert counts == [8, 4, 2, 1, 1]
    assert np.array_equal(np.load(files[0]), instance.array().values)


def test_stored_values_of_one_file_by_name(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS, slope=0.37)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_npy(tmp_path / "new" / "data.npy", rescale=False)
    assert file == str(tmp_path / "new" / "data.npy")
    assert np.load(file).dtype == np.uint16
    stored = [image.dataset().pixel_array.T for image in series.instances()]
    assert np.array_equal(np.load(file), stored)


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    out = tmp_path / "out"
    with pytest.raises(InvalidValue, match="becomes 8"):
        database.export_as_npy(out / "one.npy")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAFolder, match=r"\.npy"):
        database.export_as_npy(tmp_path / "file" / "deep")
    with pytest.raises(GridError, match="InversionTime"):
        database.series()[0].export_as_npy(out, "InversionTime")
    with pytest.raises(GridError, match="None of the series"):
        database.export_as_npy(out, "InversionTime")
    assert not out.exists()
    files = database.series()[0].export_as_npy(out)
    before = Path(files[0]).read_bytes()
    with pytest.raises(FileExists):
        database.series()[0].export_as_npy(out, rescale=False)
    assert Path(files[0]).read_bytes() == before
    assert len(os.listdir(out)) == 2


def test_series_that_cannot_be_are_told(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "a", keys=KEYS, header={"SeriesNumber": 1})
    make_series(tmp_path / "in" / "b", keys={"SliceLocation": SLICES}, seed=2,
                header={"SeriesNumber": 2, "EchoTime": None})  # fmt: skip
    database = db.database(tmp_path / "in")
    with pytest.warns(LeftOut, match="EchoTime"):
        files = database.export_as_npy(tmp_path / "out", "EchoTime")
    assert len(files) == 1


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    series = series_of(tmp_path / "in")

    def full(self: Any, key: Any, block: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NpyWriter, "__setitem__", full)
    with pytest.raises(OSError, match="No space left"):
        series.export_as_npy(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(4, 3, 5), (6,), (2, 2, 2, 3)])
def test_blocks_in_any_order(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, shape).astype("int32")
    cuts = [[slice(0, size // 2), slice(size // 2, size)] for size in shape]
    keys = [
        tuple(cuts[axis][(number >> axis) & 1] for axis in range(len(shape)))
        for number in range(2 ** len(shape))
    ]
    with open(tmp_path / "a.npy", "wb") as file:
        writer = NpyWriter(file, shape, "int32")
        for key in np.random.default_rng(1).permutation(len(keys)):
            writer[keys[key]] = values[keys[key]]
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)


def test_memory_stays_small(tmp_path: Path) -> None:
    db.zeros((600, 256, 256), dtype="mri").save(tmp_path / "in")
    series = series_of(tmp_path / "in")
    tracemalloc.start()
    (file,) = series.export_as_npy(tmp_path / "out", "SliceLocation")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.load(file, mmap_mode="r").nbytes > 78e6
    assert peak < 2 * 80e6


@pytest.mark.parametrize("large", [False, True])
def test_files_of_two_exports_are_not_read_as_one(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (300, 200) if large else (12, 16)
    for number, name in enumerate("ab"):
        make_series(tmp_path / name, keys={"SliceLocation": SLICES}, shape=shape, seed=number)
    target = tmp_path / "out" / "x.npy"
    series_of(tmp_path / "a").export_as_npy(target, "SliceLocation")
    db.load_npy(target)
    kept = target.read_bytes()
    series_of(tmp_path / "b").export_as_npy(target, "SliceLocation", overwrite=True)
    db.load_npy(target)
    target.write_bytes(kept)
    with pytest.raises(InvalidValue, match="do not belong together"):
        db.load_npy(target)


def test_nifti_and_numpy_stand_in_one_folder(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": [0, 5]})
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_npy(tmp_path / "out")
    before = Path(f"{file}.json").read_bytes()
    series.export_as_nifti(tmp_path / "out")
    series.export_as_nifti(tmp_path / "out", overwrite=True)
    assert Path(f"{file}.json").read_bytes() == before
    array = db.load_npy(file)
    os.rename(f"{file}.json", file.replace(".npy", ".json"))  # as it was called before
    xr.testing.assert_identical(db.load_npy(file), array)


@pytest.mark.parametrize("export", ["csv", "dicom", "npy", "png", "nifti"])
@pytest.mark.parametrize("path", ["s3://bucket/out", "https://host/out.npy"])
def test_addresses_are_no_folders(
    export: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_series(tmp_path / "in", keys={})
    series = series_of(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue, match="folder of this computer"):
        getattr(series, f"export_as_{export}")(path)
    assert os.listdir(tmp_path) == ["in"]
