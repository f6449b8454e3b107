"""Values, texts and private elements that once went wrong when they were staged or saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import MadeSeries, make_enhanced, make_series

CHINESE = "测试"


@pytest.fixture
def made(tmp_path: Path) -> MadeSeries:
    return make_series(tmp_path / "data", keys={"SliceLocation": [0.0, 5.0, 10.0]})


@pytest.fixture
def series(made: MadeSeries) -> Any:
    return db.database(made.folder).series()[0]


def rewritten(folder: Path, change: Callable[[Dataset], None]) -> None:
    """Change the files of a folder as another program would."""
    for file in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)


def datasets(record: Any) -> list[Dataset]:
    """Return the files of a record as another program reads them."""
    return [pydicom.dcmread(file) for file in record.files()]


# -- empty values ------------------------------------------------------------------------------

EMPTY = {
    "PatientAge": "AS",
    "EchoTime": "DS",
    "NumberOfAverages": "DS",
    "EchoNumbers": "IS",
    "AcquisitionDate": "DA",
    "AcquisitionTime": "TM",
    "AcquisitionDateTime": "DT",
    "ProtocolName": "LO",
    "OperatorsName": "PN",
    "TemporalPositionIndex": "UL",
    "DiffusionBValue": "FD",
}


def _with_empty_values(dataset: Dataset) -> None:
    for keyword in EMPTY:
        setattr(dataset, keyword, None)


COPIES: dict[str, Callable[[Any], list[Any]]] = {
    "copy": lambda series: [series.copy()],
    "subseries": lambda series: [series.subseries(InstanceNumber=[1, 2, 3])],
    "split_by": lambda series: list(series.split_by("SliceLocation").values()),
}


@pytest.mark.parametrize("how", COPIES)
def test_empty_values_are_carried_along(made: MadeSeries, how: str) -> None:
    rewritten(made.folder, _with_empty_values)
    database = db.database(made.folder)
    copies = COPIES[how](database.series()[0])
    assert sum(len(copied.instances()) for copied in copies) == 3
    database.save()
    for copied in copies:
        for dataset in datasets(copied):
            for keyword, vr in EMPTY.items():
                assert dataset[keyword].is_empty, keyword
                assert vr == dataset[keyword].VR, keyword


@pytest.mark.parametrize("keyword", EMPTY)
def test_a_value_is_set_to_nothing(series: Any, keyword: str) -> None:
    setattr(series, keyword, "")
    series.save()
    assert all(dataset[keyword].is_empty for dataset in datasets(series))
    assert db.database(series.database.path_on_disk, refresh=True)[keyword] in (None, [], "")


# -- texts -------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> db.Database:
    """One series of classic and enhanced files in ISO 8859-1, with text in sequences too."""
    folder = tmp_path / "mixed"
    uids = {"StudyInstanceUID": "2.25.71", "SeriesInstanceUID": "2.25.72"}
    same = {**uids, "SpecificCharacterSet": "ISO_IR 100", "PatientID": "Q", "PatientName": "Jürg"}
    locations = {"SliceLocation": [0.0, 5.0]}
    make_series(folder, keys=locations, header={**same, "SeriesDescription": "Größe"})
    make_enhanced(folder, keys=locations, header={**same, "SeriesDescription": "Größe"}, seed=1)

    def comment(dataset: Dataset) -> None:
        image, code = Dataset(), Dataset()
        image.ReferencedSOPClassUID = dataset.SOPClassUID
        image.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121311", "DCM", "Führung"
        image.PurposeOfReferenceCodeSequence = [code]
        dataset.ReferencedImageSequence = [image]
        for item in dataset.get("PerFrameFunctionalGroupsSequence", ()):
            item.FrameContentSequence[0].FrameComments = "Übersicht"

    rewritten(folder, comment)
    return db.database(folder)


def comments(dataset: Dataset) -> list[str]:
    """Return the text of the frames, once what is in the other sequence is right."""
    [image] = dataset.ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert image.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Führung"
    items = dataset.get("PerFrameFunctionalGroupsSequence", ())
    return [str(item.FrameContentSequence[0].FrameComments) for item in items]


@pytest.mark.parametrize("how", ["copy_to", "move_to"])
def test_files_of_any_form_go_to_a_patient_of_another_alphabet(
    mixed: db.Database, how: str
) -> None:
    patient = mixed.new_patient(PatientName=CHINESE, PatientID="Z")
    study = getattr(mixed.patients(PatientID="Q")[0].studies()[0], how)(patient)
    instances = study.instances()
    assert len(instances) == 3
    for saved in (False, True):
        if saved:
            mixed.save()
        assert {str(instance.PatientName) for instance in instances} == {CHINESE}
        assert {instance.SeriesDescription for instance in instances} == {"Größe"}
    read = datasets(study)
    assert {str(dataset.PatientName) for dataset in read} == {CHINESE}
    assert {dataset.SeriesDescription for dataset in read} == {"Größe"}
    assert sorted(map(comments, read)) == [[], [], ["Übersicht", "Übersicht"]]


@pytest.mark.parametrize("of", ["instance", "frame"])
def test_text_of_any_language_in_functional_groups(mixed: db.Database, of: str) -> None:
    [instance] = [one for one in mixed.instances() if len(one.children) > 1]
    frames = list(instance.children.values())
    (instance if of == "instance" else frames[1]).FrameComments = CHINESE
    expected = [CHINESE if of == "instance" else "Übersicht", CHINESE]
    for saved in (False, True):
        if saved:
            mixed.save()
        assert [frame.FrameComments for frame in frames] == expected
        assert (str(instance.PatientName), instance.SeriesDescription) == ("Jürg", "Größe")
    dataset = pydicom.dcmread(instance.file)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert comments(dataset) == expected
    assert (str(dataset.PatientName), dataset.SeriesDescription) == ("Jürg", "Größe")


TEXTS = {
    "ISO_IR 100": "Übersicht",
    "ISO_IR 144": "Люк",
    "ISO_IR 192": "山田",
    "GB18030": "王小东",
    "\\ISO 2022 IR 87": "山田",
}


@pytest.mark.parametrize("charset", TEXTS)
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined lengths"])
def test_references_keep_their_text(made: MadeSeries, charset: str, undefined: bool) -> None:
    first = pydicom.dcmread(sorted(made.folder.glob("*.dcm"))[0])

    def refer(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        image, code = Dataset(), Dataset()
        image.ReferencedSOPClassUID = first.SOPClassUID
        image.ReferencedSOPInstanceUID = first.SOPInstanceUID
        code.CodeMeaning = TEXTS[charset]
        image.PurposeOfReferenceCodeSequence = [code]
        dataset.ReferencedImageSequence = [image]
        image.is_undefined_length_sequence_item = undefined
        dataset["ReferencedImageSequence"].is_undefined_length = undefined

    rewritten(made.folder, refer)
    database = db.database(made.folder)
    patient = database.new_patient(PatientName=f"{CHINESE}ü", PatientID="Z")
    copied = database.studies()[0].copy_to(patient)
    database.save()
    uids = {dataset.SOPInstanceUID for dataset in datasets(copied)}
    assert len(uids) == 3
    assert first.SOPInstanceUID not in uids
    for dataset in datasets(copied):
        assert str(dataset.PatientName) == f"{CHINESE}ü"
        [image] = dataset.ReferencedImageSequence
        assert image.ReferencedSOPInstanceUID in uids
        assert image.PurposeOfReferenceCodeSequence[0].CodeMeaning == TEXTS[charset]


# -- classic keywords in enhanced files --------------------------------------------------------

CLASSIC = {
    "EchoTime": ("EffectiveEchoTime", 12.34567),
    "AcquisitionNumber": ("FrameAcquisitionNumber", 17),
    "TriggerTime": ("NominalCardiacTriggerDelayTime", 12.34567),
    "TemporalPositionIdentifier": ("TemporalPositionIndex", 3),
    "ImagingFrequency": ("TransmitterFrequency", 123.25),
}
HOMES = {
    "EffectiveEchoTime": "MREchoSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "TransmitterFrequency": "MRImagingModifierSequence",
}
FIRST = {"TransmitterFrequency": [64.0], "EffectiveEchoTime": 2.0}


@pytest.mark.parametrize("transfer_syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("keyword", CLASSIC)
def test_classic_keywords_set_what_the_groups_hold(
    tmp_path: Path, keyword: str, transfer_syntax: str
) -> None:
    name, value = CLASSIC[keyword]
    make_enhanced(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, transfer_syntax=transfer_syntax)

    def hold(dataset: Dataset) -> None:
        for item in dataset.PerFrameFunctionalGroupsSequence:
            group = item.get(HOMES[name]) or [Dataset()]
            setattr(group[0], name, FIRST.get(name, 1))
            setattr(item, HOMES[name], list(group))
        shared = dataset.SharedFunctionalGroupsSequence[0]
        if HOMES[name] in shared:
            delattr(shared, HOMES[name])

    rewritten(tmp_path, hold)
    series = db.database(tmp_path).series()[0]
    frames = list(series.instances()[0].children.values())
    frames[1][keyword] = value
    shown = [frame[keyword] for frame in frames]
    assert shown[1] == value
    assert shown[0] != value
    series.save()
    [dataset] = datasets(series)
    elements = [item[HOMES[name]][0][name] for item in dataset.PerFrameFunctionalGroupsSequence]
    assert [element.VR for element in elements] == [dictionary_VR(name)] * 2
    found = [np.ravel(element.value).tolist() for element in elements]
    assert found == [np.ravel(one).tolist() for one in shown]
    assert [frame[keyword] for frame in frames] == shown


# -- attributes through a header, and frame by frame -------------------------------------------


def test_a_header_sets_one_value_or_one_per_cell(made: MadeSeries, series: Any) -> None:
    _, header = series.array("SliceLocation")
    header.EchoTime = 99
    assert series.EchoTime == [99]
    values = np.array([11.0, 12.0, 13.0]).reshape(header.shape)
    header.EchoTime = values
    assert header.EchoTime.ravel().tolist() == [11.0, 12.0, 13.0]
    for wrong in (np.zeros(7), np.zeros((2, *header.shape))):
        with pytest.raises(InvalidValue):
            header.EchoTime = wrong
    series.save()
    found = {float(one.SliceLocation): float(one.EchoTime) for one in datasets(series)}
    assert found == {0.0: 11.0, 5.0: 12.0, 10.0: 13.0}


@pytest.mark.parametrize("values", [5, 5.0, None, "abc", b"abc"], ids=repr)
def test_set_values_needs_values(series: Any, values: Any) -> None:
    with pytest.raises(InvalidValue):
        series.set_values("EchoTime", values)
    assert series.database.changes().empty


@pytest.mark.parametrize("level", ["instance", "frame"])
def test_the_uid_of_a_frame_is_that_of_its_instance(tmp_path: Path, level: str) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": [0.0, 5.0]})
    database = db.database(tmp_path)
    instance = database.instances()[0]
    record = instance if level == "instance" else list(instance.children.values())[1]
    record.SOPInstanceUID = "2.25.4711"
    [present] = database.instances()
    assert present.SOPInstanceUID == "2.25.4711"
    database.save()
    [dataset] = datasets(database)
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == "2.25.4711"


# -- private elements without a creator ---------------------------------------------------------

OWNED, ORPHAN, OTHER = (0x0019, 0x10BB), (0x0021, 0x10BB), (0x0021, 0x10BC)


def _with_orphans(dataset: Dataset) -> None:
    dataset.add_new((0x0019, 0x0010), "LO", "SOMEBODY")
    dataset.add_new(OWNED, "DS", "1.5")
    dataset.add_new(ORPHAN, "DS", "2.5")
    dataset.add_new(OTHER, "LO", "as it was")


@pytest.mark.parametrize("value", ["7", None])
def test_private_elements_without_a_creator(made: MadeSeries, value: str | None) -> None:
    rewritten(made.folder, _with_orphans)
    database = db.database(made.folder)
    instance = database.instances()[1]
    if value is None:
        del instance[ORPHAN]
        assert instance[ORPHAN] is None
    else:
        instance[ORPHAN] = value
        assert float(instance[ORPHAN]) == 7
    database.save()
    for file in database.files():
        dataset = pydicom.dcmread(file)
        assert dataset[OWNED].value == 1.5
        assert dataset[OTHER].value == "as it was"
        assert dataset[0x0019, 0x0010].value == "SOMEBODY"
        assert (0x0021, 0x0010) not in dataset
        if file != instance.file:
            assert dataset[ORPHAN].value == 2.5
        elif value is None:
            assert ORPHAN not in dataset
        else:
            assert (dataset[ORPHAN].VR, dataset[ORPHAN].value) == ("DS", 7)


# -- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["subseries", "instances"])
def test_filters_take_arrays_without_dimensions(series: Any, how: str) -> None:
    series.set_values("EchoTime", [1.0, 3.0, 3.0])
    found = getattr(series, how)(EchoTime=np.array(3.0))
    found = found.instances() if how == "subseries" else found
    assert [instance.EchoTime for instance in found] == [3.0, 3.0]


@pytest.mark.parametrize("how", ["subseries", "instances", "frames"])
def test_filters_refuse_numbers_that_no_element_can_have(series: Any, how: str) -> None:
    with pytest.raises(InvalidValue, match="EchoTime"):
        getattr(series, how)(EchoTime=10**400)
    assert series.database.changes().empty


# -- stacks --------------------------------------------------------------------------------------


def test_a_filter_leaves_the_numbers_of_stacks(tmp_path: Path) -> None:
    from dbdicom_xr.testing import Geometry

    keys = {"SliceLocation": [0.0, 5.0, 10.0]}
    uids = {"SeriesInstanceUID": "2.25.82", "StudyInstanceUID": "2.25.81"}
    upright = Geometry(orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    make_series(tmp_path, keys=keys, header={**uids, "ImageComments": "first"})
    make_series(
        tmp_path, keys=keys, header={**uids, "ImageComments": "second"}, geometry=upright,
        prefix="B", seed=1,
    )  # fmt: skip
    series = db.database(tmp_path).series()[0]
    assert len(series.stacks()) == 2
    for number in range(2):
        whole, affine = series.volume(stack=number)
        word = whole.dicom.header.ravel()[0].ImageComments
        again, placed = series.volume(stack=number, ImageComments=word)
        np.testing.assert_array_equal(again.values, whole.values)
        np.testing.assert_allclose(placed, affine)
        with pytest.raises(db.errors.GridError, match=f"stack {number}"):
            series.volume(stack=number, ImageComments={"first": "second", "second": "first"}[word])


def test_the_copy_of_a_folder_is_another_database(made: MadeSeries, tmp_path: Path) -> None:
    """What is staged in a folder goes with it, and is saved there alone."""
    database = db.database(made.folder)
    database.series()[0].ProtocolName = "staged"
    shutil.copytree(made.folder, tmp_path / "copy")
    database.restore()
    copied = db.database(tmp_path / "copy")
    assert copied.ProtocolName == ["staged"]
    copied.save()
    assert {dataset.ProtocolName for dataset in datasets(copied)} == {"staged"}
    assert "staged" not in {dataset.get("ProtocolName") for dataset in datasets(database)}
