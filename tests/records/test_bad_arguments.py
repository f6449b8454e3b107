"""Arguments that cannot be used: an error of the package in plain words, and nothing half done."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, InvalidValue, MissingFolder, NotAFolder, SaveFailed
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_series
from dbdicom_xr.wrappers import scipy

EXPORTS = (
    "export_as_dicom", "export_as_npy", "export_as_png", "export_as_csv", "export_as_nifti",
)  # fmt: skip
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")


def fails(*arguments: Any) -> Any:
    raise KeyError("of the user")


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if ".dbdicom_xr" not in path.parts}


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    make_series(tmp_path / "a")
    make_series(tmp_path / "b", seed=1)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    database = db.database(tmp_path / "a")
    database.mute()
    (found,) = database.series()
    return found


def refused(action: Callable[[], Any], series: Any, folder: Path) -> str:
    """Return in which words something is refused, which changes nothing."""
    before = everything(folder)
    changes = len(series.database.changes())
    with pytest.raises(DbdicomError) as raised:
        action()
    assert everything(folder) == before
    assert len(series.database.changes()) == changes
    text = str(raised.value)
    assert len(text) > 20
    assert "Errno" not in text
    return f"{type(raised.value).__name__}: {text}"


# -- paths ---------------------------------------------------------------------------------------

PATHS: dict[str, tuple[Any, type[DbdicomError]]] = {
    "number": (5, InvalidValue),
    "fraction": (5.5, InvalidValue),
    "None": (None, InvalidValue),
    "yes": (True, InvalidValue),
    "list": (["a"], InvalidValue),
    "array": (np.array([1]), InvalidValue),
    "any object": (object(), InvalidValue),
    "nothing": ("", InvalidValue),
    "no bytes": (b"", InvalidValue),
    "NUL": ("a\0b", InvalidValue),
    "no letters": ("\ud800", InvalidValue),
    "long name": ("x" * 300, SaveFailed),
    "long path": ("x/" * 2500 + "x", SaveFailed),
    "a file": ("../file", NotAFolder),
    "below a file": ("../file/x/y", NotAFolder),
    "a device": (os.devnull, NotAFolder),
    "in /proc": ("/proc/nothing", SaveFailed),
    "/proc": ("/proc", SaveFailed),
}


@LINUX
@pytest.mark.parametrize("method", EXPORTS)
def test_paths_of_exports(method: str, series: Any, tmp_path: Path) -> None:
    for name, (given, kind) in PATHS.items():
        export = getattr(series, method)
        text = refused(lambda export=export, given=given: export(given), series, tmp_path)
        kinds = [kind.__name__]
        if method == "export_as_dicom":  # which finds out before anything is made
            kinds.append("MissingFolder")
        assert text.split(":")[0] in kinds, name
        assert len(text) < 500, name


@pytest.mark.parametrize("method", EXPORTS)
def test_a_folder_that_may_not_be_written_to(
    method: str, series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def mkdir(path: Any, *arguments: Any) -> None:
        if "kept" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *arguments)

    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(os, "mkdir", mkdir)
    for path in (tmp_path / "kept", tmp_path / "kept" / "new"):
        text = refused(lambda path=path: getattr(series, method)(path), series, tmp_path)
        assert "Permission denied" in text
        assert "othing was written" in text


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
@pytest.mark.parametrize("method", EXPORTS)
def test_what_stands_in_the_place_of_a_file(
    method: str, kind: str, series: Any, tmp_path: Path
) -> None:
    paths = getattr(series, method)(tmp_path / "out")
    for path in paths:
        os.unlink(path)
        if kind == "folder":
            os.mkdir(path)
        elif kind == "link":
            os.symlink(tmp_path / "file", path)
        else:
            os.mkfifo(path)
    export = getattr(series, method)
    text = refused(lambda: export(tmp_path / "out", overwrite=True), series, tmp_path)
    assert "is a folder or a link, where a file is to be written" in text
    assert (tmp_path / "file").read_text() == "a file"


def test_the_home_folder_is_known(
    series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for method in EXPORTS:
        getattr(series, method)(f"~/{method}")
        assert any((tmp_path / "home" / method).rglob("*.*"))


# -- options -------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    *(
        (method, {"overwrite": "no"}, "overwrite is 'no'; it is True or False")
        for method in EXPORTS
    ),
    ("export_as_npy", {"identify": 1}, "identify is 1"),
    ("export_as_csv", {"identify": None}, "identify is None"),
    ("export_as_nifti", {"sidecar": "no"}, "sidecar is 'no'"),
    ("export_as_nifti", {"philips": []}, "philips is"),
    ("export_as_npy", {"sortby": 5}, "5 is no tag"),
    ("export_as_npy", {"sortby": [None]}, "None does not name an attribute"),
    ("export_as_npy", {"sortby": "Banana"}, "Banana"),
    ("export_as_npy", {"align": "banana"}, "align must be"),
    ("export_as_npy", {"rescale": "banana"}, "banana"),
    ("export_as_png", {"window": "wide"}, "window is 'wide'"),
    ("export_as_png", {"window": (True, True)}, "window is"),
    ("export_as_png", {"window": (1, 0)}, "above 0"),
    ("export_as_png", {"window": (np.nan, 1)}, "two numbers"),
    ("export_as_png", {"colormap": "virids"}, "'viridis'"),
    ("export_as_png", {"colormap": 5}, "5 is not a colour map"),
    ("export_as_png", {"bits": "8"}, "bits is '8'"),
    ("export_as_dicom", {"dicomdir": "yes"}, "dicomdir is 'yes'"),
    ("export_as_dicom", {"deidentify": "yes"}, "deidentify is 'yes'"),
    ("export_as_dicom", {"secret": "a long one"}, "belong to deidentify=True"),
]
WITHOUT_IDENTITY: list[tuple[dict[str, Any], str]] = [
    ({"retain_device": "no"}, "retain_device is 'no'"),
    ({"retain_dates": True}, "retain_dates is True"),
    ({"PatientID": 5}, "PatientID is 5"),
    ({"PatientID": ["x"]}, "PatientID is"),
    ({"PatientID": "Müller"}, "1 to 64 ASCII characters"),
    ({"PatientID": {}}, "tells no new ID for the patient"),
    ({"PatientID": fails}, r"fails\(\) \(test_bad_arguments.py, line \d+\) failed with KeyError"),
    ({"PatientID": lambda old: 5}, "become 5 by <lambda>"),
    ({"secret": "short"}, "at least 8 characters"),
    ({"mapping": []}, "mapping is a dict"),
    ({"clean_descriptors": 5}, "function of keyword and text"),
    ({"clean_descriptors": fails}, r"cleaned: fails\(\) .* failed with KeyError: 'of the user'"),
    ({"clean_descriptors": lambda keyword: "x"}, "takes 1 positional argument"),
    ({"clean_descriptors": lambda keyword, text: 5}, r"<lambda>\(\) .* returned, 5: LO is text"),
    ({"clean_descriptors": lambda keyword, text: b"x"}, "LO is text, this is bytes"),
    ({"clean_descriptors": lambda keyword, text: "x" * 65}, "LO holds at most 64"),
    ({"clean_descriptors": lambda keyword, text: "a\0"}, "no control characters"),
    ({"clean_descriptors": lambda keyword, text: r"a\b"}, "a backslash separates values"),
    ({"clean_descriptors": lambda keyword, text: "\ud800"}, "no control characters"),
]


@pytest.mark.parametrize(("method", "options", "words"), OPTIONS)
def test_options_of_exports(
    method: str, options: dict[str, Any], words: str, series: Any, tmp_path: Path
) -> None:
    export = getattr(series, method)
    assert words in refused(lambda: export(tmp_path / "out", **options), series, tmp_path)


@pytest.mark.parametrize(("options", "words"), WITHOUT_IDENTITY)
def test_options_of_exports_without_identity(
    options: dict[str, Any], words: str, series: Any, tmp_path: Path
) -> None:
    def export() -> None:
        series.export_as_dicom(tmp_path / "out", deidentify=True, **options)

    with pytest.raises(InvalidValue, match=words):
        export()
    refused(export, series, tmp_path)


def test_text_that_a_function_leaves_alone_is_not_judged(tmp_path: Path) -> None:
    def header(dataset: Any, index: int) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.StudyDescription = "Schädel"
        dataset.SeriesDescription = "Bauch von Doe"

    make_series(tmp_path / "in", header=header)
    database = db.database(tmp_path / "in")
    files = database.export_as_dicom(
        tmp_path / "out",
        deidentify=True,
        clean_descriptors=lambda keyword, text: text.replace(" von Doe", "ü"),
    )
    with db.database(tmp_path / "out") as written:
        assert written.StudyDescription == ["Schädel"]
        assert written.SeriesDescription == ["Bauchü"]
    assert len(files) == 3
    with pytest.raises(InvalidValue, match=r"StudyDescription cannot become.*日本"):
        database.export_as_dicom(
            tmp_path / "no", deidentify=True, clean_descriptors=lambda keyword, text: "日本"
        )
    assert not (tmp_path / "no").exists()


# -- imports -------------------------------------------------------------------------------------


NO_PATHS: list[Any] = [
    5, 5.5, None, True, object(), [], (), {}, [5], [None], np.array([1]), iter([]), "", "a\0b",
    "x" * 300, "nothing", "*.nothing", [["a"]], "\ud800", "/proc/nothing",
]  # fmt: skip


@pytest.mark.parametrize("method", ["import_dicom", "import_nifti"])
def test_paths_of_imports(method: str, series: Any, tmp_path: Path) -> None:
    for path in NO_PATHS:
        load = getattr(series.database, method)
        refused(lambda load=load, path=path: load(path), series, tmp_path)


# -- maps ----------------------------------------------------------------------------------------

NO_TARGETS = [
    5, None, "x", [], {}, object(), b"x", np.zeros((3, 3)), db.Series, lambda: 1, db.database,
]  # fmt: skip


@pytest.mark.parametrize("method", ["map_to", "map_mask_to"])
def test_targets(method: str, series: Any, tmp_path: Path) -> None:
    wrapper = getattr(scipy, method)
    for target in NO_TARGETS:
        for map_to in (getattr(series, method), partial(wrapper, series)):
            assert "target is" in refused(partial(map_to, target), series, tmp_path)
        text = refused(partial(wrapper, target, series), series, tmp_path)
        assert "What is mapped is a series" in text


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("map_to", {"dtype": "banana"}, "dtype is 'banana'"),
        ("map_to", {"dtype": 5}, "dtype is 5"),
        ("map_to", {"dtype": "int16"}, "dtype is 'int16'"),
        ("map_to", {"order": [1]}, "order is [1]"),
        ("map_to", {"order": 2}, "order is 2"),
        ("map_to", {"order": True}, "order is True"),
        ("map_to", {"order": "linear"}, "order is 'linear'"),
        ("map_to", {"stack": "x"}, "stack is 'x'"),
        ("map_to", {"stack": 1}, "stack is 1"),
        ("map_to", {"Banana": 1}, "Banana"),
        ("map_to", {"FlipAngle": "banana"}, "FlipAngle"),
        ("map_to", {"Rows": 5}, "Rows: told by the target"),
        ("map_mask_to", {"PixelSpacing": [1, 1]}, "PixelSpacing: told by the target"),
        ("map_mask_to", {"threshold": 2}, "threshold is 2"),
        ("map_mask_to", {"threshold": "half"}, "threshold is 'half'"),
        ("map_mask_to", {"threshold": float("nan")}, "threshold is nan"),
        ("map_mask_to", {"threshold": [1]}, "threshold is [1]"),
    ],
)
def test_options_of_maps(
    method: str, options: dict[str, Any], words: str, series: Any, tmp_path: Path
) -> None:
    target = series.instances()[0]
    text = refused(lambda: getattr(series, method)(target, **options), series, tmp_path)
    assert words in text
    assert len(series.database.series()) == 1


# -- attributes ----------------------------------------------------------------------------------

NO_VALUES: dict[str, list[Any]] = {
    "window": [5, "x", (1,), (1, 2, 3), ("a", "b"), (1, 0), (1, -5), (np.nan, 1), (True, False)],
    "colormap": [5, "banana", [], b"x", object(), lambda: 1],
    "lut": [5, "x", [], np.zeros((3, 3)), [[1, 2], [3]], [[300, 0, 70000]]],
    "affine": [5, "x", np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), [[1, 2], [3]]],
    "signal_type": [5, [], object(), b"x", "a\\b", "x" * 17],
    "image_type": [5, [], object(), b"x"],
    "b_value": ["x", -1, [], object(), np.nan, [1, 2]],
    "gradient_direction": [5, "x", [1, 2], [0, 0, 0], [np.nan, 0, 1]],
    "echo": ["x", -1, [], object(), 1.5],
}


@pytest.mark.parametrize("name", NO_VALUES)
def test_values_of_attributes(name: str, series: Any, tmp_path: Path) -> None:
    for record in (series.database, series, series.instances()[0]):
        for value in NO_VALUES[name]:
            refused(
                lambda record=record, value=value: setattr(record, name, value), series, tmp_path
            )


def test_what_a_series_is_made_with_is_no_filter(series: Any, tmp_path: Path) -> None:
    for options in ({"affine": np.eye(4)}, {"dtype": "mri"}, {"spacing": (1, 1, 1)}):
        text = refused(lambda options=options: series.parent.series(**options), series, tmp_path)
        assert "for a series that is made" in text


NO_FUNCTIONS: list[tuple[dict[str, Any], str]] = [
    ({"name": 5, "get": len}, "its name is a text"),
    ({"name": "own", "get": 5}, "get of 'own' is 5"),
    ({"name": "own", "get": len, "set": 5}, "set of 'own' is 5"),
    ({"name": "own", "get": len, "depends": "EchoTime"}, "depends of 'own'"),
    ({"name": "own", "get": len, "depends": 5}, "depends of 'own'"),
    ({"name": "own", "get": len, "depends": ["EcoTime"]}, "EchoTime"),
    ({"name": "Own", "get": len}, "lower-case"),
    ({"name": "series", "get": len}, "use it for themselves"),
]


@pytest.mark.parametrize(("options", "words"), NO_FUNCTIONS)
def test_attributes_that_cannot_be_registered(
    options: dict[str, Any], words: str, series: Any, tmp_path: Path
) -> None:
    assert words in refused(lambda: db.register_attribute(**options), series, tmp_path)


@pytest.mark.parametrize("depends", [None, ["EchoTime"]])
@pytest.mark.parametrize(
    ("get", "words"),
    [
        (fails, "fails() (test_bad_arguments.py, line"),
        (fails, "failed with KeyError: 'of the user'"),
        (lambda value: object(), "returned <object"),
        (lambda value: {"a": 1}, "returned {'a': 1}"),
        (lambda value: (x for x in "ab"), "returned <generator"),
        (lambda value: [[1], [2]], "returned [[1], [2]]"),
        (lambda value: 10**400, "returned 1000"),
        (lambda value: int, "returned <class 'int'>"),
        (lambda: 1, "takes 0 positional arguments"),
    ],
)
def test_functions_of_attributes(
    get: Any, words: str, depends: Any, series: Any, tmp_path: Path
) -> None:
    db.register_attribute("nonsense", get, depends)
    for use in (
        lambda: series.nonsense,
        lambda: series.instances()[0].nonsense,
        lambda: series.instances(nonsense=1),
        lambda: series.array("nonsense"),
        lambda: series.to_dataframe("nonsense"),
        lambda: series.array()[1].nonsense,
    ):
        text = refused(use, series, tmp_path)
        assert "'nonsense' cannot be worked out" in text
        assert words in text


# -- arrays that were exported -------------------------------------------------------------------


@pytest.fixture
def exported(series: Any, tmp_path: Path) -> Path:
    (file,) = series.export_as_npy(tmp_path / "out", "SliceLocation")
    return Path(file)


def changed(path: Path, **content: Any) -> None:
    beside = Path(f"{path}.json")
    known = json.loads(beside.read_text())
    known.update(content)
    beside.write_text(json.dumps({name: v for name, v in known.items() if v is not ...}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda path: os.truncate(path, path.stat().st_size // 2), "cut off"),
    "cut off in its header": (lambda path: os.truncate(path, 20), "damaged, cut off"),
    "empty": (lambda path: os.truncate(path, 0), "damaged, cut off"),
    "no array": (lambda path: path.write_bytes(b"\0" * 1000), "damaged, cut off"),
    "text": (lambda path: path.write_text("hello"), "damaged, cut off"),
    "objects": (lambda path: np.save(path, np.array([{}])), "damaged, cut off"),
    "header that is none": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"'shape'", b"'shopa'", 1)),
        "damaged, cut off",
    ),
    "another": (lambda path: np.save(path, np.zeros((3, 1, 12, 16), "int8")), "one of them was"),
    "another shape": (lambda path: np.save(path, np.zeros(5, "uint16")), "one of them was"),
    "several": (
        lambda path: (np.savez(f"{path}.npz", a=1), os.replace(f"{path}.npz", path)),
        "several arrays",
    ),
    "gone": (lambda path: path.unlink(), "There is no file"),
    "header gone": (lambda path: Path(f"{path}.json").unlink(), "There is no file"),
    "header empty": (lambda path: Path(f"{path}.json").write_text(""), "no JSON"),
    "header cut off": (lambda path: os.truncate(Path(f"{path}.json"), 100), "no JSON"),
    "header of bytes": (
        lambda path: Path(f"{path}.json").write_bytes(b"\xff\xfe\0"), "no JSON",
    ),
    "header of others": (lambda path: Path(f"{path}.json").write_text("[1]"), "exported"),
    "header of BIDS": (lambda path: Path(f"{path}.json").write_text("{}"), "exported"),
    "header without dims": (lambda path: changed(path, dims=...), "lacks dims"),
    "header with other dims": (lambda path: changed(path, dims=["x"]), "damaged or changed"),
    "coordinates": (lambda path: changed(path, coords={"x": {}}), "damaged or changed"),
    "coordinates that are none": (lambda path: changed(path, coords=5), "damaged or changed"),
    "shape": (lambda path: changed(path, shape="x"), "one of them was"),
    "attrs": (lambda path: changed(path, attrs=5), "damaged or changed"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays(damage: str, exported: Path, series: Any, tmp_path: Path) -> None:
    change, words = DAMAGE[damage]
    change(exported)
    text = refused(lambda: db.load_npy(exported), series, tmp_path)
    assert words in text
    assert exported.stem in text
    assert "export" in text.lower()


@pytest.mark.parametrize("path", [5, None, "", "a\0b", "nothing.npy", ".", "x" * 300, b"x"])
def test_arrays_that_are_not_there(path: Any, exported: Path, series: Any, tmp_path: Path) -> None:
    refused(lambda: db.load_npy(path), series, tmp_path)


def test_an_array_without_its_ending(exported: Path) -> None:
    with pytest.raises(MissingFolder, match="give its whole name"):
        db.load_npy(exported.with_suffix(""))


# -- talking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (5, "5 is no field"),
        (None, "None is no field"),
        ("Size", "'Size' is no field"),
        ([], "is no field"),
        ({}, "needs a label"),
        ({"label": "a", "type": "colour"}, "unknown type 'colour'"),
        ({"label": "a", "type": "dropdownlist"}, "needs a list of choices"),
    ],
)
def test_fields(field: Any, words: str, series: Any, tmp_path: Path) -> None:
    with use_front_end(ScriptedFrontEnd([["1"]])):
        assert words in refused(lambda: series.dialog.input(field), series, tmp_path)


@pytest.mark.parametrize("answer", [5, None, [], "Perhaps"])
def test_answers(answer: Any, series: Any, tmp_path: Path) -> None:
    with use_front_end(ScriptedFrontEnd([answer])):
        text = refused(lambda: series.dialog.question("Go on?"), series, tmp_path)
    assert 'give "Yes" or "No"' in text


@LINUX
@pytest.mark.parametrize("path", [5, [], object(), "", "a\0b", "x" * 300, "/proc/nothing", "."])
def test_log_files(path: Any, series: Any, tmp_path: Path) -> None:
    refused(lambda: db.set_log_file(path), series, tmp_path)
