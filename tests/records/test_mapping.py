"""Series on the grid of others: written, read again, and beside SimpleITK.

Made images hold a value that rises evenly through the patient, so that what lies between voxels is
known at every place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import GridError, InvalidValue, MixedGeometry
from dbdicom_xr.testing import Geometry, make_enhanced, make_mosaic, make_series
from dbdicom_xr.wrappers import scipy
from tests.emit.judges import errors_of, new_errors

SLOPE = 0.05
SAME = {"FrameOfReferenceUID": "1.2.3.4"}
TURNED = np.cos(0.4), np.sin(0.4)
OBLIQUE = (TURNED[0], TURNED[1], 0.0, -TURNED[1] * 0.6, TURNED[0] * 0.6, 0.8)
ORIENTATIONS = {
    "axial": (1.0, 0, 0, 0, 1, 0),
    "coronal": (1.0, 0, 0, 0, 0, -1),
    "sagittal": (0.0, 1, 0, 0, 0, -1),
    "oblique": OBLIQUE,
}


def field(world: Any) -> Any:
    return world @ np.array([1.0, -2.0, 3.0])


def centred(orientation: str, spacing: Any, shape: Any) -> Geometry:
    """Return slices at 0, 1... steps, whose middle is the origin of the patient."""
    plain = Geometry(spacing, ORIENTATIONS[orientation], (0.0, 0.0, 0.0))
    middle = plain.affine(0)[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(spacing, ORIENTATIONS[orientation], tuple((-middle).tolist()))


def world_of(geometry: Geometry, shape: Any) -> Any:
    """Return the places of voxels, shape (slices, columns, rows, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    affine = geometry.affine(0)
    return (index @ affine[:3, :3].T + affine[:3, 3]).transpose(2, 0, 1, 3)


def make(
    folder: Path,
    orientation: str = "axial",
    spacing: Any = (1.5, 1.25, 4.0),
    shape: Any = (16, 14, 7),
    *,
    maker: Any = make_series,
    keys: Any = None,
    header: Any = None,
    seed: int = 0,
    **more: Any,
) -> Any:
    """Write a series of the field; for other keys than slices, 100 more per step of each."""
    geometry = centred(orientation, spacing, shape)
    keys = keys or {}
    grid = [len(values) for values in keys.values()]
    values = field(world_of(geometry, shape))
    values = values.reshape(shape[2], *[1] * len(grid), *shape[:2])
    for axis, size in enumerate(grid):
        steps = np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(grid))])
        values = values + 100.0 * steps[None, ..., None, None]
    stored = np.round((values + 1000) / SLOPE)[:, ..., None, :, :]
    locations = [number * spacing[2] for number in range(shape[2])]
    return maker(
        folder,
        keys={"SliceLocation": locations, **keys},
        shape=shape[:2],
        pixels=stored,
        slope=SLOPE,
        intercept=-1000,
        geometry=geometry,
        header={**SAME, **(header or {})},
        seed=seed,
        **more,
    )


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Open what was made below the folder, and give the series by their descriptions."""
    databases = []

    def open_() -> dict[str, Any]:
        database = db.database(tmp_path)
        databases.append(database)
        return {series.SeriesDescription[0]: series for series in database.series()}

    yield open_
    for database in databases:
        database.close(save=False)


def make_pair(tmp_path: Path, source: Any = None, target: Any = None) -> None:
    make(tmp_path / "source", header={"SeriesDescription": "T1"}, seed=1, **(source or {}))
    make(tmp_path / "target", header={"SeriesDescription": "CT"}, seed=2, **(target or {}))


def require_field(series: Any, source: Any, *, added: Any = 0.0, most: float = 0.2) -> None:
    """Require the field where the source is, and NaN elsewhere, but half a voxel at the edge."""
    array, affine = series.volume()
    values = array.transpose("SliceLocation", "x", "y").values
    geometry, shape = source
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), -1)
    world = (index @ affine[:3, :3].T + affine[:3, 3]).transpose(2, 0, 1, 3)
    inverse = np.linalg.inv(geometry.affine(0))
    places = world @ inverse[:3, :3].T + inverse[:3, 3]
    high = np.array(shape) - 1
    deep = ((places >= 0) & (places <= high)).all(axis=-1)
    outside = ((places < -0.51) | (places > high + 0.51)).any(axis=-1)
    assert deep.any()
    assert np.isnan(values[outside]).all()
    assert np.isfinite(values[deep]).all()
    assert values[deep] == pytest.approx((field(world) + added)[deep], abs=most)


SHAPE = (16, 14, 7)
SOURCE = centred("axial", (1.5, 1.25, 4.0), SHAPE), SHAPE


@pytest.mark.parametrize(
    ("orientation", "maker"),
    [
        *((orientation, make_series) for orientation in ORIENTATIONS),
        ("oblique", make_enhanced),
        ("sagittal", make_mosaic),
    ],
)
def test_values_lie_where_they_were(
    tmp_path: Path, opened: Any, orientation: str, maker: Any
) -> None:
    target = {"orientation": orientation, "spacing": (1.1, 1.3, 2.5), "shape": (20, 18, 9)}
    make_pair(tmp_path, {"maker": maker}, target)
    found = opened()
    mapped = found["T1"].map_to(found["CT"])
    require_field(mapped, SOURCE)
    array, affine = mapped.volume()
    like, wanted = found["CT"].volume()
    assert affine == pytest.approx(wanted, abs=1e-6)
    assert array.sizes == like.sizes
    # Both are of one grid, so that arithmetic between them loses nothing.
    assert (array - like).sizes == like.sizes
    assert mapped.FrameOfReferenceUID == ["1.2.3.4"]
    assert mapped.parent == found["T1"].parent
    assert mapped.SeriesDescription == ["T1 on the grid of CT"]
    assert mapped.EchoTime == found["T1"].EchoTime
    assert all(kind[0] == "DERIVED" for kind in mapped.ImageType)


@pytest.mark.parametrize("maker", [make_enhanced, make_mosaic])
def test_targets_of_all_kinds(tmp_path: Path, opened: Any, maker: Any) -> None:
    target = {"orientation": "oblique", "spacing": (2, 2, 3), "shape": (12, 11, 5), "maker": maker}
    make_pair(tmp_path, None, target)
    found = opened()
    mapped = found["T1"].map_to(found["CT"])
    require_field(mapped, SOURCE)
    assert mapped.volume()[1] == pytest.approx(found["CT"].volume()[1], abs=1e-6)


def test_all_volumes_are_mapped(tmp_path: Path, opened: Any) -> None:
    keys = {"TemporalPositionIdentifier": [1, 2, 3], "EchoTime": [2.0, 4.0]}
    make_pair(tmp_path, {"keys": keys}, {"orientation": "oblique", "shape": (9, 8, 5)})
    found = opened()
    mapped = found["T1"].map_to(found["CT"])
    array, _ = mapped.array(["SliceLocation", *keys])
    assert array.shape == (5, 3, 2, 1, 9, 8)
    assert mapped.InstanceNumber == list(range(1, 31))
    first = array.isel(TemporalPositionIdentifier=0, EchoTime=0)
    for time in range(3):
        for echo in range(2):
            step = array.isel(TemporalPositionIdentifier=time, EchoTime=echo) - first
            assert step.values[np.isfinite(step.values)] == pytest.approx(
                100 * (time + echo), abs=0.2
            )
    assert 0 < np.isnan(first.values).mean() < 0.9
    require_field(mapped.subseries(TemporalPositionIdentifier=3, EchoTime=4.0), SOURCE, added=300)


def test_kinds_that_have_other_slices(tmp_path: Path, opened: Any) -> None:
    def phases(dataset: Any, index: Any) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[index[1]]]
        dataset.SeriesDescription = "T1"
        dataset.FrameOfReferenceUID = "1.2.3.4"

    keys = {"SliceLocation": [0, 5, 10, 15], "EchoNumbers": [1, 2]}
    make_series(tmp_path / "source", keys=keys, header=phases, seed=1, drop=[(3, 1, 0)])
    found = opened()
    mapped = found["T1"].map_to(found["T1"].volume(EchoNumbers=1)[0])
    assert [len(mapped.instances(EchoNumbers=echo)) for echo in (1, 2)] == [4, 4]
    last = mapped.volume(EchoNumbers=2)[0].isel(SliceLocation=3)
    assert np.isnan(last.values).all()


def test_slices_with_times_of_their_own(tmp_path: Path, opened: Any) -> None:
    times = np.arange(14).reshape(7, 2, 1) * 1.5 + 36000
    texts = np.vectorize(lambda t: f"{t // 3600:02.0f}{t // 60 % 60:02.0f}{t % 60:05.2f}")(times)
    keys = {"TemporalPositionIdentifier": [1, 2]}
    source = {"keys": keys, "per_frame": {"AcquisitionTime": texts}}
    make_pair(tmp_path, source, {"orientation": "oblique"})
    found = opened()
    # The time at which a volume was begun, so that the series can still be sorted by it.
    mapped = found["T1"].map_to(found["CT"])
    assert mapped.AcquisitionTime == ["100000", "100001.500000"]
    assert mapped.array(["SliceLocation", "AcquisitionTime"])[0].shape[:3] == (7, 2, 1)
    # Copies keep theirs.
    copied = found["T1"].map_to(found["T1"])
    assert len(copied.AcquisitionTime) == 14


@pytest.mark.filterwarnings("ignore:Invalid value for VR TM")  # of pydicom, that writes them
def test_times_that_are_none(tmp_path: Path, opened: Any) -> None:
    header = {"SeriesDescription": "T1", "AcquisitionDateTime": None}
    texts = np.array([["noon"]] * 6 + [["1200"]])
    make(tmp_path / "source", header=header, seed=1, per_frame={"AcquisitionTime": texts})
    make(tmp_path / "target", "oblique", header={"SeriesDescription": "CT"}, seed=2)
    found = opened()
    require_field(found["T1"].map_to(found["CT"]), SOURCE)


# -- copies --------------------------------------------------------------------------------------


def test_the_same_grid_is_a_copy(tmp_path: Path, opened: Any) -> None:
    make_series(tmp_path / "source", header=SAME, slope=0.37, intercept=-11, seed=1)
    database = db.database(tmp_path)
    (series,) = database.series()
    mapped = series.map_to(series)
    array, header = mapped.array("SliceLocation")
    like, sources = series.array("SliceLocation")
    np.testing.assert_array_equal(array.values, like.values)
    for new, old in zip(header.ravel(), sources.ravel(), strict=True):
        (reference,) = new.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert new.ImagePositionPatient == old.ImagePositionPatient
    database.close(save=False)


def test_cut_and_flipped_is_a_copy(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path)
    series = opened()["T1"]
    array, _ = series.array("SliceLocation")
    part = array.isel(SliceLocation=slice(5, 1, -1), x=slice(2, 9), y=slice(None, None, -1))
    copied, _ = series.map_to(part).array("SliceLocation")
    np.testing.assert_array_equal(copied.values, part.sortby("SliceLocation").values)


def test_beyond_the_source_a_copy_is_nan(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path)
    series = opened()["T1"]
    array, _ = series.array("SliceLocation")
    few = series.subseries(SliceLocation=slice(4, 12))
    copied, _ = few.map_to(array).array("SliceLocation")
    np.testing.assert_array_equal(copied.values[1:4], array.values[1:4])
    assert np.isnan(copied.values[[0, 4, 5, 6]]).all()


def test_spacing_and_directions_have_the_digits_of_the_target(tmp_path: Path, opened: Any) -> None:
    # Rounded directions are not quite of length 1, so that the affine is not quite of the spacing;
    # pixels would have other labels, and arithmetic would drop them.
    angle = np.radians(12)
    rounded = [1, 0, 0, 0, round(np.cos(angle), 5), round(np.sin(angle), 5)]
    make_pair(tmp_path, None, {"per_frame": {"ImageOrientationPatient": np.array([[rounded]])}})
    found = opened()
    for target in (found["CT"], found["CT"].array("SliceLocation")[0]):
        mapped = found["T1"].map_to(target)
        assert mapped.ImageOrientationPatient == [rounded]
        assert mapped.PixelSpacing == found["CT"].PixelSpacing
        like, _ = found["CT"].array("SliceLocation")
        assert (mapped.array("SliceLocation")[0] - like).sizes == like.sizes


def test_exact_floats(tmp_path: Path, opened: Any) -> None:
    pytest.importorskip("highdicom")
    make_pair(tmp_path, None, {"orientation": "oblique"})
    found = opened()
    mapped = found["T1"].map_to(found["CT"], dtype="float64")
    assert mapped.array()[0].dtype == np.float64
    require_field(mapped, SOURCE, most=0.05)


# -- single slices, several orientations ---------------------------------------------------------


def test_a_single_slice_as_the_target(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path, None, {"orientation": "sagittal", "shape": (14, 12, 5)})
    found = opened()
    image = found["CT"].instances()[2]
    for target in (image, image.array()):
        mapped = found["T1"].map_to(target)
        assert len(mapped.instances()) == 1
        require_field(mapped, SOURCE)
        assert mapped.ImagePositionPatient == [image.ImagePositionPatient]
        assert mapped.SliceLocation == [image.SliceLocation]


def test_a_single_slice_as_the_source(tmp_path: Path, opened: Any) -> None:
    # 4 mm thick, in the middle of slices that are 2.5 mm apart; the distance to the next slice,
    # which is not there, does not count.
    single = {"shape": (16, 14, 1), "spacing": (1.5, 1.25, 4.0)}
    make(
        tmp_path / "source", **single, seed=1,
        header={"SeriesDescription": "T1", "SliceThickness": 4, "SpacingBetweenSlices": 30},
    )  # fmt: skip
    make(tmp_path / "target", spacing=(1.5, 1.25, 1.5), header={"SeriesDescription": "CT"}, seed=2)
    found = opened()
    values = found["T1"].map_to(found["CT"]).array("SliceLocation")[0].values[:, 0]
    expected = found["T1"].array()[0].values[0]
    assert [bool(np.isnan(one).all()) for one in values] == [True] * 2 + [False] * 3 + [True] * 2
    for one in values[2:5]:
        np.testing.assert_allclose(one, expected, atol=1e-3)


def make_localizer(folder: Path, name: str, seed: int) -> None:
    """Write an axial and a sagittal stack of 3 images each, through the origin."""
    affines = [centred(one, (2, 2, 6), (12, 12, 3)).affine(0) for one in ("axial", "sagittal")]
    positions = [(one @ [0, 0, k, 1])[:3] for one in affines for k in range(3)]
    directions = [ORIENTATIONS[one] for one in ("axial", "sagittal") for _ in range(3)]
    index = np.stack(np.meshgrid(np.arange(12), np.arange(12), [0, 1, 2], [1], indexing="ij"), -1)
    worlds = [(index[..., 0, :] @ one.T)[..., :3].transpose(2, 0, 1, 3) for one in affines]
    stored = np.round((field(np.concatenate(worlds)) + 1000) / SLOPE)[:, None]
    make_series(
        folder, keys={"InstanceNumber": [1, 2, 3, 4, 5, 6]}, shape=(12, 12), pixels=stored,
        slope=SLOPE, intercept=-1000, seed=seed,
        per_frame={
            "ImageOrientationPatient": np.array(directions)[:, None],
            "ImagePositionPatient": np.round(positions, 6)[:, None],
        },
        header={**SAME, "PixelSpacing": [2, 2], "SliceThickness": 6, "SeriesDescription": name},
    )  # fmt: skip


def test_a_target_of_several_orientations(tmp_path: Path, opened: Any) -> None:
    make_localizer(tmp_path / "target", "scout", 2)
    make(tmp_path / "source", header={"SeriesDescription": "T1"}, seed=1)
    found = opened()
    mapped = found["T1"].map_to(found["scout"])
    assert [len(stack) for stack in mapped.stacks()] == [3, 3]
    assert mapped.InstanceNumber == [1, 2, 3, 4, 5, 6]
    assert mapped.FrameOfReferenceUID == ["1.2.3.4"]
    for stack in (0, 1):
        array, affine = mapped.volume(stack=stack)
        like, wanted = found["scout"].volume(stack=stack)
        assert affine == pytest.approx(wanted, abs=1e-6)
        both = np.isfinite(array.values)
        assert both.any()
        inner = both & (np.abs(array.values - like.values) < 0.2)
        assert inner.sum() > 0.6 * both.sum()  # the rest is in the last half voxel


def test_a_source_of_several_orientations(tmp_path: Path, opened: Any) -> None:
    make_localizer(tmp_path / "source", "scout", 1)
    make(
        tmp_path / "target",
        "sagittal",
        (2, 2, 2),
        (9, 9, 5),
        header={"SeriesDescription": "CT"},
        seed=2,
    )
    found = opened()
    with pytest.warns(MixedGeometry, match="2 orientations.* stack 1 .sagittal. is mapped"):
        mapped = found["scout"].map_to(found["CT"])
    require_field(mapped, (centred("sagittal", (2, 2, 6), (12, 12, 3)), (12, 12, 3)))
    chosen = found["scout"].map_to(found["CT"], stack=0)
    require_field(chosen, (centred("axial", (2, 2, 6), (12, 12, 3)), (12, 12, 3)))
    with pytest.raises(InvalidValue, match="stack is 2"):
        found["scout"].map_to(found["CT"], stack=2)


def test_a_tilted_gantry(tmp_path: Path, opened: Any) -> None:
    angle = np.radians(14)
    down = [0, np.cos(angle), -np.sin(angle)]
    positions = [[-10.0, -8.0, 5.0 * number - 10] for number in range(5)]
    index = np.stack(np.meshgrid(np.arange(16), np.arange(12), indexing="ij"), -1)
    step = np.array([[1.5, 0, 0], np.multiply(down, 1.25)])
    world = np.array(positions)[:, None, None] + index @ step
    make_series(
        tmp_path / "tilted", modality="CT", keys={"InstanceNumber": [1, 2, 3, 4, 5]},
        pixels=np.round((field(world) + 1000) / SLOPE)[:, None], slope=SLOPE, intercept=-1000,
        header={
            **SAME, "ImageOrientationPatient": [1, 0, 0, *np.round(down, 8)],
            "PixelSpacing": [1.25, 1.5], "SeriesDescription": "tilted",
        },
        per_frame={"ImagePositionPatient": np.array(positions)[:, None]}, seed=1,
    )  # fmt: skip
    make(tmp_path / "target", shape=(10, 8, 5), header={"SeriesDescription": "CT"}, seed=2)
    found = opened()
    mapped = found["tilted"].map_to(found["CT"])
    array, affine = mapped.volume()
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), [1], indexing="ij"), -1)[..., 0, :]
    expected = field((index @ affine.T)[..., :3])
    known = np.isfinite(array.values)
    assert known.mean() > 0.5
    near = np.abs(array.values - expected) < 0.2
    assert near[known].mean() > 0.8  # the rest is in the last half voxel
    # And to the tilted grid.
    with pytest.warns(MixedGeometry, match="tilted gantry"):
        back, wanted = found["CT"].map_to(found["tilted"]).volume()
    with pytest.warns(MixedGeometry, match="tilted gantry"):
        assert wanted == pytest.approx(found["tilted"].volume()[1], abs=1e-6)
    assert np.isfinite(back.values).any()


# -- masks ---------------------------------------------------------------------------------------


def test_masks(tmp_path: Path, opened: Any) -> None:
    mask = np.zeros((7, 1, 16, 14), np.uint16)
    mask[2:5, :, 4:12, 4:10] = 1
    geometry = centred("axial", (1.5, 1.25, 4.0), SHAPE)
    keys = {"SliceLocation": [4.0 * number for number in range(7)]}
    make_series(
        tmp_path / "mask", keys=keys, shape=(16, 14), pixels=mask, geometry=geometry, seed=1,
        header={**SAME, "SeriesDescription": "kidney"},
    )  # fmt: skip
    big = {"orientation": "oblique", "spacing": (1.7, 1.7, 2.9), "shape": (24, 24, 15)}
    make(tmp_path / "target", **big, header={"SeriesDescription": "CT"}, seed=2)
    found = opened()
    mapped = found["kidney"].map_mask_to(found["CT"])
    array, _ = mapped.array("SliceLocation")
    assert set(np.unique(array.values)) == {0, 1}
    volume = array.values.sum() * 1.7 * 1.7 * 2.9
    assert volume == pytest.approx(3 * 8 * 6 * 1.5 * 1.25 * 4.0, rel=0.05)
    most = found["kidney"].map_mask_to(found["CT"], threshold=1.0).array()[0].values.sum()
    least = found["kidney"].map_mask_to(found["CT"], threshold=1e-6).array()[0].values.sum()
    assert 0 < most < array.values.sum() < least
    copied = found["kidney"].map_mask_to(found["kidney"]).array("SliceLocation")[0]
    np.testing.assert_array_equal(copied.values, mask)


def test_a_mask_on_a_coarse_grid_counts_areas(tmp_path: Path, opened: Any) -> None:
    mask = np.zeros((1, 1, 16, 12), np.uint16)
    mask[:, :, 1::4] = 1  # what the nearest voxel would call full
    make_series(
        tmp_path / "mask", pixels=mask, keys={"SliceLocation": [0.0]},
        header={"SliceThickness": 5},
    )  # fmt: skip
    database = db.database(tmp_path)
    (series,) = database.series()
    array, _ = series.array("SliceLocation")
    coarse = array.coarsen(x=4, y=4).mean()
    assert series.map_mask_to(coarse).array()[0].values.sum() == 0
    assert series.map_mask_to(coarse, threshold=0.25).array()[0].values.sum() == 12
    database.close(save=False)


# -- what is said, what is refused ---------------------------------------------------------------


def test_another_frame_of_reference_is_told(tmp_path: Path, opened: Any) -> None:
    make(tmp_path / "source", header={"SeriesDescription": "T1"}, seed=1)
    other = {"FrameOfReferenceUID": "1.2.3.5", "SeriesDescription": "CT"}
    make(tmp_path / "target", shape=(9, 8, 5), header=other, seed=2)
    found = opened()
    with pytest.warns(MixedGeometry, match="frames of reference") as caught:
        mapped = found["T1"].map_to(found["CT"])
    assert caught[0].filename == __file__
    assert mapped.FrameOfReferenceUID == ["1.2.3.5"]
    require_field(mapped, SOURCE)


def test_nothing_in_common_is_told(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path)
    found = opened()
    array, _ = found["CT"].array("SliceLocation")
    far = array.isel(SliceLocation=[0, 1])
    few = found["T1"].subseries(SliceLocation=slice(20, 30))
    with pytest.warns(MixedGeometry, match="No voxel of the target"):
        mapped = few.map_to(far)
    assert np.isnan(mapped.array()[0].values).all()
    assert len(mapped.instances()) == 2


def test_targets_that_are_none(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path)
    found = opened()
    series = found["T1"]
    for target in ("CT", None, series.parent, np.zeros((3, 3, 3))):
        with pytest.raises(InvalidValue, match="The target is"):
            series.map_to(target)
    for order in (2, True, "linear"):
        with pytest.raises(InvalidValue, match="order is"):
            series.map_to(series, order=order)
    for threshold in (0, 1.5, "half", float("nan")):
        with pytest.raises(InvalidValue, match="threshold is"):
            series.map_mask_to(series, threshold=threshold)
    assert len(series.database.series()) == 2


def test_no_place_and_uneven_slices(tmp_path: Path, opened: Any) -> None:
    make(tmp_path / "good", header={"SeriesDescription": "T1"}, seed=1)
    make_series(
        tmp_path / "gap", keys={"SliceLocation": [0, 5, 15]}, seed=2,
        header={**SAME, "SeriesDescription": "gap"},
    )  # fmt: skip
    make_series(
        tmp_path / "none", seed=3,
        header={"ImagePositionPatient": None, "SeriesDescription": "none"},
    )  # fmt: skip
    found = opened()
    for name in ("gap", "none"):
        with pytest.raises(GridError, match=r"not evenly spaced|not known"):
            found["T1"].map_to(found[name])
        with pytest.raises(GridError, match=r"not evenly spaced|not known"):
            found[name].map_to(found["T1"])
    assert len(found["T1"].database.series()) == 3


def test_what_fails_leaves_nothing(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pair(tmp_path, None, {"orientation": "oblique"})
    found = opened()

    def broken(*_: Any) -> Any:
        raise OSError("no such disk")

    monkeypatch.setattr("dbdicom_xr.geometry.resample._interpolated", broken)
    with pytest.raises(OSError, match="no such disk"):
        found["T1"].map_to(found["CT"])
    assert len(found["T1"].database.series()) == 2


# -- the files, and as scipy ---------------------------------------------------------------------


def test_as_the_guide_of_dbdicom_spells_it(tmp_path: Path, opened: Any) -> None:
    make_pair(tmp_path, None, {"orientation": "oblique"})
    found = opened()
    overlay = scipy.map_to(found["T1"], found["CT"], SeriesDescription="Overlay")
    assert overlay.SeriesDescription == ["Overlay"]
    require_field(overlay, SOURCE)
    mask = scipy.map_mask_to(found["T1"], found["CT"], threshold=0.5)
    assert set(np.unique(mask.array()[0].values)) == {0, 1}
    assert scipy.map_to(found["T1"], found["CT"], order=0).array()[0].shape == (7, 16, 14)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_files_are_valid(tmp_path: Path, modality: str) -> None:
    more = {"modality": modality}
    make_pair(tmp_path, more, {"orientation": "oblique", "shape": (12, 12, 12), **more})
    database = db.database(tmp_path)
    found = {series.SeriesDescription[0]: series for series in database.series()}
    mapped = found["T1"].map_to(found["CT"])
    mask = found["T1"].map_mask_to(found["CT"])
    database.save()
    for series in (mapped, mask):
        for instance in series.instances():
            assert errors_of(instance.file) == set()
    require_field(mapped, SOURCE)
    database.close()


# -- files of scanners ---------------------------------------------------------------------------


def itk_volume(array: Any, affine: Any) -> Any:
    """Return a volume as SimpleITK has it."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array.transpose("SliceLocation", "y", "x").values.astype(float))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


# Source and target of one frame of reference, by folder and SeriesNumber.
PAIRS = {
    "coronal to axial, mosaics": ("dcm_qa", 15, 6, [1, 3]),
    "axial to sagittal, mosaics": ("dcm_qa", 25, 23, [0]),
    "enhanced, two echoes": ("xa30", 8, 25, [1]),
}


@pytest.mark.realdata
@pytest.mark.parametrize("pair", list(PAIRS))
def test_scanner_files_as_simpleitk(testdata: Path, tmp_path: Path, pair: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    kinds = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}
    folder, *numbers, orders = PAIRS[pair]
    database = db.database(testdata / folder, index=tmp_path / "index")
    source, target = (database.series(SeriesNumber=number)[0] for number in numbers)
    filters = {"InstanceNumber": min(target.InstanceNumber)}
    like = itk_volume(*target.volume(**filters))
    chosen = (
        {"EchoTime": source.EchoTime[0]}
        if len(source.EchoTime) > 1
        else {"InstanceNumber": min(source.InstanceNumber)}
    )
    volume, affine = source.volume(**chosen)
    span = float(volume.max() - volume.min())
    for order in orders:
        mapped = source.map_to(target, order=order)
        mine = (
            dict(chosen)
            if "EchoTime" in chosen
            else {"InstanceNumber": slice(1, like.GetSize()[2])}
        )
        own, place = mapped.volume(**mine)
        assert place == pytest.approx(target.volume(**filters)[1], abs=1e-4)
        found = sitk.Resample(
            itk_volume(volume, affine), like, sitk.Transform(), kinds[order], float("nan")
        )
        theirs = sitk.GetArrayFromImage(found)
        values = own.transpose("SliceLocation", "y", "x").values
        both = np.isfinite(values) & np.isfinite(theirs)
        # At the edge rounding decides, and between voxels which one is nearest.
        assert (np.isfinite(values) == np.isfinite(theirs)).mean() > 0.999
        assert both.mean() > 0.1
        off = np.abs(values - theirs)[both]
        assert np.quantile(off, 0.995 if order == 0 else 1.0) <= 1e-5 * span * (2 if order else 1)
        mapped.remove()
    database.close(save=False)


@pytest.mark.realdata
def test_new_errors_of_scanner_files(testdata: Path, tmp_path: Path) -> None:
    database = db.database(testdata / "dcm_qa", index=tmp_path / "index")
    source, target = (database.series(SeriesNumber=number)[0] for number in (15, 6))
    paths = source.map_to(target).export_as_dicom(tmp_path / "out")
    for path in paths[:: len(paths) // 4]:
        assert new_errors(path, source.instances()[0].file) == set()
    database.close(save=False)
