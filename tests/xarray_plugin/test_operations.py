"""The header after each operation is that of the images that the values come from.

Which these are is found by force: the values of one image after the other are changed, and where
the result changes with them, that image took part.
"""

from __future__ import annotations

import pickle
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from zarr.storage import MemoryStore

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError
from dbdicom_xr.records.common import Common
from dbdicom_xr.records.header import Header
from dbdicom_xr.testing import make_series
from tests.xarray_plugin.operations_table import (
    COMMON,
    LABEL,
    LABELS,
    OPERATIONS,
    REFUSED,
    SAME,
)

SLICES, ANGLES = [0.0, 5.0, 10.0, 15.0], [2.0, 5.0, 8.0]
KEYS = {"SliceLocation": SLICES, "FlipAngle": ANGLES}
PAGE = Path(__file__).parents[2] / "docs" / "guide" / "operations.md"


def told(dataset: Any, index: tuple[int, ...]) -> None:
    dataset.AcquisitionTime = f"1000{10 * index[1]:02d}"
    dataset.EchoTime = 1.5 + index[0]
    dataset.ImageComments = f"angle {index[1]}"


def make_both(folder: Path) -> None:
    """Write two series of the same places, of four slices and three flip angles."""
    for number in (1, 2):
        make_series(
            folder / str(number), keys=KEYS, shape=(2, 2), header=told, seed=number, shuffle=number,
            per_frame={"FrameOfReferenceUID": [[["1.2.3"]] * 3] * 4},
        )  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("operations")
    make_both(folder)
    return db.database(folder)


class World:
    """What the operations are done on."""

    def __init__(self, database: Any) -> None:
        first, second = database.series()
        self.arrays: dict[str, Any] = {}
        self.headers: dict[str, Header] = {}
        for name, series, sortby in (
            ("array", first, list(KEYS)),
            ("other", second, list(KEYS)),
            ("times", first, ["SliceLocation", "AcquisitionTime"]),
        ):
            array, self.headers[name] = series.array(sortby)
            self.arrays[name] = array.astype(float)
        self.peak = self.arrays["array"].argmax("FlipAngle").compute()

    def load(self) -> World:
        self.arrays = {name: array.load() for name, array in self.arrays.items()}
        return self

    def run(self, code: str, **replaced: Any) -> xr.DataArray:
        names = {**self.arrays, **replaced, "xr": xr, "np": np, "pickle": pickle}
        names |= {"peak": self.peak, "through_zarr": through_zarr, "through_netcdf": through_netcdf}
        with np.errstate(invalid="ignore"):
            result = eval(code, names)
        assert isinstance(result, xr.DataArray)
        return result


def through_zarr(array: xr.DataArray) -> xr.DataArray:
    store = MemoryStore()
    array.to_dataset(name="pixels").to_zarr(store, consolidated=False)
    opened = xr.open_zarr(store, consolidated=False).pixels
    assert opened.chunks is not None
    return opened.copy(data=opened.to_numpy())  # the coordinates stay lazy


def through_netcdf(array: xr.DataArray) -> xr.DataArray:
    with tempfile.TemporaryDirectory() as folder:
        array.to_netcdf(folder + "/file.nc", engine="scipy")
        return xr.load_dataarray(folder + "/file.nc", engine="scipy")


@pytest.fixture(scope="module")
def loaded(database: Any) -> World:
    return World(database).load()


@pytest.fixture(scope="module")
def lazy(database: Any) -> World:
    return World(database)


def images(array: xr.DataArray) -> xr.DataArray:
    """Return an array with the pixels last."""
    return array.transpose(*[dim for dim in array.dims if dim not in ("x", "y")], "x", "y",
                           missing_dims="ignore")  # fmt: skip


def took_part(world: World, code: str) -> tuple[tuple[str, ...], Any]:
    """Return the dimensions of images in a result, and which frames each depends on, by force."""
    plain = images(world.run(code))
    dims = tuple(str(dim) for dim in plain.dims if dim not in ("x", "y"))
    shape = plain.shape[: len(dims)]
    found = np.empty(shape, object)
    for cell in np.ndindex(*shape):
        found[cell] = set()
    for name in [name for name in world.arrays if re.search(rf"\b{name}\b", code)]:
        array, header = world.arrays[name], world.headers[name]
        for place, image in np.ndenumerate(header):
            for amount in (1e9, -1e9):
                changed = array.copy(deep=True)
                changed.values[place] += amount
                values = images(world.run(code, **{name: changed})).to_numpy()
                differs = values != plain.to_numpy()
                if values.dtype.kind == "f":
                    differs &= ~(np.isnan(values) & np.isnan(plain.to_numpy()))
                for cell in np.argwhere(differs.reshape(*shape, -1).any(axis=-1)):
                    found[tuple(cell)].add(image.SOPInstanceUID)
    return dims, found


def says(element: Any) -> set[str]:
    if element is None:
        return set()
    return {one.SOPInstanceUID for one in getattr(element, "sources", [element])}


@pytest.mark.parametrize("code", OPERATIONS)
def test_header(loaded: World, code: str) -> None:
    kind = OPERATIONS[code]
    result = loaded.run(code)
    if kind == REFUSED:
        with pytest.raises(DbdicomError, match="header="):
            _ = result.dicom.header
        return
    header = images(result).dicom.header
    dims, wanted = took_part(loaded, code)
    assert (header.dims, header.shape) == (dims, wanted.shape)
    several = 0
    for cell, element in np.ndenumerate(np.asarray(header)):
        several += isinstance(element, Common)
        if kind in (SAME, COMMON):
            # A gap that was filled has no image, and a constant that hides all values has one.
            assert says(element) == wanted[cell] or not wanted[cell]
        elif kind == LABELS:
            assert says(element) >= wanted[cell]
        else:
            assert kind == LABEL
            one = images(result).isel(dict(zip(dims, cell, strict=True)))
            place = {name: float(one.coords[name]) for name in KEYS}
            assert element == loaded.headers["array"].sel(place)[0]
    assert bool(several) == (kind in (COMMON, LABELS))


@pytest.mark.parametrize("code", [code for code, kind in OPERATIONS.items() if kind != REFUSED])
def test_lazy_arrays_tell_the_same(loaded: World, lazy: World, code: str) -> None:
    wanted = loaded.run(code).dicom.header
    if "apply_ufunc" in code:
        return  # xarray wants to be told how, or computes
    found = lazy.run(code)
    if "through" not in code:
        assert found.chunks is not None
    assert found.dicom.header.tolist() == wanted.tolist()


def test_the_page_lists_these_operations() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    listed = {code.replace(r"\|", "|"): kind for code, kind in rows}
    assert listed == OPERATIONS
