"""Resampling beside SimpleITK, and what follows from the definition."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st

from dbdicom_xr.geometry import resample
from dbdicom_xr.geometry.resample import Grid, Resampled, VoxelMap

EDGE = 2e-3  # of a voxel: nearer to the edge than this, rounding decides


def affine_of(
    angles: tuple[float, ...] = (0, 0, 0),
    spacing: tuple[float, ...] = (1, 1, 1),
    origin: tuple[float, ...] = (0, 0, 0),
    shear: float = 0.0,
) -> Any:
    """Return an affine turned by three angles, with slices that are shifted along y by a part."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        matrix = matrix @ turn
    affine = np.eye(4)
    affine[:3, :3] = matrix * spacing
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = origin
    return affine


def volume(shape: tuple[int, int, int], dtype: Any = np.float32, seed: int = 0) -> Any:
    """Return random numbers, shape (1, slices, columns, rows)."""
    rng = np.random.default_rng(seed)
    return rng.integers(-1000, 1000, (1, shape[2], *shape[:2])).astype(dtype)


def mapped(values: Any, source: Grid, target: Grid, method: Any = "linear", **more: Any) -> Any:
    return np.asarray(Resampled(values, VoxelMap(source, target), method, **more))


def places(source: Grid, target: Grid) -> Any:
    """Return where the voxels of the target lie in the source, shape (x, y, slice, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), -1)
    world = index @ target.affine[:3, :3].T + target.affine[:3, 3]
    return (world - source.affine[:3, 3]) @ np.linalg.inv(source.affine[:3, :3]).T


def by_hand(values: Any, source: Grid, target: Grid) -> Any:
    """Return the linear interpolation, one voxel after the other, shape (slices, x, y)."""
    box = values[0].transpose(1, 2, 0).astype(np.float64)
    result = np.full(target.shape, np.nan)
    where, sizes = places(source, target), np.array(source.shape)
    for at in np.ndindex(*target.shape):
        place = where[at]
        if (place < -0.5 - 1e-3).any() or (place > sizes - 0.5 + 1e-3).any():
            continue
        place = np.clip(place, 0, sizes - 1)
        low = np.minimum(np.floor(place).astype(int), np.maximum(sizes - 2, 0))
        total = 0.0
        for corner in np.ndindex(2, 2, 2):
            voxel = np.minimum(low + corner, sizes - 1)
            weight = np.prod(np.where(corner, place - low, 1 - (place - low)))
            total += weight * box[tuple(voxel)]
        result[at] = total
    return result.transpose(2, 0, 1)


# -- beside SimpleITK ----------------------------------------------------------------------------

angle = st.floats(-3.1, 3.1)
size = st.floats(0.5, 3)
# Of at least 4 voxels: in smaller images the splines of SimpleITK read beyond the end.
grids = st.builds(
    lambda angles, spacing, origin, shape: Grid(affine_of(angles, spacing, origin), shape),
    st.tuples(angle, angle, angle),
    st.tuples(size, size, size),
    st.tuples(*[st.floats(-5, 5)] * 3),
    st.tuples(*[st.integers(4, 9)] * 3),
)


def by_itk(values: Any, source: Grid, target: Grid, method: str) -> Any:
    sitk = pytest.importorskip("SimpleITK")
    kinds = {
        "nearest": sitk.sitkNearestNeighbor,
        "linear": sitk.sitkLinear,
        "cubic": sitk.sitkBSpline,
    }

    def placed(image: Any, grid: Grid) -> Any:
        spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(grid.affine[:3, 3].tolist())
        image.SetDirection((grid.affine[:3, :3] / spacing).ravel().tolist())
        return image

    image = placed(sitk.GetImageFromArray(values[0].transpose(0, 2, 1).astype(np.float64)), source)
    like = placed(sitk.Image(*target.shape, sitk.sitkFloat64), target)
    found = sitk.Resample(image, like, sitk.Transform(), kinds[method], float("nan"))
    return sitk.GetArrayFromImage(found).transpose(0, 2, 1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(grids, grids, st.sampled_from(["nearest", "linear", "cubic"]), st.integers(0, 99))
def test_as_simpleitk(source: Grid, target: Grid, method: str, seed: int) -> None:
    values = volume(source.shape, np.float64, seed)
    own, theirs = mapped(values, source, target, method)[0], by_itk(values, source, target, method)
    where = places(source, target).transpose(2, 0, 1, 3)
    edge = (np.abs(where + 0.5) < EDGE) | (np.abs(where - np.array(source.shape) + 0.5) < EDGE)
    sure = ~edge.any(axis=-1)
    if method == "nearest":  # halfway between two voxels rounding decides too
        sure &= (np.abs(where - np.floor(where) - 0.5) > 1e-6).all(axis=-1)
    assert (np.isnan(own) == np.isnan(theirs))[sure].all()
    sure &= ~np.isnan(own)
    assert own[sure] == pytest.approx(theirs[sure], abs=1e-5 * 2000)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_as_simpleitk_where_much_overlaps(method: str) -> None:
    source = Grid(affine_of((0.3, -0.2, 0.1), (1.5, 1.25, 2.5)), (24, 20, 9))
    target = Grid(affine_of((-0.4, 0.6, 1.9), (0.9, 1.1, 1.3), (20, -8, 6)), (21, 26, 17))
    values = volume(source.shape)
    own, theirs = mapped(values, source, target, method)[0], by_itk(values, source, target, method)
    assert (np.isnan(own) == np.isnan(theirs)).all()
    assert 0.2 < np.isnan(own).mean() < 0.8
    assert own == pytest.approx(theirs, abs=1e-5 * 2000, nan_ok=True)


# -- what follows from the definition ------------------------------------------------------------


def test_sheared_grids_as_by_hand() -> None:
    # SimpleITK has no sheared images. The slices of a CT with a tilted gantry are shifted.
    source = Grid(affine_of((0.2, 0, 0.1), (1, 1.2, 3), shear=0.7), (7, 8, 5))
    target = Grid(affine_of((0.1, 0.3, 0), (0.9, 1.1, 2), (1, 2, 1), shear=-0.3), (8, 9, 6))
    values = volume(source.shape)
    own = mapped(values, source, target)[0]
    assert 0.1 < np.isnan(own).mean() < 0.9
    assert own == pytest.approx(by_hand(values, source, target), abs=1e-2, nan_ok=True)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_onto_itself_it_is_a_copy(method: Any, dtype: Any) -> None:
    grid = Grid(affine_of((0.3, 0.2, 0.1), (1.5, 1.25, 2.5), (3, 4, 5)), (6, 7, 5))
    values = np.abs(volume(grid.shape, np.int32)).astype(dtype)
    own = mapped(values, grid, grid, method)
    assert own.dtype == dtype
    assert (own == values).all()


def test_cut_flipped_turned_and_thinned_is_a_copy() -> None:
    source = Grid(affine_of((0.3, 0.2, 0.1), (1.5, 1.25, 2.5), (3, 4, 5)), (6, 7, 5))
    values = volume(source.shape, np.int16)
    # Voxel (i, j, k) of the target is voxel (5 - 2 k, 1 + i, 4 - j) of the source.
    turn = np.array([[0, 0, -2, 5], [1, 0, 0, 1], [0, -1, 0, 4], [0, 0, 0, 1.0]])
    # Positions in files are rounded.
    target = Grid(np.round(source.affine @ turn, 5), (4, 3, 3))
    own = mapped(values, source, target)[0].transpose(1, 2, 0)
    assert own.dtype == np.int16
    for i, j, k in np.ndindex(4, 3, 3):
        assert own[i, j, k] == values[0, 4 - j, 5 - 2 * k, 1 + i]


def test_outside_is_nan_and_the_edge_is_half_a_voxel_away() -> None:
    source = Grid(np.eye(4), (3, 1, 1))
    values = np.array([10, 20, 40], np.uint8).reshape(1, 1, 3, 1)
    target = Grid(affine_of(spacing=(0.25, 1, 1), origin=(-0.75, 0, 0)), (15, 1, 1))
    own = mapped(values, source, target)[0, 0, :, 0]
    expected = [np.nan, 10, 10, 10, 12.5, 15, 17.5, 20, 25, 30, 35, 40, 40, 40, np.nan]
    assert own.tolist() == pytest.approx(expected, nan_ok=True)
    nearest = mapped(values, source, target, "nearest")[0, 0, [0, 1, 4, 6, -1], 0]
    assert nearest.tolist() == pytest.approx([np.nan, 10, 10, 20, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("thickness", "expected"),
    [(4, [np.nan, 7, 7, 7, np.nan]), (1.9, [np.nan] * 2 + [7] + [np.nan] * 2)],
)
def test_a_single_slice_is_as_thick_as_its_voxels(thickness: float, expected: list[float]) -> None:
    source = Grid(affine_of(spacing=(1, 1, thickness), origin=(0, 0, 10)), (2, 2, 1))
    target = Grid(affine_of(origin=(0, 0, 7), spacing=(1, 1, 1.5)), (2, 2, 5))
    own = mapped(np.full((1, 1, 2, 2), 7), source, target)[0, :, 1, 1]
    assert own.tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_nan_stays_with_its_neighbours(method: Any) -> None:
    source = Grid(np.eye(4), (30, 9, 9))
    smooth = np.fromfunction(lambda v, z, x, y: x + 2.0 * y + 3 * z, (1, 9, 30, 9)).astype(
        np.float32
    )
    values = smooth.copy()
    values[0, 4, 10, 4] = np.nan
    # Between columns; on the rows and slices.
    target = Grid(affine_of(origin=(0.5, 0, 0)), (29, 9, 9))
    own, expected = mapped(values, source, target, method), mapped(smooth, source, target, method)
    assert np.argwhere(np.isnan(own)).tolist() == [[0, 4, 9, 4], [0, 4, 10, 4]]
    assert np.nanmax(np.abs(own - expected)) < (1e-5 if method == "linear" else 0.5)
    assert np.abs(own - expected)[0, :, 20:].max() < 1e-3
    assert np.isnan(mapped(np.full_like(values, np.nan), source, target, method)).all()


@pytest.mark.parametrize(
    ("dtype", "method", "expected"),
    [
        (np.int16, "linear", np.float32),
        (np.int32, "linear", np.float64),
        (np.float32, "cubic", np.float32),
        (np.float64, "linear", np.float64),
        (np.int32, "nearest", np.float64),
        (np.uint16, "area", np.uint8),
    ],
)
def test_types(dtype: Any, method: Any, expected: Any) -> None:
    source, target = Grid(np.eye(4), (4, 4, 4)), Grid(affine_of(origin=(0.3, 0, 0)), (5, 4, 4))
    values = Resampled(volume((4, 4, 4), dtype), VoxelMap(source, target), method)
    assert values.dtype == np.asarray(values).dtype == expected


# -- block by block ------------------------------------------------------------------------------


class Watched:
    """An array that notes what is read of it."""

    def __init__(self, values: Any) -> None:
        self.values, self.read = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key: Any) -> Any:
        found = self.values[key]
        self.read = max(self.read, found.size)
        return found


OBLIQUE = (
    Grid(affine_of((0.3, 0.2, 0.1)), (20, 18, 16)),
    Grid(affine_of((0.1, 0.5, 0.2), (0.9, 0.8, 1.1), (2, 2, -2)), (17, 19, 15)),
)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "area"])
def test_blocks_and_pieces_give_the_same(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([volume(OBLIQUE[0].shape, seed=seed) for seed in (1, 2)])
    values[values < 0] = 0
    whole = mapped(values, *OBLIQUE, method)
    monkeypatch.setattr(resample, "_VOXELS", 5000)
    lazy = Resampled(values, VoxelMap(*OBLIQUE), method)
    blocks = da.from_array(lazy, chunks=(1, 4, 17, 19), asarray=False, meta=np.empty((0,) * 4))
    assert blocks.compute() == pytest.approx(whole, abs=2e-3, nan_ok=True)


@pytest.mark.parametrize(
    "key",
    [
        (0, slice(3, 9), slice(None), 5),
        (slice(None), slice(9, 2, -3), slice(2, 9, 2), slice(None)),
        (slice(1, 2), -1),
        (slice(0, 0), slice(None), slice(None), slice(None)),
    ],
)
def test_it_is_indexed_as_numpy_is(key: Any) -> None:
    values = np.concatenate([volume(OBLIQUE[0].shape, seed=seed) for seed in (1, 2)])
    lazy = Resampled(values, VoxelMap(*OBLIQUE))
    np.testing.assert_array_equal(lazy[key], np.asarray(lazy)[key])


def test_it_reads_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(volume(OBLIQUE[0].shape))
    lazy = Resampled(watched, VoxelMap(*OBLIQUE))
    lazy[0, 3, 2:5, 2:5]
    assert watched.read <= 8 * 8 * 8
    watched.read = 0
    monkeypatch.setattr(resample, "_VOXELS", 800)
    np.asarray(lazy)
    assert 0 < watched.read <= 800
    far = Grid(affine_of(origin=(500, 0, 0)), (5, 5, 5))
    watched.read = 0
    assert np.isnan(np.asarray(Resampled(watched, VoxelMap(OBLIQUE[0], far)))).all()
    assert watched.read == 0


def test_it_pickles_and_is_told_apart() -> None:
    values = volume(OBLIQUE[0].shape)
    lazy = Resampled(values, VoxelMap(*OBLIQUE))
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(lazy))), np.asarray(lazy))
    assert tokenize(lazy) == tokenize(Resampled(values, VoxelMap(*OBLIQUE)))
    others = [
        Resampled(values, VoxelMap(*OBLIQUE), "nearest"),
        Resampled(values + 1, VoxelMap(*OBLIQUE)),
        Resampled(values, VoxelMap(OBLIQUE[0], Grid(np.eye(4), OBLIQUE[1].shape))),
    ]
    assert len({tokenize(one) for one in (lazy, *others)}) == 4


def test_slices_met() -> None:
    source = Grid(affine_of(spacing=(1, 1, 2)), (4, 4, 5))
    target = Grid(affine_of(spacing=(1, 1, 1.5), origin=(0, 0, -3)), (3, 3, 9))
    # At -3, -1.5, 0, 1.5 ... 9 mm, while the source has slices at 0, 2 ... 8 and ends at 9.
    found = [tuple(one) for one in VoxelMap(source, target).slices_met().tolist()]
    assert [high > low for low, high in found] == [False, False] + [True] * 7
    assert found[2:] == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 5)]


# -- masks ---------------------------------------------------------------------------------------


def test_area_is_the_part_that_is_covered() -> None:
    # Target voxels are 4 source voxels wide; a mask 6 wide covers one and a half.
    source, target = (
        Grid(np.eye(4), (12, 1, 1)),
        Grid(affine_of(spacing=(4, 1, 1), origin=(1.5, 0, 0)), (4, 1, 1)),
    )
    mask = np.zeros((1, 1, 12, 1), np.uint8)
    mask[0, 0, :6] = 255

    def found(threshold: float) -> Any:
        return mapped(mask, source, target, "area", threshold=threshold)[0, 0, :, 0].tolist()

    assert found(0.5) == [1, 1, 0, 0]
    assert found(0.51) == [1, 0, 0, 0]
    assert found(0.01) == [1, 1, 0, 0]


def test_area_of_a_ball() -> None:
    index = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), -1)
    ball = (np.linalg.norm(index - 19.5, axis=-1) <= 13)[None].astype(np.float32)
    ball[0, 0, 0, 0] = np.nan
    source = Grid(np.eye(4), (40, 40, 40))
    turned = affine_of((0.4, 0.3, 0.2), (3, 3, 3))
    turned[:3, 3] = 19.5 - turned[:3, :3] @ [6, 6, 6]
    target = Grid(turned, (13, 13, 13))
    own = mapped(ball, source, target, "area")
    assert set(np.unique(own)) == {0, 1}
    assert own.sum() * 27 == pytest.approx(4 / 3 * np.pi * 13**3, rel=0.03)
    # A thin shell is no mask of large voxels: it hardly ever has half of one.
    shell = np.nan_to_num(ball) - (np.linalg.norm(index - 19.5, axis=-1) <= 12)[None]
    assert np.nansum(mapped(shell, source, target, "nearest")) > 80
    assert mapped(shell, source, target, "area").sum() < 10


@settings(max_examples=25, deadline=None, derandomize=True)
@given(grids, grids, st.integers(0, 99))
def test_a_full_mask_fills_what_lies_in_it(source: Grid, target: Grid, seed: int) -> None:
    own = mapped(np.ones((1, source.shape[2], *source.shape[:2])), source, target, "area")[0]
    where = places(source, target).transpose(2, 0, 1, 3)
    step = np.linalg.solve(source.affine, target.affine)[:3, :3]
    reach = np.abs(step).sum(axis=1) / 2
    high = np.array(source.shape) - 0.5
    assert own[((where - reach > -0.5) & (where + reach < high)).all(axis=-1)].all()
    assert not own[((where + reach < -0.5) | (where - reach > high)).any(axis=-1)].any()


def test_masks_on_the_same_voxels_are_copied() -> None:
    source = Grid(affine_of((0.3, 0.2, 0.1), (1, 1, 3)), (9, 8, 7))
    flipped = source.affine @ np.array([[-1, 0, 0, 8], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mask = (volume(source.shape) > 0).astype(np.uint16)
    own = mapped(mask, source, Grid(flipped, (9, 8, 7)), "area", threshold=1)
    assert own.dtype == np.uint8
    assert (own[:, :, :, 1:] == mask[:, :, ::-1, :-1]).all()
    assert (own[:, :, :, 0] == 0).all()


def test_masks_on_voxels_without_a_size_to_speak_of() -> None:
    source, tiny = Grid(np.eye(4), (4, 4, 4)), affine_of(spacing=(1e-5, 1, 1), origin=(2, 0, 0))
    mask = np.zeros((1, 4, 4, 4), np.uint8)
    mask[0, :, 2, 1:3] = 1
    own = mapped(mask, source, Grid(tiny, (3, 4, 4)), "area")
    assert own[0, 1].tolist() == [[0, 1, 1, 0]] * 3
