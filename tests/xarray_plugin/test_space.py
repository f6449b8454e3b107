"""``da.dicom`` in space: after selections, reductions and arithmetic, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.errors import AlignedByOrder, GridError, InvalidValue, MixedGeometry, NotInDatabase
from dbdicom_xr.testing import Geometry, make_enhanced, make_series

GEOMETRY = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
SLICES = [0.0, 4.0, 8.0, 12.0]


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A series of 4 slices and 3 echoes."""
    folder = tmp_path_factory.mktemp("echoes")
    make_series(
        folder, keys={"SliceLocation": SLICES, "EchoTime": [2, 4, 6]}, geometry=GEOMETRY,
        shape=(16, 12), shuffle=1,
    )  # fmt: skip
    return series_of(folder)


@pytest.fixture(scope="module")
def array(echoes: Any) -> Any:
    return echoes.array(["SliceLocation", "EchoTime"])[0]


def true_place(x: float, y: float, location: float) -> Any:
    """Return where a pixel of the images lies, from what was written."""
    directions = np.array(GEOMETRY.orientation)
    return (
        np.array(GEOMETRY.position(location))
        + directions[:3] * GEOMETRY.spacing[0] * x
        + directions[3:] * GEOMETRY.spacing[1] * y
    )


FULL = GEOMETRY.affine(0)


def part(start: Any, step: Any) -> Any:
    """Return the affine of every so many voxels."""
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = start
    return FULL @ matrix


SELECTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "all": (lambda a: a, FULL),
    "transposed": (lambda a: a.transpose("y", "EchoTime", "x", "n", "SliceLocation"), FULL),
    "one echo": (lambda a: a.sel(EchoTime=4), FULL),
    "squeezed": (lambda a: a.sel(EchoTime=4).isel(n=0), FULL),
    "doubled": (lambda a: a * 2, FULL),
    "cropped": (lambda a: a.isel(x=slice(3, 9), y=slice(2, None)), part([3, 2, 0], [1, 1, 1])),
    "cropped by place": (lambda a: a.sel(x=slice(4.5, 9)), part([3, 0, 0], [1, 1, 1])),
    "every third": (lambda a: a.isel(x=slice(1, None, 3)), part([1, 0, 0], [3, 1, 1])),
    "flipped": (lambda a: a[..., ::-1, ::-1], part([15, 11, 0], [-1, -1, 1])),
    "one column": (lambda a: a.isel(x=5), part([5, 0, 0], [1, 1, 1])),
    "one column kept": (lambda a: a.isel(x=[5]), part([5, 0, 0], [1, 1, 1])),
    "slices": (lambda a: a.isel(SliceLocation=slice(1, 3)), part([0, 0, 1], [1, 1, 1])),
    "every other": (lambda a: a.isel(SliceLocation=[0, 2]), part([0, 0, 0], [1, 1, 2])),
    "from the top": (lambda a: a.isel(SliceLocation=[3, 2, 1]), part([0, 0, 3], [1, 1, -1])),
    "coarser": (
        lambda a: a.coarsen(x=2, y=3).mean(), part([0.5, 1, 0], [2, 3, 1])
    ),
    "cropped and coarser": (
        lambda a: a.isel(x=slice(4, 12)).coarsen(x=4).mean(), part([5.5, 0, 0], [4, 1, 1])
    ),
    "interpolated": (
        lambda a: a.compute().interp(x=[0.75, 1.5, 2.25]), part([0.5, 0, 0], [0.5, 1, 1])
    ),
    "one slice": (
        lambda a: a.isel(SliceLocation=1), part([0, 0, 1], [1, 1, 5 / 4])  # SliceThickness is 5
    ),
    "mean of echoes": (lambda a: a.mean("EchoTime"), FULL),
    "mean, then part": (
        lambda a: a.mean(["EchoTime", "n"])[::-1, 2:], part([2, 0, 3], [1, 1, -1])
    ),
    "echo of one slice, mean": (
        lambda a: a.isel(SliceLocation=2).mean("EchoTime"), part([0, 0, 2], [1, 1, 5 / 4])
    ),
    "difference of echoes": (
        lambda a: a.isel(EchoTime=0) - a.isel(EchoTime=1), FULL
    ),
    "slices between": (
        lambda a: a.compute().interp(SliceLocation=[1, 2.5, 4]), part([0, 0, 0.25], [1, 1, 0.375])
    ),
    "a slice between": (
        lambda a: a.compute().interp(SliceLocation=5), part([0, 0, 1.25], [1, 1, 5 / 4])
    ),
    "slices shifted": (
        lambda a: a.compute().interp(SliceLocation=[1, 5, 9]), part([0, 0, 0.25], [1, 1, 1])
    ),
    "slices averaged": (
        lambda a: a.mean("EchoTime").coarsen(SliceLocation=2).mean(), part([0, 0, 0.5], [1, 1, 2])
    ),
    "echoes between": (lambda a: a.compute().interp(EchoTime=[3, 5]), FULL),
    "an echo between": (lambda a: a.compute().interp(EchoTime=3), FULL),
    "mean of echoes of times between": (
        lambda a: a.compute().interp(EchoTime=[3, 5]).mean("n"), FULL
    ),
    "echoes in seconds": (lambda a: a.assign_coords(EchoTime=[0.002, 0.004, 0.006]), FULL),
    "where": (lambda a: a.where(a > 5), FULL),
    "numpy": (lambda a: np.sqrt(a), FULL),
    "rolling": (lambda a: a.rolling(EchoTime=2).mean(), FULL),
    "stacked": (lambda a: a.stack(all=("EchoTime", "n")), FULL),
    "concatenated": (
        lambda a: xr.concat([a.isel(EchoTime=[0]), a.isel(EchoTime=[2])], "EchoTime"), FULL
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_affine_follows_the_array(array: Any, name: str) -> None:
    select, expected = SELECTIONS[name]
    assert select(array).dicom.affine == pytest.approx(expected, abs=1e-6)


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "projection": (lambda a: a.max("SliceLocation"), GridError, "projection"),
    "uneven slices": (lambda a: a.isel(SliceLocation=[0, 1, 3]), GridError, "not evenly spaced"),
    "slices out of order": (lambda a: a.isel(SliceLocation=[0, 2, 1]), GridError, "not in order"),
    "a slice twice": (lambda a: a.isel(SliceLocation=[0, 0, 1]), GridError, "both at"),
    "uneven columns": (lambda a: a.isel(x=[0, 1, 5]), GridError, "coordinate x is not evenly"),
    "columns without labels": (lambda a: a.drop_vars("x"), GridError, "no coordinate x"),
    "column without label": (lambda a: a.isel(x=3, drop=True), GridError, "no coordinate x"),
    "columns around it": (lambda a: a.pad(x=2), GridError, "coordinate x is not evenly"),
    "slices around it": (lambda a: a.pad(SliceLocation=1), GridError, "no frame at position 0"),
    "other columns": (
        lambda a: a.assign_coords(x=np.arange(16)), GridError, "units None.*centre of the first"
    ),
    "slices beyond": (
        lambda a: a.compute().interp(SliceLocation=[8, 12, 16]), GridError, "16 lies outside"
    ),
    "labels of one's own, beside the frames": (
        lambda a: a.assign_coords(SliceLocation=[1, 5, 9, 12]),
        GridError, "no frame of SliceLocation 1",
    ),
    "labels of other frames": (
        lambda a: a.assign_coords(SliceLocation=a.SliceLocation.values[::-1]),
        GridError, "labels SliceLocation .* others than those of the images.*contradict each other",
    ),
    "a label of another frame": (
        lambda a: a.isel(SliceLocation=0).assign_coords(SliceLocation=8.0),
        GridError, "labels SliceLocation .* contradict each other",
    ),
    "one image for several labels": (
        lambda a: xr.concat([a.isel(SliceLocation=2), a.isel(SliceLocation=0)], "SliceLocation",
                            coords="minimal", compat="override"),
        GridError, "labels SliceLocation .* contradict each other",
    ),
    "slices between, renamed": (
        lambda a: a.compute().interp(SliceLocation=[1, 5]).rename(SliceLocation="z"),
        GridError, "4 places",
    ),
    "slices between, without labels": (
        lambda a: a.compute().interp(SliceLocation=[1, 5]).isel(SliceLocation=0, drop=True),
        GridError, "4 places",
    ),
    "slices between, by number": (
        lambda a: a.isel(EchoTime=0).assign_coords(InstanceNumber=("SliceLocation", [1, 4, 7, 10]))
        .swap_dims(SliceLocation="InstanceNumber").drop_vars("SliceLocation").compute()
        .interp(InstanceNumber=[2, 5]),
        GridError, "do not tell which",
    ),
    "difference of slices": (
        lambda a: a.isel(SliceLocation=0) - a.isel(SliceLocation=1), GridError, "4 places"
    ),
    "labels of one's own": (
        lambda a: a.mean("EchoTime").assign_coords(SliceLocation=[1, 2, 3, 4]),
        GridError, "no frame of SliceLocation 1",
    ),
    "no attributes": (lambda a: a.drop_attrs(), NotInDatabase, "database"),
    "no attributes, reduced": (lambda a: a.mean("n").drop_attrs(), NotInDatabase, "header="),
    "a slice that is not there": (
        lambda a: a.reindex(SliceLocation=[0.0, 4, 8, 12, 16]), GridError,
        "no frame at position 4 along SliceLocation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_never_guesses(array: Any, name: str) -> None:
    change, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        _ = change(array).dicom.affine


@given(
    st.slices(16).filter(lambda s: len(range(16)[s]) > 1),
    st.slices(12).filter(lambda s: len(range(12)[s]) > 1),
    st.slices(4).filter(lambda s: len(range(4)[s]) > 1),
)
def test_any_part_lies_where_it_did(array: Any, x: slice, y: slice, z: slice) -> None:
    chosen = array.isel(x=x, y=y, SliceLocation=z)
    affine = chosen.dicom.affine
    for i, j, k in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, -1, -1)]:
        at = [range(n)[part][p] for n, part, p in ((16, x, i), (12, y, j), (4, z, k))]
        voxel = [i % chosen.sizes["x"], j % chosen.sizes["y"], k % chosen.sizes["SliceLocation"]]
        expected = true_place(at[0], at[1], SLICES[at[2]])
        assert (affine @ [*voxel, 1])[:3] == pytest.approx(expected, abs=1e-5)


def test_what_the_accessor_says(array: Any) -> None:
    assert array.dicom.spacing == pytest.approx((1.5, 1.25, 4))
    assert array.dicom.slice_dim == "SliceLocation"
    assert array.dicom.tilt == pytest.approx(0, abs=1e-5)
    found = array.dicom.orientation
    assert (found.plane, found.codes) == ("coronal", "LIP")
    assert found.x == pytest.approx((0.8, 0.6, 0))
    assert found.angle == pytest.approx(np.degrees(np.arctan2(0.6, 0.8)))
    flipped = array.isel(x=slice(None, None, -1), SliceLocation=[2, 1]).dicom
    assert flipped.orientation.codes == "RIA"
    assert flipped.spacing == pytest.approx((1.5, 1.25, 4))
    assert array.dicom.get_affine("RAS") == pytest.approx(np.diag([-1, -1, 1, 1]) @ FULL)
    with pytest.raises(InvalidValue, match="space"):
        array.dicom.get_affine("MNI")
    assert array.isel(SliceLocation=0).dicom.slice_dim is None


def test_the_slice_dimension_is_found_by_position(echoes: Any) -> None:
    one = echoes.array()[0]  # all frames, along n
    with pytest.raises(GridError, match=r"both at|not in order"):
        _ = one.dicom.affine
    (at,) = np.nonzero([h.EchoTime == 4 for h in one.dicom.header])
    chosen = one.isel(n=at)
    assert chosen.dicom.slice_dim == "n"
    assert chosen.dicom.affine == pytest.approx(FULL, abs=1e-6)
    renamed = chosen.rename(n="level")
    assert renamed.dicom.slice_dim == "level"


def test_times_of_each_slice(tmp_path: Path) -> None:
    times = 36000 + np.arange(8).reshape(4, 2, 1) * 1.5
    make_series(
        tmp_path, keys={"SliceLocation": SLICES, "InstanceNumber": [1, 2]}, geometry=GEOMETRY,
        per_frame={"AcquisitionTime": times, "InstanceNumber": (times - 35999).astype(int)},
    )  # fmt: skip
    series = series_of(tmp_path)
    sortby = ["SliceLocation", "AcquisitionTime"]
    by_order = series.array(sortby, align="order")[0]
    assert by_order.dicom.affine == pytest.approx(FULL, abs=1e-6)
    assert by_order.mean("AcquisitionTime").dicom.affine == pytest.approx(FULL, abs=1e-6)
    # All that is left of these frames is the time of each, which tells its slice.
    of_one = by_order.isel(SliceLocation=2, drop=True)
    assert of_one.AcquisitionTime.dtype.kind == "m"
    assert of_one.mean("n").dicom.affine[:3, 3] == pytest.approx(true_place(0, 0, 8))
    # By value each time belongs to one slice, so that the place follows from the time too.
    by_value = series.array(sortby, align="value")[0]
    assert by_value.dicom.slice_dim == "SliceLocation"
    assert by_value.dicom.affine == pytest.approx(FULL, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignedByOrder)
        alone = series.array("AcquisitionTime")[0]
    with pytest.raises(GridError, match="both at"):
        _ = alone.dicom.affine


def test_frames_that_moved_have_no_affine(tmp_path: Path) -> None:
    places = np.zeros((3, 2, 1, 3))
    places[..., 2] = np.arange(3)[:, None, None] * 5
    places[:, 1, 0, 0] = 2
    make_series(
        tmp_path, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2, 4]},
        per_frame={"ImagePositionPatient": places},
    )  # fmt: skip
    moved = series_of(tmp_path).array(["SliceLocation", "EchoTime"])[0]
    with pytest.raises(GridError, match=r"along no dimension .*varies along several"):
        _ = moved.dicom.affine
    assert moved.sel(EchoTime=4).dicom.affine @ [0, 0, 1, 1] == pytest.approx([2, 0, 5, 1])


def test_places_between_uneven_slices_are_true(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": [0, 5, 15]}, geometry=GEOMETRY)
    uneven = series_of(tmp_path).array("SliceLocation")[0].compute()
    with pytest.raises(GridError, match="not evenly spaced"):
        _ = uneven.dicom.affine
    even = uneven.interp(SliceLocation=[0, 5, 10, 15])
    assert even.dicom.affine == pytest.approx(part([0, 0, 0], [1, 1, 5 / 4]), abs=1e-6)
    places = np.array([[[0, 0, 0]], [[0, 0, 5]], [[3, 0, 10]]], float)
    make_series(tmp_path / "bent", seed=2, per_frame={"ImagePositionPatient": places})
    bent = series_of(tmp_path / "bent").array("SliceLocation")[0].compute()
    with pytest.raises(GridError, match="straight line"):
        _ = bent.interp(SliceLocation=[2, 4]).dicom.affine


def test_a_header_that_contradicts_itself(tmp_path: Path) -> None:
    places = np.broadcast_to([1.0, 2, 3], (3, 1, 3))
    make_series(tmp_path, per_frame={"ImagePositionPatient": places})
    with pytest.raises(GridError, match="contradicts"):
        _ = series_of(tmp_path).array("SliceLocation")[0].dicom.affine


def test_several_orientations(tmp_path: Path) -> None:
    directions = [[1.0, 0, 0, 0, 1, 0], [1.0, 0, 0, 0, 0, -1]]
    make_series(
        tmp_path, keys={"InstanceNumber": [1, 2]},
        per_frame={"ImageOrientationPatient": np.array(directions)[:, None]},
    )  # fmt: skip
    both = series_of(tmp_path).array("InstanceNumber")[0]
    with pytest.raises(GridError, match=r"2 orientations.*series\.stacks\(\)"):
        _ = both.dicom.affine
    assert both.isel(InstanceNumber=1).dicom.orientation.plane == "coronal"


def test_what_lies_between_frames_has_no_header(array: Any, tmp_path: Path) -> None:
    computed = array.compute()
    for labels in ([1.0], [2.0, 6.0], [13.0]):
        with pytest.raises(NotInDatabase, match="between the frames"):
            _ = computed.interp(SliceLocation=labels).dicom.header
    assert computed.interp(SliceLocation=[4.0, 8.0]).dicom.header.shape == (2, 3, 1)
    make_enhanced(tmp_path, keys={"SliceLocation": SLICES}, geometry=GEOMETRY)
    frames = series_of(tmp_path).array()[0].compute()
    frames = frames.assign_coords(n=np.arange(4)).interp(n=[0.5, 1.5])
    with pytest.raises(NotInDatabase, match="between the frames"):
        _ = frames.dicom.header
    with pytest.raises(GridError, match="do not tell which"):
        _ = frames.dicom.affine


def test_enhanced_slices_between(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": SLICES}, geometry=GEOMETRY, shuffle=3)
    frames = series_of(tmp_path).array("SliceLocation")[0].compute()
    first = float(frames.SliceLocation[0])
    between = frames.interp(SliceLocation=[first + 1, first + 3])
    assert between.dicom.affine == pytest.approx(part([0, 0, 0.25], [1, 1, 0.5]), abs=1e-6)


def test_two_series_need_a_header(tmp_path: Path) -> None:
    for number in (1, 2):
        make_series(tmp_path / str(number), seed=number, geometry=GEOMETRY)
    one, other = db.database(tmp_path).series()
    (first, header), (second, _) = one.array("SliceLocation"), other.array("SliceLocation")
    difference = first - second
    with pytest.raises(NotInDatabase, match="header="):
        _ = difference.dicom.affine
    assert difference.dicom.get_affine(header=header) == pytest.approx(first.dicom.affine)
    with pytest.raises(InvalidValue, match="3 frames along SliceLocation, and the array 2"):
        difference[:2].dicom.get_affine(header=header)
    with pytest.raises(InvalidValue, match="other labels along SliceLocation"):
        difference[:2].dicom.get_affine(header=header[1:])
    expected = first[1:].dicom.affine
    assert difference[1:].dicom.get_affine(header=header[1:]) == pytest.approx(expected)
    with pytest.raises(InvalidValue, match="reordered by numpy"):
        difference.dicom.get_affine(header=header[[2, 1, 0]])


def test_series_side_by_side(tmp_path: Path) -> None:
    for number in (1, 2):
        make_series(tmp_path / str(number), seed=number, geometry=GEOMETRY)
    one, other = (s.array("SliceLocation") for s in db.database(tmp_path).series())
    both = xr.concat([one[0], other[0]], "visit")
    with pytest.raises(NotInDatabase, match="several series"):
        _ = both.dicom.affine
    assert both.dicom.get_affine(header=one[1]) == pytest.approx(one[0].dicom.affine)
    assert both.isel(visit=1).dicom.affine == pytest.approx(one[0].dicom.affine)


@pytest.mark.parametrize(("offsets", "known"), [([0, 2.5, 5], True), ([0, 2.5], False)])
def test_planes_of_a_dose_grid(tmp_path: Path, offsets: list[float], known: bool) -> None:
    """One position is that of the first plane, and offsets tell the others."""

    def dose(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
        dataset.Modality = "RTDOSE"
        dataset.NumberOfFrames = 3
        dataset.Rows = dataset.Rows // 3
        dataset.GridFrameOffsetVector = offsets
        dataset.FrameIncrementPointer = 0x3004000C
        dataset.DoseGridScaling = 1

    make_series(tmp_path, keys={"SliceLocation": [0]}, header=dose, geometry=GEOMETRY)
    series = series_of(tmp_path)
    if known:
        array, affine = series.volume()
        assert array.shape == (16, 4, 3)
        assert affine[:3, 2] == pytest.approx(GEOMETRY.normal * 2.5)
    else:
        with pytest.raises(GridError, match="2 of 3 frames have no ImagePositionPatient"):
            series.volume()


def test_pixels_without_a_common_spacing_are_counted(tmp_path: Path) -> None:
    spacings = [[[1.0, 1.0]], [[2.0, 2.0]]]
    make_series(tmp_path, keys={"SliceLocation": [0, 5]}, per_frame={"PixelSpacing": spacings})
    with pytest.warns(MixedGeometry, match="several PixelSpacing"):
        both = series_of(tmp_path).array("SliceLocation")[0]
    assert both.x.attrs["units"] == "pixel"
    with pytest.raises(GridError, match="several PixelSpacing"):
        _ = both.dicom.affine
    affine = both.isel(SliceLocation=1, x=slice(3, None)).dicom.affine
    assert affine[:3, :2].tolist() == [[2, 0], [0, 2], [0, 0]]
    assert affine[:3, 3].tolist() == [-20 + 3 * 2, -30, 45]


def test_a_tilt_is_said(tmp_path: Path) -> None:
    places = np.array([[[0.0, 1.0 * k, 5.0 * k]] for k in range(3)])
    make_series(tmp_path, per_frame={"ImagePositionPatient": places})
    tilted = series_of(tmp_path).array("SliceLocation")[0]
    for ask in (lambda d: d.affine, lambda d: d.get_affine("RAS"), lambda d: d.assign_affine()):
        with pytest.warns(MixedGeometry, match=r"11\.3 degrees") as caught:
            ask(tilted.dicom)
        assert caught[0].filename == __file__
    assert tilted.dicom.tilt == pytest.approx(np.degrees(np.arctan2(1, 5)))


def test_frames_of_an_instance(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": SLICES}, geometry=GEOMETRY)
    (instance,) = series_of(tmp_path).instances()
    frames = instance.array()
    assert frames.dicom.slice_dim == "frame"
    assert frames.dicom.affine == pytest.approx(FULL, abs=1e-6)
    assert frames.isel(frame=2).dicom.affine[:3, 3] == pytest.approx(true_place(0, 0, 8))
