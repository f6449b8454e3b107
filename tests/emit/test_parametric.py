"""Parametric Maps hold floats bit for bit, and what the images said, for others to read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR

import dbdicom_xr as db
from dbdicom_xr.emit.elements import Elements, constant, key_of, per_image, put, take, without
from dbdicom_xr.emit.kinds import complete, kind_named, template
from dbdicom_xr.emit.map_volumes import volumes
from dbdicom_xr.emit.parametric import parametric_map
from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.patch import delta
from dbdicom_xr.staging.uids import new_uid, new_uids
from tests.emit.judges import dcmdump_ok, errors_of

highdicom = pytest.importorskip("highdicom")

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]
MR = "1.2.840.10008.5.1.4.1.1.4"
PROCESSING = {
    "CodeValue": "121322",
    "CodingSchemeDesignator": "DCM",
    "CodeMeaning": "Source image for image processing operation",
}


def places(locations: list[float], orientation: list[float] = AXIAL) -> list[list[float]]:
    normal = np.cross(orientation[:3], orientation[3:])
    return [(location * normal + [1.5, -2.5, 3.25]).tolist() for location in locations]


def images_of(kind: str, count: int, shared: dict[str, Any], **differing: list[Any]) -> Elements:
    """What images of a kind say, in a study and a series."""
    elements = template(kind_named(kind), count)
    said = {
        "PatientName": "Müller^Jürgen",
        "PatientID": "7",
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
        "FrameOfReferenceUID": new_uid(),
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [0.75, 1.25],
        "SliceThickness": 2.0,
        "SeriesDescription": "T1 map [ms], fitted",
        "SeriesNumber": 9,
        "Modality": kind_named(kind).modality,
    }
    put(elements, count, said | shared)
    for keyword, values in differing.items():
        elements[key_of(keyword)] = per_image(keyword, values)
    elements[key_of("SOPInstanceUID")] = per_image("SOPInstanceUID", new_uids(count))
    elements[key_of("InstanceNumber")] = per_image("InstanceNumber", [*range(1, count + 1)])
    complete(kind_named(kind), elements, count)
    return elements


def floats(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Noise, with NaN of several payloads, infinities, subnormals and both zeros."""
    values = np.random.default_rng(5).standard_normal(shape).astype(dtype)
    tiny, bits = np.finfo(dtype).smallest_subnormal, values.view(f"u{values.itemsize}")
    values[0, 0, :6] = [np.nan, np.inf, -np.inf, 0.0, -0.0, tiny]
    bits[0, 1, 0] = bits[0, 0, 0] | 0x1234  # a quiet NaN with a payload
    values[1] = np.nan
    return values


def bits_of(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values).view(f"u{values.itemsize}")


def saved(folder: Path, elements: Elements, values: np.ndarray[Any, Any]) -> list[Path]:
    paths = []
    for number, rows in enumerate(volumes(elements, len(values))):
        path = folder / f"{number}.dcm"
        dataset = parametric_map(take(elements, rows), values[rows])
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_every_bit_comes_back(tmp_path: Path, dtype: str, orientation: list[float]) -> None:
    locations = [4.0, 0.0, 2.0, 6.0]
    elements = images_of(
        "mri",
        4,
        {"ImageOrientationPatient": orientation},
        ImagePositionPatient=places(locations, orientation),
    )
    values = floats((4, 7, 9), dtype)
    (path,) = saved(tmp_path, elements, values)

    dataset = dcmread(path)
    keyword = "FloatPixelData" if dtype == "float32" else "DoubleFloatPixelData"
    stored = np.frombuffer(dataset[keyword].value, f"<{np.dtype(dtype).str[1:]}")
    frames = [
        np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        for group in dataset.PerFrameFunctionalGroupsSequence
    ]
    np.testing.assert_allclose(frames, places(locations, orientation), atol=1e-9)
    np.testing.assert_array_equal(bits_of(stored.reshape(4, 7, 9)), bits_of(values))
    assert "DimensionOrganizationType" not in dataset  # places do not follow each other

    read = highdicom.imread(path).get_frames(
        apply_real_world_transform=False, apply_modality_transform=False, dtype=np.dtype(dtype)
    )
    np.testing.assert_array_equal(read, values)

    with db.database(tmp_path, index=tmp_path / "index") as database:
        (series,) = database.series()
        array, _ = series.array("SliceLocation")
        mine = array.squeeze().transpose("SliceLocation", "y", "x")
        assert mine.dtype == dtype
        got = bits_of(np.asarray(mine.values))
        along = np.argsort(locations)
        np.testing.assert_array_equal(got, bits_of(values[along]))


def evidence(study: str, series: dict[str, list[str]]) -> list[dict]:
    return [
        {
            "StudyInstanceUID": study,
            "ReferencedSeriesSequence": [
                {
                    "SeriesInstanceUID": uid,
                    "ReferencedSOPSequence": [
                        {"ReferencedSOPClassUID": MR, "ReferencedSOPInstanceUID": one}
                        for one in instances
                    ],
                }
                for uid, instances in series.items()
            ],
        }
    ]


@pytest.mark.parametrize("step", [1, -1])
def test_frames_are_in_the_order_of_the_images(tmp_path: Path, step: int) -> None:
    images = np.random.default_rng(7).standard_normal((5, 6, 4)).astype("float32")[::step]
    with db.database(tmp_path / "data", create=True) as database:
        series = database.new_patient(PatientID="1").new_study().new_series()
        series.set_array(images, dtype="float32")
        array, _ = series.array()
        np.testing.assert_array_equal(array.values, images)
        second = series.new_sibling()
        array[::-1].dicom.write(second, dtype="float32")
        back, header = second.array()
        np.testing.assert_array_equal(back.values, images[::-1])
        assert [one.ImagePositionPatient[2] for one in header] == [4.0, 3.0, 2.0, 1.0, 0.0]
        locations = second.array("SliceLocation")[0].SliceLocation
        assert locations.values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        database.restore()


@pytest.mark.filterwarnings("ignore:.*SliceThickness|.0018,0050:dbdicom_xr.errors.UndecodableValue")
@pytest.mark.parametrize("differing", [False, True])
def test_what_is_no_date_and_no_number_is_kept(tmp_path: Path, differing: bool) -> None:
    elements = images_of("mri", 2, {}, ImagePositionPatient=places([0, 5]))
    bad = {
        "PatientBirthDate": b"1990/01/", "StudyDate": b"*** ", "StudyTime": b"1:1 ",
        "SeriesDate": b"*** ", "EchoTime": b"/0", "EchoNumbers": b"/0", "AcquisitionTime": b"*** ",
        "SliceThickness": b"/0",
    }  # fmt: skip
    for keyword, value in bad.items():
        key = key_of(keyword)
        kind = Kind(dictionary_VR(key.tag))
        if differing and keyword in ("EchoTime", "EchoNumbers", "AcquisitionTime"):
            pair = [Encoded(kind, value), Encoded(kind, b"1 ")]
            elements[key] = delta(key, pair, np.array([0, 1], np.int32), 2)
        else:
            elements[key] = constant(keyword, Encoded(kind, value), 2)
    (path,) = saved(tmp_path, elements, floats((2, 8, 8), "float32"))
    assert dcmdump_ok(path)
    dataset = dcmread(path)
    for keyword, value in bad.items():
        place = dataset
        if differing and keyword in ("EchoTime", "EchoNumbers", "AcquisitionTime"):
            group = dataset.PerFrameFunctionalGroupsSequence[0]
            (place,) = group.UnassignedPerFrameConvertedAttributesSequence
        if keyword != "SliceThickness":  # told by the geometry, where it is a number
            assert place.get_item(keyword).value == value, keyword


@pytest.mark.parametrize(
    "said",
    [
        {"ContrastBolusAgentSequence": [{"CodeValue": "1", "CodingSchemeDesignator": "99X",
                                         "CodeMeaning": "Gd", "ContrastBolusAgentNumber": 1}]},
        {"BulkMotionCompensationTechnique": "NONE"},
        {"ImageOrientationSlide": AXIAL, "NumberOfOpticalPaths": 1},
    ],
)  # fmt: skip
def test_what_belongs_to_other_objects_is_kept_aside(tmp_path: Path, said: dict[str, Any]) -> None:
    elements = images_of("ct", 2, said, ImagePositionPatient=places([0, 5]))
    (path,) = saved(tmp_path, elements, floats((2, 8, 8), "float32"))
    assert errors_of(path) == set()
    dataset = dcmread(path)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    (aside,) = shared.UnassignedSharedConvertedAttributesSequence
    for keyword in said:
        assert keyword in aside
        assert keyword not in dataset


def test_tiles_of_a_slide_have_an_object_each(tmp_path: Path) -> None:
    said = {
        "ImageOrientationPatient": None, "FrameOfReferenceUID": "1.2.3", "TotalPixelMatrixRows": 16,
        "TotalPixelMatrixColumns": 8, "ImageOrientationSlide": AXIAL,
        "XOffsetInSlideCoordinateSystem": 2.0,
        "PlanePositionSlideSequence": [{"XOffsetInSlideCoordinateSystem": 2.0}],
    }  # fmt: skip
    elements = images_of("sc", 2, said)
    paths = saved(tmp_path, elements, floats((2, 8, 8), "float32"))
    assert [errors_of(path) for path in paths] == [set(), set()]


def test_references_of_some_frames_are_a_macro_of_all(tmp_path: Path) -> None:
    items = [{"ReferencedSOPClassUID": MR, "ReferencedSOPInstanceUID": "1.2.8"}]
    shared = {
        "SourceImageEvidenceSequence": evidence("1.2.3", {"1.2.3.4": ["1.2.8"]}),
        "SourceImageSequence": items,
    }
    elements = images_of("mri", 2, shared, ImagePositionPatient=places([0, 5]))
    encoded = encode(key_of("ReferencedImageSequence").tag, items)
    elements[key_of("ReferencedImageSequence")] = delta(
        key_of("ReferencedImageSequence"), [encoded], np.array([0, -1], np.int32), 2
    )
    (path,) = saved(tmp_path, elements, floats((2, 8, 8), "float32"))
    assert errors_of(path) == set()
    groups = dcmread(path).PerFrameFunctionalGroupsSequence
    assert [len(group.ReferencedImageSequence) for group in groups] == [1, 0]
    assert groups[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.8"


def test_directions_equal_to_six_digits_are_one_volume(tmp_path: Path) -> None:
    directions = [AXIAL, [1.0, 0.0, 1e-8, 0.0, 1.0, 0.0]]
    elements = images_of(
        "mri", 2, {}, ImagePositionPatient=places([0, 5]), ImageOrientationPatient=directions
    )
    (path,) = saved(tmp_path, elements, floats((2, 8, 8), "float32"))
    assert dcmread(path).NumberOfFrames == "2"


def test_without_a_study_no_study_is_made_up(tmp_path: Path) -> None:
    elements = images_of("mri", 1, {"StudyInstanceUID": None})
    assert "StudyInstanceUID" not in parametric_map(elements, np.zeros((1, 4, 4), "f4"))
    without(elements, ["SeriesInstanceUID"])  # put nowhere: an object whole in itself
    assert parametric_map(elements, np.zeros((1, 4, 4), "f4")).StudyInstanceUID


@pytest.mark.parametrize("kind", ["mri", "ct", "pet", "sc"])
def test_every_kind_is_valid(tmp_path: Path, kind: str) -> None:
    sources = new_uids(3)
    elements = images_of(
        kind,
        3,
        {"SourceImageEvidenceSequence": evidence("1.2.3", {"1.2.3.4": sources})},
        ImagePositionPatient=places([0, 5, 10]),
        SourceImageSequence=[
            [{"ReferencedSOPClassUID": MR, "ReferencedSOPInstanceUID": uid}] for uid in sources
        ],
    )
    (path,) = saved(tmp_path, elements, floats((3, 8, 8), "float32"))
    assert errors_of(path) == set()
    assert dcmdump_ok(path)
    dataset = dcmread(path)
    assert dataset.Modality == kind_named(kind).modality
    named = dataset.StudiesContainingOtherReferencedInstancesSequence[0].ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == "1.2.3.4"
    referred = {str(one.ReferencedSOPInstanceUID) for one in named.ReferencedInstanceSequence}
    assert referred == set(sources)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0].ImagePositionPatient
        image = places([0, 5, 10]).index([float(x) for x in place])
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == sources[image]


def test_sources_of_the_same_study_of_another_and_of_none(tmp_path: Path) -> None:
    sequence = [
        [
            {"ReferencedSOPClassUID": MR, "ReferencedSOPInstanceUID": uid}
            for uid in ("1.2.8", "1.2.9")
        ]
    ]
    here = evidence("1.2.3", {"1.2.3.4": ["1.2.8"], "1.2.3.5": ["1.2.7"]})
    there = evidence("1.2.4", {"1.2.4.1": ["1.2.9"]})
    shared = {"StudyInstanceUID": "1.2.3", "SourceImageEvidenceSequence": [*here, *there]}
    values = floats((2, 8, 8), "float32")[:1]
    dataset = parametric_map(images_of("mri", 1, shared, SourceImageSequence=sequence), values)
    (series,) = dataset.ReferencedSeriesSequence  # not that of an image that is no source
    assert series.SeriesInstanceUID == "1.2.3.4"
    (other,) = dataset.StudiesContainingOtherReferencedInstancesSequence
    assert other.StudyInstanceUID == "1.2.4"
    assert other.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.4.1"
    assert "SourceImageEvidenceSequence" not in dataset
    del shared["SourceImageEvidenceSequence"]
    dataset = parametric_map(images_of("mri", 1, shared, SourceImageSequence=sequence), values)
    assert "ReferencedSeriesSequence" not in dataset
    assert "SourceImageSequence" in dataset.PerFrameFunctionalGroupsSequence[0][0x00089124][0]
    dataset = parametric_map(images_of("mri", 1, {}), values)
    assert "DerivationImageSequence" not in dataset.PerFrameFunctionalGroupsSequence[0]


def test_what_images_say_stays_and_several_volumes_form_a_grid(tmp_path: Path) -> None:
    elements = images_of(
        "mri",
        6,
        {"EchoTime": 2.5},
        ImagePositionPatient=places([0, 5, 2.5, 0, 5, 2.5]),
        FlipAngle=[5, 5, 5, 20, 20, 20],
        TriggerTime=[1, 2, 3, 4, 5, 6],
    )
    values = floats((6, 8, 10), "float32")
    paths = saved(tmp_path, elements, values)
    assert [dcmread(path).NumberOfFrames for path in paths] == ["3", "3"]
    for path in paths:
        assert errors_of(path) == set()
        dataset = dcmread(path)
        assert dataset.PatientName == "Müller^Jürgen"
        assert dataset.EchoTime == 2.5
        assert dataset.SeriesDescription == dataset.ContentDescription == "T1 map [ms], fitted"
        assert dataset.Manufacturer == "dbdicom_xr"
        assert "SourceImageSequence" not in dataset
    with db.database(tmp_path, index=tmp_path / "index") as database:
        (series,) = database.series()
        array, header = series.array(["FlipAngle", "SliceLocation"])
        affine = array.dicom.affine
        array = array.squeeze().transpose("FlipAngle", "SliceLocation", "y", "x")
        got = bits_of(np.asarray(array.values))
        wanted = bits_of(values[[0, 2, 1, 3, 5, 4]]).reshape(got.shape)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(array.FlipAngle, [5, 20])
        assert np.ravel(header.TriggerTime).tolist() == [1, 3, 2, 4, 6, 5]
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), [1.25, 0.75, 2.5])
    np.testing.assert_allclose(affine[:3, 3], [1.5, -2.5, 3.25])


def test_images_without_a_place_have_an_object_each(tmp_path: Path) -> None:
    shared = dict.fromkeys(("ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"))
    elements = images_of("sc", 2, shared)
    values = floats((2, 8, 8), "float64")
    paths = saved(tmp_path, elements, values)
    for path, frame in zip(paths, values, strict=True):
        assert errors_of(path) == set()
        stored = np.frombuffer(dcmread(path).DoubleFloatPixelData, "<f8").reshape(8, 8)
        np.testing.assert_array_equal(bits_of(stored), bits_of(frame))
    frames = {dcmread(path).FrameOfReferenceUID for path in paths}
    assert len(frames) == 2


@pytest.mark.parametrize(
    ("shared", "differing", "expected"),
    [
        ({}, {"ImagePositionPatient": places([0, 1, 2, 3])}, [[0, 1, 2, 3]]),
        ({}, {"ImagePositionPatient": places([0, 1, 0, 1])}, [[0, 1], [2, 3]]),
        # As of an array with the dimensions SliceLocation and EchoTime: an object per echo.
        ({}, {"ImagePositionPatient": places([0, 0, 1, 1])}, [[0, 2], [1, 3]]),
        ({}, {"ImagePositionPatient": places([0, 1, 1, 1])}, [[0, 1], [2], [3]]),
        ({}, {"ImagePositionPatient": places([0, 1e-5, 1, 2])}, [[0, 2, 3], [1]]),
        (
            {},
            {
                "ImagePositionPatient": [[0, 0, 0], [0, 0, 0], [1, 3, 5], [1, 3, 5]],
                "ImageOrientationPatient": [AXIAL, OBLIQUE, AXIAL, OBLIQUE],
            },
            [[0, 2], [1, 3]],
        ),
        (
            {},
            {
                "ImagePositionPatient": places([0, 1, 2, 3]),
                "PixelSpacing": [[1, 1], [2, 2], [1, 1], [2, 2]],
            },
            [[0, 2], [1, 3]],
        ),
    ],
)
def test_images_are_split_into_volumes(
    shared: dict[str, Any], differing: dict[str, list[Any]], expected: list[list[int]]
) -> None:
    elements = images_of("mri", 4, shared, **differing)
    assert [rows.tolist() for rows in volumes(elements, 4)] == expected


@pytest.mark.parametrize("slices_first", [True, False])
def test_dimensions_in_any_order_make_a_volume_per_echo(slices_first: bool) -> None:
    echo, place = np.meshgrid(np.arange(3), np.arange(4), indexing="xy" if slices_first else "ij")
    elements = images_of("mri", 12, {}, ImagePositionPatient=places(place.ravel().tolist()))
    found = volumes(elements, 12)
    assert [echo.ravel()[rows].tolist() for rows in found] == [[0] * 4, [1] * 4, [2] * 4]
    assert [place.ravel()[rows].tolist() for rows in found] == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize(
    ("shared", "unit", "code"),
    [
        ({}, None, "1"),
        ({"RescaleType": "HU"}, None, "[hnsf'U]"),
        ({"Units": "BQML"}, None, "Bq/ml"),
        ({"Units": "BQML"}, ("ms", "milliseconds"), "ms"),
    ],
)
def test_real_world_values_are_the_stored_ones(
    shared: dict[str, Any], unit: tuple[str, str] | None, code: str
) -> None:
    values = np.array([[[0.25, np.nan], [-3.0, 7.5]]], np.float32)
    dataset: Dataset = parametric_map(images_of("mri", 1, shared), values, unit=unit, label="T1")
    group = dataset.SharedFunctionalGroupsSequence[0]
    (mapping,) = group.RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == -3.0
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == 7.5
    assert mapping.LUTLabel == "T1"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == code
    window = group.FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (2.25, 10.5)
    assert window.VOILUTFunction == "LINEAR_EXACT"


@pytest.mark.parametrize(
    "values", [[np.nan] * 4, [5.0] * 4, [-1.7e308, 1.7e308, 0, 0], [5e-324] * 4, [np.inf] * 4]
)
def test_extreme_ranges_are_valid(tmp_path: Path, values: list[float]) -> None:
    array = np.array(values).reshape(1, 2, 2)
    (path,) = saved(tmp_path, images_of("mri", 1, {}), array)
    assert errors_of(path) == set()
    stored = np.frombuffer(dcmread(path).DoubleFloatPixelData, "<f8").reshape(1, 2, 2)
    np.testing.assert_array_equal(bits_of(stored), bits_of(array))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros((2, 4, 4), "i2"), "float32 or float64"),
        (np.zeros((2, 4, 4), "f2"), "float32 or float64"),
        (np.zeros((4, 4), "f4"), "float32 or float64"),
        (np.zeros((3, 4, 4), "f4"), "number of images"),
        (np.zeros((2, 4, 4), "f4"), "not one volume"),
    ],
)
def test_what_is_no_volume_raises(values: np.ndarray[Any, Any], match: str) -> None:
    elements = images_of("mri", 2, {}, ImagePositionPatient=places([1, 1]))
    with pytest.raises(LayoutError, match=match):
        parametric_map(elements, values)


def test_more_than_an_element_holds_raises() -> None:
    values = np.broadcast_to(np.float64(0), (1, 1 << 15, 1 << 14))
    with pytest.raises(InvalidValue, match="4 at most"):
        parametric_map(images_of("mri", 1, {}), values)


def test_without_highdicom_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InvalidValue, match=r"pip install .dbdicom_xr\[maps\]"):
        parametric_map(images_of("mri", 1, {}), np.zeros((1, 4, 4), "f4"))
