"""Each kind of object is valid: made from nothing, and from what real scanners wrote."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import dbdicom_xr as db
from dbdicom_xr.emit.assemble import FileMaker, pixel_data_head
from dbdicom_xr.emit.elements import Elements, constant, key_of, lookup, per_image, put
from dbdicom_xr.emit.image import OF_PIXELS, pixel_bytes, pixel_elements
from dbdicom_xr.emit.kinds import (
    KINDS,
    Kind,
    complete,
    kind_for,
    kind_named,
    rescale_type,
    template,
)
from dbdicom_xr.emit.kinds.common import _ONE_OF_EACH
from dbdicom_xr.errors import DbdicomError, DicomWarning, InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import Kind as Encoding
from dbdicom_xr.pixels.quantise import quantise
from dbdicom_xr.records.reading.sources import sources_of
from dbdicom_xr.records.writing.deriving import derived
from dbdicom_xr.records.writing.image_planes import image_planes
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.uids import new_uid
from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, new_errors, sitk_pixels

COLOUR = kind_for("1.2.840.10008.5.1.4.1.1.7", "OT", colour=True)
CR = kind_for("1.2.840.10008.5.1.4.1.1.1", "CR", colour=False)
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

MR_CLASS, CT_CLASS, PET_CLASS, SC_CLASS = (KINDS[name].sop_class for name in KINDS)
ENHANCED_MR, ENHANCED_CT = f"{MR_CLASS}.1", f"{CT_CLASS}.1"
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"


def write(
    path: Path, elements: Elements, kind: Kind, values: np.ndarray[Any, Any], image: int = 0
) -> Path:
    """Write one image, with its pixels and all that is said of them."""
    stored = quantise(values, kind.target)
    said = pixel_elements(stored, rescales=kind.rescales, rescale_type=rescale_type(kind, elements))
    raw = pixel_bytes(stored.values)
    header = FileMaker(elements, OF_PIXELS).header(image, said)
    head = pixel_data_head(len(raw), "OB" if stored.values.dtype.itemsize == 1 else "OW")
    path.write_bytes(header + head + raw)
    return path


def identified(elements: Elements, images: int = 1) -> Elements:
    """Give elements the identifiers that are for the caller to give."""
    put(elements, images, {keyword: new_uid() for keyword in IDENTIFIERS})
    put(elements, images, {"InstanceNumber": 1, "SeriesNumber": 1})
    return elements


MADE = [
    pytest.param(KINDS["mri"], np.uint16, id="mri"),
    pytest.param(KINDS["mri"], np.int16, id="mri-signed"),
    pytest.param(KINDS["mri"], np.float32, id="mri-float"),
    pytest.param(KINDS["ct"], np.float32, id="ct-float"),
    pytest.param(KINDS["pet"], np.float32, id="pet-float"),
    pytest.param(KINDS["sc"], np.float32, id="sc-float"),
    pytest.param(CR, np.float32, id="cr-float"),
    pytest.param(KINDS["ct"], np.uint16, id="ct"),
    pytest.param(KINDS["ct"], np.int16, id="ct-signed"),
    pytest.param(KINDS["pet"], np.uint16, id="pet"),
    pytest.param(KINDS["pet"], np.int16, id="pet-signed"),
    pytest.param(KINDS["sc"], np.uint8, id="sc-8"),
    pytest.param(KINDS["sc"], np.uint16, id="sc-16"),
    pytest.param(KINDS["sc"], np.int16, id="sc-signed"),
    pytest.param(COLOUR, np.uint8, id="sc-colour"),
    pytest.param(CR, np.uint16, id="cr"),
]


def values_of(kind: Kind, dtype: Any) -> np.ndarray[Any, Any]:
    shape = (5, 7, 3) if kind.colour else (5, 7)
    if np.dtype(dtype).kind == "f":
        values = np.linspace(-0.3, 0.7, 35, dtype=dtype).reshape(shape)
        values[1, 2] = np.nan
        return values
    lowest = np.iinfo(dtype).min
    return (np.arange(np.prod(shape)).reshape(shape) * 2 + max(lowest, -20)).astype(dtype)


# -- from nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), MADE)
def test_made_from_nothing(kind: Kind, dtype: Any, tmp_path: Path) -> None:
    values = values_of(kind, dtype)
    stored = quantise(values, kind.target)
    elements = identified(template(kind, 1))
    complete(kind, elements, 1)
    path = tmp_path / "made.dcm"
    write(path, elements, kind, values)
    assert errors_of(path) == set()
    assert dcmdump_ok(path)
    read = dcmread(path)
    assert read.SOPClassUID == kind.sop_class
    assert read.Modality == kind.modality
    assert ("RescaleSlope" in read) >= kind.rescales
    np.testing.assert_array_equal(read.pixel_array, stored.values)
    np.testing.assert_array_equal(gdcm_pixels(path), stored.values)
    known = ~np.isnan(values)
    real = sitk_pixels(path).reshape(values.shape)
    np.testing.assert_allclose(real[known], values[known], rtol=0, atol=stored.error * 1.01)


@pytest.mark.parametrize("kind", [*KINDS.values(), COLOUR, CR], ids=lambda kind: kind.name)
def test_a_template_claims_no_scanner_and_no_patient(kind: Kind) -> None:
    elements = template(kind, 2)
    assert lookup(elements, "Manufacturer") == [None, None]
    for keyword in ("PatientName", "PatientID", "StudyDate", *IDENTIFIERS, "FrameOfReferenceUID"):
        assert key_of(keyword) not in elements, keyword
    image_type = lookup(elements, "ImageType")
    assert image_type is not None
    assert image_type[0][0] == "DERIVED"


@pytest.mark.parametrize("name", ["mri", "ct", "pet"])
def test_images_without_a_place_are_a_stack(name: str) -> None:
    elements = template(kind_named(name), 3)
    complete(kind_named(name), elements, 3)
    assert lookup(elements, "ImagePositionPatient") == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert lookup(elements, "ImageOrientationPatient") == [[1, 0, 0, 0, 1, 0]] * 3
    assert lookup(elements, "PixelSpacing") == [[1, 1]] * 3
    assert lookup(elements, "SliceThickness") == [1] * 3
    (uid,) = set(lookup(elements, "FrameOfReferenceUID") or [])
    assert uid.startswith("2.25.")


def test_a_place_is_kept_and_the_missing_one_filled_in() -> None:
    elements = template(KINDS["mri"], 3)
    elements[key_of("ImagePositionPatient")] = per_image(
        "ImagePositionPatient", [[5.0, 5.0, 5.0], None, [5.0, 5.0, 9.0]]
    )
    put(elements, 3, {"PixelSpacing": [0.5, 2.0], "FrameOfReferenceUID": "1.2.3"})
    complete(KINDS["mri"], elements, 3)
    assert lookup(elements, "ImagePositionPatient") == [[5, 5, 5], [0, 0, 1], [5, 5, 9]]
    assert lookup(elements, "PixelSpacing") == [[0.5, 2]] * 3
    assert lookup(elements, "FrameOfReferenceUID") == ["1.2.3"] * 3
    # How thick they are is not for us to say.
    assert lookup(elements, "SliceThickness") == [None] * 3


SIDES = [
    ({}, True),
    ({"BodyPartExamined": "KNEE"}, True),
    ({"ImageLaterality": "L"}, False),
    *[({"BodyPartExamined": part}, False) for part in sorted(_ONE_OF_EACH)],
]


@pytest.mark.parametrize(("said", "wanted"), SIDES)
def test_laterality_where_there_may_be_two(
    said: dict[str, Any], wanted: bool, tmp_path: Path
) -> None:
    kind = KINDS["mri"]
    elements = identified(template(kind, 1))
    put(elements, 1, said)
    complete(kind, elements, 1)
    assert (key_of("Laterality") in elements) == wanted
    write(tmp_path / "mr.dcm", elements, kind, values_of(kind, np.uint16))
    assert errors_of(tmp_path / "mr.dcm") == set()


# -- what images say is kept ----------------------------------------------------------------------

SAID: dict[str, dict[str, Any]] = {
    "mri": {
        "ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "NONE"], "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK", "EchoTime": 4.5, "InversionTime": 100.0, "Manufacturer": "Maker",
        "PatientName": "A^B", "DiffusionBValue": 50.0, "EchoPulseSequence": "SPIN",
    },
    "ct": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "KVP": 120.0, "ScanOptions": "HELIX"},
    "pet": {
        "Units": "BQML", "SeriesType": ["WHOLE BODY", "IMAGE"], "SeriesDate": "20200101",
        "DecayCorrection": "START", "DecayFactor": 1.25, "ImageIndex": 7, "NumberOfSlices": 90,
    },
    "sc": {"Modality": "US", "ConversionType": "DV", "ImageOrientationPatient": [1, 0, 0, 0, 0, 1]},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SAID))
def test_what_is_said_is_kept(name: str) -> None:
    kind = kind_named(name)
    elements: Elements = {}
    put(elements, 2, {"SOPClassUID": kind.sop_class, **SAID[name]})
    before = dict(elements)
    complete(kind, elements, 2)
    for key, column in before.items():
        assert elements[key].decoded() == column.decoded(), key
    after = {key: (column.values, column.codes_of().tolist()) for key, column in elements.items()}
    complete(kind, elements, 2)
    again = {key: (column.values, column.codes_of().tolist()) for key, column in elements.items()}
    assert again == after


def test_an_image_type_that_is_not_ours_to_judge_stays_byte_for_byte() -> None:
    elements: Elements = {}
    kind = Encoding("CS")
    raw = b"ORIGINAL\\PRIMARY\\lower case\\"
    put(elements, 1, {"ImageType": Encoded(kind, raw), "SOPClassUID": MR_CLASS})
    complete(KINDS["mri"], elements, 1)
    assert elements[key_of("ImageType")].values == [raw]


IMAGE_TYPES = [
    ("mri", MR_CLASS, ["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY", "OTHER"]),
    ("mri", MR_CLASS, None, ["DERIVED", "SECONDARY", "OTHER"]),
    ("mri", ENHANCED_MR, ["MIXED", "MIXED", "MIXED", "MIXED"], ["DERIVED", "PRIMARY", "OTHER"]),
    (
        "mri", ENHANCED_MR, ["DERIVED", "PRIMARY", "PHASE MAP", "NONE"],
        ["DERIVED", "PRIMARY", "PHASE MAP", "NONE"],
    ),
    ("ct", CT_CLASS, ["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY", "AXIAL"]),
    (
        "ct", CT_CLASS, ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
    ),
    (
        "ct", ENHANCED_CT, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        ["ORIGINAL", "PRIMARY", "AXIAL", "VOLUME", "NONE"],
    ),
    (
        "ct", ENHANCED_CT, ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"],
        ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"],
    ),
    ("ct", ENHANCED_CT, ["MIXED"] * 4, ["DERIVED", "PRIMARY", "AXIAL"]),
    ("pet", ENHANCED_PET, ["ORIGINAL", "MIXED"], ["ORIGINAL", "PRIMARY"]),
    ("pet", PET_CLASS, ["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY"]),
    ("sc", SC_CLASS, Encoded(Encoding("CS"), b"ORIGINAL"), ["ORIGINAL", "SECONDARY"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sop_class", "before", "after"), IMAGE_TYPES)
def test_image_type(name: str, sop_class: str, before: Any, after: list[str]) -> None:
    elements: Elements = {}
    put(elements, 2, {"SOPClassUID": sop_class, "ImageType": before})
    complete(kind_named(name), elements, 2)
    assert lookup(elements, "ImageType") == [after] * 2


SEQUENCES = [
    ({}, "RM", "NONE", None),
    ({"EchoPulseSequence": "SPIN", "RFEchoTrainLength": 8}, "SE", "NONE", 8),
    (
        {"EchoPulseSequence": "GRADIENT", "EchoPlanarPulseSequence": "YES", "Spoiling": "RF",
         "SteadyStatePulseSequence": "NONE", "RFEchoTrainLength": 0, "GradientEchoTrainLength": 64},
        ["GR", "EP"], "SP", 64,
    ),
    (
        {"EchoPulseSequence": "BOTH", "InversionRecovery": "YES", "OversamplingPhase": "2D",
         "SegmentedKSpaceTraversal": "PARTIAL", "MagnetizationTransfer": "ON_RESONANCE",
         "SteadyStatePulseSequence": "LONGITUDINAL"},
        ["SE", "GR", "IR"], ["SK", "MTC", "SS", "OSP"], None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("said", "sequence", "variant", "train"), SEQUENCES)
def test_the_sequence_of_enhanced_images(
    said: dict[str, Any], sequence: Any, variant: Any, train: Any
) -> None:
    elements: Elements = {}
    put(elements, 1, {"SOPClassUID": ENHANCED_MR, **said})
    complete(KINDS["mri"], elements, 1)
    assert lookup(elements, "ScanningSequence") == [sequence]
    assert lookup(elements, "SequenceVariant") == [variant]
    assert lookup(elements, "EchoTrainLength") == [train]
    assert (key_of("InversionTime") in elements) == ("IR" in sequence)
    planar = "EP" in sequence and "SK" not in variant
    assert (key_of("RepetitionTime") in elements) == (not planar)


def test_what_belongs_to_many_frames_goes() -> None:
    elements: Elements = {}
    put(
        elements, 2,
        {
            "SOPClassUID": ENHANCED_MR, "NumberOfFrames": 5, "DimensionIndexValues": [1, 2],
            "FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"], "VolumetricProperties": "VOLUME",
            "ComplexImageComponent": "MIXED", "PresentationLUTShape": "INVERSE",
            "DimensionOrganizationType": "3D", "EffectiveEchoTime": 5.0, "ResonantNucleus": "1H",
        },
    )  # fmt: skip
    complete(KINDS["mri"], elements, 2)
    gone = (
        "NumberOfFrames", "DimensionIndexValues", "FrameType", "VolumetricProperties",
        "ComplexImageComponent", "PresentationLUTShape", "DimensionOrganizationType",
    )  # fmt: skip
    assert [keyword for keyword in gone if key_of(keyword) in elements] == []
    assert lookup(elements, "ResonantNucleus") == ["1H"] * 2
    assert lookup(elements, "SOPClassUID") == [MR_CLASS] * 2


def test_an_empty_region_belongs_to_projections() -> None:
    kind = kind_for("1.2.840.10008.5.1.4.1.1.1.1", "DX", colour=False)
    for region, wanted in (([], False), ([{"CodeMeaning": "Hand"}], True)):
        elements: Elements = {}
        said = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "AnatomicRegionSequence": region}
        put(elements, 1, said)
        complete(kind, elements, 1)
        assert (key_of("AnatomicRegionSequence") in elements) == wanted


def test_phase_is_still_told_from_magnitude() -> None:
    elements: Elements = {}
    put(elements, 2, {"SOPClassUID": ENHANCED_MR})
    key = key_of("ComplexImageComponent")
    elements[key] = per_image("ComplexImageComponent", ["PHASE", "MAGNITUDE"])
    complete(KINDS["mri"], elements, 2)
    assert lookup(elements, "ComplexImageComponent") == ["PHASE", "MAGNITUDE"]


def test_an_overlay_in_the_bits_of_other_pixels_goes() -> None:
    elements: Elements = {}
    put(elements, 1, {"SOPClassUID": SC_CLASS})
    for tag, value in {0x60000010: 4, 0x60000100: 16, 0x60020010: 4}.items():
        elements[Key(tag)] = constant(Key(tag), value, 1)
    data = Key(0x60023000)
    elements[data] = constant(data, Encoded(Encoding("OW"), b"\1\2"), 1)
    complete(KINDS["sc"], elements, 1)
    assert [key.tag for key in elements if key.tag >> 16 in (0x6000, 0x6002)] == [
        0x60020010,
        0x60023000,
    ]


PET_TYPES = [
    ({"SeriesType": ["DYNAMIC", "IMAGE"]}, {"NumberOfTimeSlices": 1}),
    (
        {"SeriesType": ["GATED", "IMAGE"]},
        {"NumberOfRRIntervals": 1, "NumberOfTimeSlots": 1, "TriggerTime": 0, "FrameTime": 0},
    ),
    ({"DecayCorrection": "START", "Units": "BQML"}, {"DecayFactor": 1}),
]


@pytest.mark.parametrize(("said", "wanted"), PET_TYPES)
def test_conditions_of_pet(said: dict[str, Any], wanted: dict[str, Any], tmp_path: Path) -> None:
    kind = KINDS["pet"]
    elements = identified({**template(kind, 1)})
    for keyword in wanted:
        assert key_of(keyword) not in elements
    put(elements, 1, said)
    complete(kind, elements, 1)
    for keyword, value in wanted.items():
        assert lookup(elements, keyword) == [value]
    write(tmp_path / "pet.dcm", elements, kind, values_of(kind, np.uint16))
    assert errors_of(tmp_path / "pet.dcm") == set()


def test_how_the_patient_lies_in_pet(tmp_path: Path) -> None:
    kind = KINDS["pet"]
    elements: Elements = {}
    put(elements, 2, {"SOPClassUID": ENHANCED_PET})
    elements[key_of("PatientPosition")] = per_image("PatientPosition", ["FFP", "LFP"])
    complete(kind, identified(elements, 2), 2)
    for image in range(2):
        path = tmp_path / f"{image}.dcm"
        write(path, elements, kind, values_of(kind, np.uint16), image)
        assert errors_of(path) == set()
        assert "PatientPosition" not in dcmread(path)
    read = dcmread(tmp_path / "0.dcm")
    (lying,), (gantry,) = (
        read.PatientOrientationCodeSequence,
        read.PatientGantryRelationshipCodeSequence,
    )
    assert lying.CodeMeaning == "recumbent"
    assert lying.PatientOrientationModifierCodeSequence[0].CodeMeaning == "prone"
    assert gantry.CodeMeaning == "feet-first"
    assert len(dcmread(path).PatientOrientationCodeSequence) == 0


def test_more_images_than_their_number_can_say() -> None:
    elements = template(KINDS["pet"], 70_000)
    complete(KINDS["pet"], elements, 70_000)
    indices = lookup(elements, "ImageIndex")
    assert indices is not None
    assert (indices[0], indices[65_534], indices[65_535]) == (1, 65_535, 1)
    assert lookup(elements, "NumberOfSlices") == [65_535] * 70_000


def test_what_cannot_be_read_is_not_guessed() -> None:
    elements: Elements = {}
    put(elements, 1, {"SOPClassUID": ENHANCED_MR})
    for keyword in ("EchoPulseSequence", "Spoiling", "SteadyStatePulseSequence"):
        elements[key_of(keyword)] = constant(keyword, Encoded(Encoding("CS"), b"SPIN\\RF "), 1)
    complete(KINDS["mri"], elements, 1)
    assert lookup(elements, "ScanningSequence") == ["RM"]
    assert lookup(elements, "SequenceVariant") == ["NONE"]
    types = constant("RescaleType", Encoded(Encoding("LO"), b"HU\\US "), 1)
    assert rescale_type(KINDS["ct"], {types.key: types}) == "US"


def test_slices_of_pet_are_counted() -> None:
    elements = template(KINDS["pet"], 3)
    put(elements, 3, {"AcquisitionTime": "101500", "StudyDate": "20210203"})
    complete(KINDS["pet"], elements, 3)
    assert lookup(elements, "ImageIndex") == [1, 2, 3]
    assert lookup(elements, "NumberOfSlices") == [3] * 3
    assert lookup(elements, "SeriesDate") == ["20210203"] * 3
    assert lookup(elements, "SeriesTime") == ["101500"] * 3


# -- which kind ------------------------------------------------------------------------------------

FOR = [
    (MR_CLASS, "MR", "mri"),
    (ENHANCED_MR, "MR", "mri"),
    (f"{MR_CLASS}.4", "MR", "mri"),
    (CT_CLASS, "CT", "ct"),
    (ENHANCED_CT, "CT", "ct"),
    (f"{CT_CLASS}.2", "CT", "ct"),
    (PET_CLASS, "PT", "pet"),
    (ENHANCED_PET, "PT", "pet"),
    (f"{PET_CLASS}.1", "PT", "pet"),
    (CR.sop_class, "CR", "cr"),
    ("", "MR", "mri"),
    ("1.2.840.10008.5.1.4.1.1.30", "MR", "mri"),  # Parametric Map
    ("1.2.840.10008.5.1.4.1.1.30", "CT", "sc"),
    (SC_CLASS, "MR", "sc"),
    ("1.2.840.10008.5.1.4.1.1.1.1", "DX", "sc"),
    ("1.2.840.10008.5.1.4.1.1.6.1", "US", "sc"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "sc"),
    ("", "", "sc"),
]


@pytest.mark.parametrize(("sop_class", "modality", "name"), FOR)
def test_kind_for(sop_class: str, modality: str, name: str) -> None:
    kind = kind_for(sop_class, modality, colour=False)
    assert kind.name == name
    assert kind.modality == (modality or "OT")
    assert not kind.colour
    colour = kind_for(sop_class, modality, colour=True)
    assert (colour.name, colour.colour, colour.modality) == ("sc", True, modality or "OT")
    assert colour.sop_class == SC_CLASS


def test_no_such_kind() -> None:
    with pytest.raises(InvalidValue, match=r"'pit' is no kind .* 'mri', 'ct', 'pet', 'sc'"):
        kind_named("pit")


@pytest.mark.parametrize(
    ("types", "wanted"),
    [(None, "HU"), (["HU", "HU"], "HU"), (["US", "US"], "US"), (["HU", "Z_EFF"], "US"),
     (["MGML", "MGML"], "MGML"), ([None, "HU"], "HU")],
)  # fmt: skip
def test_rescale_type_of_ct(types: list[str] | None, wanted: str) -> None:
    elements: Elements = {}
    if types:
        elements[key_of("RescaleType")] = per_image("RescaleType", types)
    assert rescale_type(KINDS["ct"], elements) == wanted
    assert rescale_type(KINDS["mri"], elements) == ""


# -- from real scanners ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DicomWarning)
        opened = db.database(testdata, index=tmp_path_factory.mktemp("index") / "index.sqlite")
        yield opened
        opened.close()


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")  # of odd values in the sources
def test_derived_from_real_series(database: Any, tmp_path: Path) -> None:
    kinds: dict[str, int] = {}
    wrong: dict[str, set[str]] = {}
    for number, series in enumerate(database.series()):
        first = series.instances()[0]
        if first.SOPClassUID in (None, RT_DOSE):
            continue  # dciodvfy knows nothing of the source, or breaks down over it
        try:
            array = first.array()
        except DbdicomError:
            continue  # no pixels, or none that can be read
        array = array[dict.fromkeys(set(array.dims) - {"x", "y", "channel"}, 0)]
        colour = "channel" in array.dims
        kind = kind_for(first.SOPClassUID, first.Modality or "", colour=colour)
        elements = derived(sources_of(array, None), kind)
        elements.update(image_planes(array, sources_of(array, None)))
        complete(kind, identified(elements), 1)
        path = tmp_path / f"{number}.dcm"
        values = array.transpose("y", "x", ...).values
        values = values.astype(np.uint8) if colour else values
        write(path, elements, kind, values)
        found = new_errors(path, first.file)
        if found:
            wrong[str(first.file)] = {kind.name, *found}
        kinds[kind.name] = kinds.get(kind.name, 0) + 1
    assert wrong == {}
    assert kinds["mri"] > 60
    assert kinds["ct"] > 20
    assert kinds["sc"] > 60
    assert kinds["cr"] > 4
