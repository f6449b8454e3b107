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
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.testing import make_series
from tests.xarray_plugin.operations_table import (
    COMMON,
    FIRST,
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
    if kind == FIRST:
        # Coordinates of a Dataset are those of all its variables: nothing is left of the others.
        assert header.tolist() == loaded.run("array.isel(FlipAngle=0)").dicom.header.tolist()
        return
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


@pytest.mark.parametrize(
    "code", [code for code in OPERATIONS if re.search("concat|merge", code) and "other" not in code]
)
def test_what_xarray_will_do_by_default(loaded: World, code: str) -> None:
    # Coordinates are those of the first array then: of two series nothing tells that it was two.
    with xr.set_options(use_new_combine_kwarg_defaults=True):
        try:
            _ = loaded.run(code).dicom.header
        except (DbdicomError, ValueError):
            return
        test_header(loaded, code)


def test_labels_of_one_image(loaded: World) -> None:
    code = 'xr.concat([array.isel({0}=2), array.isel({0}=0)], "{0}")'
    for dim in KEYS:
        with xr.set_options(use_new_combine_kwarg_defaults=True):
            both = loaded.run(code.format(dim))
        if dim in both.SOPInstanceUID.dims:
            continue
        with pytest.raises(DbdicomError, match=f"labels {dim} .* are others.*header="):
            _ = both.dicom.header
    one = loaded.arrays["array"].sel(FlipAngle=5, drop=True)
    wide = one.expand_dims(FlipAngle=loaded.arrays["array"].FlipAngle[[1]])
    assert wide.dicom.header.ravel().tolist() == one.dicom.header.ravel().tolist()


def test_frames_without_labels_that_were_interpolated(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": SLICES}, shape=(2, 2))
    with db.database(tmp_path) as database:
        array, header = database.series()[0].array()
        array = array.compute().astype(float)
        assert array.isel(n=[3, 2, 1, 0]).dicom.header.tolist() == header[::-1].tolist()
        for places, method in (([3, 2, 1, 0], "nearest"), ([0.5, 1.5, 2.5, 2.9], "linear")):
            turned = array.interp(n=places, method=method)
            with pytest.raises(DbdicomError, match="between the frames"):
                _ = turned.dicom.header
            with pytest.raises(DbdicomError, match="do not tell which"):
                _ = turned.dicom.affine
        counted = array.assign_coords(n=np.arange(4))
        assert counted[1:3].dicom.header.tolist() == header[1:3].tolist()
        turned = counted.interp(n=[2, 1, 0], method="nearest")
        for hidden in (turned, turned.drop_vars("n"), turned.rename(n="scan")):
            with pytest.raises(DbdicomError, match="between the frames"):
                _ = hidden.dicom.header


def test_gaps_are_no_interpolation(loaded: World) -> None:
    array, header = loaded.arrays["array"], loaded.headers["array"]
    for wide in (
        array.pad(FlipAngle=1), array.drop_vars("FlipAngle").pad(FlipAngle=1),
        array.rename(FlipAngle="angle").pad(angle=1),
    ):  # fmt: skip
        dim = wide.dims[1]
        assert wide.frame.dtype.kind == "f"
        assert wide.dicom.header[:, 1:-1].tolist() == header.tolist()
        if dim in wide.coords:
            assert wide.isel({dim: slice(1, -1)}).dicom.header.tolist() == header.tolist()


def test_the_page_lists_these_operations() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    listed = {code.replace(r"\|", "|"): kind for code, kind in rows}
    assert listed == OPERATIONS
