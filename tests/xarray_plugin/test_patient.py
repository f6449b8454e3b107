"""``da.dicom.assign_affine``: patient coordinates that are worked out when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import Geometry, make_series
from dbdicom_xr.xarray_plugin.patient import PatientTransform

GEOMETRY = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
AFFINE = GEOMETRY.affine(0)
SIZES = {"x": 16, "y": 12, "SliceLocation": 4}


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An array of 4 oblique slices and 2 echoes."""
    folder: Path = tmp_path_factory.mktemp("made")
    make_series(
        folder, keys={"SliceLocation": [0, 4, 8, 12], "EchoTime": [2, 4]}, geometry=GEOMETRY
    )  # fmt: skip
    (series,) = db.database(folder).series()
    return series.array(["SliceLocation", "EchoTime"])[0].isel(n=0)


@pytest.fixture(scope="module")
def placed(array: Any) -> Any:
    return array.dicom.assign_affine()


def coordinates(affine: Any, x: Any, y: Any, z: Any) -> Any:
    """Return the patient coordinates of voxels."""
    return np.einsum("ij,j...->i...", affine[:3], np.stack([x, y, z, np.ones_like(x)]))


def test_each_voxel_has_its_coordinates(placed: Any, array: Any) -> None:
    grid = np.meshgrid(*(np.arange(size) for size in SIZES.values()), indexing="ij")
    expected = coordinates(AFFINE, *(axis.astype(float) for axis in grid))
    for name, values in zip("XYZ", expected, strict=True):
        assert placed[name].dims == ("x", "y", "SliceLocation")
        assert placed[name].to_numpy() == pytest.approx(values, abs=1e-6)
        assert placed[name].attrs["units"] == "mm"
        assert placed[name].attrs["space"] == "LPS"
    assert placed.dims == array.dims
    assert placed.chunks == array.chunks
    assert placed.dicom.affine == pytest.approx(AFFINE, abs=1e-6)


def test_nothing_is_worked_out_before(array: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    forward = PatientTransform.forward

    def counted(self: Any, positions: Any) -> Any:
        asked.append(np.broadcast(*positions.values()).size)
        return forward(self, positions)

    monkeypatch.setattr(PatientTransform, "forward", counted)
    lazy = array.dicom.assign_affine()
    part = lazy.isel(x=slice(2, 5), EchoTime=1).transpose("y", ...) * 2
    assert sum(asked) == 0
    assert set(part.X.dims) == {"x", "y", "SliceLocation"}
    lazy.X[0, 0, 0].to_numpy()
    assert 0 < sum(asked) <= 12 * 16 * 4


@given(
    st.integers(0, 15), st.integers(0, 11), st.integers(0, 3),
    st.tuples(*[st.floats(-0.49, 0.49)] * 3),
)  # fmt: skip
def test_a_point_is_in_its_voxel(
    placed: Any, x: int, y: int, z: int, off: tuple[float, float, float]
) -> None:
    point = coordinates(AFFINE, *(np.float64(v) for v in np.add((x, y, z), off)))
    found = placed.sel(X=point[0], Y=float(point[1]), Z=point[2], method="nearest")
    expected = placed.isel(x=x, y=y, SliceLocation=z)
    assert found.dims == ("EchoTime",)
    assert found.drop_vars(["X", "Y", "Z"]).identical(expected.drop_vars(["X", "Y", "Z"]))
    assert float(found.X) == pytest.approx(AFFINE[0] @ [x, y, z, 1], abs=1e-6)


def test_many_points_at_once(placed: Any) -> None:
    at = np.array([[0, 3, 15], [0, 5, 11], [0, 1, 3]])
    points = coordinates(AFFINE, *at.astype(float))
    labels = {name: xr.DataArray(v, dims="point") for name, v in zip("XYZ", points, strict=True)}
    found = placed.sel(labels, method="nearest")
    assert set(found.dims) == {"EchoTime", "point"}
    for number, (x, y, z) in enumerate(at.T):
        expected = placed.isel(x=x, y=y, SliceLocation=z).to_numpy()
        assert found.isel(point=number).to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize("step", [-0.6, 15.6])
def test_outside_is_an_error(placed: Any, step: float) -> None:
    X, Y, Z = coordinates(AFFINE, np.float64(step), np.float64(1), np.float64(1))
    with pytest.raises(KeyError, match="1 points lie outside"):
        placed.sel(X=X, Y=Y, Z=Z, method="nearest")


def test_points_of_another_kind_are_refused(placed: Any) -> None:
    with pytest.raises(InvalidValue, match="nearest"):
        placed.sel(X=0, Y=0, Z=0)
    with pytest.raises(InvalidValue, match="Z missing"):
        placed.sel(X=0, Y=0, method="nearest")
    with pytest.raises(InvalidValue, match="three numbers"):
        placed.sel(X=[0, 1], Y=[0, 1], Z=[0, 1], method="nearest")
    with pytest.raises(InvalidValue, match="several dimensions"):
        placed.sel(X=xr.DataArray([0.0], dims="p"), Y=0, Z=0, method="nearest")
    with pytest.raises(InvalidValue, match="dimension X"):
        placed.drop_vars(["X", "Y", "Z"]).rename(EchoTime="X").dicom.assign_affine()


def test_a_tolerance_is_a_distance(placed: Any) -> None:
    X, Y, Z = coordinates(AFFINE, np.float64(2.4), np.float64(1), np.float64(1))
    assert placed.sel(X=X, Y=Y, Z=Z, method="nearest", tolerance=0.61).sizes == {"EchoTime": 2}
    with pytest.raises(KeyError, match="outside"):
        placed.sel(X=X, Y=Y, Z=Z, method="nearest", tolerance=0.59)


@pytest.mark.parametrize(
    "indexers",
    [
        {"x": slice(3, 9)},
        {"x": slice(None, None, -2), "SliceLocation": slice(1, None)},
        {"EchoTime": 0},
        {"SliceLocation": 2},
        {"SliceLocation": -1, "y": 4},
    ],
)
def test_a_part_stays_in_place(placed: Any, indexers: Any) -> None:
    part = placed.isel(indexers)
    for name in "XYZ":
        assert part[name].to_numpy() == pytest.approx(placed[name].isel(
            {dim: at for dim, at in indexers.items() if dim in SIZES}
        ).to_numpy())  # fmt: skip
    corner = part.isel({dim: 1 for dim in ("x", "y", "SliceLocation") if dim in part.dims})
    point = {name: float(corner[name]) for name in "XYZ"}
    found = part.sel(point, method="nearest")
    assert found.to_numpy() == pytest.approx(corner.to_numpy())
    again = part.dicom.assign_affine()
    assert again.X.to_numpy() == pytest.approx(part.X.to_numpy(), abs=1e-6)


def test_turned_arrays_keep_their_coordinates(placed: Any) -> None:
    turned = placed.transpose("y", "EchoTime", "SliceLocation", "x")
    for name in "XYZ":
        expected = placed[name].transpose("y", "SliceLocation", "x").to_numpy()
        found = turned[name].transpose("y", "SliceLocation", "x").to_numpy()
        assert found == pytest.approx(expected)
        part = turned.isel(y=slice(3, 5))[name].transpose("y", "SliceLocation", "x")
        assert part.to_numpy() == pytest.approx(expected[3:5])


def test_a_part_that_is_no_grid_keeps_its_coordinates(placed: Any) -> None:
    part = placed.isel(x=[0, 1, 5])
    assert part.X.to_numpy() == pytest.approx(placed.X.to_numpy()[[0, 1, 5]])
    assert "X" not in part.xindexes
    assert placed.isel(x=slice(0, 0)).X.shape == (0, 12, 4)


def test_a_point_must_lie_in_a_single_slice(placed: Any) -> None:
    flat = placed.isel(SliceLocation=1)
    X, Y, Z = coordinates(AFFINE, np.float64(2), np.float64(3), np.float64(1.3))
    assert flat.sel(X=X, Y=Y, Z=Z, method="nearest").x == pytest.approx(3)
    X, Y, Z = coordinates(AFFINE, np.float64(2), np.float64(3), np.float64(2))
    with pytest.raises(KeyError, match="outside"):
        flat.sel(X=X, Y=Y, Z=Z, method="nearest")


def test_arrays_of_one_place_work_together(placed: Any) -> None:
    other = placed.isel(EchoTime=0) + placed
    assert other.X.to_numpy() == pytest.approx(placed.X.to_numpy())
    shifted = placed.isel(x=slice(1, None)).drop_vars("x")
    with pytest.raises(InvalidValue, match="different places"):
        _ = placed.isel(x=slice(None, -1)).drop_vars("x") + shifted


def test_renamed_dimensions(placed: Any) -> None:
    renamed = placed.rename(SliceLocation="level")
    assert renamed.X.dims == ("x", "y", "level")
    point = {name: float(renamed[name][2, 3, 1]) for name in "XYZ"}
    assert float(renamed.sel(point, method="nearest").level) == 4
