"""``da.dicom.align``: labels that are one value, planes that are not the same, headers kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, GridError, InvalidValue, NotInDatabase
from dbdicom_xr.testing import make_enhanced, make_series
from dbdicom_xr.testing.series import Geometry

SLICES, TIMES = [0.0, 5.0, 10.0, 15.0], [2.46, 4.92, 7.38]
KEYS = {"SliceLocation": SLICES, "EchoTime": TIMES}


def made(folder: Path, number: int, frame: str = "1.2.3", **options: Any) -> Any:
    """Make a series, and return its array and header."""
    options.setdefault("keys", KEYS)
    grid = [len(values) for values in options["keys"].values()]
    uids = np.full((*grid, options.get("n", 1)), frame, object)
    if frame:
        options["per_frame"] = {**options.get("per_frame", {}), "FrameOfReferenceUID": uids}
    options.setdefault("shape", (4, 3))
    make_series(folder / str(number), seed=number, shuffle=number, **options)
    database = db.database(folder / str(number))
    (series,) = database.series()
    return series.array(list(options["keys"]))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two series whose labels differ in the last digits."""
    folder = tmp_path_factory.mktemp("pair")
    first = made(folder, 1)
    keys = {
        "SliceLocation": [z + 4e-4 for z in SLICES],
        "EchoTime": [t * (1 + 3e-7) for t in TIMES],
    }
    second = made(folder, 2, keys=keys, header=lambda d, i: setattr(
        d, "ImagePositionPatient", [-20, -30, 40 + SLICES[i[0]]]))  # fmt: skip
    return first, second


def same_images(array: xr.DataArray, header: Any, **sel: Any) -> None:
    assert array.dicom.header.tolist() == header.isel(sel).tolist()


@pytest.mark.parametrize("join", ["inner", "outer", "left", "right", "exact"])
def test_twin_series(pair: Any, join: str) -> None:
    (first, header), (second, other_header) = pair
    assert (first + second).sizes["SliceLocation"] == 0
    left, right = first.dicom.align(second, join)
    wanted = second if join == "right" else first
    for one, source, own in ((left, first, header), (right, second, other_header)):
        assert one.dims == source.dims
        for dim in ("SliceLocation", "EchoTime", "x", "y"):
            assert np.array_equal(one[dim], wanted[dim])
            assert one[dim].attrs == source[dim].attrs
        assert one.chunks is not None
        assert one.dtype == source.dtype
        assert np.array_equal(one, source)
        same_images(one, own)
        assert one.attrs == source.attrs
        reduced = one.mean("EchoTime").dicom.header
        assert [set(cell.sources) for cell in reduced[:, 0]] == [set(row.ravel()) for row in own]
    total = left + right
    assert np.array_equal(total, first.to_numpy() + second.to_numpy())
    with pytest.raises(NotInDatabase, match=r"header=array\.dicom\.header"):
        _ = total.dicom.header
    with xr.set_options(keep_attrs=True), pytest.raises(NotInDatabase, match=r"header=array\.di"):
        _ = (left - right).dicom.header
    again = total.dicom.write(
        header[0, 0, 0].series().new_sibling(SeriesDescription="Sum"), header=left.dicom.header
    )
    assert again.EchoTime == pytest.approx(TIMES)
    again.remove()


def test_parts(pair: Any) -> None:
    (first, header), (second, other_header) = pair
    one = first.isel(SliceLocation=slice(0, 3), x=slice(1, 4))
    two = second.isel(SliceLocation=[3, 1, 2], EchoTime=[0, 2], y=slice(0, 2))
    left, right = one.dicom.align(two)
    assert left.SliceLocation.values.tolist() == [5, 10]
    assert (left.sizes, right.sizes) == (right.sizes, left.sizes)
    same_images(left, header, SliceLocation=[1, 2], EchoTime=[0, 2])
    same_images(right, other_header, SliceLocation=[1, 2], EchoTime=[0, 2])
    assert np.array_equal(right, second.isel(SliceLocation=[1, 2], EchoTime=[0, 2], x=slice(1, 4),
                                             y=slice(0, 2)))  # fmt: skip
    left, right = one.dicom.align(two, "outer")
    assert left.SliceLocation.values == pytest.approx(SLICES, abs=1e-3)
    assert np.isnan(left.isel(SliceLocation=3)).all()
    gaps = left.dicom.header
    assert gaps[:3].tolist() == header[:3].tolist()
    assert set(gaps[3].ravel()) == {None}
    assert right.dicom.header[1:, [0, 2]].tolist() == other_header[1:, [0, 2]].tolist()
    assert {*right.dicom.header[0].ravel(), *right.dicom.header[:, 1].ravel()} == {None}
    left, right = one.dicom.align(two, "left")
    assert right.SliceLocation.values.tolist() == [0, 5, 10]
    left, right = one.dicom.align(two, "right")
    assert np.array_equal(left.SliceLocation, two.SliceLocation)
    same_images(left.isel(SliceLocation=[1, 2]), header, SliceLocation=[1, 2], EchoTime=[0, 2])
    with pytest.raises(GridError, match=r"other labels SliceLocation: 0\.0 is in one of them only"):
        one.dicom.align(two, "exact")
    with pytest.raises(GridError, match="another order"):
        first.dicom.align(first[::-1], "exact")


def test_fewer_dimensions(pair: Any) -> None:
    (first, _), (second, other_header) = pair
    mean = second.mean("EchoTime")
    left, right = first.dicom.align(mean)
    assert (left - right).sizes["EchoTime"] == 3
    assert [set(cell.sources) for cell in right.dicom.header[:, 0]] == [
        set(row.ravel()) for row in other_header
    ]
    scalar = second.isel(EchoTime=1)
    left, right = first.dicom.align(scalar)
    assert float(right.EchoTime) == pytest.approx(4.92)
    one_slice = second.isel(SliceLocation=2)
    with pytest.raises(GridError, match=r"ImagePositionPatient at SliceLocation 0\.0.*map_to"):
        first.dicom.align(one_slice)
    left, right = first.isel(SliceLocation=2).dicom.align(one_slice)
    assert left.sizes == right.sizes


def test_thick_slices(pair: Any) -> None:
    (first, _), (second, _) = pair
    thick, other = (one.dicom.coarsen(SliceLocation=2).mean() for one in (first, second))
    left, right = thick.dicom.align(other)
    assert left.SliceLocation.values.tolist() == right.SliceLocation.values.tolist() == [2.5, 12.5]
    assert right.dicom.header.tolist() == other.dicom.header.tolist()
    # The same middle, and not the same slab.
    wide = second.isel(SliceLocation=slice(0, 4)).dicom.coarsen(SliceLocation=4).mean()
    with pytest.raises(GridError, match=r"no label SliceLocation in common.*7\.5"):
        thick.dicom.align(wide)
    two = second.isel(SliceLocation=slice(1, 3)).dicom.coarsen(SliceLocation=2).mean()
    with pytest.raises(GridError, match="ImagePositionPatient"):
        wide.dicom.align(two)


def turned() -> Geometry:
    return Geometry(orientation=(0, 1, 0, 0, 0, 1))


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "frame of reference": ({"frame": "1.2.4"},
                           r"FrameOfReferenceUID\), 1\.2\.3 and 1\.2\.4.*map_to"),
    "orientation": ({"geometry": turned()},
                    r"ImageOrientationPatient is \(1, 0, 0, 0, 1, 0\) and \(0, 1, 0, 0, 0, 1\)"),
    "origin": ({"geometry": Geometry(origin=(-20, -29.5, 40))},
               r"ImagePositionPatient is \(-20, -30, 40\) and \(-20, -29\.5, 40\).*map_to"),
    "one slice": ({"header": lambda d, i: i[0] == 2 and setattr(
        d, "ImagePositionPatient", [-20, -30, 50.5])},
        r"ImagePositionPatient at SliceLocation 10\.0 is \(-20, -30, 50\) and \(-20, -30, 50\.5\)"),
    "pixels": ({"geometry": Geometry(spacing=(1.25, 1.25, 5))}, r"1\.5 and 1\.25 mm apart along x"),
    "no place": ({"header": {"ImagePositionPatient": None, "ImageOrientationPatient": None}},
                 r"not known"),
    "slices": ({"keys": {**KEYS, "SliceLocation": [2.5, 7.5]}},
               r"SliceLocation in common: 4 labels from 0\.0 to 15\.0, and 2 labels from 2\.5"),
    "times": ({"keys": {**KEYS, "EchoTime": [30.0]}},
              r"EchoTime in common.*and 30\.0.*isel\(EchoTime"),
    "averages": ({"n": 2}, "1 and 2 images along n"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_refused(pair: Any, tmp_path: Path, name: str) -> None:
    (first, _), _ = pair
    options, words = OTHERS[name]
    other, _ = made(tmp_path, 3, **options)
    for join in ("inner", "outer"):
        with pytest.raises(GridError, match=words):
            first.dicom.align(other, join)
    assert isinstance(GridError("x"), ValueError)


def test_slices_counted_the_other_way(pair: Any, tmp_path: Path) -> None:
    (first, header), _ = pair

    def other_way(dataset: Any, _: Any) -> None:
        dataset.SliceLocation = 100 - float(dataset.SliceLocation)

    second, other_header = made(tmp_path, 4, header=other_way)
    assert second.SliceLocation.values.tolist() == [85, 90, 95, 100]
    left, right = first.dicom.align(second)
    assert left.SliceLocation.values.tolist() == right.SliceLocation.values.tolist()
    for one, own in ((left, header), (right, other_header)):
        assert sorted(image.SOPInstanceUID for image in one.dicom.header.ravel()) == sorted(
            image.SOPInstanceUID for image in own.ravel()
        )
    places = [
        [image.ImagePositionPatient for image in one.dicom.header.ravel()] for one in (left, right)
    ]
    assert places[0] == places[1]
    left, right = first.dicom.align(second, "outer")
    assert left.sizes["SliceLocation"] == 4
    part = first.isel(SliceLocation=slice(2))
    assert part.dicom.align(second)[1].sizes["SliceLocation"] == 2
    with pytest.raises(GridError, match=r"in one of them only.*inner"):
        part.dicom.align(second, "exact")


@pytest.mark.parametrize("total", [0.0, 5.0, 15.0, 20.0])
def test_a_label_that_slices_share_by_chance(pair: Any, tmp_path: Path, total: float) -> None:
    (first, header), _ = pair
    second, _ = made(tmp_path, 5, header=lambda d, _: setattr(
        d, "SliceLocation", total - float(d.SliceLocation)))  # fmt: skip
    for one, other in ((first, second), (second, first)):
        left, right = one.dicom.align(other)
        assert left.sizes["SliceLocation"] == right.sizes["SliceLocation"] == 4
        places = [
            [image.ImagePositionPatient for image in side.dicom.header.ravel()]
            for side in (left, right)
        ]
        assert places[0] == places[1]
        assert one.dicom.align(other, "outer")[0].sizes["SliceLocation"] == 4
        left, right = one.isel(SliceLocation=[1, 2, 3]).dicom.align(other)
        assert left.sizes["SliceLocation"] == 3
    left, right = first.dicom.align(first[1:])
    assert left.SliceLocation.values.tolist() == SLICES[1:]
    same_images(right, header, SliceLocation=[1, 2, 3])


def test_a_single_column_has_the_spacing_of_its_images(pair: Any, tmp_path: Path) -> None:
    (first, _), (second, _) = pair
    wide, _ = made(tmp_path, 6, geometry=Geometry(spacing=(1.25, 1.25, 5)))
    for one in ({"x": [0]}, {"x": [0], "y": [0]}):
        left, right = first.isel(one).dicom.align(second.isel(one))
        assert left.sizes == right.sizes == first.isel(one).sizes
        with pytest.raises(GridError, match=r"1\.5 and 1\.25 mm apart along x"):
            first.isel(one).dicom.align(wide.isel(one))
    with pytest.raises(GridError, match=r"1\.5 and 1\.25 mm apart along x"):
        first.dicom.align(wide.isel(x=[0]))


def test_images_without_a_place(tmp_path: Path) -> None:
    gone = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    (first, _), (second, _) = (
        made(tmp_path, number, "", header={**gone, "FrameOfReferenceUID": None})
        for number in (1, 2)
    )
    left, right = first.dicom.align(second)
    assert left.shape == right.shape == first.shape


def test_wrong_arguments(pair: Any) -> None:
    (first, _), (second, _) = pair
    with pytest.raises(InvalidValue, match="not with an object of type ndarray"):
        first.dicom.align(second.to_numpy())
    with pytest.raises(InvalidValue, match="join is 'both'"):
        first.dicom.align(second, "both")
    with pytest.raises(InvalidValue, match="tolerance is -1"):
        first.dicom.align(second, tolerance=-1)
    with pytest.raises(GridError, match="Several labels"):
        first[:1].dicom.align(second, tolerance=6)
    with pytest.raises(GridError, match="no label"):
        first.dicom.align(second, tolerance=1e-9)
    with pytest.raises(DbdicomError, match=r"this array lies is not known.*xr\.align"):
        (first * 2).drop_attrs().dicom.align(second)
    with pytest.raises(DbdicomError, match="the other array lies"):
        first.dicom.align(second.compute().interp(SliceLocation=[1.0, 5.0004, 10.0004]))


def test_a_wider_tolerance(pair: Any) -> None:
    (first, _), (second, other_header) = pair
    moved = second.assign_coords(EchoTime=second.EchoTime + 0.01)
    with pytest.raises(GridError, match="EchoTime in common"):
        first.dicom.align(moved)
    _, right = first.dicom.align(moved, tolerance=0.02)
    assert np.array_equal(right.EchoTime, first.EchoTime)
    same_images(right, other_header)


def test_classic_and_enhanced(tmp_path: Path) -> None:
    first, first_header = made(tmp_path, 1, "")
    make_enhanced(tmp_path / "e", keys=KEYS, shape=(4, 3), seed=5)
    enhanced = db.database(tmp_path / "e").series()[0]
    enhanced.FrameOfReferenceUID = first.dicom.header[0, 0, 0].FrameOfReferenceUID
    second, header = enhanced.array(list(KEYS))
    left, right = first.dicom.align(second)
    assert first.SliceLocation.values.tolist() == SLICES
    assert second.SliceLocation.values.tolist() == [40, 45, 50, 55]  # worked out: it has none
    for one, two in ((left, right), second.dicom.align(first)[::-1]):
        assert one.SliceLocation.values.tolist() == [40, 45, 50, 55]
        assert np.array_equal(two.SliceLocation, one.SliceLocation)
        same_images(one, first_header)
        same_images(two, header)
        for mean in (one.mean("EchoTime"), two.mean("EchoTime")):
            assert [len(cell.sources) for cell in mean.dicom.header.ravel()] == [3] * 4
    part, whole = first[2:].dicom.align(second, "right")
    same_images(whole, header)
    assert part.dicom.header[2:].tolist() == first_header[2:].tolist()
    enhanced.restore()


@settings(max_examples=30)
@given(
    own=st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=6),
    theirs=st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=6),
    off=st.lists(st.floats(-9e-4, 9e-4), min_size=21, max_size=21),
    join=st.sampled_from(["inner", "outer", "left", "right"]),
)
def test_as_xarray_aligns_exact_labels(
    own: list[int], theirs: list[int], off: list[float], join: Any
) -> None:
    from dbdicom_xr.xarray_plugin.align import _moved_labels

    first = xr.DataArray(own, {"SliceLocation": [float(z) for z in own]}, ["SliceLocation"])
    exact = xr.DataArray(theirs, {"SliceLocation": [float(z) for z in theirs]}, ["SliceLocation"])
    near = exact.assign_coords(SliceLocation=exact.SliceLocation + [off[z] for z in theirs])
    moved = _moved_labels(near, first, None)
    for place, label in enumerate(theirs):
        found = float(moved.SliceLocation[place])
        assert found == (label if label in own else float(near.SliceLocation[place]))
    if set(theirs) <= set(own):
        for one, two in zip(xr.align(first, exact, join=join), xr.align(first, moved, join=join),
                            strict=True):  # fmt: skip
            assert one.identical(two)
