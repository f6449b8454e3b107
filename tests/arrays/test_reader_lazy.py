"""What is read, when, how often and by whom; and how blocks are cut."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.arrays import locator as locator_module
from dbdicom_xr.arrays import source as source_module
from dbdicom_xr.arrays.reader import FrameReader, squeeze, unsqueeze
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index import files as files_module
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.testing import make_enhanced, make_series
from tests.arrays.opened import series_of

KEYS = {"SliceLocation": [0.0, 5.0, 10.0], "EchoTime": [1.0, 2.0, 3.0, 4.0]}


class Opened:
    """The DICOM files that were opened, by an audit hook, which cannot be taken off again."""

    def __init__(self):
        self.names = None
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if event == "open" and self.names is not None and str(arguments[0]).endswith(".dcm"):
            self.names.append(os.path.basename(arguments[0]))

    def __enter__(self):
        self.names = []
        return self.names

    def __exit__(self, *_):
        self.names = None


_opened = Opened()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_series(tmp_path_factory.mktemp("series"), keys=KEYS, slope=2, shape=(6, 4))


@pytest.fixture(scope="module")
def series(made):
    return series_of(made.folder)


def reader_of(array):
    """Return the reader inside a lazy array."""
    (reader,) = [v for v in array.data.dask.values() if isinstance(v, FrameReader)]
    return reader


# -- laziness ----------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_computed(series):
    with _opened as names:
        array, header = series.array(list(KEYS))
        mip = np.amax(array, axis=0)
        mean = (array.max("EchoTime") - 3).mean("x")
        part = array[1].sel(EchoTime=2.0).astype("float32")
        [frame.EchoTime for frame in header[0, :, 0]]
        repr(array), array._repr_html_(), repr(header), array.SOPInstanceUID.values
        pickle.dumps(array)
        assert isinstance(mip.data, da.Array)
        assert isinstance(mean.data, da.Array)
        assert isinstance(part.data, da.Array)
    assert names == []


def test_a_maximum_stays_lazy_and_is_right(series, made):
    array, _ = series.array(list(KEYS))
    np.testing.assert_array_equal(np.amax(array, axis=0), made.values.max(0))


def test_only_the_frames_of_a_block_are_read_and_once(series, made):
    array, _ = series.array(list(KEYS), chunks={"SliceLocation": 1, "EchoTime": 2})
    with _opened as names:
        array[2, 3].compute()
    assert names == ["IM0011.dcm", "IM0012.dcm"] or names == ["IM0012.dcm"]
    with _opened as names:
        array.compute(scheduler="threads")
    assert sorted(names) == sorted(os.path.basename(file) for file in made.files)
    with _opened as names:
        dask.compute(array.mean("EchoTime"), array.max("x"), scheduler="sync")
    assert len(names) == 12


def test_a_slice_needs_no_more_than_its_frames(series):
    array, _ = series.array(list(KEYS), chunks={"SliceLocation": 1, "EchoTime": 1})
    with _opened as names:
        array[2, 3, 0, 1:3, 2].compute()
    assert names == ["IM0012.dcm"]


@pytest.mark.parametrize("chunks", [1, "auto", {"x": 4}])
@pytest.mark.parametrize(
    "key", [np.s_[[2, 0]], np.s_[[True, False, True]], np.s_[:, :, :, [3, 1]], np.s_[:, []],
            np.s_[::-1, [3, 0, 1], 0], np.s_[..., [0, 0]]],
    ids=str,
)  # fmt: skip
def test_lists_and_masks(series, made, chunks, key):
    array, _ = series.array(list(KEYS), chunks=chunks)
    np.testing.assert_array_equal(array.data[key], made.values[key])


def test_a_frame_is_read_in_one_go(series):
    array, _ = series.array(list(KEYS))
    read = []
    with pytest.MonkeyPatch.context() as patch:
        real = os.preadv
        patch.setattr(os, "preadv", lambda fd, views, at: read.append(at) or real(fd, views, at))
        array[:, 1, 0, 2, 2].compute()
        array.compute()
    assert len(read) == 3 + 12


def test_frames_of_one_file_are_read_from_one_opened_file(tmp_path):
    made = make_enhanced(tmp_path, keys=KEYS)
    array, _ = series_of(tmp_path).array(list(KEYS))
    with _opened as names:
        array.compute()
    assert names == ["enhanced.dcm"]
    with _opened as names:
        curve = array[0, :, 0, 5, 5].compute()
    assert names == ["enhanced.dcm"]
    np.testing.assert_array_equal(curve, made.values[0, :, 0, 5, 5])


# -- chunks ------------------------------------------------------------------------------------

CHUNKS = [
    ("auto", ((3,), (4,), (1,), (6,), (4,))),
    (2, ((2, 1), (2, 2), (1,), (6,), (4,))),
    (-1, ((3,), (4,), (1,), (6,), (4,))),
    ((1, 4, 1, 6, 4), ((1, 1, 1), (4,), (1,), (6,), (4,))),
    (((1, 2), 4, 1, 3, 4), ((1, 2), (4,), (1,), (3, 3), (4,))),
    ({"EchoTime": 3}, ((3,), (3, 1), (1,), (6,), (4,))),
    ({"x": 4, "SliceLocation": -1}, ((3,), (4,), (1,), (4, 2), (4,))),
]


@pytest.mark.parametrize(("chunks", "expected"), CHUNKS)
def test_chunks(series, made, chunks, expected):
    array, _ = series.array(list(KEYS), chunks=chunks)
    assert array.chunks == expected
    np.testing.assert_array_equal(array, made.values)


def test_chunks_of_an_unknown_dimension(series):
    with pytest.raises(InvalidValue, match="chunks= names"):
        series.array(list(KEYS), chunks={"EcoTime": 1})


def big(grid, shape, dtype, pixels_first=False):
    """Return automatic chunks of a series too large to write."""
    from dbdicom_xr.records.reading.chunks import preferred_chunks

    layout = PixelLayout(shape[1], shape[0], 32, 32, 31)
    zeros = np.zeros(grid, np.int64)
    reader = FrameReader(
        "", "", "", zeros, zeros, zeros, zeros, [layout], [], np.dtype(dtype), 0, pixels_first
    )
    found = da.core.normalize_chunks(
        preferred_chunks(reader, pixels_first), reader.shape, dtype=reader.dtype
    )
    return found, [np.prod([max(c) for c in found]) * reader.dtype.itemsize / 2**20, found]


@pytest.mark.parametrize("pixels_first", [False, True])
@pytest.mark.parametrize(
    ("grid", "shape", "dtype"),
    [
        ((100_000, 1), (256, 256), "uint16"),
        ((60, 40, 1), (256, 256), "float32"),
        ((30, 1000, 1), (128, 128), "uint16"),
        ((7, 11, 13, 17, 1), (192, 160), "float64"),
        ((200, 1), (512, 512), "int16"),
        ((4000,), (64, 64), "uint16"),
    ],
)
def test_automatic_chunks_are_of_32_to_128_mib_and_whole_images(grid, shape, dtype, pixels_first):
    found, (largest, _) = big(grid, shape, dtype, pixels_first)
    total = np.prod(grid) * np.prod(shape) * np.dtype(dtype).itemsize / 2**20
    assert largest <= 128
    assert largest >= min(total, 12)
    images = found[:2] if pixels_first else found[-2:]
    assert images == ((shape[0],), (shape[1],))


def test_an_image_larger_than_a_block_is_one_block():
    found, _ = big((3, 1), (9000, 9000), "float32")
    assert found == ((1, 1, 1), (1,), (9000,), (9000,))


# -- where it is computed ----------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_schedulers(series, made, scheduler):
    array, _ = series.array(list(KEYS), chunks=1)
    np.testing.assert_array_equal(array.compute(scheduler=scheduler), made.values)


def test_processes(series, made):
    array, _ = series.array(list(KEYS), chunks={"SliceLocation": 1})
    with dask.config.set({"multiprocessing.context": "spawn"}):
        found = array.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(found, made.values)


def test_a_cluster(series, made):
    distributed = pytest.importorskip("distributed")
    array, _ = series.array(list(KEYS), chunks={"SliceLocation": 1})
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        np.testing.assert_array_equal(array.compute(), made.values)


def test_many_threads_at_once(series, made):
    array, _ = series.array(list(KEYS), chunks=1)
    reader = reader_of(array)
    results = [None] * 8
    wait = threading.Barrier(8)

    def work(k):
        wait.wait()
        results[k] = reader[...]

    locator_module._forget()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in results:
        np.testing.assert_array_equal(found, made.values)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(series, made):
    array, _ = series.array(list(KEYS))
    array.compute()  # the index is open in this process
    reader = reader_of(array)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        parts = pool.map(reader.__getitem__, range(3), chunksize=1)
    np.testing.assert_array_equal(parts, made.values)
    np.testing.assert_array_equal(reader[...], made.values)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_dask_computes_after_a_fork(series, made):
    array, _ = series.array(list(KEYS))
    with dask.config.set(scheduler="threads", pool=None):
        array.sum().compute()  # the threads of this process are not in a child
        child = os.fork()
        if not child:
            signal.alarm(20)  # it would wait for ever
            os._exit(0 if np.array_equal(array.values, made.values) else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_pickles_are_small_and_equal(tmp_path):
    made = make_series(tmp_path, keys={"EchoTime": range(1, 151)}, shape=(2, 2))
    array, _ = series_of(tmp_path).array("EchoTime")
    reader = reader_of(array)
    assert len(pickle.dumps(reader)) < 2000
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again[...], made.values)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), made.values)


def test_names_are_the_same_each_time_and_in_each_process(series, made):
    array, _ = series.array(list(KEYS))
    again, _ = series.array(list(KEYS))
    assert array.data.name == again.data.name
    code = (
        "import sys, dbdicom_xr as db; "
        "series = db.database(sys.argv[1]).series()[0]; "
        "print(series.array(['SliceLocation', 'EchoTime'])[0].data.name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, made.folder], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout.strip() == array.data.name


def test_what_differs_has_another_name(series):
    names = {
        series.array(list(KEYS), **options)[0].data.name
        for options in (
            {}, {"rescale": False}, {"pixels_first": True}, {"align": "order"}, {"chunks": 1},
        )
    }  # fmt: skip
    names.add(series.array(["EchoTime", "SliceLocation"])[0].data.name)
    names.add(series.array()[0].data.name)
    assert len(names) == 6  # align="order" is the same array


# -- the reader as an array --------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["pixels_last", "pixels_first"])
def both(request, tmp_path_factory):
    """A reader with gaps, and the array that it stands for."""
    folder = tmp_path_factory.mktemp("gaps")
    made = make_series(folder, keys=KEYS, shape=(5, 3), drop=[(1, 2, 0), (2, 3, 0)], slope=0.5)
    array, _ = series_of(folder).array(list(KEYS), pixels_first=request.param)
    values = made.values.transpose(3, 4, 0, 1, 2) if request.param else made.values
    return reader_of(array), values


def an_index(size):
    return st.one_of(st.integers(-size, size - 1), st.slices(size))


@settings(max_examples=150)
@given(data=st.data())
def test_blocks_are_cut_as_numpy_does(both, data):
    reader, values = both
    assert reader.shape == values.shape
    assert (reader.ndim, reader.size) == (values.ndim, values.size)
    parts = [data.draw(an_index(size)) for size in values.shape]
    count = data.draw(st.integers(0, len(parts)))
    key = tuple(parts[:count])
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, count))
        behind = tuple(parts[len(parts) - (count - at) :])
        key = (*parts[:at], Ellipsis, *behind)
    found = reader[key]
    np.testing.assert_array_equal(found, values[key])
    assert found.dtype == reader.dtype


@pytest.mark.parametrize("key", [3, (0, 0, 0, 0, 0, 0), 1.5, ([0, 1],), (None,), True, (0, -5)])
def test_an_index_that_cannot_be(both, key):
    with pytest.raises(IndexError):
        both[0][key if key != 3 else 9]


def test_numpy_takes_the_reader_for_an_array(both):
    reader, values = both
    np.testing.assert_array_equal(np.asarray(reader), values)
    assert np.asarray(reader, dtype="float64").dtype == "float64"


@given(st.lists(st.integers(-1, 2**40), max_size=60), st.booleans())
def test_numbers_are_squeezed_and_come_back(numbers, turned):
    array = np.array(numbers, np.int64)
    if turned and len(numbers) % 2 == 0:
        array = array.reshape(2, -1).T
    np.testing.assert_array_equal(unsqueeze(squeeze(array)), array)
    assert unsqueeze(squeeze(array)).shape == array.shape


# -- systems that lack something ---------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["explicit", "big", "deflated", "rle"])
def test_without_positioned_reads(tmp_path, monkeypatch, syntax):
    made = make_series(tmp_path, keys=KEYS, transfer_syntax=syntax, slope=2)
    monkeypatch.setattr(source_module, "_HAS_PREADV", False)
    monkeypatch.setattr(source_module, "pread", files_module._seek_and_read)
    monkeypatch.setattr(files_module, "pread", files_module._seek_and_read)
    array, _ = db.database(tmp_path).series()[0].array(list(KEYS), chunks=1)
    np.testing.assert_array_equal(array.compute(scheduler="threads"), made.values)


def test_reads_that_return_less_than_asked_for(series, made, monkeypatch):
    real = os.preadv

    def short(fd, views, offset):
        return real(fd, [views[0][:7]], offset)

    monkeypatch.setattr(os, "preadv", short)
    array, _ = series.array(list(KEYS))
    np.testing.assert_array_equal(array, made.values)
