"""``export_as_zarr`` and ``from_zarr``: plain xarray reads it, and the same files come back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
import zarr

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DicomWarning,
    FileExists,
    InvalidValue,
    LeftOut,
    MissingFolder,
    NotAFolder,
    PixelError,
    StaleArray,
)
from dbdicom_xr.records.exporting import zarr_files as exporting_zarr_files
from dbdicom_xr.testing import make_enhanced, make_mosaic, make_series, make_study

KEYS: dict[Any, Any] = {"SliceLocation": [0.0, 4.0, 8.0], "EchoTime": [2.5, 5.0]}
GRID = ["EchoTime", "SliceLocation"]


def private(dataset: Any, index: tuple[int, ...]) -> None:
    """Give a header what is not in the dictionary, and what is in sequences."""
    block = dataset.private_block(0x0019, "A SCANNER", create=True)
    block.add_new(0x01, "OB", bytes(range(256)) * 300)  # left in the file by the index
    block.add_new(0x02, "DS", str(index[0]))
    item = pydicom.Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Kidney"
    dataset.AnatomicRegionSequence = [item]


def rewritten(folder: Path, change: Callable[[Any], None]) -> None:
    for file in make_series(folder, keys=KEYS, bits_stored=12).files:
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)


def overlays(dataset: Any) -> None:
    pixels = np.frombuffer(dataset.PixelData, "<u2") | 0x8000
    dataset.PixelData = pixels.tobytes()


def longer(dataset: Any) -> None:
    dataset.PixelData += b"more behind the last image"


MAKERS: dict[str, Callable[[Path], Any]] = {
    "classic": lambda f: make_series(f, keys=KEYS, slope=0.5, intercept=-3),
    "one image": lambda f: make_series(f, keys={}),
    "integers": lambda f: make_series(f, keys=KEYS, slope=2.0, intercept=-1024),
    "slope varies": lambda f: make_series(
        f, keys=KEYS, slope=np.arange(1, 7).reshape(3, 2, 1) / 8, intercept=-1.5
    ),
    "signed": lambda f: make_series(f, keys=KEYS, dtype="int16"),
    "bytes": lambda f: make_series(f, keys=KEYS, dtype="uint8"),
    "several at a place": lambda f: make_series(f, keys=KEYS, n=2),
    "gaps": lambda f: make_series(f, keys=KEYS, drop=[3]),
    "compressed": lambda f: make_series(f, keys=KEYS, transfer_syntax="rle"),
    "deflated": lambda f: make_series(f, keys=KEYS, transfer_syntax="deflated"),
    "implicit": lambda f: make_series(f, keys=KEYS, transfer_syntax="implicit"),
    "big endian": lambda f: make_series(f, keys=KEYS, transfer_syntax="big"),
    "enhanced": lambda f: make_enhanced(f, keys=KEYS, slope=0.5, intercept=-3),
    "mosaic": lambda f: make_mosaic(f),
    "private": lambda f: make_series(f, keys=KEYS, header=private),
    "overlays": lambda f: rewritten(f, overlays),
    "bytes behind": lambda f: rewritten(f, longer),
}


def bytes_of(database: Any) -> list[bytes]:
    return sorted(Path(file).read_bytes() for file in database.files())


@pytest.fixture
def series(tmp_path: Path) -> Any:
    make_series(tmp_path / "in", keys=KEYS, slope=0.5, intercept=-3)
    with db.database(tmp_path / "in") as database:
        yield database.series()[0]


# -- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_values_and_files_come_back(name: str, rescale: bool, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "in")
    sortby = GRID if name in ("classic", "gaps", "enhanced", "several at a place") else None
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        array, header = series.array(sortby, rescale=rescale)
        stores = series.export_as_zarr(tmp_path / "a.zarr", sortby, rescale=rescale)
        assert stores == [str(tmp_path / "a.zarr")]
        with xr.open_zarr(stores[0]) as plain:
            assert plain["pixels"].dtype == array.dtype
            assert plain["pixels"].dims == array.dims
            np.testing.assert_array_equal(plain["pixels"], array)
            uids = [getattr(one, "SOPInstanceUID", "") for one in np.asarray(header).ravel()]
            assert plain["SOPInstanceUID"].values.ravel().tolist() == uids
        with db.from_zarr(stores, tmp_path / "out") as again:
            assert bytes_of(again) == bytes_of(database)
            back, _ = again.series()[0].array(sortby, rescale=rescale)
            np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("name", "copied"), [("classic", 0), ("mosaic", 0), ("enhanced", 0), ("overlays", 6)]
)
def test_pixels_that_follow_from_the_array_are_not_kept_twice(
    name: str, copied: int, tmp_path: Path
) -> None:
    MAKERS[name](tmp_path / "in")
    with db.database(tmp_path / "in") as database:
        (store,) = database.series()[0].export_as_zarr(tmp_path / "a.zarr")
        pixels = sum(len(pydicom.dcmread(file).PixelData) for file in database.files())
        total = sum(os.path.getsize(file) for file in database.files())
    files = zarr.open_group(store, mode="r")["files"]
    kept = files["file_table"][:, exporting_zarr_files.FILE_COLUMNS.index("pixel_start")] >= 0
    assert int(kept.sum()) == copied
    assert files["bytes"].shape[0] == (total if copied else total - pixels)


def test_every_element_of_pydicom_is_the_same(series: Any, tmp_path: Path) -> None:
    before = {one.SOPInstanceUID: pydicom.dcmread(one.file) for one in series.instances()}
    stores = series.export_as_zarr(tmp_path / "out", GRID)
    assert [os.path.basename(store) for store in stores] == ["1_Synthetic_series.zarr"]
    with db.from_zarr(tmp_path / "out", tmp_path / "again") as again:
        after = {one.SOPInstanceUID: pydicom.dcmread(one.file) for one in again.instances()}
    assert before == after


def test_without_a_folder_the_database_is_temporary(series: Any, tmp_path: Path) -> None:
    stores = series.export_as_zarr(tmp_path / "a.zarr")
    again = db.from_zarr(stores[0])
    assert len(again.instances()) == 6
    again.save(tmp_path / "kept")
    assert bytes_of(again) == bytes_of(series.database)
    again.close()


@pytest.mark.parametrize("level", ["instance", "frame", "study", "patient", "database"])
def test_any_level(level: str, tmp_path: Path) -> None:
    make_enhanced(tmp_path / "in", keys=KEYS)
    with db.database(tmp_path / "in") as database:
        instance = database.instances()[0]
        records = {
            "instance": instance, "frame": next(iter(instance.values())),
            "study": database.studies()[0], "patient": database.patients()[0],
            "database": database,
        }  # fmt: skip
        stores = records[level].export_as_zarr(tmp_path / "a.zarr")
        with db.from_zarr(stores, tmp_path / "out") as again:
            assert bytes_of(again) == bytes_of(database)


def test_a_database_is_a_tree_and_nothing_is_left_out(tmp_path: Path) -> None:
    make_study(tmp_path / "in", patients=2, studies=1, reports=True)
    with db.database(tmp_path / "in") as database:
        (store,) = database.export_as_zarr(tmp_path / "all.zarr")
        with xr.open_datatree(store, engine="zarr") as tree:
            for one in database.series():
                names = [node.name for node in (one.parent.parent, one.parent, one)]
                node = tree["/".join(names)]
                if one.Modality == ["SR"]:
                    assert "pixels" not in node
                    assert node["header"]["value"].size
                else:
                    np.testing.assert_array_equal(node["pixels"], one.array()[0])
        with db.from_zarr(store, tmp_path / "out") as again:
            assert bytes_of(again) == bytes_of(database)
            assert [one.path for one in again.series()] == [one.path for one in database.series()]
        each = database.export_as_zarr(tmp_path / "each")
        assert len(each) == len(database.series())
        with db.from_zarr(tmp_path / "each", tmp_path / "out2") as again:
            assert bytes_of(again) == bytes_of(database)


def test_series_without_an_array_are_kept_as_files(tmp_path: Path) -> None:
    common = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "PatientID": "P"}
    for number, shape in enumerate([(8, 8), (8, 10)]):
        make_series(tmp_path / "in" / str(number), keys={}, shape=shape, header=common, seed=number)
    with db.database(tmp_path / "in") as database:
        with pytest.warns(LeftOut, match="several sizes"):
            (store,) = database.export_as_zarr(tmp_path / "all.zarr")
        with db.from_zarr(store, tmp_path / "out") as again:
            assert bytes_of(again) == bytes_of(database)


def test_what_is_staged_is_exported(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS)
    database = db.database(tmp_path / "in")
    (series,) = database.series()
    series.PatientComments = "moved"
    array, _ = series.array("SliceLocation")
    result = (array + 0.25).dicom.write(series.new_sibling(SeriesDescription="Result"))
    series.parent().zeros((2, 6, 5), SeriesDescription="Nothing yet")
    values = {one.SeriesDescription[0]: one.array()[0].values for one in database.series()}
    (store,) = database.export_as_zarr(tmp_path / "all.zarr")
    with db.from_zarr(store, tmp_path / "out") as again:
        assert {one.SeriesDescription[0] for one in again.series()} == set(values)
        for one in again.series():
            np.testing.assert_array_equal(one.array()[0], values[one.SeriesDescription[0]])
        assert again.series(PatientComments="moved")
    assert result in database.series()
    database.close(save=False)


# -- read by others ------------------------------------------------------------------------------

_WITHOUT_US = """
    import sys, warnings
    warnings.simplefilter("error")
    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("dbdicom_xr", "pydicom"):
                raise ImportError(name)
    sys.meta_path.insert(0, Blocker())
    import json, numpy as np, xarray as xr
    store, truth = sys.argv[1:]
    for dataset in (xr.open_zarr(store), xr.open_dataset(store, engine="zarr")):
        assert np.array_equal(dataset["pixels"].values, np.load(truth))
        dataset.load()
    assert dataset.attrs["Modality"] == "MR"
    for group in ("header", "files"):
        xr.open_zarr(store, group=group).load()
    tree = xr.open_datatree(store, engine="zarr").load()
    header = tree["header"].to_dataset()
    values = header["value"][header["code"].sel(element="EchoTime")]
    assert values.dims == ("EchoTime", "SliceLocation", "n"), values.dims
    assert [json.loads(text) for text in values.values[:, 0, 0].tolist()] == [2.5, 5.0]
    assert (dataset["EchoTime"].values == [2.5, 5.0]).all()
    assert "dbdicom_xr" not in sys.modules
"""


def test_plain_xarray_opens_it_without_this_package(series: Any, tmp_path: Path) -> None:
    array, _ = series.array(GRID)
    np.save(tmp_path / "truth.npy", array.values)
    (store,) = series.export_as_zarr(tmp_path / "a.zarr", GRID)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_WITHOUT_US), store, str(tmp_path / "truth.npy")],
        check=True, cwd=tmp_path,
    )  # fmt: skip


def test_all_elements_stand_in_the_header(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS, header=private)
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        (store,) = series.export_as_zarr(tmp_path / "a.zarr", GRID)
        dataset = pydicom.dcmread(series.files()[0])
    with xr.open_zarr(store, group="header") as header:
        header.load()
    tags = set(header["tag"].values.tolist())
    expected = {
        f"{e.tag:08X}"
        if not e.tag.is_private or e.tag.is_private_creator
        else f"{e.tag & ~0xFF00:08X}"
        for e in dataset
        if e.keyword != "PixelData"
    }
    assert expected <= tags

    def value(tag: str, creator: str = "") -> Any:
        wanted = (header["tag"].values == tag) & (header["creator"].values == creator)
        (code,) = np.unique(header["code"].values[wanted])
        return json.loads(header["value"].values[code])

    assert value("00190001", "A SCANNER") == {"length": 256 * 300}
    assert value("00082218")[0]["00080104"]["Value"] == ["Kidney"]
    assert value("00180050") == float(dataset.SliceThickness)


def test_types_of_coordinates_are_settled_ones(series: Any, tmp_path: Path) -> None:
    (store,) = series.export_as_zarr(tmp_path / "a.zarr", GRID)
    settled = {"bool", "string"} | {f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64)}
    settled |= {"float32", "float64"}
    kinds = {
        json.loads(path.read_text())["data_type"]
        for path in Path(store).rglob("zarr.json")
        if json.loads(path.read_text())["node_type"] == "array"
    }
    assert kinds <= settled


@pytest.mark.parametrize("align", ["value", "order"])
def test_times_survive(align: str, tmp_path: Path) -> None:
    keys = {"SliceLocation": [0, 5], "AcquisitionTime": ["090000.5", "", "235959.999999"]}
    make_series(tmp_path / "in", keys={**keys, "AcquisitionTime": ["090000.5", "235959.999999"]})
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        array, _ = series.array(["SliceLocation", "AcquisitionTime"], align=align)
        (store,) = series.export_as_zarr(
            tmp_path / "a.zarr", ["SliceLocation", "AcquisitionTime"], align=align
        )
    with xr.open_zarr(store) as plain:
        assert plain["AcquisitionTime"].dtype == "timedelta64[ns]"
        np.testing.assert_array_equal(plain["AcquisitionTime"], array["AcquisitionTime"])


def test_chunks_are_images_and_shards_are_what_is_computed_at_once(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": range(12)}, shape=(256, 256))
    with db.database(tmp_path / "in") as database:
        (store,) = database.series()[0].export_as_zarr(tmp_path / "a.zarr", rescale=False)
    pixels = zarr.open_group(store, mode="r")["pixels"]
    assert (pixels.chunks, pixels.shards) == ((6, 256, 256), (12, 256, 256))
    assert len(list((Path(store) / "pixels" / "c").rglob("*"))) == 3  # two folders, one file


@pytest.mark.slow
def test_workers_write_it_too(series: Any, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    array, _ = series.array(GRID)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        (store,) = series.export_as_zarr(tmp_path / "a.zarr", GRID)
    with xr.open_zarr(store) as plain:
        np.testing.assert_array_equal(plain["pixels"], array)
    with db.from_zarr(store, tmp_path / "out") as again:
        assert bytes_of(again) == bytes_of(series.database)


# -- what is in the way --------------------------------------------------------------------------


def test_a_store_whose_folder_was_moved_says_what_to_do(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS, header={"WindowCenter": 40, "WindowWidth": 10})
    with db.database(tmp_path / "in") as database:
        (store,) = database.series()[0].export_as_zarr(tmp_path / "a.zarr", GRID)
    os.rename(tmp_path / "in", tmp_path / "moved")
    pixels = xr.open_zarr(store).pixels
    for use in (lambda: pixels.dicom.header, lambda: pixels.dicom.spacing):
        with pytest.raises(MissingFolder, match=r"from_zarr\(store, folder\)") as caught:
            use()
        assert str(tmp_path / "in") in str(caught.value)
        assert "header=" in str(caught.value)
        assert "worker" not in str(caught.value)
    with db.database(tmp_path / "moved") as database:
        (series,) = database.series()
        _, header = series.array(GRID)
        assert pixels.dicom.get_affine(header=header).shape == (4, 4)
        written = pixels.mean("EchoTime").dicom.write(series.new_sibling(), header=header)
        assert len(written.instances()) == 3
        database.restore()
        pytest.importorskip("matplotlib").use("agg")
        drawn = pixels.dicom.plot(header=header)
        assert drawn.images[0].get_clim() == (35.0, 44.0)
        from matplotlib import pyplot

        pyplot.close("all")


def test_a_store_that_exists_is_replaced_only_when_asked(series: Any, tmp_path: Path) -> None:
    (store,) = series.export_as_zarr(tmp_path / "a.zarr", rescale=False)
    with pytest.raises(FileExists, match="overwrite=True"):
        series.export_as_zarr(tmp_path / "a.zarr")
    with xr.open_zarr(store) as plain:
        assert plain["pixels"].dtype == np.uint16
    series.export_as_zarr(tmp_path / "a.zarr", overwrite=True)
    with xr.open_zarr(store) as plain:
        assert plain["pixels"].dtype == np.float32
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "in"]


def test_what_is_no_store_is_never_replaced(series: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine.zarr"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    for path in (folder, tmp_path / "file.zarr"):
        with pytest.raises(InvalidValue):
            series.export_as_zarr(path, overwrite=True)
    with pytest.raises(NotAFolder):
        series.export_as_zarr(tmp_path / "file.zarr" / "b.zarr")
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "empty.zarr").mkdir()
    assert series.export_as_zarr(tmp_path / "empty.zarr")


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    evil = {"PatientID": "../../evil", "SeriesDescription": "../..", "StudyDescription": "/etc"}
    make_series(tmp_path / "in", keys={}, header=evil)
    with db.database(tmp_path / "in") as database:
        (store,) = database.export_as_zarr(tmp_path / "out" / "a.zarr")
        group = zarr.open_group(store, mode="r+")
        (files,) = [m for n, m in group.members(max_depth=None) if n.endswith("files")]
        files.attrs["folder"] = "../../../worse"
        with db.from_zarr(store, tmp_path / "out" / "back" / "here") as again:
            assert bytes_of(again) == bytes_of(database)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    assert sorted(os.listdir(tmp_path / "out")) == ["a.zarr", "back"]
    assert os.listdir(tmp_path / "out" / "back") == ["here"]


# -- half-way ------------------------------------------------------------------------------------


def test_an_export_that_fails_leaves_nothing(series: Any, tmp_path: Path) -> None:
    os.remove(series.files()[3])
    with pytest.raises(StaleArray, match="IM"):
        series.export_as_zarr(tmp_path / "out" / "a.zarr")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_the_former_store(series: Any, tmp_path: Path) -> None:
    (store,) = series.export_as_zarr(tmp_path / "a.zarr")
    os.remove(series.files()[3])
    with pytest.raises(StaleArray):
        series.export_as_zarr(tmp_path / "a.zarr", overwrite=True)
    with db.from_zarr(store, tmp_path / "out") as again:
        assert len(again.instances()) == 6


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
@pytest.mark.parametrize("where", ["_write_header", "_write_files", "put_in_place"])
def test_an_export_that_is_killed_has_no_store(
    where: str, series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    script = f"""
        import os, sys, dbdicom_xr as db
        from dbdicom_xr.records.exporting import to_zarr as exporting_zarr
        exporting_zarr.{where} = lambda *_: os._exit(9)
        db.database(sys.argv[1]).series()[0].export_as_zarr(sys.argv[2])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "in"), str(out / "a.zarr")],
        check=False, cwd=Path(db.__file__).parent.parent, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr.decode()
    assert not (out / "a.zarr").exists()
    assert all(name.startswith(".") for name in os.listdir(out))
    series.export_as_zarr(out / "a.zarr")
    assert os.listdir(out) == ["a.zarr"]


# -- partial stores ------------------------------------------------------------------------------


def first_file(folder: Path) -> Path:
    return min(path for path in folder.rglob("*") if path.is_file())


def remove_shard(store: Path) -> None:
    first_file(store / "pixels" / "c").unlink()


def cut_shard(store: Path) -> None:
    path = first_file(store / "pixels" / "c")
    path.write_bytes(path.read_bytes()[:-200])


def change_shard(store: Path) -> None:
    path = first_file(store / "pixels" / "c")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_value(store: Path) -> None:
    pixels = zarr.open_group(store, mode="r+")["pixels"]
    pixels[1, 2, 3] = pixels[1, 2, 3] + 1


def cut_metadata(store: Path) -> None:
    path = store / "pixels" / "zarr.json"
    path.write_text(path.read_text()[:-50])


def remove_array(store: Path) -> None:
    shutil.rmtree(store / "pixels")


def remove_bytes(store: Path) -> None:
    first_file(store / "files" / "bytes" / "c").unlink()


def change_bytes(store: Path) -> None:
    array = zarr.open_group(store, mode="r+")["files/bytes"]
    array[300] = int(array[300]) ^ 1


def shorten_bytes(store: Path) -> None:
    array = zarr.open_group(store, mode="r+")["files/bytes"]
    array.resize((array.shape[0] - 10,))


def remove_table(store: Path) -> None:
    first_file(store / "files" / "image_table" / "c").unlink()


def change_tables(store: Path) -> None:
    table = zarr.open_group(store, mode="r+")["files/image_table"]
    table[0] = 10**9


def forget_forms(store: Path) -> None:
    path = store / "files" / "zarr.json"
    content = json.loads(path.read_text())
    del content["attributes"]["forms"]
    path.write_text(json.dumps(content))


def cut_root(store: Path) -> None:
    (store / "zarr.json").write_text("{")


DAMAGES = {
    remove_shard: "pixels", cut_shard: "pixels", change_shard: "pixels", change_value: "pixels",
    cut_metadata: "", remove_array: "pixels", remove_bytes: "files/bytes",
    change_bytes: "files/bytes", shorten_bytes: "files/bytes", remove_table: "files/image_table",
    change_tables: "", forget_forms: "", cut_root: "",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_partial_store_is_refused_by_name(damage: Any, series: Any, tmp_path: Path) -> None:
    (store,) = series.export_as_zarr(tmp_path / "a.zarr", rescale=False)
    damage(Path(store))
    with pytest.raises(PixelError) as caught:
        db.from_zarr(store, tmp_path / "out")
    assert store in str(caught.value)
    assert DAMAGES[damage] in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "in"]
    with pytest.raises(PixelError):
        db.from_zarr(store)


def test_a_damaged_chunk_is_no_number_to_plain_xarray(series: Any, tmp_path: Path) -> None:
    (store,) = series.export_as_zarr(tmp_path / "a.zarr")
    change_shard(Path(store))
    with xr.open_zarr(store) as plain, pytest.raises(Exception, match=r"(?i)checksum|crc"):
        plain["pixels"].load()


def test_what_is_no_store_of_ours_is_refused(series: Any, tmp_path: Path) -> None:
    series.array()[0].drop_attrs().reset_coords(drop=True).to_dataset(name="a").to_zarr(
        tmp_path / "b.zarr", zarr_format=3, consolidated=False
    )
    (tmp_path / "file").write_text("")
    for path, error in [
        (tmp_path / "none.zarr", MissingFolder), (tmp_path / "b.zarr", InvalidValue),
        (tmp_path / "in", InvalidValue), (tmp_path / "file", InvalidValue),
    ]:  # fmt: skip
        with pytest.raises(error, match=path.name):
            db.from_zarr(path, tmp_path / "out")
    with pytest.raises(InvalidValue):
        db.from_zarr([])
    (store,) = series.export_as_zarr(tmp_path / "a.zarr")
    with pytest.raises(FileExists, match="empty"):
        db.from_zarr(store, tmp_path / "in")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is read a shard at a time."""
    make_series(tmp_path / "in", keys={"SliceLocation": range(8)}, shape=(64, 64))
    sizes = []
    real = exporting_zarr_files.blocks_of

    def noted(pixels: Any, depth: int) -> Any:
        for places, values in real(pixels, depth):
            sizes.append(len(places))
            yield places, values

    monkeypatch.setattr(exporting_zarr_files, "blocks_of", noted)
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        array = series.array
        monkeypatch.setattr(
            type(series), "array", lambda self, *a, **k: array(*a, **{**k, "chunks": 2})
        )
        series.export_as_zarr(tmp_path / "a.zarr")
    assert sizes == [2, 2, 2, 2]


# -- real files ----------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["mosaic", "philips_enh", "uih", "rt-utils", "dcmstack"])
def test_files_of_scanners_come_back(folder: str, testdata: Path, tmp_path: Path) -> None:
    with db.database(testdata / folder, index=tmp_path / "index") as database:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeftOut)  # raw data stand among images
            warnings.filterwarnings("ignore", ".*in several units", DicomWarning)
            (store,) = database.export_as_zarr(tmp_path / "a.zarr")
        with db.from_zarr(store, tmp_path / "out") as again:
            assert bytes_of(again) == bytes_of(database)


def test_a_series_without_images_is_left_out(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": [0.0, 4.0]})
    with db.database(tmp_path / "in") as database:
        (series,) = database.series()
        empty = series.new_sibling(SeriesDescription="empty")
        with pytest.warns(LeftOut, match="1 series is not exported.*nothing has come into it"):
            (store,) = database.export_as_zarr(tmp_path / "all.zarr")
        with pytest.raises(PixelError, match="nothing has come into it"):
            empty.export_as_zarr(tmp_path / "empty.zarr")
        database.close(save=False)
    assert not (tmp_path / "empty.zarr").exists()
    with db.from_zarr(store, tmp_path / "again") as again:
        (back,) = again.series()
        assert len(back.instances()) == 2
