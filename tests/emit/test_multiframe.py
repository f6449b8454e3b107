"""Classic images as one Enhanced MR object: valid, and the same to all who read it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

import dbdicom_xr as db
from dbdicom_xr.emit.elements import Elements, constant, key_of, lookup, per_image, put, without
from dbdicom_xr.emit.frame_references import source_evidence
from dbdicom_xr.emit.kinds import complete, kind_named, template
from dbdicom_xr.emit.multiframe import ENHANCED_MR, enhanced_mr
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind
from dbdicom_xr.pixels.padding import MARKED, MARKER
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.patch import delta, overlay
from dbdicom_xr.staging.splice import create
from dbdicom_xr.testing import Geometry, MadeSeries, make_series
from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, sitk_pixels

OBLIQUE = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
GRID = {"SliceLocation": [0.0, 4.0, 8.0], "EchoTime": [2.0, 4.5], "FlipAngle": [10.0, 20.0]}
PIXELS = Key(0x7FE00010)
# What a user asks of images, also where a frame says it under another keyword.
ASKED = (
    "EchoTime", "FlipAngle", "RepetitionTime", "InversionTime", "TriggerTime", "DiffusionBValue",
    "DiffusionGradientOrientation", "TemporalPositionIdentifier", "AcquisitionTime",
    "AcquisitionDate", "AcquisitionNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "SAR",
    "EchoTrainLength", "ScanningSequence", "MRAcquisitionType", "ImagingFrequency",
    "PixelBandwidth", "ReceiveCoilName", "SequenceName", "BodyPartExamined", "ImageComments",
    "b_value",
)  # fmt: skip


def table_of(series: db.Series) -> Table:
    ((table, _),) = series._tables()
    return table


def elements_of(table: Table) -> Elements:
    """Return what images say, as the elements of new images have it, of this table's files."""
    elements: Elements = {}
    for scope in (INSTANCE, FRAME):
        for key in table.store.keys(table.series.id, scope):
            column = table.column(key, scope)
            if column is None or column.left_in_files or key.tag >> 16 in (2, 0xFFFE):
                continue
            column = explicit(column)
            if scope == INSTANCE and not table.is_classic:
                column = column.take(table.instance_of)
            laid = overlay(key, elements.get(key), column)
            assert laid is not None
            elements[key] = laid
    elements[key_of("SpecificCharacterSet")] = constant(
        "SpecificCharacterSet", "ISO_IR 192", len(table)
    )
    return elements


def explicit(column: Column) -> Column:
    if all(kind.vr and not kind.implicit and not kind.big_endian for kind in column.kinds):
        return column
    values = [
        encode(column.key.tag, "" if value is None else value, creator=column.key.creator)
        for value in column.decoded()
    ]
    return delta(column.key, values, column.codes, column.rows)


def from_nothing(images: int, **columns: list[Any]) -> Elements:
    """Return complete MR images in a stack 2 mm apart; what differs is given by keyword."""
    kind = kind_named("mri")
    elements = template(kind, images)
    put(elements, images, {
        "StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2",
        "FrameOfReferenceUID": "2.25.3", "SOPInstanceUID": "2.25.4", "Rows": 4, "Columns": 5,
        "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [2.0, 2.0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SliceThickness": 2.0,
    })  # fmt: skip
    places = [[0.0, 0.0, 2.0 * i] for i in range(images)]
    for keyword, values in {"ImagePositionPatient": places, **columns}.items():
        elements[key_of(keyword)] = per_image(keyword, values)
    complete(kind, elements, images)
    return elements


def written(path: Path, elements: Elements, frames: np.ndarray[Any, Any]) -> Path:
    made = enhanced_mr(elements, len(frames))
    create(str(path), {**made, PIXELS: Encoded(Kind("OW"), frames.tobytes())})
    return path


def as_one(made: MadeSeries, folder: Path, edit: dict[str, Any] | None = None) -> tuple[Path, Any]:
    """Write the images of a made series as one file; return it, and the table of the series."""
    with db.database(made.folder) as database:
        table = table_of(database.series()[0])
        elements = elements_of(table)
        put(elements, len(table), {"ImageType": ["DERIVED", "PRIMARY", "M", "ND"], **(edit or {})})
        order = [str(uid).strip("\0 ") for uid in lookup(elements, "SOPInstanceUID") or []]
        by_uid = {str(each.SOPInstanceUID): each.pixel_array for each in made.datasets}
        frames = np.stack([by_uid[uid] for uid in order])
        folder.mkdir(exist_ok=True)
        path = written(folder / "one.dcm", elements, frames)
        for keyword in ASKED:
            parse_name(keyword).values(table)
        return path, table


def differences(classic: Table, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return the attributes that frames of the only file of a folder say otherwise."""
    with db.database(folder) as database:
        table = table_of(database.series()[0])
        found = {}
        for keyword in ASKED:
            pair = [
                as_list(parse_name(keyword).values(each), len(each)) for each in (classic, table)
            ]
            if pair[0] != pair[1]:
                found[keyword] = (pair[0][:3], pair[1][:3])
        return found


def as_list(values: Any, count: int) -> list[Any]:
    return [None] * count if values is None else values.as_objects().tolist()


def per_frame_items(path: Path) -> tuple[Dataset, Dataset, list[Dataset]]:
    dataset = dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    return dataset, shared, list(dataset.PerFrameFunctionalGroupsSequence)


# -- made images -----------------------------------------------------------------------------------

SERIES: dict[str, dict[str, Any]] = {
    "grid": {"keys": GRID},
    "oblique": {"geometry": OBLIQUE, "keys": {"SliceLocation": [0, 4, 8]}},
    "slopes": {
        "keys": {"SliceLocation": [0, 5], "TemporalPositionIdentifier": [1, 2, 3]},
        "slope": np.linspace(0.5, 3, 6).reshape(2, 3, 1),
        "intercept": np.arange(6.0).reshape(2, 3, 1) - 2,
    },
    "diffusion": {"keys": {"SliceLocation": [0, 5], "DiffusionBValue": [0.0, 50.0, 1000.0]}},
    "times": {"keys": {"AcquisitionTime": [32460.0, 32461.5], "SliceLocation": [0, 5]}},
    "cardiac": {"keys": {"SliceLocation": [0, 5], "TriggerTime": [0.0, 40.0]}},
    "repeats": {"keys": {"SliceLocation": [0, 5]}, "n": 3},
    "inversion": {"keys": {"SliceLocation": [0, 5], "InversionTime": [100.0, 2000.0]}},
}


@pytest.mark.parametrize("name", SERIES)
def test_the_same_to_this_package(name: str, tmp_path: Path) -> None:
    made = make_series(tmp_path / "classic", **SERIES[name])
    path, classic = as_one(made, tmp_path / "one")
    assert errors_of(path) == set()
    assert dcmdump_ok(path)
    wrong = differences(classic, path.parent)
    assert {keyword for keyword in wrong if set(wrong[keyword][0]) != {None}} == set()
    with db.database(path.parent) as database:
        array, _ = database.series()[0].array(list(made.keys))
        assert array.dims == made.dims
        np.testing.assert_allclose(array.values, made.values, rtol=1e-6)


def test_what_an_acquisition_must_say(tmp_path: Path) -> None:
    made = make_series(tmp_path / "classic", keys=GRID)
    edit = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "AcquisitionMatrix": [96, 0, 0, 96]}
    path, classic = as_one(made, tmp_path / "one", edit)
    assert errors_of(path) == set()
    dataset = dcmread(path)
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    assert dataset.EchoPulseSequence == "GRADIENT"
    assert dataset.AcquisitionDateTime.startswith("20240229")
    assert not {k for k, v in differences(classic, path.parent).items() if v[0][0] is not None}


def test_others_read_geometry_and_values(tmp_path: Path) -> None:
    made = make_series(
        tmp_path / "classic", geometry=OBLIQUE, keys={"SliceLocation": [0, 4, 8]}, slope=2.0,
        intercept=-7.0,
    )  # fmt: skip
    path, _ = as_one(made, tmp_path / "one")
    stored = np.stack([each.pixel_array for each in made.datasets])
    np.testing.assert_array_equal(gdcm_pixels(path), stored)
    np.testing.assert_array_equal(sitk_pixels(path), stored * 2.0 - 7)
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(affine, made.affine, atol=1e-5)


@pytest.mark.parametrize("name", ["oblique", "slopes", "repeats"])
def test_dcm2niix_makes_the_same_of_it(name: str, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("dcm2niix")
    program = str(beside) if beside.exists() else shutil.which("dcm2niix")
    if program is None:
        pytest.skip("no dcm2niix (pip install dcm2niix)")
    made = make_series(tmp_path / "classic", bits_stored=12, **SERIES[name])
    as_one(made, tmp_path / "one")
    images = []
    for folder in ("classic", "one"):
        out = tmp_path / f"{folder}_out"
        out.mkdir()
        subprocess.run(
            [program, "-z", "n", "-o", str(out), str(tmp_path / folder)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        (nifti,) = out.glob("*.nii")
        images.append(nibabel.as_closest_canonical(nibabel.load(nifti)))
    np.testing.assert_allclose(images[0].affine, images[1].affine, atol=1e-4)
    np.testing.assert_allclose(images[0].get_fdata(), images[1].get_fdata(), rtol=1e-5)


# -- images from nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, 3])
def test_from_nothing(images: int, tmp_path: Path) -> None:
    elements = from_nothing(images)
    path = written(tmp_path / "new.dcm", elements, np.zeros((images, 4, 5), np.uint16))
    assert errors_of(path) == set()
    dataset, shared, items = per_frame_items(path)
    assert dataset.SOPClassUID == ENHANCED_MR
    assert dataset.NumberOfFrames == len(items) == images
    assert [item.FrameContentSequence[0].InStackPositionNumber for item in items] == [
        *range(1, images + 1)
    ]
    # Nothing is said of an acquisition that nobody made.
    assert "MRTimingAndRelatedParametersSequence" not in shared
    assert not any("RepetitionTime" in each for each in (dataset, shared, *items))


def test_what_is_constant_is_shared_as_a_whole(tmp_path: Path) -> None:
    elements = from_nothing(3, EchoTime=[2, 3, 4], FlipAngle=[5, 5, 5], WindowWidth=[1, 2, 1])
    put(elements, 3, {"RepetitionTime": 9.0, "EchoTrainLength": 1, "WindowCenter": 7})
    path = written(tmp_path / "new.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    assert errors_of(path) == set()
    _, shared, items = per_frame_items(path)
    timing = shared.MRTimingAndRelatedParametersSequence[0]
    assert (timing.RepetitionTime, timing.FlipAngle) == (9, 5)
    assert np.isnan(timing.SpecificAbsorptionRateSequence[0].SpecificAbsorptionRateValue)
    assert [item.MREchoSequence[0].EffectiveEchoTime for item in items] == [2, 3, 4]
    windows = [item.FrameVOILUTSequence[0] for item in items]
    assert [(each.WindowCenter, each.WindowWidth) for each in windows] == [(7, 1), (7, 2), (7, 1)]
    assert "MREchoSequence" not in shared
    assert "MRTimingAndRelatedParametersSequence" not in items[0]


def test_what_has_no_place_is_kept(tmp_path: Path) -> None:
    elements = from_nothing(3, EchoNumbers=[1, 2, None], PixelPaddingValue=[None, 9, 9])
    varying, same = Key(0x00190001, "SOMEBODY"), Key(0x00190002, "SOMEBODY")
    elements[varying] = per_image(varying, ["a", "b", "c"])
    elements[same] = constant(same, "d", 3)
    elements[MARKER] = per_image(MARKER, [None, MARKED, MARKED])
    put(elements, 3, {"ScanOptions": "FS", "MRAcquisitionType": "2D"})
    path = written(tmp_path / "new.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    assert errors_of(path) == set()
    with db.database(tmp_path) as database:
        table = table_of(database.series()[0])

        def read(key: Key) -> list[Any]:
            values = table.values(key)
            return as_list(values, 3)

        assert read(key_of("EchoNumbers")) == [1, 2, None]
        assert read(key_of("PixelPaddingValue")) == [None, 9, 9]
        assert read(key_of("ScanOptions")) == ["FS"] * 3
        assert read(key_of("MRAcquisitionType")) == ["2D"] * 3
        assert read(varying) == ["a", "b", "c"]
        assert read(same) == ["d"] * 3
        assert read(MARKER) == [None, MARKED, MARKED]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("Rows", [4, 5]),
        ("PixelRepresentation", [0, 1]),
        ("FrameOfReferenceUID", ["2.25.8", "2.25.9"]),
    ],
)
def test_images_that_cannot_be_one_object(keyword: str, values: list[Any]) -> None:
    with pytest.raises(InvalidValue, match=f"{keyword} is .*multiframe=False"):
        enhanced_mr(from_nothing(2, **{keyword: values}), 2)


# -- sources ---------------------------------------------------------------------------------------


def sources(images: int) -> list[list[dict[str, str]]]:
    sop_class = "1.2.840.10008.5.1.4.1.1.4"
    return [
        [{"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": f"2.25.10{i}"}]
        for i in range(images)
    ]


def related(*series: str) -> list[dict[str, Any]]:
    purpose = {
        "CodeValue": "121322",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Source image for image processing operation",
    }
    return [
        {
            "StudyInstanceUID": "2.25.1",
            "SeriesInstanceUID": uid,
            "PurposeOfReferenceCodeSequence": [purpose],
        }
        for uid in series
    ]


def test_sources_of_each_frame_and_of_all(tmp_path: Path) -> None:
    elements = from_nothing(3, SourceImageSequence=sources(3))
    put(elements, 3, {"RelatedSeriesSequence": related("2.25.99"), "DerivationDescription": "mean"})
    path = written(tmp_path / "new.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    assert errors_of(path) == set()
    dataset, _, items = per_frame_items(path)
    derivations = [item.DerivationImageSequence[0] for item in items]
    assert {each.DerivationDescription for each in derivations} == {"mean"}
    named = [each.SourceImageSequence[0].ReferencedSOPInstanceUID for each in derivations]
    assert named == ["2.25.100", "2.25.101", "2.25.102"]
    assert derivations[0].SourceImageSequence[0].PurposeOfReferenceCodeSequence
    (study,) = dataset.SourceImageEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("2.25.1", "2.25.99")
    assert [each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence] == named


def test_of_several_series_nothing_is_guessed(tmp_path: Path) -> None:
    elements = from_nothing(2, SourceImageSequence=sources(2))
    put(elements, 2, {"RelatedSeriesSequence": related("2.25.98", "2.25.99")})
    assert key_of("SourceImageEvidenceSequence") not in enhanced_mr(elements, 2)
    sop_class = "1.2.840.10008.5.1.4.1.1.4"
    known = source_evidence(
        [
            ("2.25.1", "2.25.98", sop_class, "2.25.100"),
            ("2.25.1", "2.25.99", sop_class, "2.25.101"),
            ("2.25.1", "2.25.99", sop_class, "2.25.101"),
            ("2.25.1", "2.25.99", sop_class, ""),
        ]
    )
    put(elements, 2, {"SourceImageEvidenceSequence": known})
    path = written(tmp_path / "new.dcm", elements, np.zeros((2, 4, 5), np.uint16))
    assert errors_of(path) == set()
    (study,) = dcmread(path).SourceImageEvidenceSequence
    assert [
        (
            each.SeriesInstanceUID,
            [one.ReferencedSOPInstanceUID for one in each.ReferencedSOPSequence],
        )
        for each in study.ReferencedSeriesSequence
    ] == [("2.25.98", ["2.25.100"]), ("2.25.99", ["2.25.101"])]


def test_a_coil_of_unknown_coils_has_no_macro(tmp_path: Path) -> None:
    elements = from_nothing(1, ReceiveCoilName=["HNS"], ReceiveCoilType=["MULTICOIL"])
    put(elements, 1, {"QuadratureReceiveCoil": "NO"})
    path = written(tmp_path / "new.dcm", elements, np.zeros((1, 4, 5), np.uint16))
    assert errors_of(path) == set()
    dataset, shared, _ = per_frame_items(path)
    assert "MRReceiveCoilSequence" not in shared
    assert dataset.ReceiveCoilName == "HNS"


# -- frames ----------------------------------------------------------------------------------------


def contents(elements: Elements, images: int) -> list[Dataset]:
    made = enhanced_mr(elements, images)
    value = Column(Key(PER_FRAME), [made[Key(PER_FRAME)].kind], [made[Key(PER_FRAME)].value], [0],
                   None, 1).decoded()[0]  # fmt: skip
    return [item.FrameContentSequence[0] for item in value]


def test_stacks_of_several_orientations() -> None:
    axial, coronal = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]
    elements = from_nothing(
        4,
        ImageOrientationPatient=[coronal, axial, axial, coronal],
        ImagePositionPatient=[[0, 5, 0], [0, 0, 9], [0, 0, 3], [0, 1, 0]],
    )
    found = [(int(c.StackID), c.InStackPositionNumber) for c in contents(elements, 4)]
    assert found == [(2, 2), (1, 2), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"EchoTime": [4, 2, 4, 2]}, [(1, 2), (1, 1), (2, 2), (2, 1)]),
        ({"ImageType": [["DERIVED", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "P"]] * 2},
         [(1, 1), (1, 2), (2, 1), (2, 2)]),
        # Each slice has times of its own.
        ({"AcquisitionTime": ["1000", "1010", "1001", "1011"],
          "AcquisitionDate": ["20240101"] * 4}, [(1, 1), (1, 2), (2, 1), (2, 2)]),
        # One tells the frames apart: the other is not needed.
        ({"TemporalPositionIdentifier": [1, 2, 1, 2], "TriggerTime": [5, 6, 7, 8]},
         [(1, 1), (1, 2), (2, 1), (2, 2)]),
        # Nothing but their order does.
        ({}, [(1, 1), (1, 2), (2, 1), (2, 2)]),
    ],
)  # fmt: skip
def test_dimensions(columns: dict[str, list[Any]], wanted: list[tuple[int, ...]]) -> None:
    places = [[0, 0, 0], [0, 0, 0], [0, 0, 4.0], [0, 0, 4.0]]
    elements = from_nothing(4, ImagePositionPatient=places, **columns)
    if "AcquisitionTime" not in columns:
        without(elements, ["AcquisitionTime"])
    found = [tuple(each.DimensionIndexValues)[1:] for each in contents(elements, 4)]
    assert found == wanted


def test_spacing_of_a_selection(tmp_path: Path) -> None:
    places = [[0, 0, 0], [0, 0, 6], [0, 0, 12.0]]
    elements = from_nothing(3, ImagePositionPatient=places, SpacingBetweenSlices=[2.0] * 3)
    path = written(tmp_path / "new.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    measures = per_frame_items(path)[1].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2, 6)


def test_dimensions_point_to_where_the_attribute_is(tmp_path: Path) -> None:
    places = [[0, 0, 0.0]] * 3
    elements = from_nothing(3, ImagePositionPatient=places, FlipAngle=[5, 10, 15])
    path = written(tmp_path / "new.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    assert errors_of(path) == set()
    dataset, _, items = per_frame_items(path)
    last = dataset.DimensionIndexSequence[-1]
    angles = [item[last.FunctionalGroupPointer][0][last.DimensionIndexPointer] for item in items]
    assert [each.value for each in angles] == [5, 10, 15]


@pytest.mark.parametrize(
    ("date", "time", "moment"),
    [
        ("20240229", "101112.5", "20240229101112.5"),
        ("2024.02.29", "10:11:12", "20240229101112"),
        ("***", "101112", None),
        (None, "101112", None),
    ],
)
def test_when_a_frame_was_acquired(date: str | None, time: str, moment: str | None) -> None:
    elements = from_nothing(1)
    without(elements, ["AcquisitionDate", "SeriesDate", "StudyDate", "AcquisitionDateTime"])
    for keyword, vr, text in (("AcquisitionDate", "DA", date), ("AcquisitionTime", "TM", time)):
        if text is not None:  # as scanners may have written it
            raw = text.encode() + b" " * (len(text) % 2)
            elements[key_of(keyword)] = constant(keyword, Encoded(Kind(vr), raw), 1)
    (content,) = contents(elements, 1)
    assert content.get("FrameAcquisitionDateTime") == moment
    assert (key_of("AcquisitionTime") in enhanced_mr(elements, 1)) == (moment is None)


NUMBERS = st.one_of(st.none(), st.sampled_from([0.5, 1.0, 2.25, 3.0, 1e4]))
PLACED = ("EchoTime", "FlipAngle", "RepetitionTime", "DiffusionBValue", "InversionTime", "SAR",
          "PixelBandwidth", "NumberOfAverages", "TriggerTime", "RescaleSlope")  # fmt: skip
SPELT = {"EchoTime": "EffectiveEchoTime", "TriggerTime": "NominalCardiacTriggerDelayTime"}


@given(st.data())
def test_every_number_comes_back(data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 4))
    columns = {
        keyword: data.draw(st.lists(NUMBERS, min_size=images, max_size=images))
        for keyword in data.draw(st.lists(st.sampled_from(PLACED), unique=True))
    }
    elements = from_nothing(images)
    without(elements, PLACED)
    for keyword, values in columns.items():
        if any(value is not None for value in values):
            elements[key_of(keyword)] = per_image(keyword, values)
    made = enhanced_mr(elements, images)
    found, items = frame_columns(
        made[Key(SHARED)].value, made[Key(PER_FRAME)].value, images, Kind("SQ")
    )
    assert items == images
    for keyword, values in columns.items():
        read = [None] * images
        for name in (keyword, SPELT.get(keyword, keyword)):
            if (encoded := made.get(key_of(name))) is not None:
                read = constant(name, encoded, images).decoded() * images
            if (column := found.get(key_of(name))) is not None:
                read = [column.value(row) for row in range(images)]
        neutral = 1.0 if keyword == "RescaleSlope" else None
        assert read == [neutral if value is None else value for value in values], keyword


# -- scanners --------------------------------------------------------------------------------------

REAL = {
    "philips": {"InPlanePhaseEncodingDirection"},
    "ge": set(),
    "enh": set(),
    "dcmstack": set(),
}


@pytest.mark.parametrize("folder", REAL)
def test_images_of_scanners(folder: str, testdata: Path, tmp_path: Path) -> None:
    with db.database(testdata / folder, index=tmp_path / "index") as database:
        series = next(each for each in database.series() if each.Modality == ["MR"])
        table = table_of(series)
        elements = elements_of(table)
        types = elements[key_of("ImageType")]
        derived = [encode(types.key.tag, ["DERIVED", *each[1:]]) for each in types.decoded()]
        elements[types.key] = delta(types.key, derived, types.codes, types.rows)
        rows, columns = (elements[key_of(word)].decoded()[0] for word in ("Rows", "Columns"))
        (tmp_path / "one").mkdir()
        path = written(
            tmp_path / "one" / "one.dcm", elements, np.zeros((len(table), rows, columns), np.uint16)
        )
        source = Path(database.path) / series.files()[0]
        assert errors_of(path) - errors_of(source) == set()
        wrong = differences(table, path.parent)
        assert {keyword for keyword in wrong if set(wrong[keyword][0]) != {None}} == set()
