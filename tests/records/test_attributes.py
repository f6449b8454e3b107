"""Attributes: every way to name one, what type it has, and that no file is opened for it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import IS, DSdecimal, DSfloat, PersonName

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.records.attributes import lookup as attributes
from dbdicom_xr.records.record import Distinct
from dbdicom_xr.testing import MadeSeries, make_enhanced, make_series, make_study
from tests.data import testdata_folder
from tests.records.ordinary import run_python

CSA = "SIEMENS MR HEADER"
GE = "GEMS_PARM_01"


def _header(dataset: Dataset, index: tuple[int, ...]) -> None:
    i = index[0]
    for group in (0x0019, 0x0043, 0x0051):
        for element in dataset.group_dataset(group):
            del dataset[element.tag]
    # The second file has its blocks elsewhere.
    dataset.add_new((0x0019, 0x0010 if i != 1 else 0x0021), "LO", CSA)
    block = 0x1000 if i != 1 else 0x2100
    dataset.add_new((0x0019, block | 0x0C), "IS", 100 * i)
    dataset.add_new((0x0019, block | 0x0E), "FD", [0.1, 0.2, 0.3 + i])
    dataset.add_new((0x0019, block | 0x99), "UN", b"\1\2\3\4")
    dataset.add_new((0x0051, 0x0010), "LO", CSA)
    dataset.add_new((0x0051, 0x100C), "SH", "FoV 220*220")
    dataset.add_new((0x0051, 0x1013), "SH", "+LPH")
    if i == 1:
        dataset.add_new((0x0019, 0x0010), "LO", "SOMEONE ELSE")
        dataset.add_new((0x0019, 0x100C), "LO", "not a b-value")
    dataset.FlipAngle = "15.5"
    dataset.EchoTime = None
    dataset.EchoTrainLength = 8
    dataset.WindowCenter = [40, 80.5]
    dataset.WindowWidth = [400, 800]
    dataset.PatientName = "Doe^Jane=="
    dataset.OperatorsName = ["Roe^R", "Poe^P"]
    dataset.StudyDate = "20240229"
    dataset.StudyTime = "101112.5"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ImageComments = "two\r\nlines"
    dataset.SeriesDescription = ""
    dataset.PixelAspectRatio = ["1", "2"]
    dataset.FrameIncrementPointer = 0x00181063
    dataset.SelectorFDValue = 2.5
    item = Dataset()
    item.CodeValue, item.CodeMeaning = f"C{i}", "code"
    dataset.ProcedureCodeSequence = Sequence([item])
    dataset.ReferencedImageSequence = Sequence()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeSeries:
    folder = tmp_path_factory.mktemp("attributes")
    return make_series(folder, keys={"SliceLocation": [0.0, 5.0, 10.0]}, header=_header)


@pytest.fixture(scope="module")
def database(made: MadeSeries) -> db.Database:
    return db.database(made.folder)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Rows", [12, 12, 12]),
        ((0x0028, 0x0010), [12, 12, 12]),
        (0x00280010, [12, 12, 12]),
        (pydicom.tag.Tag("Rows"), [12, 12, 12]),
        ((np.uint16(0x28), np.uint16(0x10)), [12, 12, 12]),
        ("(0028,0010)", [12, 12, 12]),
        ("0028,0010", [12, 12, 12]),
        ("SliceLocation", [0.0, 5.0, 10.0]),
        # a tag by number means what stands there in each file
        ((0x0019, 0x100C), [0, "not a b-value", 200]),
        ("(0019,100c)", [0, "not a b-value", 200]),
        ((0x0019, 0x210C), [None, 100, None]),
        ((0x0019, 0x0010), [CSA, "SOMEONE ELSE", CSA]),
        # a creator with an element means the same attribute wherever its block is
        ((CSA, 0x0C), [0, 100, 200]),
        ((CSA, 0x100C), [0, 100, 200]),
        ((CSA, 0x0019100C), [0, 100, 200]),
        (("SOMEONE ELSE", 0x0C), [None, "not a b-value", None]),
        ((CSA, 0x0E), [[0.1, 0.2, 0.3], [0.1, 0.2, 1.3], [0.1, 0.2, 2.3]]),
        ((CSA, 0x99), [b"\1\2\3\4"] * 3),
        # never one of another group, which means something else
        ((CSA, 0x0051100C), ["FoV 220*220"] * 3),
        ((CSA, 0x13), [None] * 3),
        (("NOBODY", 0x0C), [None] * 3),
        # names of pydicom's private dictionary
        ("B_value", [0, 100, 200]),
        ("[B_value]", [0, 100, 200]),
        ("Contrast/Active Image Indicator", [None] * 3),
        # custom attributes
        ("image_type", ["MAGNITUDE"] * 3),
        ("window", [[40.0, 400.0]] * 3),
    ],
)
def test_names(database: db.Database, name: Any, values: list[Any]) -> None:
    instances = database.instances()
    assert [i[name] for i in instances] == values
    assert [i[[name]] for i in instances] == [[v] for v in values]
    assert [i[[name, "Rows", name]] for i in instances] == [[v, 12, v] for v in values]
    different = []
    for value in values:
        if value is not None and value not in different:
            different.append(value)
    for record in (database, *database.patients(), *database.studies(), *database.series()):
        distinct = record[name]
        assert isinstance(distinct, Distinct)
        assert isinstance(distinct, list)
        assert sorted(distinct, key=str) == sorted(different, key=str)
        assert record[[name]] == [distinct]
    if isinstance(name, str) and name.isidentifier():
        assert [getattr(i, name) for i in instances] == values
        assert getattr(database, name) == database[name]
        assert hasattr(database, name)


def test_private_element_that_may_be_several_is_refused(tmp_path: Path) -> None:
    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        for group in (0x0011, 0x0013):
            dataset.private_block(group, "ANON", create=True).add_new(0x08, "SH", hex(group))

    made = make_series(tmp_path, keys={"SliceLocation": [0.0]}, header=header)
    (instance,) = db.database(tmp_path).instances()
    with pytest.raises(errors.UnknownKeyword) as caught:
        instance["ANON", 0x08]
    assert "0x00111008" in str(caught.value)
    assert "0x00131008" in str(caught.value)
    assert instance["ANON", 0x00111008] == "0x11"
    assert instance["ANON", 0x00131008] == "0x13"
    assert instance[0x0011, 0x1008] == made.datasets[0][0x00111008].value


WRONG: list[tuple[Any, str]] = [
    ("FlipAngel", "FlipAngle"),
    ("flipangle", "FlipAngle"),
    ("Flip Angle", "FlipAngle"),
    ("PatientsName", "PatientName"),
    ("image_typ", "image_type"),
    ("Bvalue", ""),
    ("shape", ""),
    ("dtype", ""),
    ("__nothing__", ""),
    (0x10, ""),
    (0, ""),
    (-5, ""),
    (1 << 33, ""),
    (True, ""),
    (1.5, ""),
    ((0x0018,), ""),
    ((0x0018, "x"), ""),
    ((1, 2, 3), ""),
    (None, ""),
    (b"Rows", ""),
]


@pytest.mark.parametrize(("name", "suggested"), WRONG)
def test_what_is_no_attribute_raises_with_a_suggestion(
    database: db.Database, name: Any, suggested: str
) -> None:
    instance = database.instances()[0]
    for record in (database, database.series()[0], instance):
        with pytest.raises(errors.UnknownKeyword, match=r".{10}") as caught:
            record[name]
        assert suggested in str(caught.value)
        with pytest.raises(KeyError):
            record[[name]]
        if isinstance(name, str) and name.isidentifier():
            assert not hasattr(record, name)
            assert getattr(record, name, 5) == 5
            with pytest.raises(AttributeError):
                getattr(record, name)


def test_misspelt_keyword_raises_also_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownKeyword, match="FlipAngle"):
        db.database(tmp_path).FlipAngel  # noqa: B018


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("FlipAngle", 15.5),
        ("EchoTime", None),
        ("InversionTime", None),
        ("SeriesDescription", None),
        ("EchoTrainLength", 8),
        ("WindowCenter", [40.0, 80.5]),
        ("PatientName", "Doe^Jane"),
        ("OperatorsName", ["Roe^R", "Poe^P"]),
        ("StudyDate", "20240229"),
        ("StudyTime", "101112.5"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"]),
        ("ImageComments", "two\r\nlines"),
        ("PixelAspectRatio", [1, 2]),
        ("SelectorFDValue", 2.5),
        ("FrameIncrementPointer", 0x00181063),
        ("Rows", 12),
        ("TransferSyntaxUID", "1.2.840.10008.1.2.1"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
    ],
)
def test_types(database: db.Database, keyword: str, value: Any) -> None:
    for instance in database.instances():
        found = instance[keyword]
        assert found == value
        kinds = {type(v) for v in (found if isinstance(found, list) else [found])}
        wanted = {type(v) for v in (value if isinstance(value, list) else [value])}
        assert kinds == wanted, "plain types, not pydicom's"
    assert database[keyword] == ([] if value is None else [value])


def test_sequences_are_those_of_pydicom(database: db.Database) -> None:
    instances = database.instances()
    codes = [i.ProcedureCodeSequence for i in instances]
    assert all(isinstance(code, Sequence) for code in codes)
    assert [code[0].CodeValue for code in codes] == ["C0", "C1", "C2"]
    assert [code[0].CodeMeaning for code in codes] == ["code"] * 3
    assert len(database.ProcedureCodeSequence) == 3
    assert not instances[0].ReferencedImageSequence


def test_distinct_values_are_sorted_and_alone_have_an_item(tmp_path: Path) -> None:
    made = make_study(tmp_path, patients=3, studies=1, series=1, images=2)
    database = db.database(tmp_path)
    assert database.SliceLocation == [0.0, 5.0]
    assert database.PatientID == ["DBX-0001", "DBX-0002", "DBX-0003"]
    assert database.Rows.item() == 12
    with pytest.raises(ValueError, match="not one value here but 3"):
        database.PatientID.item()
    with pytest.raises(ValueError, match="no frame has one"):
        database.FrameTime.item()
    uids = sorted(str(d.SOPInstanceUID) for one in made.series for d in one.datasets)
    assert database.SOPInstanceUID == uids
    # What cannot be hashed is distinct too, over all series.
    assert len(database.ReferencedStudySequence) == len(
        {str(one.datasets[0].ReferencedStudySequence) for one in made.series}
    )


def test_equal_sequences_of_two_series_are_one(tmp_path: Path) -> None:
    for seed, code in enumerate(["A", "A", "B"]):
        item = Dataset()
        item.CodeValue = code
        header: dict[Any, Any] = {"ProcedureCodeSequence": Sequence([item])}
        make_series(tmp_path / str(seed), header=header, seed=seed)
    found = db.database(tmp_path).ProcedureCodeSequence
    assert sorted(sequence[0].CodeValue for sequence in found) == ["A", "B"]


def test_what_is_read_is_the_callers_own(made: MadeSeries) -> None:
    database = db.database(made.folder)
    first, second, _ = database.instances()
    orientation = list(first.ImageOrientationPatient)
    for change in (first, database.series()[0], database):
        value = change.ImageOrientationPatient
        inner = value if change is first else value[0]
        inner[0] = 99.0
        inner.append(5.0)
        value.clear()
        sequence = change.ProcedureCodeSequence
        (sequence if change is first else sequence[0])[0].CodeValue = "changed"
    for instance in (first, second):
        assert instance.ImageOrientationPatient == orientation
    assert first.ProcedureCodeSequence[0].CodeValue == "C0"
    assert database.ImageOrientationPatient == [orientation]


def test_frames_and_instance_of_an_enhanced_file(tmp_path: Path) -> None:
    made = make_enhanced(
        tmp_path,
        keys={"SliceLocation": [0, 5], "FlipAngle": [2, 15]},
        per_frame={"DiffusionBValue": [[[0], [50]], [[0], [50]]]},
    )
    (instance,) = db.database(tmp_path).instances()
    groups = made.datasets[0].PerFrameFunctionalGroupsSequence
    for frame, group in zip(instance.children(), groups, strict=True):
        timing = group.MRTimingAndRelatedParametersSequence[0]
        assert frame.FlipAngle == timing.FlipAngle
        assert frame.DiffusionBValue == group.MRDiffusionSequence[0].DiffusionBValue
        assert frame.ImagePositionPatient == list(
            group.PlanePositionSequence[0].ImagePositionPatient
        )
        assert frame.Rows == made.datasets[0].Rows
        assert frame.InstanceNumber == frame.number
        # The classic names of what the functional groups call otherwise.
        when = group.FrameContentSequence[0].get("FrameAcquisitionDateTime")
        assert when is None or frame.AcquisitionDate == when[:8]
    assert instance.FlipAngle == [2.0, 15.0]
    assert instance.DiffusionBValue == [0.0, 50.0]
    assert instance.Rows == 12
    assert instance.EffectiveEchoTime == 2.0 == instance.EchoTime
    assert instance.InversionTime is None
    assert instance.series().FlipAngle == [2.0, 15.0]
    assert instance["3"].series().FlipAngle == [2.0, 15.0]


# -- against pydicom -----------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return pydicom's value as this package gives it."""
    if isinstance(value, MultiValue):
        return ["" if v == "" else plain(v) for v in value] if len(value) else None
    if isinstance(value, Sequence):
        return value if len(value) else None
    if isinstance(value, (DSfloat, DSdecimal)):
        return float(value)
    if isinstance(value, (IS, pydicom.tag.BaseTag)):
        return int(value)
    if isinstance(value, (PersonName, str)):
        return str(value) or None
    if isinstance(value, bytes):
        return value or None
    return value


PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def check(instance: Any, dataset: Dataset) -> int:
    """Compare every element, and return how many there were."""
    elements = [e for e in dataset if e.tag not in PIXELS]
    for element in elements:
        expected = plain(element.value)
        for name in (element.tag, (element.tag.group, element.tag.element)):
            assert instance[name] == expected, element
        if element.keyword:
            assert instance[element.keyword] == expected
            assert getattr(instance, element.keyword) == expected
        elif element.tag.is_private and not element.tag.is_private_creator:
            creator = element.private_creator
            if creator:
                assert instance[creator, int(element.tag)] == expected
    return len(elements)


def test_every_element_of_made_files(database: db.Database, made: MadeSeries) -> None:
    by_uid = {i.uid: i for i in database.instances()}
    for dataset in made.datasets:
        read = pydicom.dcmread(by_uid[str(dataset.SOPInstanceUID)].file)
        assert check(by_uid[str(dataset.SOPInstanceUID)], read) > 60
        assert check(by_uid[str(dataset.SOPInstanceUID)], read.file_meta) > 4


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about odd values
@pytest.mark.skipif(testdata_folder() is None, reason="no DBDICOM_XR_TESTDATA")
@pytest.mark.parametrize("part", ["nih", "ge", "philips", "dicom2nifti", "canon61/cl"])
def test_elements_of_real_files(part: str, tmp_path: Path) -> None:
    folder = testdata_folder()
    assert folder is not None
    database = db.database(folder / part, index=tmp_path / "index.sqlite")
    compared = 0
    for series in database.series():
        instances = series.instances()
        for instance in (instances[0], instances[-1]):
            if len(instance) == 0 and len(instances) > 1:
                dataset = pydicom.dcmread(instance.file, stop_before_pixels=True, force=True)
                compared += check(instance, dataset)
    assert compared > 200


@pytest.mark.realdata
@pytest.mark.skipif(testdata_folder() is None, reason="no DBDICOM_XR_TESTDATA")
def test_frames_of_a_real_enhanced_file(tmp_path: Path) -> None:
    folder = testdata_folder()
    assert folder is not None
    database = db.database(folder / "canon61" / "enh", index=tmp_path / "index.sqlite")
    (instance,) = database.instances()
    dataset = pydicom.dcmread(instance.file, stop_before_pixels=True)
    groups = dataset.PerFrameFunctionalGroupsSequence
    frames = instance.children()
    assert len(frames) == len(groups) == 520
    compared = 0
    for frame, group in zip(frames[::20], groups[::20], strict=True):
        for macro in group:
            if macro.VR != "SQ" or len(macro.value) != 1:
                continue
            for element in macro.value[0]:
                if element.keyword and element.VR != "SQ":
                    assert frame[element.keyword] == plain(element.value), element
                    compared += 1
    assert compared > 300
    places = {tuple(f.ImagePositionPatient) for f in frames}
    assert len(places) < 520
    assert len(instance.ImagePositionPatient) == len(places)


# -- no file is opened ---------------------------------------------------------------------------

_NO_FILE = """
import os, sys
import dbdicom_xr as db
database = db.database({folder!r}, refresh=False)
root = os.path.realpath({folder!r})
opened = []
def hook(event, arguments):
    if event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(root) and "/.dbdicom_xr" not in path:
            opened.append(path)
sys.addaudithook(hook)
count = 0
def read(record):
    global count
    names = set()
    for table, _ in record._tables():
        names.update((key.creator, key.dictionary_tag) if key.creator else key.tag
                     for key in table.keys)
    for name in names:
        record[name]
        count += 1
for record in database.subtree:
    read(record)
    str(record), repr(record), record._repr_html_(), record.files()
for series in database.series():
    series.to_dataframe(), series.header, series.varying()
    series.instances(Rows=12), series.image_type, series.window
assert not opened, opened[:5]
open(os.path.join(root, "mark")).close()
assert opened, "the hook works"
print(count)
"""


@pytest.mark.parametrize("kind", ["classic", "enhanced", "study"])
def test_no_file_is_opened(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    if kind == "classic":
        make_series(folder, header=_header)
    elif kind == "enhanced":
        make_enhanced(folder, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4, 6]})
    else:
        make_study(folder, reports=True)
    before = _all_values(db.database(folder))
    (folder / "mark").write_text("")
    said = run_python(_NO_FILE.format(folder=str(folder)), tmp_path / "home")
    assert int(said) > 200
    (folder / "mark").unlink()
    for path in folder.rglob("*.dcm"):
        path.unlink()
    assert _all_values(db.database(folder, refresh=False)) == before, "the files are not needed"


def _all_values(database: db.Database) -> list[Any]:
    tables = [table for table, _ in database._tables()]
    tags = sorted({key.tag for table in tables for key in table.keys if not key.creator})
    return [instance[list(tags)] for instance in database.instances()]


LONG = {
    "UT": ((0x0040, 0xA160), "x" * 70_000),  # TextValue
    "OB": ((0x0042, 0x0011), b"\1\2" * 40_000),  # EncapsulatedDocument
    "OW": ((0x5400, 0x1010), b"\3\4" * 40_000),  # WaveformData
}


@pytest.mark.parametrize("vr", LONG)
def test_long_values_are_read_from_the_file_that_was_indexed(tmp_path: Path, vr: str) -> None:
    tag, value = LONG[vr]

    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.add_new(tag, vr, value if index[0] else value[:-2])

    made = make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, header=header)
    database = db.database(tmp_path)
    first, second = database.instances()
    assert first[tag] == value[:-2]
    assert second[tag] == value
    assert len(database[tag]) == 2
    index = tmp_path / ".dbdicom_xr" / "index.sqlite"
    assert index.stat().st_size < 200_000 + 8192 * 10
    made.files[0].unlink()
    with pytest.raises(errors.StaleArray, match="IM0001"):
        first[tag]
    assert second[tag] == value
    assert first.Rows == 12


# -- custom attributes ---------------------------------------------------------------------------


@pytest.fixture
def clean_registry() -> Iterator[None]:
    before = dict(attributes._customs)
    yield
    attributes._customs.clear()
    attributes._customs.update(before)
    attributes._parse_text.cache_clear()


@pytest.mark.usefixtures("clean_registry")
def test_register_attribute(database: db.Database) -> None:
    calls: list[Any] = []

    def product(location: Any, b: Any) -> Any:
        calls.append((location, b))
        return None if not location else location * b

    with pytest.raises(errors.UnknownKeyword):
        database.location_times_b  # noqa: B018
    db.register_attribute("location_times_b", product, ["SliceLocation", (CSA, 0x0C)])
    assert [i.location_times_b for i in database.instances()] == [None, 500.0, 2000.0]
    assert database.location_times_b == database["location_times_b"] == [500.0, 2000.0]
    assert database.instances(location_times_b=500)[0].SliceLocation == 5.0
    assert len(database.instances(location_times_b=None)) == 1
    assert set(calls) == {(0.0, 0), (5.0, 100), (10.0, 200)}
    with pytest.raises(errors.UnknownKeyword, match="location_times_b"):
        database.location_time_b  # noqa: B018
    frame = database.to_dataframe("location_times_b")
    assert frame["location_times_b"].isna().tolist() == [True, False, False]


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    "name", ["Rows", "EchoIndex", "two words", "9lives", "", "class", "_hidden", "series", "files",
             "array", "parent", "problems", "number", "file", "get", "items", "message"],
)  # fmt: skip
def test_names_that_an_attribute_cannot_have(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a custom attribute"):
        db.register_attribute(name, lambda rows: rows, ["Rows"])


@pytest.mark.usefixtures("clean_registry")
def test_attribute_of_something_unknown() -> None:
    with pytest.raises(errors.UnknownKeyword, match="FlipAngle"):
        db.register_attribute("angle", lambda angle: angle, ["FlipAngel"])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, "MAGNITUDE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "PHASE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "PHASE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}, "MAGNITUDE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"]}, "REAL"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIXON", "WATER"]}, "WATER"),
        ({"ImageType": ["DERIVED", "PRIMARY", "M", "F"]}, "FAT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}, "OTHER"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, None),
        ({"ImageType": None}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY"], "ComplexImageComponent": "IMAGINARY"}, "IMAGINARY"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "GE": 1}, "PHASE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "GE": 3}, "IMAGINARY"),
    ],
)
def test_image_type(tmp_path: Path, header: dict[str, Any], expected: str | None) -> None:
    header = dict(header)
    ge = header.pop("GE", None)

    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        if ge is not None:
            dataset.private_block(0x0043, GE, create=True).add_new(0x2F, "SS", ge)

    make_series(tmp_path, keys={"SliceLocation": [0.0]}, header=edit)
    (instance,) = db.database(tmp_path).instances()
    assert instance.image_type == expected


# -- what tools ask ------------------------------------------------------------------------------


def test_completion_offers_attributes_and_children(database: db.Database) -> None:
    series = database.series()[0]
    assert {"FlipAngle", "Rows", "series", "parent", "array"} <= set(dir(series))
    assert {"FlipAngle", "1"} <= set(series._ipython_key_completions_())


def test_probing_does_not_confuse(database: db.Database) -> None:
    for record in (database, database.series()[0], database.instances()[0]):
        assert copy.copy(record) is record
        for name in ("__array_interface__", "__len__x", "_repr_png_", "_ipython_display_"):
            assert not hasattr(record, name)
    assert pickle.loads(pickle.dumps(database.Rows)) == [12]


def test_names_that_tables_show_can_be_asked_for(tmp_path: Path) -> None:
    make_series(tmp_path, header=_private_index)
    series = db.database(tmp_path).series()[0]
    label = "(0019,xx0c) DBX TEST"
    assert label in series.varying().index
    assert label in series.to_dataframe().columns
    assert series[label] == [0, 1, 2]
    array, _ = series.array(label)
    assert array.dims[0] == label
    assert array[label].values.tolist() == [0, 1, 2]


def _private_index(dataset: pydicom.Dataset, index: tuple[int, ...]) -> None:
    dataset.private_block(0x0019, "DBX TEST", create=True).add_new(0x0C, "IS", index[0])
