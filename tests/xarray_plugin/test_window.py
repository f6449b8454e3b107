"""``da.dicom.window``: what a display shows of values, the same as in exported pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array
import imagecodecs
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import make_series
from dbdicom_xr.xarray_plugin.window import span_of


def voi_lut() -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [1024, 0, 8]
    item.LUTData = bytes((i * i // 4104) % 256 for i in range(1024))
    return item


def windows_of_their_own(dataset: Dataset, index: tuple[int, ...]) -> None:
    dataset.WindowCenter = 300 + 200 * index[0]
    dataset.WindowWidth = 500 + 100 * index[0]


HEADERS: dict[str, Any] = {
    "one": {"WindowCenter": 500, "WindowWidth": 700},
    "each its own": windows_of_their_own,
    "sigmoid": {"WindowCenter": 500, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"},
    "exact": {"WindowCenter": 500, "WindowWidth": 300, "VOILUTFunction": "LINEAR_EXACT"},
    "a threshold": {"WindowCenter": 500, "WindowWidth": 1},
    "several": {"WindowCenter": [100, 900], "WindowWidth": [50, 60]},
    "a table": {"VOILUTSequence": [voi_lut()]},
    "none": {},
    "inverted": {
        "WindowCenter": 500,
        "WindowWidth": 700,
        "PhotometricInterpretation": "MONOCHROME1",
    },
    "inverted, none": {"PhotometricInterpretation": "MONOCHROME1"},
}


def read(folder: Path, **options: Any) -> tuple[Any, xr.DataArray]:
    make_series(folder, bits_stored=10, **options)
    series = db.database(folder).series()[0]
    return series, series.array("SliceLocation")[0].isel(n=0)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("bits", [8, 16])
def test_it_is_what_an_exported_picture_shows(header: Any, bits: int, tmp_path: Path) -> None:
    series, array = read(tmp_path / "in", header=header)
    files = series.export_as_png(tmp_path / "out", bits=bits)
    expected = np.stack([imagecodecs.png_decode(Path(file).read_bytes()) for file in files])
    grey = array.dicom.window(dtype=f"uint{bits}").transpose("SliceLocation", "y", "x")
    assert np.array_equal(grey, expected)
    fractions = array.dicom.window().transpose("SliceLocation", "y", "x")
    assert fractions.dtype == np.float32
    assert float(abs(fractions * (2**bits - 1) - expected).max()) <= 0.51


@pytest.mark.parametrize(
    ("window", "low", "high"),
    [
        ((500, 101), 449.5, 549.5),  # centre - 0.5, width - 1 (PS3.3 C.11.2.1.2.1)
        ([0.25, 0.5], 0, 0.5),
        ("range", 0, 1023),
        ("percentile", 10, 1013),
    ],
)
def test_a_window_that_is_asked_for(window: Any, low: float, high: float, tmp_path: Path) -> None:
    _, array = read(tmp_path, shape=(100, 80), header=HEADERS["each its own"])
    expected = ((array.astype(float) - low) / (high - low)).clip(0, 1)
    found = array.dicom.window(window, dtype="float64")
    assert float(abs(found - expected).max()) < 0.003
    assert set(found.coords) == set(array.coords)


def test_it_is_lazy_and_keeps_what_tells_the_frames(tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed")

    _, array = read(tmp_path, header=HEADERS["each its own"])
    with dask.config.set(scheduler=refuse):
        for window in (None, "range", "percentile", (500, 100)):
            grey = array.dicom.window(window)
            assert grey.chunks is not None
    assert np.array_equal(grey.dicom.header, array.dicom.header)
    assert np.array_equal(
        array.chunk(SliceLocation=1, x=5).dicom.window().compute(), array.dicom.window().compute()
    )
    assert np.array_equal(array.compute().dicom.window(), array.dicom.window().compute())


def test_nan_stays_and_is_black_as_an_integer(tmp_path: Path) -> None:
    _, array = read(tmp_path, header=HEADERS["inverted"])
    gaps = array.where(array.x > 3)
    for window in (None, "range", "percentile"):
        assert np.array_equal(gaps.dicom.window(window).isnull(), gaps.isnull())
        assert int(gaps.dicom.window(window, dtype="uint8").sel(x=0).max()) == 0
    infinite = gaps.where(array.y > 2, np.inf)
    assert float(infinite.dicom.window("range").where(array.y > 2).max()) == 1
    nothing = xr.full_like(array, np.nan, dtype=float)
    assert bool(nothing.dicom.window("range").isnull().all())
    assert bool(nothing.dicom.window("percentile").isnull().all())


def test_a_reduction_has_the_window_that_its_frames_agree_in(tmp_path: Path) -> None:
    _, same = read(tmp_path / "a", header=HEADERS["one"])
    mean = same.mean("SliceLocation")
    expected = ((mean - 150) / 699).clip(0, 1)
    assert float(abs(mean.dicom.window() - expected).max()) < 1e-6
    _, own = read(tmp_path / "b", header=HEADERS["each its own"])
    mean = own.mean("SliceLocation")
    assert np.array_equal(mean.dicom.window().compute(), mean.dicom.window("range").compute())
    with pytest.raises(InvalidValue, match="no window for 1 of 1"):
        mean.dicom.window("header")


def test_arrays_of_no_database_and_of_no_grey() -> None:
    plain = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("x", "y"))
    assert np.allclose(plain.dicom.window(), plain / 11)
    assert np.array_equal((plain > 5).dicom.window(), plain > 5)
    assert plain.isel(x=slice(0)).dicom.window().shape == (0, 4)
    colours = xr.DataArray(np.full((2, 2, 3), 51, np.uint8), dims=("x", "y", "channel"))
    assert np.allclose(colours.dicom.window(), 0.2)
    assert int(colours.dicom.window(dtype="uint8").max()) == 51
    assert int(colours.dicom.window(dtype="uint16").max()) == 51 * 257
    with pytest.raises(InvalidValue, match=r"abs\(array\)"):
        (plain * 1j).dicom.window()


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ("lung", "the modality MR"),
        ("lungs", "'mediastinum'"),
        ((100, 0), "above 0"),
        ((100,), r"\(centre, width\)"),
        ("header", "no window for 3 of 3"),
    ],
)
def test_windows_that_are_none(window: Any, words: str, tmp_path: Path) -> None:
    _, array = read(tmp_path)
    with pytest.raises(InvalidValue, match=words):
        array.dicom.window(window)
    with pytest.raises(InvalidValue, match="float32"):
        array.dicom.window(dtype="int8")


def test_a_window_of_fractions_is_meant_as_it_is_said() -> None:
    plain = xr.DataArray(np.linspace(0, 1, 12).reshape(3, 4), dims=("x", "y"))
    assert np.allclose(plain.dicom.window((0.5, 1)), plain)
    assert np.allclose(plain.dicom.window((1, 2)), plain / 2)


def test_a_preset_is_for_ct(tmp_path: Path) -> None:
    _, array = read(tmp_path, modality="CT")
    assert np.array_equal(
        array.dicom.window("brain").compute(), array.dicom.window((40, 80)).compute()
    )


def test_percentiles_need_a_part_of_the_images_only() -> None:
    read: list[int] = []

    def block(block_info: Any = None) -> Any:
        place = block_info[None]["chunk-location"][0]
        read.append(place)
        return np.full((1, 30, 20), place, float)

    chunks = ((1,) * 200, (30,), (20,))
    values = dask.array.map_blocks(block, chunks=chunks, dtype=float, meta=np.empty((0, 0, 0)))
    array = xr.DataArray(values, dims=("time", "x", "y"))
    low, high = span_of(array, "percentile")
    low, high = (float(end) for end in dask.compute(low, high))
    assert len(set(read)) <= 64
    assert (low, high) == pytest.approx((2, 197), abs=4)
    assert [float(end) for end in span_of(array, "range")] == [0, 199]


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(NUMBERS, min_size=2, max_size=9), NUMBERS, st.floats(1e-3, 1e6), st.booleans())
def test_larger_values_are_never_darker(
    values: list[float], centre: float, width: float, whole: bool
) -> None:
    numbers = np.sort(np.round(values).astype(np.int64) if whole else np.array(values))
    array = xr.DataArray(numbers[:, None], dims=("x", "y"))
    grey = array.dicom.window((centre, width), dtype="float64").values.ravel()
    assert (np.diff(grey) >= 0).all()
    assert (grey[numbers > centre + width / 2] == 1).all()
    assert (grey[numbers < centre - width / 2 - 1e-6 * width - 1] == 0).all()
    eight = array.dicom.window((centre, width), dtype="uint8").values.ravel()
    assert np.abs(eight / 255 - grey).max() <= 0.5 / 255 + 1e-12
