"""One Enhanced MR file: one slope and intercept where values are rounded, so that all read alike.

GDCM, and so SimpleITK, applies the slope and intercept of the first frame to all frames.
"""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

import dbdicom_xr as db
from dbdicom_xr.emit.one_scale import settled
from dbdicom_xr.emit.parts import values_of, write_stored, write_values
from dbdicom_xr.emit.plan import WritePlan
from dbdicom_xr.errors import DicomWarning
from dbdicom_xr.pixels.quantise import Target, quantise_exactly
from tests.emit.judges import errors_of, sitk_pixels

X, Y = 16, 12
Values: TypeAlias = NDArray[Any]
Write: TypeAlias = Callable[..., Any]
SPACING = (2.0, 2.0, 4.0)


def noise(*ranges: float) -> Values:
    """Return a frame per range, of random values from 0 to nearly there."""
    random = np.random.default_rng(3).random((len(ranges), X, Y))
    return np.asarray(random * np.array(ranges)[:, None, None])


def frames(*each: Values | float, dtype: str = "f8") -> Values:
    return np.stack([np.broadcast_to(one, (X, Y)) for one in each]).astype(dtype)


@pytest.fixture
def write() -> Iterator[Write]:
    """Give a function that writes an array as one file, and returns its series."""
    opened = []

    def written(values: Values, **options: Any) -> Any:
        series = db.series(np.zeros(values.shape, "u1"), "mri", spacing=SPACING)
        opened.append(series.database)
        array = xr.DataArray(values, dims=("SliceLocation", "x", "y"))
        return series.set_array(array, "template", multiframe=True, spacing=SPACING, **options)

    yield written
    for database in opened:
        database.close(save=False)


def said_of_frames(path: str) -> list[tuple[float, float]]:
    """Return slope and intercept of each frame, as the functional groups say them."""
    header = dcmread(path)
    assert header.NumberOfFrames == len(header.PerFrameFunctionalGroupsSequence)

    def scale(group: Dataset) -> tuple[float, float] | None:
        if "PixelValueTransformationSequence" not in group:
            return None
        (item,) = group.PixelValueTransformationSequence
        return float(item.RescaleSlope), float(item.RescaleIntercept)

    common = scale(header.SharedFunctionalGroupsSequence[0])
    each = [scale(group) for group in header.PerFrameFunctionalGroupsSequence]
    # Type 1, in one of the two places (PS3.3 C.7.6.16).
    assert all((one is None) != (common is None) for one in each)
    return [one or common for one in each]  # type: ignore[misc]


def read_by_all(series: Any, values: Values, error: float, *, itk: bool = True) -> None:
    """Compare with an array what we, pydicom and SimpleITK read; the last does not know of NaN."""
    (path,) = series.files()
    expected = values.astype("f8")
    known = ~np.isnan(expected)
    ours = series.array("SliceLocation")[0].squeeze("n", drop=True).values
    np.testing.assert_array_equal(np.isnan(ours.astype("f8")), ~known)
    scales = said_of_frames(path)
    stored = dcmread(path).pixel_array.astype("f8")
    theirs = np.stack([one * s + i for one, (s, i) in zip(stored, scales, strict=True)])
    found = {"ours": ours, "pydicom": theirs.swapaxes(1, 2)}
    if itk:
        found["SimpleITK"] = sitk_pixels(path).astype("f8").swapaxes(1, 2)
    rounding = np.abs(expected[known]).max(initial=0) * 2.0**-23 if error else 0
    for name, read in found.items():
        assert np.abs(read[known] - expected[known]).max(initial=0) <= error + rounding, name


ROUNDED: dict[str, Values] = {
    "ranges from 1 to 10,000": noise(1, 10, 100, 1e4),
    "the same of 32 bits": noise(1, 10, 100, 1e4).astype("f4"),
    "also negative": noise(1, 10, 100) - 0.3,
    "far from zero": noise(1, 2) + 1e6,
    "with frames of one value": np.concatenate([noise(3), frames(0, 7, 0.1)]),
    "with whole numbers": np.concatenate([noise(3), np.rint(noise(900))]),
    "with NaN, and all of NaN": np.concatenate(
        [np.where(noise(3) > 2, np.nan, noise(3)), frames(np.nan), noise(40)]
    ),
    "integers": frames(np.arange(X * Y).reshape(X, Y) * 1001, 5, dtype="i4"),
    "frames of one value, which differ": frames(0.1, 0.2, 0.3),
}


@pytest.mark.parametrize("case", ROUNDED)
def test_all_read_alike_where_values_are_rounded(case: str, write: Write) -> None:
    values = ROUNDED[case]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        series = write(values)
    # Integers are expected to come back: a warning tells how much they are off.
    assert [one.category for one in told] == [DicomWarning] * (values.dtype.kind == "i")
    assert len(set(said_of_frames(series.files()[0]))) == 1
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    read_by_all(series, values, (high - low) / 65_530 / 2)
    if low == 0:  # a background stays one
        ours = series.array("SliceLocation")[0].squeeze("n", drop=True).values
        assert not ours[values == 0].any()
    assert errors_of(series.files()[0]) == set()


@pytest.mark.parametrize("syntax", ["RLE", "JPEG-LS", "JPEG 2000"])
def test_compressed(syntax: str, write: Write) -> None:
    # The second frame waits compressed, and is decoded to get the scale of the others.
    values = np.concatenate([noise(1), np.rint(noise(900)), noise(40)])
    series = write(values, transfer_syntax=syntax)
    assert len(set(said_of_frames(series.files()[0]))) == 1
    read_by_all(series, values, 900 / 65_530 / 2)
    assert errors_of(series.files()[0]) == set()


counts = np.arange(X * Y).reshape(X, Y)
EXACT: dict[str, Values] = {
    "bool": frames(counts % 3 == 0, counts % 2 == 0, dtype="?"),
    "uint8": frames(counts, 0, dtype="u1"),
    "int16": frames(counts - 90, counts, dtype="i2"),
    "uint16": frames(counts * 300, 9, dtype="u2"),
    "int32 below zero": frames(counts - 90, counts - 60, counts, dtype="i4"),
    "int64 beyond 2**53": frames(0, counts, 3, dtype="i8") + 10**14,
    "whole floats": frames(counts, counts + 5, 7, -3),
    "whole floats with NaN": frames(np.where(counts > 9, np.nan, counts), counts + 5, np.nan),
    "nothing but NaN": frames(np.nan, np.nan),
    "one value": frames(0.7, 0.7),
}


@pytest.mark.parametrize("case", EXACT)
def test_one_scale_that_is_exact(case: str, write: Write) -> None:
    values = EXACT[case]
    series = write(values)
    assert len(set(said_of_frames(series.files()[0]))) == 1
    ours = series.array("SliceLocation")[0].squeeze("n", drop=True).values
    np.testing.assert_array_equal(ours, values)
    read_by_all(series, values, 0 if case != "one value" else 1e-9)


def test_values_of_the_sources_are_exact(write: Write) -> None:
    source = write(noise(5, 50) - 0.3)  # zero has a code
    array, _ = source.array("SliceLocation")
    chosen = array.where(array > 2.0)
    chosen[0] = 0.0  # of no scale of its own: it gets that of the others
    copy = chosen.dicom.write(source.new_sibling(), multiframe=True)
    assert len(set(said_of_frames(copy.files()[0]))) == 1
    # The text of the intercept rounds, by far less than a step.
    read_by_all(copy, chosen.squeeze("n", drop=True).values, 50 / 65_530 / 1e4)


APART: dict[str, Values] = {
    "integers": frames(counts, counts + 10**6, dtype="i4"),
    "whole floats": frames(counts, counts + 10**6),
}


@pytest.mark.parametrize("case", APART)
def test_what_no_single_scale_holds_is_exact_and_told(case: str, write: Write) -> None:
    values = APART[case]
    with pytest.warns(DicomWarning, match=r"SimpleITK .* scale='series'"):
        series = write(values)
    assert len(set(said_of_frames(series.files()[0]))) == 2
    read_by_all(series, values, 0, itk=False)


def test_a_scale_per_frame_on_demand(write: Write) -> None:
    values = noise(1, 10, 100, 1e4)
    series = write(values, scale="frame")
    assert len(set(said_of_frames(series.files()[0]))) == 4
    read_by_all(series, values, 1e4 / 65_530 / 2, itk=False)
    for i, most in enumerate((1, 10, 100, 1e4)):
        ours = series.array("SliceLocation")[0].values[i, 0]
        assert np.abs(ours - values[i]).max() <= most / 65_530 / 2


def test_one_scale_of_the_series(write: Write) -> None:
    series = write(noise(1, 100), scale="series")
    assert len(set(said_of_frames(series.files()[0]))) == 1
    read_by_all(series, noise(1, 100), 100 / 65_530 / 2)


def test_each_file_of_a_series_has_its_scale(write: Write) -> None:
    import dask

    series = write(noise(1, 10))
    first = said_of_frames(series.files()[0])
    above = np.diag([*SPACING, 1.0])
    above[2, 3] = 2 * SPACING[2]
    more = xr.DataArray(noise(100, 1000), dims=("SliceLocation", "x", "y"))
    later = series.set_array(
        more.chunk({"SliceLocation": 1}), "template", affine=above, mode="a", multiframe=True,
        compute=False,
    )  # fmt: skip
    dask.compute(later)
    found = [said_of_frames(path) for path in series.files()]
    assert first in found
    assert [len(set(each)) for each in found] == [1, 1]
    ours = series.array("SliceLocation")[0].squeeze("n", drop=True).values
    expected = np.concatenate([noise(1, 10), noise(100, 1000)])
    assert np.abs(ours - expected).max(axis=(1, 2)) == pytest.approx(0, abs=1000 / 65_530 / 2)


def parts_in(folder: Path, plan: WritePlan, values: Values) -> list[str]:
    paths = []
    for i, frame in enumerate(values):
        paths.append(str(folder / f"{i}.dcm"))
        stored = quantise_exactly(frame, plan.target)
        if stored is None:
            write_values(paths[-1], frame)
        else:
            write_stored(paths[-1], plan, stored, frame.dtype, error=0.0)
    return paths


def plan_of(rows: int, columns: int) -> WritePlan:
    return WritePlan(
        {}, np.arange(1), (1,), ["n"], (rows, columns), Target(signed=False, reserve=True),
        form="multiframe", one_scale=True,
    )  # fmt: skip


def test_a_task_that_is_done_twice_gives_the_same(tmp_path: Path) -> None:
    values, plan = np.concatenate([noise(1, 10), frames(3)]), plan_of(X, Y)
    paths = parts_in(tmp_path, plan, values)
    once = settled(paths, plan)
    bytes_of = [Path(path).read_bytes() for path in once.paths]
    twice = settled(paths, plan)
    assert [Path(path).read_bytes() for path in twice.paths] == bytes_of
    for path, part, frame in zip(twice.paths, twice.parts, values, strict=True):
        found = values_of(path, part, plan)
        error = np.abs(found - frame).max()
        assert error <= part.error <= 10 / 65_530 / 2
        assert part.error == 0 or error > 0


def test_one_part_is_in_memory_at_a_time(tmp_path: Path) -> None:
    side, count = 256, 16
    random = np.random.default_rng(1)
    plan = plan_of(side, side)
    paths = []
    for i in range(count):
        paths.append(str(tmp_path / f"{i}.dcm"))
        write_values(paths[-1], random.random((side, side)))
    tracemalloc.start()
    try:
        settled(paths, plan)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * 8 * side * side
