"""xr.open_dataset(engine="dicom"), as xarray tests its own engines."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.arrays.reader import FrameReader
from dbdicom_xr.errors import (
    DbdicomError,
    GridError,
    InvalidValue,
    NotAFolder,
    UnknownArgument,
    UnknownKeyword,
)
from dbdicom_xr.testing import make_dce, make_enhanced, make_series, make_study
from dbdicom_xr.xarray_plugin.datasets import series_dataset
from dbdicom_xr.xarray_plugin.guess import is_dicom
from tests.data import testdata_folder

KEYS = {"SliceLocation": [0.0, 5.0, 10.0], "FlipAngle": [2.0, 10.0, 20.0, 30.0]}
SORTBY = list(KEYS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_series(tmp_path_factory.mktemp("engine"), keys=KEYS, seed=3)


@pytest.fixture(scope="module")
def folder(made: Any) -> str:
    return str(made.folder)


@pytest.fixture(scope="module")
def expected(folder: str) -> xr.DataArray:
    with db.database(folder) as database:
        array: xr.DataArray = database.series()[0].array(SORTBY)[0].load()
    return array


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of frames of each read."""
    seen: list[int] = []
    real = FrameReader._read

    def counted(self: Any, files: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(files.size)
        real(self, files, *args, **kwargs)

    monkeypatch.setattr(FrameReader, "_read", counted)
    return seen


def opened(folder: str, **options: Any) -> xr.Dataset:
    return xr.open_dataset(folder, engine="dicom", sortby=SORTBY, **options)


# -- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, {}, "auto", {"SliceLocation": 1}, -1])
def test_it_is_what_series_array_gives(folder, expected, chunks):
    dataset = opened(folder, chunks=chunks)
    assert list(dataset.data_vars) == ["pixels"]
    xr.testing.assert_identical(dataset.pixels.load(), expected.rename("pixels"))
    assert dataset.Modality == "MR"
    assert dataset.attrs["RepetitionTime"] == db.database(folder).series()[0].RepetitionTime.item()
    assert "FlipAngle" not in dataset.attrs
    assert "SOPInstanceUID" not in dataset.attrs


def test_attributes_are_plain(folder, tmp_path):
    dataset = opened(folder)
    for name, value in dataset.attrs.items():
        parts = value if isinstance(value, list) else [value]
        assert all(type(part) in (str, int, float) for part in parts), name
    with pytest.warns(UserWarning, match="Consolidated"):
        dataset.to_zarr(tmp_path / "a.zarr")
    back = xr.open_dataset(tmp_path / "a.zarr", engine="zarr", consolidated=False)
    assert back.attrs == dataset.attrs
    assert (back.pixels == dataset.pixels).all()


@pytest.mark.parametrize("chunks", [None, {}])
def test_netcdf_holds_it(folder, tmp_path, chunks):
    """Version 3, which scipy writes and which has no lists of texts."""
    dataset = opened(folder, chunks=chunks).isel(x=slice(5))
    assert dataset.attrs["ImageType"].startswith("ORIGINAL\\PRIMARY")
    if dataset.pixels.dtype.itemsize == 2:
        dataset = dataset.astype("int32", keep_attrs=True)  # unsigned ones are none of its types
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "a.nc", engine="scipy") as back:
        assert back.attrs["ImageType"] == dataset.attrs["ImageType"]
        assert (back.pixels == dataset.pixels).all()
        assert (back.pixels.dicom.header == dataset.pixels.dicom.header).all()


def test_preferred_chunks_are_those_of_series_array(folder):
    array = db.database(folder).series()[0].array(SORTBY)[0]
    dataset = opened(folder, chunks={})
    assert dataset.pixels.chunks == array.chunks
    assert opened(folder).pixels.encoding["preferred_chunks"] == dict(
        zip(array.dims, array.data.chunksize, strict=True)
    )


def test_labels_stay_in_memory(folder):
    dataset = opened(folder, chunks={})
    assert all(coord.chunks is None for coord in dataset.coords.values())


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ({"pixels_first": True}, lambda a: a.dims == ("x", "y", *SORTBY, "n")),
        ({"rescale": False}, lambda a: a.dtype == np.uint16),
        ({"align": "exact"}, lambda a: a.shape[:2] == (3, 4)),
        ({"tolerance": {"FlipAngle": 9.0}, "sortby": "FlipAngle"}, lambda a: a.sizes["n"] == 6),
        ({"drop_variables": "frame"}, lambda a: "frame" not in a.coords),
        ({"drop_variables": ["frame", "x"]}, lambda a: "x" not in a.coords),
    ],
)
def test_options(folder, options, check):
    dataset = xr.open_dataset(folder, engine="dicom", **{"sortby": SORTBY, **options})
    assert check(dataset.pixels)


def test_drop_the_images(folder):
    assert list(opened(folder, drop_variables="pixels").data_vars) == []


# -- lazy ------------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_used(folder, reads):
    dataset = opened(folder)
    repr(dataset)
    dataset._repr_html_()
    part = dataset.pixels.isel(SliceLocation=1, FlipAngle=slice(1, 3))
    repr(part)
    assert reads == []
    part.load()
    assert reads == [2]


INDEXERS = {
    "basic": {"SliceLocation": 1, "FlipAngle": slice(None, None, 2), "x": slice(3, 9)},
    "negative": {"SliceLocation": -1, "FlipAngle": slice(None, None, -1), "y": -2},
    "outer": {"SliceLocation": [2, 0], "FlipAngle": [3, 3, 1], "x": [5, 1, 1], "y": slice(2, 4)},
    "mask": {"SliceLocation": np.array([True, False, True]), "n": 0},
    "empty": {"SliceLocation": [], "x": slice(0, 0)},
    "points": {
        "SliceLocation": xr.DataArray([0, 2, 1], dims="p"),
        "FlipAngle": xr.DataArray([3, 0, 0], dims="p"),
        "x": xr.DataArray([1, 1, 7], dims="p"),
    },
    "grid": {
        "FlipAngle": xr.DataArray([[0, 1], [3, 2]], dims=("a", "b")),
        "SliceLocation": xr.DataArray([[0, 1], [2, 2]], dims=("a", "b")),
    },
}


@pytest.mark.parametrize("pixels_first", [False, True])
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("name", INDEXERS)
def test_indexing(folder, expected, name, chunks, pixels_first):
    dataset = opened(folder, chunks=chunks, pixels_first=pixels_first)
    wanted = expected.transpose(*dataset.pixels.dims)
    found = dataset.pixels.isel(INDEXERS[name])
    np.testing.assert_array_equal(found.values, wanted.isel(INDEXERS[name]).values)
    again = found.isel({found.dims[0]: slice(None, None, -1)}) if found.ndim else found
    assert again.shape == found.shape


@pytest.mark.parametrize("first", ["basic", "outer", "points"])
@pytest.mark.parametrize("second", [{"y": [4, 0]}, {"y": xr.DataArray([0, 1], dims="q")}])
def test_indexing_twice(folder, expected, first, second):
    indexers = {k: v for k, v in INDEXERS[first].items() if k != "y"}
    found = opened(folder).pixels.isel(indexers).isel(second)
    np.testing.assert_array_equal(found.values, expected.isel(indexers).isel(second).values)


def test_sel_and_transpose(folder, expected):
    found = opened(folder).pixels.sel(FlipAngle=[30, 2], SliceLocation=4.9, method="nearest")
    wanted = expected.sel(FlipAngle=[30, 2], SliceLocation=4.9, method="nearest")
    np.testing.assert_array_equal(found.T.values, wanted.T.values)


def test_only_the_frames_that_are_picked_are_read(folder, reads):
    opened(folder).pixels.isel(SliceLocation=[0, 2], FlipAngle=[0, 3]).load()
    assert sum(reads) == 4


def test_values_that_are_written_stay_in_memory(folder, expected):
    dataset = opened(folder)
    dataset.pixels[0, 0, 0, 0, 0] = 7
    assert dataset.pixels[0, 0, 0, 0, 0] == 7
    assert opened(folder).pixels[0, 0, 0, 0, 0] == expected[0, 0, 0, 0, 0]


@pytest.mark.parametrize("chunks", [None, {"FlipAngle": 2}])
def test_pickle(folder, expected, chunks):
    dataset = opened(folder, chunks=chunks)
    data = pickle.dumps(dataset)
    assert len(data) < 30_000
    np.testing.assert_array_equal(pickle.loads(data).pixels.values, expected.values)
    part = pickle.loads(pickle.dumps(dataset.pixels.isel(SliceLocation=[2, 0], x=3)))
    np.testing.assert_array_equal(part.values, expected.isel(SliceLocation=[2, 0], x=3).values)


def test_threads(folder, expected):
    dataset = opened(folder, cache=False)

    def load(number: int) -> bool:
        at = {"SliceLocation": number % 3, "FlipAngle": number % 4}
        return bool((dataset.pixels.isel(at).values == expected.isel(at).values).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(load, range(200)))


def test_no_file_stays_open(folder):
    opened(folder).load()
    links = Path("/proc/self/fd")
    if not links.is_dir():
        pytest.skip("this system does not list open files")
    names = []
    for link in links.iterdir():
        try:
            names.append(os.readlink(link))
        except OSError:
            continue
    assert not [name for name in names if name.endswith(".dcm")]


def test_keep_attrs(folder):
    with xr.set_options(keep_attrs=True):
        doubled = opened(folder) * 2
    assert doubled.dicom.header.shape == (3, 4, 1)


def test_a_folder_that_changed_below_gives_other_tasks(tmp_path):
    # xarray names tasks by path and time of the folder, which stay.
    make_series(tmp_path / "in")
    database = db.database(tmp_path)
    series = database.series()[0]
    before = xr.open_dataset(tmp_path, engine="dicom", chunks={})
    series.set_array(series.array()[0] * 0 + 7)
    after = xr.open_dataset(tmp_path, engine="dicom", chunks={})
    first, second = dask.compute(before.pixels, after.pixels)
    assert (second == 7).all()
    assert not (first == 7).any()
    assert opened_twice(tmp_path)
    database.close(save=False)


def opened_twice(folder: Path) -> bool:
    one, two = (xr.open_dataset(folder, engine="dicom", chunks={}) for _ in range(2))
    return bool(one.pixels.data.name == two.pixels.data.name)


# -- which series --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> db.Database:
    folder = tmp_path_factory.mktemp("several")
    make_study(folder)
    return db.database(folder)


def images(database: db.Database) -> list[Any]:
    return [s for s in database.series() if s.Rows]


def test_several_series_are_listed(several):
    with pytest.raises(InvalidValue, match="series of images: choose one by series=") as caught:
        xr.open_dataset(several.path_on_disk, engine="dicom")
    for series in images(several):
        assert series.path[1:] in str(caught.value)
        assert series.SeriesInstanceUID.item() in str(caught.value)


@pytest.mark.parametrize(
    "way",
    [
        lambda s: s,
        lambda s: s.SeriesInstanceUID.item(),
        lambda s: s.path,
        lambda s: s.path[1:],
        lambda s: {"SeriesInstanceUID": s.SeriesInstanceUID.item()},
    ],
)
def test_ways_to_name_a_series(several, way):
    for series in images(several):
        dataset = xr.open_dataset(several.path_on_disk, engine="dicom", series=way(series))
        assert dataset.SeriesInstanceUID == series.SeriesInstanceUID.item()


@pytest.mark.parametrize("wanted", ["T1 *", "*angles", "T? flip angles", "T1*"])
def test_wildcards_name_a_series(wanted, tmp_path):
    for number, name in enumerate(["T1 flip angles", "T2 echoes", "T1*"]):
        make_series(tmp_path / str(number), seed=number, header={"SeriesDescription": name})
    found = xr.open_dataset(tmp_path, engine="dicom", series=wanted)
    assert found.SeriesDescription == ("T1*" if wanted == "T1*" else "T1 flip angles")


def test_a_record_can_be_opened(several):
    series = images(several)[0]
    dataset = xr.open_dataset(series, engine="dicom")
    xr.testing.assert_identical(dataset.load(), series_dataset(series).load())
    with pytest.raises(InvalidValue, match="is for opening a folder"):
        xr.open_dataset(series, engine="dicom", refresh=False)


@pytest.mark.parametrize(
    ("wanted", "error", "text"),
    [
        ("no such", InvalidValue, "There are:"),
        ("no s*", InvalidValue, "There are:"),
        ("*", InvalidValue, r"series are called '\*': choose one"),
        (images, InvalidValue, "series is"),
        ({"Modality": "XX"}, InvalidValue, "No series"),
        ({"Modlity": "MR"}, UnknownKeyword, "Modality"),
    ],
)
def test_a_series_that_is_not_there(several, wanted, error, text):
    with pytest.raises(error, match=text):
        xr.open_dataset(several.path_on_disk, engine="dicom", series=wanted)


def test_a_near_miss_is_suggested(several):
    name = images(several)[0].SeriesDescription.item()
    with pytest.raises(InvalidValue, match=f"Did you mean '{name}'"):
        xr.open_dataset(several.path_on_disk, engine="dicom", series=name[:-1] + "~")


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sortyb": "EchoTime"}, "Did you mean 'sortby'"),
        ({"mask_and_scale": False}, "rescale=False"),
        ({"group": "a"}, "series= chooses"),
        ({"whatever": 1}, "It takes series, sortby"),
    ],
)
@pytest.mark.parametrize("open_it", [xr.open_dataset, xr.open_datatree, xr.open_groups])
def test_unknown_arguments(folder, options, text, open_it):
    with pytest.raises(UnknownArgument, match=text):
        open_it(folder, engine="dicom", **options)
    with pytest.raises(TypeError):
        open_it(folder, engine="dicom", **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sortby": "EcoTime"}, UnknownKeyword),
        ({"sortby": "InversionTime"}, GridError),
        ({"align": "neatly"}, InvalidValue),
        ({"fill_value": "x"}, InvalidValue),
        ({"rescale": 3}, InvalidValue),
        ({"pixels_first": "SliceLocation"}, InvalidValue),
    ],
)
def test_wrong_values(folder, options, error):
    with pytest.raises(error):
        xr.open_dataset(folder, engine="dicom", **options)


def test_what_is_no_path(folder):
    with pytest.raises(InvalidValue, match="by their path"):
        xr.open_dataset(3.5, engine="dicom")


def test_what_is_not_there(tmp_path):
    for opened in (xr.open_dataset, xr.open_datatree):
        for name in ("nowhere", "none.dcm"):
            with pytest.raises(FileNotFoundError, match=f"no file or folder .*{name}. Check"):
                opened(tmp_path / name, engine="dicom")
    with pytest.raises(InvalidValue, match="no series of images"):
        xr.open_dataset(tmp_path, engine="dicom")


# -- single files --------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep caches apart from those of the user."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name: str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def files(home: Path) -> list[Path]:
    return [Path(file) for file in make_series(home / "in").files]


def test_a_single_file(files, home):
    before = sorted(os.listdir(home / "in"))
    for file in files:
        dataset = xr.open_dataset(file)  # without engine=
        stored = pydicom.dcmread(file)
        assert dataset.pixels.dims == ("x", "y")
        real = stored.pixel_array.T * float(stored.get("RescaleSlope", 1))
        np.testing.assert_allclose(dataset.pixels, real + float(stored.get("RescaleIntercept", 0)))
        assert dataset.SOPInstanceUID == stored.SOPInstanceUID
        assert dataset.attrs["SliceLocation"] == stored.SliceLocation
    assert sorted(os.listdir(home / "in")) == before


def test_a_file_with_frames(home):
    make_enhanced(home / "in", keys={"SliceLocation": [0.0, 5.0]})
    file = next(iter((home / "in").rglob("*.dcm")))
    assert xr.open_dataset(file).pixels.dims == ("frame", "x", "y")
    sorted_one = xr.open_dataset(file, sortby="SliceLocation", pixels_first=True)
    assert sorted_one.pixels.dims == ("x", "y", "SliceLocation", "n")
    assert np.diff(sorted_one.SliceLocation).tolist() == [5]


def test_many_files(files):
    dataset = xr.open_mfdataset(files, engine="dicom", sortby="SliceLocation")
    assert dataset.SliceLocation.values.tolist() == [0, 5, 10]
    stacked = xr.open_mfdataset(
        files, engine="dicom", combine="nested", concat_dim="n", combine_attrs="drop_conflicts"
    )
    assert "SOPInstanceUID" not in stacked.attrs
    for number, file in enumerate(files):
        stored = pydicom.dcmread(file).pixel_array.T
        np.testing.assert_array_equal(stacked.pixels[number], stored)
    assert stacked.pixels.isel(n=1).dicom.header.item().file == str(files[1])


def test_many_folders(tmp_path):
    for number, angle in enumerate([5.0, 10.0]):
        make_series(tmp_path / str(number), keys={"FlipAngle": [angle]}, seed=number)
    dataset = xr.open_mfdataset(
        [tmp_path / "1", tmp_path / "0"], engine="dicom", sortby="FlipAngle",
        coords="different", compat="equals", combine_attrs="drop_conflicts",
    )  # fmt: skip
    assert dataset.FlipAngle.values.tolist() == [5, 10]
    assert "FlipAngle" not in dataset.attrs


def test_a_file_of_an_indexed_folder_shows_what_is_staged(files, home):
    database = db.database(home / "in")
    instance = database.instances()[0]
    instance.PatientName = "Other"
    dataset = xr.open_dataset(instance.file)
    assert dataset.PatientName == "Other"
    assert dataset.dicom.header.item() == instance
    assert not (home / "cache").exists()
    database.close(save=False)


def test_a_file_that_changed_is_read_again(files):
    before = xr.open_dataset(files[0]).load()
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData = dataset.pixel_array[::-1].tobytes()
    dataset.PatientName = "Changed"
    dataset.save_as(files[0])
    after = xr.open_dataset(files[0])
    assert after.PatientName == "Changed"
    np.testing.assert_array_equal(after.pixels, before.pixels[:, ::-1])


def test_two_files_of_one_instance_are_both_read(files):
    twin = files[0].with_name("zzz.dcm")
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData = dataset.pixel_array[::-1].tobytes()
    dataset.save_as(twin)
    first, second = xr.open_dataset(files[0]), xr.open_dataset(twin)
    np.testing.assert_array_equal(first.pixels, second.pixels[:, ::-1])
    np.testing.assert_array_equal(xr.open_dataset(files[0]).pixels, first.pixels)


def test_an_index_of_ones_own(files, home):
    xr.open_dataset(files[0], index=home / "mine.sqlite").load()
    assert (home / "mine.sqlite").exists()
    assert not (home / "cache").exists()


def test_files_that_are_none(home):
    wrong = home / "wrong.dcm"
    wrong.write_bytes(b"not DICOM at all")
    with pytest.raises(DbdicomError, match=r"wrong\.dcm"):
        xr.open_dataset(wrong, engine="dicom")
    with pytest.raises(FileNotFoundError, match=r"none\.dcm"):
        xr.open_dataset(home / "none.dcm")
    with zipfile.ZipFile(home / "study.zip", "w") as archive:
        archive.write(wrong, "wrong.dcm")
    for use in (xr.open_dataset, xr.open_datatree):
        with pytest.raises(NotAFolder, match=r"zip://::.*study\.zip"):
            use(home / "study.zip", engine="dicom")


def test_a_file_has_no_series_and_no_tree(files):
    with pytest.raises(InvalidValue, match="is a file"):
        xr.open_dataset(files[0], engine="dicom", series="a")
    with pytest.raises(InvalidValue, match="no tree"):
        xr.open_datatree(files[0], engine="dicom")


# -- guessing ------------------------------------------------------------------------------------


def test_what_is_claimed(tmp_path):
    make_dce(tmp_path / "dicom" / "deep" / "deeper")
    assert is_dicom(tmp_path / "dicom")
    assert is_dicom(str(tmp_path / "dicom" / "deep"))
    file = next((tmp_path / "dicom").rglob("*.dcm"))
    shutil.copy(file, tmp_path / "bare")
    assert is_dicom(tmp_path / "bare")
    (tmp_path / "indexed").mkdir()
    db.database(tmp_path / "indexed").close()
    assert is_dicom(tmp_path / "indexed")


def test_what_is_not_claimed(tmp_path):
    dataset = xr.Dataset({"a": ("x", [1, 2])})
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    dataset.to_netcdf(tmp_path / "odd.dcm", engine="scipy")
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    dataset.to_zarr(tmp_path / "plain", consolidated=False)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("nothing")
    (tmp_path / "empty").mkdir()
    for name in ("a.nc", "odd.dcm", "a.zarr", "plain", "text", "empty"):
        assert not is_dicom(tmp_path / name), name
    for other in (b"bytes", 3, None, "https://example.org/a", "s3://bucket/folder"):
        assert not is_dicom(other)
    assert xr.open_dataset(tmp_path / "a.nc").a.values.tolist() == [1, 2]


# -- real data -----------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
@pytest.mark.parametrize("part", ["canon61", "dcm_qa", "philips_enh", "uih", "xa30"])
def test_real_series_as_series_array_gives_them(part, tmp_path):
    root = testdata_folder()
    if root is None or not (root / part).is_dir():
        pytest.skip("the public scanner files are not here")
    database = db.database(root / part, index=tmp_path / "index.sqlite")
    for series in images(database)[:4]:
        array, _ = series.array()
        array = array[:3]
        dataset = xr.open_dataset(
            root / part, engine="dicom", index=tmp_path / "index.sqlite", refresh=False,
            series=series.path,
        )  # fmt: skip
        part_of_it = dataset.pixels[:3]
        np.testing.assert_array_equal(part_of_it.values, array.values)
        assert part_of_it.dicom.header[0] == series.array()[1][0]
