"""The header of an array: an array of records, aligned with it."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import NotInDatabase, UnknownKeyword
from dbdicom_xr.testing import make_enhanced, make_series
from tests.arrays.opened import by_order, series_of

KEYS = {"SliceLocation": [0.0, 5.0, 10.0], "EchoTime": [1.0, 2.0]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_series(tmp_path_factory.mktemp("series"), keys=KEYS, n=2, shape=(2, 2), shuffle=1)


@pytest.fixture(scope="module")
def array_and_header(made):
    return series_of(made.folder).array(list(KEYS))


@pytest.fixture(scope="module")
def header(array_and_header):
    return array_and_header[1]


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaps")
    make_series(folder, keys=KEYS, shape=(2, 2), drop=[(1, 1, 0)], header={"EchoNumbers": 3})
    return series_of(folder).array(list(KEYS))


def check(header, uids):
    """Compare header and coordinates, which have to name the same frames, with the truth."""
    assert isinstance(header, np.ndarray)
    assert header.shape == np.shape(uids)
    found = np.array([getattr(frame, "SOPInstanceUID", "") for frame in header.flat], object)
    assert found.reshape(header.shape).tolist() == np.where(uids == None, "", uids).tolist()  # noqa: E711
    if getattr(header, "dims", None) is not None:
        assert len(header.dims) == header.ndim
        dims, values = header.coords["SOPInstanceUID"]
        assert dims == header.dims
        assert values.tolist() == found.reshape(header.shape).tolist()
        for name in KEYS:
            if header.size and header.coords.get(name, [None])[0] == (name,):
                axis = header.dims.index(name)
                column = np.moveaxis(header.column(name), axis, 0).reshape(header.shape[axis], -1)
                assert column[:, 0].tolist() == header.coords[name][1].tolist()


# -- an array of records -----------------------------------------------------------------------


def test_its_elements_are_the_instances(header, made):
    assert isinstance(header, np.ndarray)
    assert header.dtype == object
    assert header.dims == ("SliceLocation", "EchoTime", "n")
    check(header, made.uids)
    assert [frame.EchoTime for frame in header[0, :, 0]] == [1.0, 2.0]
    assert header[2, 1, 0] in series_of(made.folder).instances()
    assert sum(1 for _ in header) == 3
    assert all(part.dims == ("EchoTime", "n") for part in header)


def test_it_has_the_coordinates_of_the_array(array_and_header):
    array, header = array_and_header
    assert set(header.coords) == set(array.coords) - {"x", "y", "SeriesInstanceUID"}
    for name, (dims, values) in header.coords.items():
        assert dims == array[name].dims
        np.testing.assert_array_equal(values, array[name])


SLICES = [
    np.s_[0],
    np.s_[-1, :, 0],
    np.s_[1:, ::-1],
    np.s_[..., 1],
    np.s_[:, 0, ...],
    np.s_[::2, np.int64(1)],
    np.s_[3:],
    np.s_[:],
]


@pytest.mark.parametrize("key", SLICES, ids=str)
def test_slices_keep_dims_and_coords(array_and_header, made, key):
    array, header = array_and_header
    part = header[key]
    check(part, made.uids[key])
    assert part.dims == array[key].dims[:-2]
    assert set(part.coords) == set(header.coords)


@pytest.mark.parametrize(
    "move",
    [
        lambda a: a[[2, 0, 1]],
        lambda a: a[:, :, [1, 0]],
        lambda a: a[a.shape[0] * [True]],
        lambda a: a[None],
        lambda a: np.take(a, [1, 0], axis=1),
        lambda a: np.roll(a, 1, axis=0),
        lambda a: np.flip(a, axis=0),
        lambda a: np.concatenate([a[1:], a[:1]]),
        lambda a: a.reshape(-1),
        lambda a: a.ravel(),
        lambda a: a.swapaxes(0, 1),
        lambda a: np.moveaxis(a, 0, -1),
        lambda a: np.rot90(a),
        lambda a: np.repeat(a, 2, axis=0),
    ],
    ids=["list", "last", "mask", "new", "take", "roll", "flip", "concatenate", "reshape", "ravel",
         "swapaxes", "moveaxis", "rot90", "repeat"],
)  # fmt: skip
def test_labels_never_stand_beside_other_frames(header, made, move):
    check(move(header), move(made.uids))


@pytest.mark.parametrize("square", [np.transpose, lambda a: a.T, lambda a: a.transpose(1, 0)])
def test_a_transpose_knows_its_dimensions(header, made, square):
    part = header[:2, :, 0]
    assert part.shape == (2, 2)
    check(square(part), square(made.uids[:2, :, 0]))
    assert square(part).dims == ("EchoTime", "SliceLocation")


@pytest.mark.parametrize("copied", [np.copy, copy.copy, copy.deepcopy, lambda a: a.copy()])
def test_copies(header, made, copied):
    found = copied(header)
    check(np.asarray(found).view(type(header)), made.uids)
    if isinstance(found, type(header)):
        assert found.dims == header.dims
        found[0, 0, 0] = None
        assert header[0, 0, 0] is not None


def test_squeeze(gaps):
    header = gaps[1]
    assert header.squeeze().dims == np.squeeze(header).dims == ("SliceLocation", "EchoTime")
    assert np.squeeze(header, axis=-1).shape == (3, 2)
    with pytest.raises(ValueError, match="several frames"):
        header.squeeze(axis=0)


def test_comparisons_are_plain_arrays(gaps):
    header = gaps[1]
    missing = header == None  # noqa: E711
    assert type(missing) is np.ndarray
    assert missing.dtype == bool
    assert np.argwhere(missing).tolist() == [[1, 1, 0]]
    assert (header == header[0, 1, 0]).sum() == 1
    angles = np.vectorize(lambda frame: frame and frame.FlipAngle, otypes=[float])(header[0])
    assert type(angles) is np.ndarray


# -- columns -----------------------------------------------------------------------------------


def test_columns(header):
    assert header.EchoTime.shape == (3, 2, 2)
    assert header.EchoTime.dtype == np.float64
    assert type(header.EchoTime) is np.ndarray
    assert header.EchoTime[0].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert header.InstanceNumber.dtype == np.int64
    assert header.InstanceNumber.ravel().tolist() == list(range(1, 13))
    assert header[0].InstanceNumber.tolist() == [[1, 2], [3, 4]]
    assert header.PatientID.dtype == object
    assert header.ImageType[0, 0, 0][:2] == ["ORIGINAL", "PRIMARY"]
    assert header.image_type.shape == (3, 2, 2)
    assert header.column((0x0018, 0x0081)).tolist() == header.EchoTime.tolist()
    assert header.column("SliceThickness").tolist() == header.SliceThickness.tolist()


def test_columns_of_what_is_not_there(header):
    assert header.InversionTime.tolist() == np.full((3, 2, 2), None).tolist()
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoTime'"):
        header.EcoTime  # noqa: B018
    with pytest.raises(AttributeError):
        header._nothing  # noqa: B018
    assert not hasattr(header, "EcoTime")


def test_columns_with_gaps(gaps):
    header = gaps[1]
    assert header[1, 1, 0] is None
    expected = [[1.0, 2.0], [1.0, np.nan], [1.0, 2.0]]
    np.testing.assert_array_equal(header.EchoTime[..., 0], expected)
    np.testing.assert_array_equal(header.EchoNumbers[..., 0], [[3, 3], [3, np.nan], [3, 3]])
    assert header.PatientID[1, 1, 0] is None
    assert header.PatientID[1, 0, 0] is not None
    assert header[1, 1].EchoTime.shape == (1,)
    assert "1 gaps" in repr(header)


def test_columns_of_reordered_frames(header):
    order = [2, 0, 1]
    assert header[order].SliceLocation.tolist() == header.SliceLocation[order].tolist()
    assert header.ravel()[::-1].InstanceNumber.tolist() == list(range(12, 0, -1))


def test_columns_of_frames_of_two_series(tmp_path):
    for seed in (1, 2):
        make_series(tmp_path / str(seed), seed=seed, header={"FlipAngle": seed * 10})
    headers = [series.array()[1] for series in db.database(tmp_path).series()]
    both = np.concatenate(headers).view(type(headers[0]))
    assert sorted(both.FlipAngle.tolist()) == [10.0] * 3 + [20.0] * 3
    again = pickle.loads(pickle.dumps(both))
    assert again.FlipAngle.tolist() == both.FlipAngle.tolist()


def test_columns_of_an_enhanced_file(tmp_path):
    make_enhanced(tmp_path, keys=KEYS, shuffle=2)
    _, header = series_of(tmp_path).array(list(KEYS))
    assert header.EchoTime[..., 0].tolist() == [[1.0, 2.0]] * 3
    assert [frame.EchoTime for frame in header[2, :, 0]] == [1.0, 2.0]
    assert len({frame.SOPInstanceUID for frame in header.flat}) == 1
    assert len(set(header.ravel().tolist())) == 6
    again = pickle.loads(pickle.dumps(header))
    assert again.tolist() == header.tolist()


def test_many_threads(header):
    results = [None] * 8

    def work(k):
        results[k] = [frame.EchoTime for frame in header[:, :, k % 2].flat]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1.0, 2.0] * 3] * 8


# -- by label ----------------------------------------------------------------------------------

CHOICES = [
    {"SliceLocation": 1},
    {"EchoTime": 0, "n": 1},
    {"SliceLocation": [2, 0], "n": 0},
    {"SliceLocation": slice(None, None, -1)},
    {"EchoTime": slice(1, None)},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_isel_is_that_of_the_array(array_and_header, choice):
    array, header = array_and_header
    part, expected = header.isel(**choice), array.isel(choice)
    assert part.dims == expected.dims[:-2]
    check(part, expected.SOPInstanceUID.values)
    check(header.isel(choice), expected.SOPInstanceUID.values)


def test_dimensions_of_private_tags(tmp_path):
    make_series(tmp_path, keys={(0x0019, 0x100C): [1000, 0, 500]})
    _, header = series_of(tmp_path).array((0x0019, 0x100C))
    assert header.sel({"(0019,100c)": 500}).InstanceNumber.tolist() == [3]
    assert header.isel({"(0019,100c)": 0, "n": 0}).InstanceNumber == 2


def test_sel_is_that_of_the_array(array_and_header):
    array, header = array_and_header
    for choice in ({"SliceLocation": 5.0}, {"EchoTime": [2.0, 1.0]}, {"EchoTime": slice(1.5, 9)}):
        check(header.sel(**choice), array.sel(choice).SOPInstanceUID.values)
    near = header.sel(SliceLocation=5.2, method="nearest", tolerance=0.5)
    check(near, array.sel(SliceLocation=5.0).SOPInstanceUID.values)
    one = header.sel(SliceLocation=10.0, EchoTime=2.0).isel(n=0)
    assert (one.SliceLocation, one.EchoTime) == (10.0, 2.0)
    with pytest.raises(KeyError):
        header.sel(SliceLocation=5.2)


def test_labels_of_a_header_that_numpy_reordered(header):
    with pytest.raises(ValueError, match="reordered by numpy"):
        header[[1, 0]].isel(n=0)


def test_to_xarray(array_and_header, gaps):
    array, header = array_and_header
    dataset = header.to_xarray("FlipAngle", "PatientID", (0x0020, 0x0013))
    assert list(dataset.data_vars) == ["FlipAngle", "PatientID", "InstanceNumber"]
    assert dataset.FlipAngle.dims == header.dims
    assert dataset.FlipAngle.attrs["units"] == "degree"
    xr.testing.assert_equal(
        dataset.coords.to_dataset(),
        array.isel(x=0, y=0, drop=True).drop_vars("SeriesInstanceUID").coords.to_dataset(),
    )
    scaled = array * dataset.FlipAngle
    assert scaled.dims == array.dims
    twins = gaps[1].to_xarray("EchoTime")
    assert "EchoTime_" in twins.data_vars
    assert np.isnan(twins.EchoTime_.values[1, 1, 0])
    records = header.to_xarray().header
    assert records.dtype == object
    assert records.values[0, 0, 0] == header[0, 0, 0]


def test_a_header_aligned_by_order(tmp_path):
    times = 3600 + np.arange(6).reshape(3, 2, 1) * 1.5
    keys = {"SliceLocation": KEYS["SliceLocation"], "AcquisitionTime": [0.0, 1.0]}
    make_series(tmp_path, keys=keys, per_frame={"AcquisitionTime": times})
    array, header = by_order(series_of(tmp_path), list(keys))
    assert header.coords["AcquisitionTime"][0] == ("SliceLocation", "AcquisitionTime")
    part = header[1, ::-1]
    dims, values = part.coords["AcquisitionTime"]
    assert dims == ("AcquisitionTime",)
    np.testing.assert_array_equal(values, array.AcquisitionTime.values[1, ::-1])
    assert header.isel(SliceLocation=2).coords["AcquisitionTime"][0] == ("AcquisitionTime",)


# -- pickling, repr ----------------------------------------------------------------------------


def test_pickled_it_is_a_reference(tmp_path):
    make_series(
        tmp_path, keys={"SliceLocation": np.arange(10.0), "EchoTime": np.arange(1.0, 41)},
        shape=(1, 1), shuffle=3,
    )  # fmt: skip
    _, header = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    packed = pickle.dumps(header)
    assert len(packed) < 5_000
    again = pickle.loads(packed)
    assert again.tolist() == header.tolist()
    assert again.dims == header.dims
    assert again.EchoTime.tolist() == header.EchoTime.tolist()
    assert set(again.coords) == set(header.coords)
    for name, (dims, values) in header.coords.items():
        assert again.coords[name][0] == dims
        np.testing.assert_array_equal(again.coords[name][1], values)


@pytest.mark.parametrize("key", [*SLICES, np.s_[[2, 0]]], ids=str)
def test_parts_are_pickled(header, key):
    part = header[key]
    again = pickle.loads(pickle.dumps(part))
    assert again.tolist() == part.tolist()
    assert again.dims == part.dims
    assert again.shape == part.shape


def test_gaps_are_pickled(gaps):
    again = pickle.loads(pickle.dumps(gaps[1]))
    assert again.tolist() == gaps[1].tolist()
    assert again[1, 1, 0] is None
    only = pickle.loads(pickle.dumps(gaps[1][1:2, 1:]))
    assert only.tolist() == [[[None]]]


def test_another_process_reads_a_pickled_header(header, tmp_path):
    (tmp_path / "header").write_bytes(pickle.dumps(header))
    code = (
        "import pickle, sys; header = pickle.load(open(sys.argv[1], 'rb'));"
        "print(header.EchoTime.sum(), header.dims, header[0, 1, 0].SliceLocation)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, tmp_path / "header"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout.strip() == "18.0 ('SliceLocation', 'EchoTime', 'n') 0.0"


def test_a_pickled_header_whose_files_are_gone(tmp_path):
    made = make_series(tmp_path)
    _, header = series_of(tmp_path).array()
    packed = pickle.dumps(header)
    made.files[1].unlink()
    series_of(tmp_path)
    again = pickle.loads(packed)  # raising here would stop a worker that is sent a header
    assert again.shape == header.shape
    with pytest.raises(NotInDatabase, match="1 frames of this header are not in the database"):
        _ = again[0].InstanceNumber
    for file in (made.files[0], made.files[2]):
        file.unlink()
    db.database(tmp_path)
    with pytest.raises(NotInDatabase, match="of this header"):
        _ = pickle.loads(packed).InstanceNumber


def test_repr(header, gaps):
    assert (
        repr(header) == str(header) == "<Header (SliceLocation: 3, EchoTime: 2, n: 2) of 12 frames>"
    )
    assert repr(header[0]) == "<Header (EchoTime: 2, n: 2) of 4 frames>"
    assert repr(header[[1, 0]]) == "<Header (dim_0: 2, dim_1: 2, dim_2: 2) of 8 frames>"
    assert repr(gaps[1]) == "<Header (SliceLocation: 3, EchoTime: 2, n: 1) of 5 frames, 1 gaps>"
