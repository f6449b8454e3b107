"""``to_virtual``: plain xarray reads the bytes of the DICOM files through references."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, FileExists, InvalidValue, LeftOut, PixelError
from dbdicom_xr.testing import make_enhanced, make_mosaic, make_series, make_study

icechunk = pytest.importorskip("icechunk", reason="the extra 'virtual' is not installed")
pytest.importorskip("virtualizarr", reason="the extra 'virtual' is not installed")
pytest.importorskip("kerchunk", reason="the extra 'virtual' is not installed")

KEYS: dict[Any, Any] = {"SliceLocation": [0.0, 4.0, 8.0], "EchoTime": [2.5, 5.0]}
GRID = ["EchoTime", "SliceLocation"]
STORES = ["repository", "references.json"]


def opened(store: str, folder: Path, group: str | None = None) -> xr.Dataset:
    """Open a virtual store with nothing of this package."""
    if store.endswith(".json"):
        return xr.open_dataset(store, engine="kerchunk", chunks={})
    repository = icechunk.Repository.open(
        icechunk.local_filesystem_storage(store),
        authorize_virtual_chunk_access={f"file://{folder}/": None},
    )
    session = repository.readonly_session("main")
    return xr.open_zarr(session.store, group=group, consolidated=False)


def colour(folder: Path, planar: int) -> None:
    for file in make_series(folder, keys={"SliceLocation": [0.0, 5.0]}, dtype="uint8").files:
        dataset = pydicom.dcmread(file)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = planar
        samples = np.random.default_rng(1).integers(0, 255, dataset.Rows * dataset.Columns * 3)
        dataset.PixelData = samples.astype(np.uint8).tobytes()
        dataset.save_as(file)


MAKERS: dict[str, Callable[[Path], Any]] = {
    "classic": lambda f: make_series(f, keys=KEYS),
    "one slope": lambda f: make_series(f, keys=KEYS, slope=0.5, intercept=-3),
    "slopes": lambda f: make_series(
        f, keys=KEYS, slope=np.arange(1, 7).reshape(3, 2, 1) / 8, intercept=2.0
    ),
    "12 bits": lambda f: make_series(f, keys=KEYS, bits_stored=12),
    "signed": lambda f: make_series(f, keys=KEYS, dtype="int16"),
    "bytes": lambda f: make_series(f, keys=KEYS, dtype="uint8"),
    "32 bits": lambda f: make_series(f, keys=KEYS, dtype="uint32"),
    "implicit": lambda f: make_series(f, keys=KEYS, transfer_syntax="implicit"),
    "enhanced": lambda f: make_enhanced(f, keys=KEYS, slope=0.5, intercept=-3),
    "pixel by pixel": lambda f: colour(f, 0),
    "plane by plane": lambda f: colour(f, 1),
}


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("maker", MAKERS)
def test_references_give_the_values(maker: str, name: str, tmp_path: Path) -> None:
    MAKERS[maker](tmp_path / "in")
    sortby = "SliceLocation" if "by" in maker else GRID
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        array, header = series.array(sortby)
        total = sum(os.path.getsize(file) for file in database.files())
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", DicomWarning)
            (store,) = series.to_virtual(tmp_path / name, sortby)
        assert ["stored values" in str(one.message) for one in told] == [True] * (maker == "slopes")
        assert store == str(tmp_path / name)
        with opened(store, tmp_path / "in") as plain:
            pixels = plain["pixels"]
            if name == "repository" or "pixel by" not in maker:
                assert pixels.dims == array.dims
            if maker == "slopes":
                pixels = pixels * plain["RescaleSlope"] + plain["RescaleIntercept"]
            np.testing.assert_array_equal(pixels.transpose(*array.dims), array)
            assert plain.attrs["Modality"] == "MR"
            uids = [one.SOPInstanceUID for one in np.asarray(header).ravel()]
            assert plain["SOPInstanceUID"].values.ravel().tolist() == uids
            assert plain["SeriesInstanceUID"].item() == series.SeriesInstanceUID[0]
            found = plain["pixels"].dicom.header
            assert [one.SOPInstanceUID for one in np.asarray(found).ravel()] == uids
        files = [Path(store)] if name.endswith("json") else list(Path(store).rglob("*"))
        assert total > 0
        assert sum(path.stat().st_size for path in files if path.is_file()) < 40_000


@pytest.mark.parametrize("name", STORES)
def test_stored_values(name: str, tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS, slope=0.5, intercept=-3)
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        (store,) = series.to_virtual(tmp_path / name, GRID, rescale=False)
        with opened(store, tmp_path / "in") as plain:
            assert plain["pixels"].dtype == np.uint16
            np.testing.assert_array_equal(plain["pixels"], series.array(GRID, rescale=False)[0])


def bits_beside(folder: Path) -> None:
    file = make_series(folder, keys=KEYS, bits_stored=12).files[4]
    dataset = pydicom.dcmread(file)
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0x8000).tobytes()
    dataset.save_as(file)


def cut_off(folder: Path) -> None:
    file = make_series(folder, keys=KEYS).files[4]
    file.write_bytes(file.read_bytes()[:-100])


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "compressed": (lambda f: make_series(f, keys=KEYS, transfer_syntax="rle"), "RLE Lossless"),
    "deflated": (lambda f: make_series(f, keys=KEYS, transfer_syntax="deflated"), "deflated"),
    "big endian": (lambda f: make_series(f, keys=KEYS, transfer_syntax="big"), "big endian"),
    "mosaic": (make_mosaic, "tiles of mosaics"),
    "gaps": (lambda f: make_series(f, keys=KEYS, drop=[3]), "1 places of the grid"),
    "bits beside": (bits_beside, "unused bits"),
    "cut off": (cut_off, "too early"),
}


@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_virtual_says_why(case: str, tmp_path: Path) -> None:
    maker, reason = REFUSED[case]
    maker(tmp_path / "in")
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        with pytest.raises(PixelError, match=reason):
            series.to_virtual(tmp_path / "out", GRID if case == "gaps" else None)
        assert os.listdir(tmp_path) == ["in"]


def test_changes_are_saved_first(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    database = db.database(tmp_path / "in")
    (series,) = database.series()
    series.PatientComments = "later"
    with pytest.raises(PixelError, match="save"):
        series.to_virtual(tmp_path / "out")
    database.save()
    assert series.to_virtual(tmp_path / "out")
    database.close()


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("folder", ["my study", "ä+b&c", "a#b", "50%"])
def test_any_name_of_a_folder(folder: str, name: str, tmp_path: Path) -> None:
    make_series(tmp_path / folder, keys=KEYS)
    with db.database(tmp_path / folder) as database:
        (series,) = database.series()
        if name == "repository" and set(folder) & set("#%"):
            with pytest.raises(PixelError, match="kerchunk"):
                series.to_virtual(tmp_path / name)
            return
        (store,) = series.to_virtual(tmp_path / name)
        with opened(store, tmp_path / folder) as plain:
            np.testing.assert_array_equal(plain["pixels"], series.array()[0])


def test_icechunk_notices_a_file_that_changed(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    with db.database(tmp_path / "in") as database:
        (store,) = database.series()[0].to_virtual(tmp_path / "out")
        file = Path(database.files()[0])
    later = file.stat().st_mtime + 3600
    os.utime(file, (later, later))
    with opened(store, tmp_path / "in") as plain, pytest.raises(Exception, match="has changed"):
        plain["pixels"].load()


def longer_header(database: Any) -> None:
    database.series()[0].PatientName = "A much longer name than before"
    database.save()


def other_pixels(database: Any) -> None:
    file = Path(database.files()[2])
    file.write_bytes(file.read_bytes()[:-100] + bytes(range(100)))


@pytest.mark.parametrize("change", [longer_header, other_pixels])
def test_icechunk_notices_what_changes_at_once(change: Any, tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        before = series.array(GRID)[0].values
        (store,) = series.to_virtual(tmp_path / "out", GRID)
        with opened(store, tmp_path / "in") as plain:
            np.testing.assert_array_equal(plain["pixels"], before)
        series.to_virtual(tmp_path / "out", GRID, overwrite=True)
        change(database)
        with opened(store, tmp_path / "in") as plain, pytest.raises(Exception, match="has changed"):
            plain["pixels"].load()


def test_files_of_later_than_now_are_told(tmp_path: Path) -> None:
    for file in make_series(tmp_path / "in", keys=KEYS).files:
        os.utime(file, (4e9, 4e9))
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        with pytest.warns(DicomWarning, match="later than now, at 2096-10-02"):
            (store,) = series.to_virtual(tmp_path / "out", GRID)
        with opened(store, tmp_path / "in") as plain:
            np.testing.assert_array_equal(plain["pixels"], series.array(GRID)[0])


@pytest.mark.parametrize("name", STORES)
def test_one_image(name: str, tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    with db.database(tmp_path / "in") as database:
        image = database.series()[0].instances()[1]
        (store,) = image.to_virtual(tmp_path / name)
        with opened(store, tmp_path / "in") as plain:
            np.testing.assert_array_equal(plain["pixels"], image.array())
            assert plain["pixels"].dims == ("x", "y")


def test_a_study_is_a_repository_of_groups(tmp_path: Path) -> None:
    make_study(tmp_path / "in", patients=1, studies=1, reports=True)
    with db.database(tmp_path / "in") as database:
        with pytest.warns(LeftOut, match="not in the virtual store"):
            (store,) = database.to_virtual(tmp_path / "out")
        for series in database.series(Modality=["MR", "CT"]):
            names = [node.name for node in (series.parent.parent, series.parent, series)]
            with opened(store, tmp_path / "in", "/".join(names)) as plain:
                np.testing.assert_array_equal(plain["pixels"], series.array()[0])
        with pytest.raises(InvalidValue, match="one series"):
            database.to_virtual(tmp_path / "out.json")


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_exists_is_replaced_only_when_asked(name: str, tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        series.to_virtual(tmp_path / name)
        with pytest.raises(FileExists, match=re.escape(name)):
            series.to_virtual(tmp_path / name)
        (store,) = series.to_virtual(tmp_path / name, GRID, overwrite=True)
        with opened(store, tmp_path / "in") as plain:
            assert plain["pixels"].dims == ("EchoTime", "SliceLocation", "n", "x", "y")
        with pytest.raises(InvalidValue):
            series.to_virtual(tmp_path / "in", overwrite=True)
        assert sorted(os.listdir(tmp_path)) == sorted(["in", name])


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["philips", "canon61"])
def test_files_of_scanners(folder: str, testdata: Path, tmp_path: Path) -> None:
    with db.database(testdata / folder, index=tmp_path / "index") as database:
        for number, series in enumerate(database.series(Modality="MR")):
            (store,) = series.to_virtual(tmp_path / str(number))
            with opened(store, testdata / folder) as plain:
                np.testing.assert_allclose(plain["pixels"], series.array()[0], rtol=1e-6)
