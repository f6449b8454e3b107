"""Records as xarray.DataTree, and what .dicom of its nodes tells."""

from __future__ import annotations

import pickle
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from xarray.backends import api

import dbdicom_xr as db
from dbdicom_xr.arrays.reader import FrameReader
from dbdicom_xr.errors import InvalidValue, NotInDatabase, UnknownKeyword
from dbdicom_xr.testing import make_dce, make_series, make_study
from dbdicom_xr.testing.index import make_index
from dbdicom_xr.xarray_plugin import waiting
from dbdicom_xr.xarray_plugin.datasets import series_dataset
from dbdicom_xr.xarray_plugin.engine import DicomBackendEntrypoint
from tests.data import testdata_folder


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> db.Database:
    folder = tmp_path_factory.mktemp("tree")
    make_study(folder)
    return db.database(folder)


@pytest.fixture
def no_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pixels are read")

    monkeypatch.setattr(FrameReader, "_read", read)


def nodes(record: Any) -> list[Any]:
    """Return a record and those below it, down to the series."""
    below = [] if record.level == "series" else record.children()
    return [record, *(other for child in below for other in nodes(child))]


def paths(tree: xr.DataTree) -> list[str]:
    return sorted(node.path for node in tree.subtree)


def test_it_has_a_node_for_each_record(database):
    tree = database.to_datatree()
    assert isinstance(tree, xr.DataTree)
    assert paths(tree) == sorted(record.path for record in nodes(database))
    for record in nodes(database):
        assert tree[record.path].dicom.record == record
        assert tree[record.path].dicom.database == database


@pytest.mark.parametrize("level", ["patients", "studies", "series"])
def test_it_begins_at_any_level(database, level):
    record = getattr(database, level)()[0]
    tree = record.to_datatree()
    assert tree.name == record.name
    assert {node.dicom.record for node in tree.subtree} == set(nodes(record))


def test_leaves_hold_what_series_array_gives(database):
    tree = database.to_datatree()
    for series in database.series():
        leaf = tree[series.path]
        if not series.Rows:
            assert not leaf.data_vars
            assert leaf.attrs["Modality"] == series.Modality.item()
            assert "why_no_pixels" not in leaf.attrs
            continue
        expected = series_dataset(series)
        xr.testing.assert_identical(leaf.pixels.load(), expected.pixels.load())
        assert leaf.dicom.header.shape == series.array()[1].shape
        assert leaf.dicom.series == series


def test_attributes_stand_on_their_level(database):
    tree = database.to_datatree()
    for patient in database.patients():
        assert tree[patient.path].attrs["PatientID"] == patient.PatientID.item()
        assert tree[patient.path].attrs["PatientName"] == patient.PatientName.item()
        for study in patient.studies():
            attributes = tree[study.path].attrs
            assert attributes["StudyInstanceUID"] == study.StudyInstanceUID.item()
            assert "PatientID" not in attributes
            for series in study.series():
                attributes = tree[series.path].attrs
                assert not {"PatientID", "PatientName", "StudyInstanceUID"} & set(attributes)
                assert attributes["SeriesInstanceUID"] == series.SeriesInstanceUID.item()


def test_what_differs_within_a_level_stays_below(tmp_path):
    make_series(tmp_path / "a", header=lambda d, i: setattr(d, "PatientComments", "first"))
    make_series(tmp_path / "b", seed=1, header=lambda d, i: setattr(d, "PatientComments", "second"))
    database = db.database(tmp_path)
    assert len(database.patients()) == 1
    tree = database.to_datatree()
    assert "PatientComments" not in tree[database.patients()[0].path].attrs
    found = {leaf.attrs["PatientComments"] for leaf in tree.leaves}
    assert found == {"first", "second"}
    (one,) = (s for s in database.series() if s.PatientComments == ["first"])
    own = one.to_datatree()
    assert own.attrs["PatientComments"] == "first"


def test_nothing_is_read_to_show_it(database, no_reads):
    tree = database.to_datatree()
    assert database.patients()[0].name in repr(tree)
    assert "pixels" in tree._repr_html_()
    tree = xr.open_datatree(database.path_on_disk, engine="dicom")
    repr(tree)
    tree._repr_html_()


def test_nothing_is_looked_up_before_a_node_is(database, monkeypatch):
    from dbdicom_xr.xarray_plugin import datatree

    looked: list[Any] = []
    real = datatree.Making._series
    monkeypatch.setattr(
        datatree.Making, "_series", lambda self, s: looked.append(s) or real(self, s)
    )
    tree = database.to_datatree()
    assert len(tree.leaves) == len(database.series())
    assert not looked
    first = database.series()[0]
    repr(tree[first.path].dataset)
    repr(tree[first.path].dataset)
    assert looked == [first]


# -- sortby --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> db.Database:
    folder = tmp_path_factory.mktemp("mixed")
    make_dce(folder / "dce")

    made = make_series(
        folder / "sizes", seed=5, header=lambda d, i: setattr(d, "SeriesDescription", "Sizes")
    )
    smaller = pydicom.dcmread(made.files[1])
    smaller.PixelData = smaller.pixel_array[:4].tobytes()
    smaller.Rows = 4
    smaller.save_as(made.files[1])
    return db.database(folder)


DCE = ["SliceLocation", "TemporalPositionIdentifier"]


def of(database: db.Database, description: str) -> Any:
    return database.series(SeriesDescription=description)[0]


@pytest.mark.parametrize(
    "key",
    [
        lambda s: s,
        lambda s: s.path,
        lambda s: s.path[1:],
        lambda s: s.SeriesInstanceUID.item(),
        lambda s: "D?E*",
        lambda s: (("SeriesDescription", "DCE"), ("Modality", "MR")),
    ],
)
def test_sortby_by_series(mixed, key):
    dce = of(mixed, "DCE")
    tree = mixed.to_datatree({key(dce): DCE})
    assert tree[dce.path].pixels.dims == (*DCE, "n", "x", "y")
    assert of(mixed, "Sizes").path in [node.path for node in tree.subtree]


def test_sortby_auto_and_names(mixed):
    dce = of(mixed, "DCE")
    automatic = mixed.to_datatree("auto")[dce.path]
    assert automatic.pixels.dims == dce.array("auto")[0].dims
    assert mixed.to_datatree(DCE)[dce.path].pixels.dims == (*DCE, "n", "x", "y")
    assert mixed.to_datatree()[dce.path].pixels.dims == ("n", "x", "y")


def test_auto_without_a_grid_says_so(tmp_path):
    make_series(
        tmp_path,
        keys={"SliceLocation": [0.0, 5.0], "EchoTime": [1.0, 2.0]},
        drop=[3],
    )
    database = db.database(tmp_path)
    leaf = database.to_datatree("auto").leaves[0]
    if leaf.pixels.dims == ("n", "x", "y"):
        assert "full grid" in leaf.attrs["why_not_sorted"]
        assert leaf.pixels.sizes["n"] == 3


def test_a_series_of_several_sizes_breaks_nothing(mixed):
    tree = mixed.to_datatree("SliceLocation")
    broken = tree[of(mixed, "Sizes").path]
    assert "Rows" in broken.attrs["why_no_pixels"]
    assert broken.attrs["SeriesDescription"] == "Sizes"
    assert not broken.data_vars
    assert broken.dicom.record == of(mixed, "Sizes")
    assert tree[of(mixed, "DCE").path].pixels.sizes["SliceLocation"] == 3


@pytest.mark.parametrize(
    ("sortby", "error"),
    [
        ("EcoTime", UnknownKeyword),
        ({"DCE": "EcoTime"}, UnknownKeyword),
        ({"DEC": "EchoTime"}, InvalidValue),
        ({3: "EchoTime"}, InvalidValue),
    ],
)
def test_a_wrong_sortby(mixed, sortby, error):
    with pytest.raises(error):
        mixed.to_datatree(sortby)


@pytest.mark.parametrize(
    "options", [{"align": "neatly"}, {"padding": 0}, {"rescale": 2}, {"fill_value": "a"}]
)
def test_wrong_options(mixed, options):
    with pytest.raises(InvalidValue):
        mixed.to_datatree(**options)


def test_chunks_and_dropped_variables(mixed):
    dce = of(mixed, "DCE")
    leaf = mixed.to_datatree(DCE, chunks={"SliceLocation": 1}, drop_variables="frame")[dce.path]
    assert leaf.pixels.chunks[0] == (1, 1, 1)
    assert "frame" not in leaf.coords
    assert mixed.to_datatree(DCE, chunks=None)[dce.path].pixels.chunks is None


# -- as a DataTree -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.copy(),
        lambda tree: tree.copy(deep=True),
        lambda tree: pickle.loads(pickle.dumps(tree)),
        lambda tree: tree.filter(lambda node: "MR" in str(node.attrs.get("Modality", "MR"))),
        lambda tree: tree.map_over_datasets(lambda dataset: dataset),
        lambda tree: xr.DataTree.from_dict(tree.to_dict()),
    ],
)
def test_trees_made_of_it(mixed, change):
    tree = change(mixed.to_datatree(DCE))
    dce = of(mixed, "DCE")
    assert tree[dce.path].dicom.record == dce
    assert tree[dce.path].dicom.header.shape == (3, 10, 1)
    np.testing.assert_array_equal(tree[dce.path].pixels, dce.array(DCE)[0])


def test_a_part_that_was_taken_out(mixed):
    dce = of(mixed, "DCE")
    leaf = mixed.to_datatree(DCE)[dce.path].copy()
    assert leaf.parent is None
    assert leaf.dicom.record == dce
    leaf.orphan()
    assert leaf.dicom.series == dce


def test_selection_over_the_tree(mixed):
    tree = of(mixed, "DCE").to_datatree(DCE)
    part = tree.isel(SliceLocation=1)
    assert part.dicom.header.shape == (10, 1)
    study = of(mixed, "DCE").parent.to_datatree(DCE)
    assert study.isel(x=0, missing_dims="ignore").children


def test_a_tree_can_be_changed(mixed):
    tree = mixed.to_datatree(DCE)
    tree["results"] = xr.DataTree(xr.Dataset({"a": 1}))
    tree.attrs["note"] = "mine"
    assert tree.attrs["note"] == "mine"
    assert int(tree["results/a"]) == 1
    with pytest.raises(NotInDatabase, match="names no record"):
        tree["results"].dicom.record  # noqa: B018


def test_a_record_that_was_renamed_is_found(tmp_path):
    make_dce(tmp_path)
    database = db.database(tmp_path)
    tree = database.to_datatree()
    leaf = tree.leaves[0]
    assert leaf.attrs
    series = database.series()[0]
    series.SeriesDescription = "Another name"
    assert leaf.dicom.record == series
    series.remove()
    with pytest.raises(NotInDatabase):
        leaf.dicom.record  # noqa: B018
    database.close(save=False)


def test_a_tree_of_nothing(tmp_path):
    database = db.database(tmp_path)
    tree = database.to_datatree()
    assert not tree.children
    assert tree.dicom.record == database


# -- the engine ----------------------------------------------------------------------------------


def test_open_datatree(mixed):
    opened = xr.open_datatree(mixed.path_on_disk, engine="dicom", sortby={"DCE": DCE}, chunks={})
    made = mixed.to_datatree({"DCE": DCE})
    xr.testing.assert_identical(opened.load(), made.load())
    assert opened.name == mixed.name
    assert xr.open_datatree(mixed, engine="dicom").dicom.record == mixed


def waits(node: xr.DataTree) -> bool:
    return isinstance(node, waiting._Waiting)


def test_an_opened_tree_waits_as_well(mixed):
    tree = xr.open_datatree(mixed.path_on_disk, engine="dicom", sortby={"DCE": DCE})
    # The root tells xarray where it comes from.
    assert [node.path for node in tree.subtree if not waits(node)] == ["/"]
    assert tree.encoding["source"] == str(mixed.path_on_disk)
    leaf = tree[of(mixed, "DCE").path]
    expected = series_dataset(of(mixed, "DCE"), DCE, chunks=None)
    assert leaf.pixels.dims == expected.pixels.dims
    assert sorted(leaf.xindexes) == sorted(expected.xindexes)
    np.testing.assert_array_equal(leaf.pixels, expected.pixels)
    assert [node for node in tree.leaves if not waits(node)] == [leaf]
    tree.close()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_what_is_read_of_an_opened_tree_is_kept_where_that_is_wanted(mixed, cache, indexes):
    tree = xr.open_datatree(
        mixed.path_on_disk, engine="dicom", cache=cache, create_default_indexes=indexes
    )
    leaf = tree[of(mixed, "DCE").path]
    pixels = leaf.dataset.pixels.variable
    pixels.values  # noqa: B018
    assert pixels._in_memory is cache


@pytest.mark.parametrize("chunks", [None, {}])
def test_an_opened_tree_is_right_whatever_xarray_calls(mixed, monkeypatch, chunks):
    expected = xr.open_datatree(mixed.path_on_disk, engine="dicom").load()
    protect, index = api._protect_datatree_variables_inplace, api._maybe_create_default_indexes
    monkeypatch.setattr(api, "_protect_datatree_variables_inplace", lambda *args: protect(*args))
    monkeypatch.setattr(api, "_maybe_create_default_indexes", lambda ds: index(ds))
    opened = xr.open_datatree(mixed.path_on_disk, engine="dicom", chunks=chunks)
    xr.testing.assert_identical(opened.load(), expected)
    monkeypatch.setattr(waiting, "_SLOTS", None)
    xr.testing.assert_identical(
        xr.open_datatree(mixed.path_on_disk, engine="dicom", chunks=chunks).load(), expected
    )


def test_an_engines_tree_is_a_tree_like_others(mixed):
    made = mixed.to_datatree(chunks=None)
    opened = DicomBackendEntrypoint().open_datatree(mixed)
    assert paths(opened) == paths(made)
    doubled = [tree.map_over_datasets(lambda dataset: 2 * dataset) for tree in (opened, made)]
    xr.testing.assert_equal(doubled[0].load(), doubled[1].load())
    xr.testing.assert_identical(pickle.loads(pickle.dumps(opened)).load(), made.load())


def test_open_groups(mixed):
    groups = xr.open_groups(mixed.path_on_disk, engine="dicom")
    assert sorted(groups) == sorted(record.path for record in nodes(mixed))
    assert groups[of(mixed, "DCE").path].pixels.dims == ("n", "x", "y")


# -- .dicom of a Dataset --------------------------------------------------------------------------


def test_dataset_accessor(mixed):
    series = of(mixed, "DCE")
    dataset = series_dataset(series, DCE)
    array = dataset.pixels
    assert (dataset.dicom.header == array.dicom.header).all()
    np.testing.assert_array_equal(dataset.dicom.affine, array.dicom.affine)
    assert "write" in dir(dataset.dicom)
    placed = dataset.dicom.assign_affine()
    assert {"X", "Y", "Z"} <= set(placed.coords)
    assert placed.attrs == dataset.attrs
    new = dataset.max("TemporalPositionIdentifier", keep_attrs=True).dicom.write(
        series.new_sibling(SeriesDescription="Peak")
    )
    assert new.array("SliceLocation")[0].max() == array.max()
    mixed.restore()


def in_forms(mixed: db.Database) -> list[Any]:
    """Return the images of one series in a Dataset and in a node of a tree."""
    series = of(mixed, "DCE")
    return [series_dataset(series, DCE), mixed.to_datatree({"DCE": DCE})[series.path]]


@pytest.mark.parametrize("form", [0, 1], ids=["Dataset", "node"])
def test_align_of_a_dataset(mixed, form):
    images = in_forms(mixed)[form]
    array = of(mixed, "DCE").array(DCE)[0]
    fewer = array[1:].assign_coords(SliceLocation=array.SliceLocation[1:] + 1e-5)
    expected = array.dicom.align(fewer)
    first, second = images.dicom.align(fewer)
    assert isinstance(first, xr.Dataset)
    assert isinstance(second, xr.DataArray)
    xr.testing.assert_equal(first.pixels, expected[0])
    xr.testing.assert_equal(second, expected[1])
    assert first.attrs == images.attrs
    assert (first.dicom.header == array.dicom.header[1:]).all()
    for other in (fewer.to_dataset(name="late"), xr.DataTree(fewer.to_dataset(name="late"))):
        both = images.dicom.align(other, "outer")
        assert both[0].sizes == images.sizes
        assert both[1].late.isnull().sum() == array[0].size


def test_align_of_a_dataset_with_more(mixed):
    dataset = in_forms(mixed)[0]
    other = dataset.isel(SliceLocation=[0])
    weighted = dataset.assign(weight=("SliceLocation", np.arange(dataset.sizes["SliceLocation"])))
    for pair in ((weighted, other), (other, weighted)):
        with pytest.raises(InvalidValue, match="'weight' would not fit the images any more"):
            pair[0].dicom.align(pair[1])
    assert dataset.assign(dose=3).dicom.align(other)[0].dose == 3
    with pytest.raises(InvalidValue, match="other is int"):
        dataset.dicom.align(1)


@pytest.mark.parametrize("form", [0, 1], ids=["Dataset", "node"])
def test_coarsen_and_cache_of_a_dataset(mixed, form, tmp_path):
    images = in_forms(mixed)[form]
    array = of(mixed, "DCE").array(DCE)[0]
    coarser = images.dicom.coarsen(TemporalPositionIdentifier=2, boundary="trim").mean()
    expected = array.dicom.coarsen(TemporalPositionIdentifier=2, boundary="trim").mean()
    xr.testing.assert_equal(coarser.pixels, expected)
    assert coarser.dicom.header[0, 0, 0].sources == expected.dicom.header[0, 0, 0].sources
    cached = images.dicom.cache(tmp_path)
    assert list(tmp_path.iterdir())
    assert isinstance(cached, xr.Dataset)
    xr.testing.assert_equal(cached.pixels, array)
    assert cached.attrs == images.attrs
    assert (cached.dicom.header == array.dicom.header).all()


def test_which_variable(mixed):
    dataset = series_dataset(of(mixed, "DCE"), DCE)
    with pytest.raises(InvalidValue, match="several variables of images, 'pixels', 'twice'"):
        dataset.assign(twice=2 * dataset.pixels).dicom.header  # noqa: B018
    with pytest.raises(InvalidValue, match="holds no images"):
        xr.Dataset({"a": 1}).dicom.header  # noqa: B018
    with pytest.raises(AttributeError):
        dataset.dicom.no_such_thing  # noqa: B018


# -- many ----------------------------------------------------------------------------------------


def test_2000_series_in_under_3_seconds(tmp_path):
    index = make_index(tmp_path / "index.sqlite", instances=4000, series=2000)
    (tmp_path / "folder").mkdir()
    database = db.database(tmp_path / "folder", index=index, refresh=False)
    start = time.perf_counter()
    tree = database.to_datatree()
    assert len(tree.leaves) == 2000
    repr(tree)
    took = time.perf_counter() - start
    assert took < 3
    start = time.perf_counter()
    opened = xr.open_datatree(database.path_on_disk, engine="dicom", index=index, refresh=False)
    assert len(opened.leaves) == 2000
    took = time.perf_counter() - start
    assert took < 3
    assert sum(map(waits, opened.leaves)) == 2000


# -- other versions of xarray --------------------------------------------------------------------


class _Richer(xr.DataTree):
    __slots__ = ("_more",)


class _Open(xr.DataTree):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "more", 1)


class _Poorer:
    """A tree that keeps all in a dict."""


@pytest.mark.parametrize("kind", [_Richer, _Open, _Poorer])
def test_a_datatree_made_of_other_things_is_filled_at_once(kind, monkeypatch):
    assert waiting._slots_of(xr.DataTree) is not None
    monkeypatch.setattr(xr, "DataTree", kind)
    # As it is imported with that version.
    found = runpy.run_path(waiting.__file__)
    assert found["_SLOTS"] is None


def test_trees_without_nodes_that_wait(mixed, monkeypatch):
    expected = mixed.to_datatree({"DCE": DCE}).load()
    monkeypatch.setattr(waiting, "_SLOTS", None)
    tree = mixed.to_datatree({"DCE": DCE})
    assert {type(node) for node in tree.subtree} == {xr.DataTree}
    xr.testing.assert_identical(tree.load(), expected)
    assert tree.name == expected.name
    assert tree[of(mixed, "DCE").path].dicom.record == of(mixed, "DCE")


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
@pytest.mark.parametrize("part", ["nih", "dcmqi", "xa30", "dicom2nifti", "rt-utils", "highdicom"])
def test_real_folders(part, tmp_path, no_reads):
    root = testdata_folder()
    if root is None or not (root / part).is_dir():
        pytest.skip("the public scanner files are not here")
    database = db.database(root / part, index=Path(tmp_path) / "index.sqlite")
    tree = database.to_datatree("auto")
    assert paths(tree) == sorted(record.path for record in nodes(database))
    for series in database.series():
        leaf = tree[series.path]
        images = any(i.Rows for i in series.instances())
        assert ("pixels" in leaf.data_vars or "why_no_pixels" in leaf.attrs) == images
        assert leaf.dicom.record == series
        repr(leaf)
