"""The guide of dbdicom, snippet by snippet, in its spelling, with ``import dbdicom_xr as db``.

Each snippet stands as its readers know it, but for paths, a missing quotation mark, and the
variables that the text around it takes as given. What it should do follows it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import AlignedByOrder, DbdicomError, DicomWarning, LayoutError, NotSaved
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_series
from dbdicom_xr.testing.headers import make_uid

JOHN: dict[Any, Any] = {"PatientID": "JD", "PatientName": "John Dory"}
VISIT: dict[Any, Any] = {
    **JOHN,
    "StudyInstanceUID": make_uid("guide", "visit"),
    "StudyDescription": "visit",
    "ReferringPhysicianName": "Dr. No",
    "FrameOfReferenceUID": make_uid("guide", "frame"),
}
SLICES = [0.0, 5.0, 10.0]


def _phases(dataset: pydicom.Dataset, index: tuple[int, ...]) -> None:
    for keyword, value in {**VISIT, "SeriesNumber": 3, "SeriesDescription": "mixed"}.items():
        setattr(dataset, keyword, value)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[index[1]], "ND"]
    dataset.Manufacturer = "SIEMENS"


class Clinic:
    """A folder with two patients, and what was written into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.angles = make_series(
            folder / "angles",
            keys={"SliceLocation": SLICES, "FlipAngle": [10, 20], "RepetitionTime": [5, 8]},
            header={**VISIT, "SeriesNumber": 1, "SeriesDescription": "angles"},
            seed=1,
        )
        self.times = make_series(
            folder / "times",
            keys={"SliceLocation": SLICES, "AcquisitionTime": [36000, 36010, 36020, 36030]},
            header={**VISIT, "SeriesNumber": 2, "SeriesDescription": "times"},
            seed=2,
        )
        self.mixed = make_series(
            folder / "mixed",
            keys={"SliceLocation": SLICES, "EchoNumbers": [1, 2]},
            header=_phases,
            seed=3,
        )
        inside = np.zeros((3, 1, 16, 12), np.uint16)
        inside[1, :, 4:12, 3:9] = 1
        self.mask = make_series(
            folder / "mask",
            pixels=inside,
            header={**VISIT, "SeriesNumber": 4, "SeriesDescription": "mask"},
            seed=4,
        )
        later = {
            **JOHN,
            "StudyDescription": "later",
            "StudyDate": "20240601",
            "ReferringPhysicianName": "Dr. Yes",
        }
        make_series(folder / "later", header=later, seed=5)
        other = {
            "PatientID": "OP",
            "PatientName": "Other Person",
            "ReferringPhysicianName": "Dr. No",
            "StudyDescription": "theirs",
        }
        make_series(folder / "other", header=other, seed=6)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    return Clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture
def clinic(written: Clinic, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written.folder, tmp_path / "clinic"))


@pytest.fixture
def database(clinic: Path) -> Any:
    opened = db.database(str(clinic))
    yield opened
    opened.close(save=False)


@pytest.fixture
def patient(database: Any) -> Any:
    return database.patients(PatientName="John Dory")[0]


@pytest.fixture
def study(patient: Any) -> Any:
    return patient.studies(StudyDescription="visit")[0]


@pytest.fixture
def series(study: Any) -> Any:
    return study.series(SeriesDescription="angles")[0]


@pytest.fixture
def times(study: Any) -> Any:
    return study.series(SeriesDescription="times")[0]


@pytest.fixture
def mixed(study: Any) -> Any:
    return study.series(SeriesDescription="mixed")[0]


@pytest.fixture
def instance(series: Any) -> Any:
    return series.instances()[0]


def stored(folder: Path) -> dict[str, bytes]:
    """Return what stands in each DICOM file."""
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*.dcm"))}


# -- browsing a folder ---------------------------------------------------------------------------


def test_open_print_scan_close(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = db.database(str(clinic))
    database.print()

    shown = capsys.readouterr().out
    assert "John Dory" in shown or "JD" in shown
    assert "angles" in shown
    assert "times" in shown

    next((clinic / "other").iterdir()).unlink()
    database.scan()
    assert len(database.instances(PatientID="OP")) == 2

    database.close()


def test_close_asks_where_something_is_not_saved(clinic: Path) -> None:
    before = stored(clinic)
    for answer, name in [("No", "John Dory"), ("Yes", "Changed")]:
        database = db.database(str(clinic))
        database.patients(PatientID="JD")[0].PatientName = "Changed"
        with use_front_end(ScriptedFrontEnd([answer])) as person:
            database.close()
        assert [said.kind for said in person.said].count("question") == 1
        assert db.database(str(clinic)).patients(PatientID="JD")[0].PatientName == [name]
        assert (stored(clinic) == before) == (answer == "No")


def test_lists_of_all_levels(database: Any) -> None:
    instances = database.instances()
    series = database.series()
    studies = database.studies()
    patients = database.patients()

    assert [len(records) for records in (instances, series, studies, patients)] == [39, 6, 3, 2]
    assert all(isinstance(records, list) for records in (instances, series, studies, patients))
    assert isinstance(instances[0], db.Instance)
    assert isinstance(series[0], db.Series)
    assert isinstance(studies[0], db.Study)
    assert isinstance(patients[0], db.Patient)


def test_down_and_up(patient: Any, study: Any) -> None:
    studies = patient.studies()
    assert {one.StudyDescription.item() for one in studies} == {"visit", "later"}

    studies = patient.studies  # as the next line calls it
    series = studies()[0].series()
    assert series == patient.studies()[0].series()
    assert series

    instances = study.instances()
    assert len(instances) == 33

    series = series[0]
    found = patient
    patient = series.patients()
    assert patient == found
    assert series.studies() == found.studies()[0]


def test_finding(database: Any) -> None:
    instances = database.instances(PatientName="John Dory")
    assert len(instances) == 36

    series = database.instances(
        PatientName="John Dory",
        ReferringPhysicianName="Dr. No",
    )
    assert len(series) == 33

    studies = database.studies(
        PatientName="John Dory",
        ReferringPhysicianName="Dr. No",
    )
    assert [study.StudyDescription.item() for study in studies] == ["visit"]


def test_children_and_parent(patient: Any) -> None:
    given = patient

    studies = patient.children()
    patient = studies[0].parent
    assert studies == given.studies()
    assert patient == given

    studies = patient.children(ReferringPhysicianName="Dr. No")
    assert [study.StudyDescription.item() for study in studies] == ["visit"]


# -- moving, removing, copying, making -----------------------------------------------------------


def test_remove(database: Any, clinic: Path, study: Any) -> None:
    before = stored(clinic)
    instance = database.studies(StudyDescription="theirs")[0].instances()[0]

    study.remove()
    instance.remove()

    assert not database.studies(StudyDescription="visit")
    assert len(database.instances()) == 39 - 33 - 1
    assert stored(clinic) == before  # until it is saved

    database.patients(PatientName="John Dory")[0].remove()
    database.series()[0].remove()
    assert not database.instances()
    database.restore()
    assert len(database.instances()) == 39


def test_move_to(database: Any) -> None:
    folder = database

    study = folder.patients()[0].studies()[0]
    new_parent = folder.patients()[1]
    study.move_to(new_parent)

    assert study in new_parent.studies()
    assert len(new_parent.studies()) == 2
    assert study.parent == new_parent
    assert study.PatientID == new_parent.PatientID
    assert study.PatientName == new_parent.PatientName


def test_copy(database: Any) -> None:
    folder = database

    study = folder.patients()[0].studies()[0]
    new_study = study.copy()

    assert new_study != study
    assert new_study.parent == study.parent
    assert len(new_study.instances()) == len(study.instances())
    assert not {i.uid for i in study.instances()} & {i.uid for i in new_study.instances()}


def test_copy_and_move_to_another_patient(database: Any) -> None:
    folder = database

    study = folder.patients()[0].studies()[0]
    new_parent = folder.patients()[1]
    study.copy().move_to(new_parent)

    assert len(folder.patients()[0].studies()) == 2
    assert len(new_parent.studies()) == 2
    count = len(study.instances())

    # "This is equivalent to using"
    study.copy_to(new_parent)

    assert study.parent == folder.patients()[0]
    copies = [one for one in new_parent.studies() if len(one.instances()) == count]
    assert len(copies) == 2
    assert all(one.PatientID == new_parent.PatientID for one in copies)

    # "Instead of copying"
    study.move_to(new_parent)

    assert study.parent == new_parent
    assert len(new_parent.studies()) == 4


def test_new_records(database: Any, patient: Any, study: Any) -> None:
    series = study.new_child()
    assert isinstance(series, db.Series)
    assert series.parent == study
    assert not series.instances()

    series = study.new_series()
    assert isinstance(series, db.Series)
    assert series.parent == study

    # "And equivalently for"
    assert isinstance(database.new_patient(), db.Patient)
    assert patient.new_study().parent == patient
    assert series.new_instance().parent == series

    new_series = series.new_sibling()
    assert isinstance(new_series, db.Series)
    assert new_series.parent == study

    new_study = series.new_pibling()
    assert isinstance(new_study, db.Study)
    assert new_study.parent == patient

    # "This is shorthand for"
    new_study = series.parent().new_sibling()
    assert isinstance(new_study, db.Study)
    assert new_study.parent == patient


def test_new_records_with_attributes(series: Any, instance: Any) -> None:
    new_study = series.new_pibling(StudyDescription="Parametric maps", StudyDate="12.12.22")

    series.copy_to(new_study)
    instance.copy_to(new_study.new_series())
    for one in new_study.instances():  # "all data that appear under the new study"
        assert one.StudyDescription == "Parametric maps"
        assert one.StudyDate == "20221212"


# -- import and export ---------------------------------------------------------------------------


def test_import_dicom(database: Any, tmp_path: Path) -> None:
    made = make_series(tmp_path / "elsewhere", header={"PatientID": "new"}, seed=20)
    files = [str(file) for file in made.files]
    before = stored(tmp_path / "elsewhere")

    database.import_dicom(files)

    assert [p.PatientID.item() for p in database.patients()].count("new") == 1
    assert len(database.instances(PatientID="new")) == 3
    database.save()
    assert stored(tmp_path / "elsewhere") == before
    assert all(
        str(database.path_on_disk) in file for file in database.series(PatientID="new")[0].files()
    )


def test_export_as_dicom(series: Any, study: Any, written: Clinic, tmp_path: Path) -> None:
    path = str(tmp_path / "out")

    series.export_as_dicom(path)

    files = [pydicom.dcmread(file) for file in Path(path).rglob("*.dcm")]
    assert {str(f.SOPInstanceUID) for f in files} == set(written.angles.uids.ravel())
    assert {f.SeriesInstanceUID for f in files} == set(series.SeriesInstanceUID)
    records = [(study.parent, 36), (study, 33), (series.instances()[0], 1)]
    for number, (record, count) in enumerate(records):
        assert len(record.export_as_dicom(tmp_path / str(number))) == count


def test_export_in_other_formats(study: Any, tmp_path: Path) -> None:
    study.series(SeriesDescription="times")[0].remove()  # times the slices differ in are no volume
    path = tmp_path / "tables"
    study.export_as_csv(path)
    assert len(list(path.rglob("*.csv"))) == 3

    path = tmp_path / "volumes"
    study.export_as_nifti(path)
    assert list(path.rglob("*.nii.gz"))

    path = tmp_path / "pictures"
    study.export_as_png(path)
    assert len(list(path.rglob("*.png"))) == len(study.instances()) == 21


def test_export_as_npy(times: Any, written: Clinic, tmp_path: Path) -> None:
    series = times
    path = tmp_path / "plain"

    series.export_as_npy(path)

    (file,) = path.rglob("*.npy")
    assert np.array_equal(np.load(file), written.times.values.reshape(12, 16, 12))
    path = tmp_path / "sorted"

    series.export_as_npy(path, sortby=["SliceLocation", "AcquisitionTime"])

    (file,) = path.rglob("*.npy")
    assert np.load(file).shape == (3, 4, 1, 16, 12)
    assert np.array_equal(np.load(file), written.times.values)


# -- attributes ----------------------------------------------------------------------------------


def test_reading_attributes(instance: Any, study: Any, patient: Any) -> None:
    nr_of_rows = instance.Rows
    assert nr_of_rows == 12

    desc = study.SeriesDescription
    assert desc == ["angles", "mask", "mixed", "times"]

    columns = instance["Columns"]
    assert columns == 16
    columns = instance[(0x0028, 0x0010)]  # which is Rows
    assert columns == 12

    dimensions = ["Rows", (0x0028, 0x0010)]
    dimensions = instance[dimensions]
    assert dimensions == [12, 12]

    dimensions = ["Rows", (0x0028, 0x0010)]
    dimensions = patient[dimensions]
    assert dimensions == [[12], [12]]


def test_editing_attributes(instance: Any, series: Any) -> None:
    instance.EchoTime = 23.0
    assert instance.EchoTime == 23.0

    instance.EchoTime = 1.0
    instance["EchoTime"] = 23.0
    assert instance.EchoTime == 23.0

    instance.EchoTime = 1.0
    instance[(0x0018, 0x0081)] = 23.0
    assert instance.EchoTime == 23.0
    assert 23.0 in series.EchoTime
    assert len(series.EchoTime) == 2

    shape = ["Rows", "Columns"]
    instance[shape] = [128, 192]
    assert (instance.Rows, instance.Columns) == (128, 192)

    series.Rows = 128
    assert {one.Rows for one in series.instances()} == {128}

    with pytest.raises(LayoutError):  # no pixels are made up, and none is read as another
        series.array()
    series.restore()
    assert series.Rows == [12]
    assert 23.0 not in series.EchoTime


@pytest.mark.parametrize("level", ["database", "patient", "study", "series", "instance"])
@pytest.mark.parametrize(
    "names", ["EchoTime", (0x0018, 0x0081), ["EchoTime", (0x0018, 0x0080)]], ids=str
)
def test_every_notation_at_every_level(
    level: str, names: Any, request: pytest.FixtureRequest
) -> None:
    record = request.getfixturevalue(level)
    several = isinstance(names, list)

    record[names] = [23.0, 7.5] if several else 23.0

    alone = level == "instance"
    wanted = [23.0, 7.5] if alone else [[23.0], [7.5]]
    assert record[names] == (wanted if several else wanted[0])
    below = [record] if alone else record.instances()
    assert {one.EchoTime for one in below} == {23.0}
    assert not several or {one.RepetitionTime for one in below} == {7.5}


def test_colormap(series: Any) -> None:
    image = series.instances()[0]

    image.colormap = "YlGnBu"
    assert series.colormap == ["YlGnBu"]
    series.colormap = "Oranges"

    cm_image = image.colormap
    cm_series = series.colormap
    assert cm_image == "Oranges"
    assert cm_series == ["Oranges"]


# -- in memory; saved and restored ---------------------------------------------------------------


@pytest.mark.parametrize("level", ["database", "patient", "study", "series", "instance"])
def test_read_and_clear(level: str, clinic: Path, request: pytest.FixtureRequest) -> None:
    series = request.getfixturevalue(level)
    instance = request.getfixturevalue("instance")
    before = stored(clinic)
    values = instance.array().values

    series.read()

    instance.SoftwareVersions = "changed"
    assert np.array_equal(instance.array().values, values)

    series.clear()

    assert instance.SoftwareVersions == "changed"  # memory is given back, and no change is lost
    assert np.array_equal(instance.array().values, values)
    assert stored(clinic) == before


def test_save_and_restore_the_database(database: Any, instance: Any, clinic: Path) -> None:
    before = stored(clinic)
    instance.EchoTime = 23.0
    assert stored(clinic) == before

    database.restore()
    assert instance.EchoTime != 23.0

    instance.EchoTime = 23.0
    database.save()
    assert pydicom.dcmread(instance.file).EchoTime == 23.0
    database.restore()
    assert instance.EchoTime == 23.0


def test_save_and_restore_a_series(database: Any, series: Any, times: Any) -> None:
    series.EchoTime = 23.0
    times.EchoTime = 24.0

    series.restore()
    assert 23.0 not in series.EchoTime
    assert times.EchoTime == [24.0]

    series.EchoTime = 23.0
    series.save()
    assert {pydicom.dcmread(file).EchoTime for file in series.files()} == {23.0}
    assert 24.0 not in {pydicom.dcmread(file).EchoTime for file in times.files()}
    database.restore()
    assert series.EchoTime == [23.0]
    assert 24.0 not in times.EchoTime


@pytest.mark.parametrize("level", ["patient", "study", "instance"])
def test_save_and_restore_at_the_other_levels(level: str, request: pytest.FixtureRequest) -> None:
    record = request.getfixturevalue(level)
    outside = request.getfixturevalue("database").studies(StudyDescription="theirs")[0]
    outside.EchoTime = 24.0

    record.EchoTime = 23.0
    record.restore()
    assert record.EchoTime != (23.0 if level == "instance" else [23.0])

    record.EchoTime = 23.0
    record.save()
    files = [record.file] if level == "instance" else record.files()
    assert {pydicom.dcmread(file).EchoTime for file in files} == {23.0}
    assert 24.0 not in {pydicom.dcmread(file).EchoTime for file in outside.files()}


# -- series --------------------------------------------------------------------------------------


def test_array(series: Any, written: Clinic) -> None:
    values = written.angles.values

    array, _ = series.array()
    assert array.dims == ("n", "x", "y")
    assert np.array_equal(array, values.reshape(12, 16, 12))

    array, _ = series.array("SliceLocation")
    assert array.dims == ("SliceLocation", "n", "x", "y")
    assert np.array_equal(array, values.reshape(3, 4, 16, 12))

    array, _ = series.array(["SliceLocation", "FlipAngle"])
    wanted = values.reshape(3, 2, 2, 16, 12)
    assert array.dims == ("SliceLocation", "FlipAngle", "n", "x", "y")
    assert np.array_equal(array, wanted)

    array, _ = series.array(["SliceLocation", "FlipAngle"], pixels_first=True)
    assert array.dims == ("x", "y", "SliceLocation", "FlipAngle", "n")
    assert np.array_equal(array, wanted.transpose(3, 4, 0, 1, 2))

    asked = ["SliceLocation", "FlipAngle", "RepetitionTime"]  # "any number of dimensions"
    assert np.array_equal(series.array(asked)[0], values)


@pytest.mark.parametrize("sortby", [None, "SliceLocation", ["SliceLocation", "FlipAngle"]])
def test_array_as_a_setter(series: Any, sortby: Any) -> None:
    array, _ = series.array(sortby)
    array = array // 2

    series.array(array)

    again, _ = series.array(sortby)
    assert again.dims == array.dims
    assert np.array_equal(again, array)
    assert series.PatientName == ["John Dory"]
    assert series.FlipAngle == [10, 20]


@pytest.mark.parametrize("shape", [(4, 16, 12), (3, 2, 2, 16, 12)], ids=str)
def test_array_of_numpy_as_a_setter(series: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 1000, shape)

    with pytest.warns(DicomWarning, match="neutral header"):
        series.array(array)

    assert np.array_equal(series.array()[0], array.reshape(-1, 16, 12))
    assert series.PatientName == ["John Dory"]


def test_header(series: Any) -> None:
    array, header = series.array(["SliceLocation", "FlipAngle"])
    assert header.shape == array.shape[:-2] == (3, 2, 2)

    FA = [hdr.FlipAngle for hdr in header[0, :, 0]]
    assert FA == [10, 20]


def test_maximum_intensity_projection(times: Any, written: Clinic) -> None:
    series = times

    array, header = series.array(["SliceLocation", "AcquisitionTime"])
    mip = np.amax(array, axis=0)
    series.set_array(mip, header[0, :, :])

    back, headers = series.array(["SliceLocation", "AcquisitionTime"])
    assert back.shape == (1, 4, 1, 16, 12)
    assert np.array_equal(back[0], written.times.values.max(axis=0))
    first = [written.times.datasets[n] for n in range(4)]  # of the first slice
    assert [h.AcquisitionTime for h in headers[0, :, 0]] == [d.AcquisitionTime for d in first]
    assert headers[0, 0, 0].PatientName == "John Dory"


def test_maximum_intensity_projection_over_time(times: Any, written: Clinic) -> None:
    """The axis that the text of the guide speaks of, and the array as one of numpy."""
    array, header = times.array(["SliceLocation", "AcquisitionTime"])
    mip = np.amax(np.asarray(array), axis=1)
    times.set_array(mip, header[:, 0, :])

    back, _ = times.array("SliceLocation")
    assert np.array_equal(back, written.times.values.max(axis=1))


def test_maximum_intensity_projection_of_slices_with_their_own_times(
    clinic: Path, tmp_path: Path
) -> None:
    staggered = 36000 + np.arange(12).reshape(4, 3).T[..., np.newaxis]
    made = make_series(
        tmp_path / "own",
        keys={"SliceLocation": SLICES, "AcquisitionTime": [0, 1, 2, 3]},
        per_frame={"AcquisitionTime": staggered},
        seed=21,
    )
    database = db.database(tmp_path / "own")
    series = database.series()[0]

    with pytest.warns(AlignedByOrder):
        array, header = series.array(["SliceLocation", "AcquisitionTime"])
    mip = np.amax(array, axis=0)
    series.set_array(mip, header[0, :, :])

    back, _ = series.array("AcquisitionTime")
    assert np.array_equal(back, made.values.max(axis=0))
    database.close(save=False)


def test_without_a_header_a_template_is_used(series: Any) -> None:
    array = np.full((2, 16, 12), 5)
    new = series.new_sibling(SeriesDescription="five")

    with pytest.warns(DicomWarning, match="neutral header"):
        new.set_array(array)

    assert np.array_equal(new.array()[0], array)
    assert new.PatientName == ["John Dory"]
    assert new.Manufacturer != series.Manufacturer


def test_subseries_of_phase_and_magnitude(mixed: Any, study: Any, written: Clinic) -> None:
    series = mixed

    phase = series.subseries(image_type="PHASE")
    magn = series.subseries(image_type="MAGNITUDE")

    assert phase.parent == magn.parent == study
    assert len(study.series()) == 6
    values = written.mixed.values
    assert np.array_equal(magn.array("SliceLocation")[0], values[:, 0])
    assert np.array_equal(phase.array("SliceLocation")[0], values[:, 1])
    assert len(series.instances()) == 6


def test_subseries_of_several_attributes(series: Any, written: Clinic) -> None:
    sub = series.subseries(FlipAngle=20, RepetitionTime=5)

    assert sub.FlipAngle == [20]
    assert sub.RepetitionTime == [5]
    assert np.array_equal(sub.array("SliceLocation")[0], written.angles.values[:, 1, 0])


def test_map_to(study: Any, times: Any, written: Clinic) -> None:
    series = study.series(SeriesDescription="mask")[0]
    target = times.instances()[4]  # the first of the second slice

    overlay = series.map_to(target)
    assert np.array_equal(overlay.array()[0][0], written.mask.values[1, 0])
    assert overlay.SliceLocation == [5.0]

    from dbdicom_xr.wrappers import scipy

    overlay = scipy.map_to(series, target)
    assert np.array_equal(overlay.array()[0][0], written.mask.values[1, 0])


def test_map_mask_to(study: Any, times: Any, written: Clinic) -> None:
    series = study.series(SeriesDescription="mask")[0]
    target = times

    overlay = series.map_mask_to(target)
    assert np.array_equal(overlay.array("SliceLocation")[0], written.mask.values)

    from dbdicom_xr.wrappers import scipy

    overlay = scipy.map_mask_to(series, target)
    assert np.array_equal(overlay.array("SliceLocation")[0], written.mask.values)


# -- from nothing --------------------------------------------------------------------------------


def test_a_series_of_an_array(tmp_path: Path) -> None:
    path = str(tmp_path / "noise")

    array = np.random.normal(size=(10, 128, 192))
    series = db.series(array)

    series.PatientName = "Random noise"
    series.StudyDate = "19112022"
    series.AcquisitionTime = "120000"
    series.save(path)

    series.database.close(save=False)
    saved = db.database(path).series()[0]
    assert saved.PatientName == ["Random noise"]
    assert saved.StudyDate == ["20221119"]
    assert saved.AcquisitionTime == ["120000"]
    step = np.ptp(array, axis=(1, 2)).max() / 65534
    assert np.abs(saved.array()[0].values - array).max() <= step
    assert pydicom.dcmread(saved.files()[0]).pixel_array.shape == (192, 128)


def test_a_database_by_hand() -> None:
    database = db.database()

    james_bond = database.new_patient(PatientName="James Bond")
    james_bond_mri = james_bond.new_study(StudyDescription="MRI")
    james_bond_mri_localizer = james_bond_mri.new_series(SeriesDescription="Localizer")
    james_bond_mri_T2w = james_bond_mri.new_series(SeriesDescription="T2w")
    james_bond_xray = james_bond.new_study(StudyDescription="Xray")
    james_bond_xray_chest = james_bond_xray.new_series(SeriesDescription="Chest")
    james_bond_xray_head = james_bond_xray.new_series(SeriesDescription="Head")

    scarface = database.new_patient(PatientName="Scarface")
    scarface_mri = scarface.new_study(StudyDescription="MRI")
    scarface_mri_localizer = scarface_mri.new_series(SeriesDescription="Localizer")
    scarface_mri_T2w = scarface_mri.new_series(SeriesDescription="T2w")
    scarface_xray = scarface.new_study(StudyDescription="Xray")
    scarface_xray_chest = scarface_xray.new_series(SeriesDescription="Chest")
    scarface_xray_head = scarface_xray.new_series(SeriesDescription="Head")

    assert len(database.patients()) == 2
    assert len(database.studies()) == 4
    assert len(database.series()) == 8
    for patient, made in [
        (james_bond, [james_bond_mri_localizer, james_bond_mri_T2w]),
        (james_bond, [james_bond_xray_chest, james_bond_xray_head]),
        (scarface, [scarface_mri_localizer, scarface_mri_T2w]),
        (scarface, [scarface_xray_chest, scarface_xray_head]),
    ]:
        assert made == made[0].parent.series()
        assert made[0].patients() == patient
    assert {s.parent for s in database.series(SeriesDescription="T2w")} == {
        james_bond_mri,
        scarface_mri,
    }
    james_bond_mri_T2w.set_array(np.ones((2, 16, 12)))
    assert james_bond_mri_T2w.instances()[0].PatientName == "James Bond"
    database.close(save=False)


def test_zeros(study: Any) -> None:
    img = study.zeros((10, 128, 192), dtype="mri")

    assert isinstance(img, db.Series)
    assert img.parent == study
    assert img.array()[0].shape == (10, 128, 192)
    assert not img.array()[0].any()
    assert img.Modality == ["MR"]
    assert img.Columns == [128]
    assert img.Rows == [192]


def test_a_series_of_a_shape() -> None:
    series = db.series((10, 128, 192))

    assert series.array()[0].shape == (10, 128, 192)
    assert not series.array()[0].any()
    with pytest.warns(NotSaved):
        series.database.close()


# -- talking to the user -------------------------------------------------------------------------


def test_message_and_progress(series: Any, capsys: pytest.CaptureFixture[str]) -> None:
    series.message("Starting calculation...")
    assert "Starting calculation..." in capsys.readouterr().out

    length = 4
    with use_front_end(ScriptedFrontEnd()) as person:
        for i in range(length):
            series.progress(i, length, "Calculating..")
    assert [(s.text, s.value, s.maximum) for s in person.said] == [
        ("Calculating..", i, 4) for i in range(4)
    ]


def test_mute_and_unmute(series: Any) -> None:
    with use_front_end(ScriptedFrontEnd()) as person:
        series.mute()
        series.message("not shown")
        series.progress(1, 2, "not shown")
        series.unmute()
        series.message("shown")
    assert [said.text for said in person.said] == ["shown"]


@pytest.mark.parametrize("answer", ["Yes", "No", "Cancel"])
def test_question(series: Any, answer: str) -> None:
    with use_front_end(ScriptedFrontEnd([answer])) as person:
        given = series.dialog.question("Do you wish to proceed?", cancel=True)
    assert given == answer
    assert person.said[0].text == "Do you wish to proceed?"


def test_a_question_never_waits_where_nobody_is(series: Any) -> None:
    with pytest.raises(DbdicomError, match="proceed"):
        series.dialog.question("Do you wish to proceed?", cancel=True)
