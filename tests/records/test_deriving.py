"""What images say that were computed from frames, against what pydicom reads in their sources."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import dbdicom_xr as db
from dbdicom_xr.emit.elements import Elements, key_of, lookup
from dbdicom_xr.emit.kinds import Kind, kind_for, kind_named
from dbdicom_xr.emit.tracing import DERIVATION
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import plain
from dbdicom_xr.records.levels import Series
from dbdicom_xr.records.reading.gathered import Sources
from dbdicom_xr.records.reading.sources import sources_of
from dbdicom_xr.records.writing.deriving import derived
from dbdicom_xr.testing import make_enhanced, make_many, make_mosaic, make_series
from tests.data import testdata_folder

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = {"SliceLocation": [0.0, 5.0, 10.0], "EchoTime": [2.0, 4.0]}
MR = kind_named("mri")
# Identity is for others to tell; the rest is told anew.
ANEW = {
    "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    "InstanceNumber", "ImageType", "InstanceCreationDate", "InstanceCreationTime", "ContentDate",
    "ContentTime", "SourceImageSequence", "DerivationDescription", "ContributingEquipmentSequence",
    "SpecificCharacterSet",
}  # fmt: skip
OF_PIXELS = {
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "SmallestImagePixelValue",
    "LargestImagePixelValue", "PixelPaddingValue", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "WindowCenter", "WindowWidth", "PixelData", "NumberOfFrames",
}  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Without what pydicom and the index say of odd files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def opened(path: Path) -> Series:
    (series,) = db.database(path).series()
    return series


def of_series(series: Series, reduced: Iterable[int] | None = None) -> Sources:
    """Every frame by itself, or the frames between these places in one image each."""
    table = series._own_table
    rows = np.flatnonzero(table.places["offset"][table.instance_of] >= 0)
    starts = np.arange(len(rows) + 1) if reduced is None else np.array(list(reduced))
    shape = (len(starts) - 1,)
    return Sources(
        series.database, (table,), np.zeros(len(rows), np.intp), rows, starts, ("n",), shape
    )


def value_of(dataset: Dataset, element: Any) -> Any:
    """Return the value as this package gives it, sequences as their text."""
    value = plain(element.value)
    return str(value) if element.VR == "SQ" else value


def said(elements: Elements, keyword: str) -> list[Any]:
    values = lookup(elements, keyword)
    return [] if values is None else values


def columns(elements: Elements, image: int) -> dict[Key, Any]:
    found = {}
    for key, column in elements.items():
        if (code := column.code(image)) >= 0:
            value = column.decoded()[code]
            found[key] = str(value) if column.kinds[column.kind_of[code]].vr == "SQ" else value
    return found


def in_pydicom(dataset: Dataset) -> dict[Key, Any]:
    """Return the elements of a classic image by key, private ones by creator."""
    found: dict[Key, Any] = {}
    for element in dataset:
        tag = int(element.tag)
        if element.tag.is_private:
            if element.tag.is_private_creator:
                continue
            key = Key(tag & 0xFFFF00FF, element.private_creator or "")
        else:
            key = Key(tag)
        found[key] = value_of(dataset, element)
    return found


def told(keywords: Iterable[str]) -> set[Key]:
    return {key_of(keyword) for keyword in keywords}


# -- one frame per image ---------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_an_image_from_one_says_what_it_said(tmp_path: Path, modality: str, syntax: str) -> None:
    header = {
        "PatientComments": "Grüße",
        "WindowCenter": 40.0,
        "WindowWidth": 400.0,
        "PixelPaddingValue": 0,
        "AcquisitionTime": "101112.5",
    }
    made = make_series(tmp_path, modality=modality, transfer_syntax=syntax, header=header)
    kind = kind_for(str(made.datasets[0].SOPClassUID), modality, colour=False)
    array, _ = opened(tmp_path).array("SliceLocation")
    elements = derived(sources_of(array, None), kind, now=NOW)
    gone = told(ANEW | OF_PIXELS)
    for image, file in enumerate(made.files):
        dataset = pydicom.dcmread(file)
        wanted = {k: v for k, v in in_pydicom(dataset).items() if k not in gone}
        got = columns(elements, image)
        assert {k: got.get(k, "missing") for k in wanted} == wanted
        assert not set(got) & told(OF_PIXELS)
        assert got.keys() - wanted.keys() == told(
            ["ImageType", "InstanceCreationDate", "InstanceCreationTime", "ContentDate",
             "ContentTime", "SourceImageSequence", "DerivationDescription",
             "ContributingEquipmentSequence"]
        )  # fmt: skip
        assert got[key_of("ImageType")] == ["DERIVED", *dataset.ImageType[1:]]
        assert got[key_of("DerivationDescription")] == DERIVATION
        assert got[key_of("ContentDate")] == "20260301"
        (item,) = said(elements, "SourceImageSequence")[image]
        assert item.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
        assert item.ReferencedSOPClassUID == dataset.SOPClassUID
        assert "ReferencedFrameNumber" not in item
    for column in elements.values():
        assert column.rows == 3
        assert not any(one.implicit or one.big_endian for one in column.kinds)
        assert {one.charset for one in column.kinds} <= {b"", b"ISO_IR 192"}


def add_what_describes_pixels(dataset: Dataset, index: tuple[int, ...]) -> None:
    philips = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    philips.add_new(0x0D, "FL", 0.0)
    philips.add_new(0x0E, "FL", 0.25)
    philips.add_new(0x11, "CS", "M")
    toshiba = dataset.private_block(0x700D, "TOSHIBA_MEC_MR3", create=True)
    toshiba.add_new(0x00, "DS", "12.5")
    lut = Dataset()
    lut.LUTDescriptor = [2, 0, 16]
    lut.LUTData = b"\0\0\1\0"
    dataset.VOILUTSequence = Sequence([lut])
    mapping = Dataset()
    mapping.RealWorldValueSlope = 3.0
    dataset.RealWorldValueMappingSequence = Sequence([mapping])
    icon = Dataset()
    icon.Rows = 1
    dataset.IconImageSequence = Sequence([icon])
    dataset.add_new(0x60000010, "US", 16)
    dataset.add_new(0x60003000, "OW", b"\0" * 32)
    dataset.add_new(0x60000022, "LO", "a drawing")
    signature = Dataset()
    signature.MACIDNumber = 1
    dataset.DigitalSignaturesSequence = Sequence([signature])
    source = Dataset()
    source.ReferencedSOPInstanceUID = "1.2.3"
    dataset.SourceImageSequence = Sequence([source])
    equipment = Dataset()
    equipment.Manufacturer = "De-identifier"
    dataset.ContributingEquipmentSequence = Sequence([equipment])
    dataset.DerivationDescription = "Denoised"
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = "12.5"
    dataset.PresentationLUTShape = "INVERSE"
    dataset.TimezoneOffsetFromUTC = "+1300"


def test_what_describes_other_pixels_goes(tmp_path: Path) -> None:
    make_series(tmp_path, header=add_what_describes_pixels)
    series = opened(tmp_path)
    elements = derived(of_series(series), MR, now=NOW)
    gone = told(
        ["VOILUTSequence", "RealWorldValueMappingSequence", "IconImageSequence",
         "DigitalSignaturesSequence", "PresentationLUTShape"]
    )  # fmt: skip
    before = set(series._own_table.keys)
    assert gone <= before
    assert not gone & set(elements)
    assert not [key for key in elements if key.tag >> 16 in (0x6000, 0xFFFA, 0x0002)]
    private = {key for key in elements if key.creator and "DBDICOM" not in key.creator}
    assert private == {Key(0x20050011, "Philips MR Imaging DD 001")}
    assert said(elements, "LossyImageCompression") == ["01"] * 3
    assert said(elements, "LossyImageCompressionRatio") == [12.5] * 3
    assert said(elements, "DerivationDescription") == [f"Denoised; {DERIVATION}"] * 3
    assert said(elements, "ContentDate") == ["20260302"] * 3
    assert said(elements, "ContentTime") == ["010000.000000"] * 3
    assert [len(items) for items in said(elements, "SourceImageSequence")] == [1] * 3
    assert said(elements, "SourceImageSequence")[0][0].ReferencedSOPInstanceUID != "1.2.3"
    for items in said(elements, "ContributingEquipmentSequence"):
        assert [item.Manufacturer for item in items] == ["De-identifier", "dbdicom_xr"]


# -- several frames per image ----------------------------------------------------------------------


def test_an_image_from_several_says_what_they_agree_in(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys=KEYS, per_frame={"HeartRate": [[[60], [70]]] * 3})
    array, _ = opened(tmp_path).array(["SliceLocation", "EchoTime"])
    elements = derived(sources_of(array.mean("EchoTime"), None), MR, now=NOW)
    for image in range(3):
        behind = made.datasets[2 * image : 2 * image + 2]
        files = made.files[2 * image : 2 * image + 2]
        every = [in_pydicom(pydicom.dcmread(file)) for file in files]
        same = {
            key
            for key in every[0]
            if all(key in one and one[key] == every[0][key] for one in every[1:])
        }
        got = columns(elements, image)
        gone = told(ANEW | OF_PIXELS)
        assert {k: got.get(k, "missing") for k in same - gone} == {
            k: every[0][k] for k in same - gone
        }
        assert key_of("EchoTime") not in got
        assert [
            str(item.ReferencedSOPInstanceUID)
            for item in said(elements, "SourceImageSequence")[image]
        ] == [str(dataset.SOPInstanceUID) for dataset in behind]
    assert said(elements, "SliceLocation") == [0.0, 5.0, 10.0]


def test_what_an_image_cannot_be_without_comes_from_the_first(tmp_path: Path) -> None:
    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.ScanningSequence = "SE" if index[0] else "GR"
        dataset.EchoTrainLength = 1 + index[0]

    made = make_series(tmp_path, header=header)
    elements = derived(of_series(opened(tmp_path), [0, 3]), MR, now=NOW)
    first = made.datasets[0]
    assert said(elements, "ImagePositionPatient") == [
        [float(x) for x in first.ImagePositionPatient]
    ]
    assert said(elements, "ScanningSequence") == ["GR"]
    assert said(elements, "EchoTrainLength") == []  # Type 2: left to be empty
    assert said(elements, "SliceLocation") == []


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["ORIGINAL\\PRIMARY\\M\\ND"] * 3, ["DERIVED", "PRIMARY", "M", "ND"]),
        (
            ["ORIGINAL\\PRIMARY\\M\\ND", "ORIGINAL\\PRIMARY\\P\\ND", "DERIVED\\PRIMARY\\M\\ND"],
            ["DERIVED", "PRIMARY", "OTHER", "ND"],
        ),
        (
            ["ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\M\\ND", "ORIGINAL\\SECONDARY\\M"],
            ["DERIVED", "SECONDARY", "M"],
        ),
        ([None, None, None], ["DERIVED", "SECONDARY", "OTHER"]),
        (["ORIGINAL\\PRIMARY\\lower case"] * 3, ["DERIVED", "PRIMARY", "lower case"]),
    ],
)
def test_image_type_of_several(
    tmp_path: Path, types: list[str | None], expected: list[str]
) -> None:
    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        text = types[index[0]]
        dataset.ImageType = [] if text is None else text.split("\\")

    with quiet():
        make_series(tmp_path, header=header)
    elements = derived(of_series(opened(tmp_path), [0, 3]), MR, now=NOW)
    assert said(elements, "ImageType") == [expected]


def test_what_is_lossy_or_shows_names_in_one_source_is_so(tmp_path: Path) -> None:
    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.LossyImageCompression = "01" if index[0] == 1 else "00"
        dataset.BurnedInAnnotation = "YES" if index[0] == 2 else "NO"

    make_series(tmp_path, header=header)
    elements = derived(of_series(opened(tmp_path), [0, 1, 3]), MR, now=NOW)
    assert said(elements, "LossyImageCompression") == ["00", "01"]
    assert said(elements, "BurnedInAnnotation") == ["NO", "YES"]


def test_more_than_a_thousand_sources_are_named_by_their_series(tmp_path: Path) -> None:
    made = make_many(tmp_path, 1001, shape=(2, 2))
    series = opened(tmp_path)
    elements = derived(of_series(series, [0, 1000, 1001]), MR, now=NOW)
    assert [value and len(value) for value in said(elements, "SourceImageSequence")] == [1000, 1]
    elements = derived(of_series(series, [0, 1001]), MR, now=NOW)
    assert said(elements, "SourceImageSequence") == []
    ((item,),) = said(elements, "RelatedSeriesSequence")
    dataset = pydicom.dcmread(made.files[0])
    assert item.SeriesInstanceUID == dataset.SeriesInstanceUID
    assert item.StudyInstanceUID == dataset.StudyInstanceUID
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_gaps_have_no_sources(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, drop=[(1, 1, 0)])
    with quiet():
        array, _ = opened(tmp_path).array(["SliceLocation", "EchoTime"], align="value")
    elements = derived(sources_of(array, None), MR, now=NOW)
    assert [value is None for value in said(elements, "SourceImageSequence")] == [
        False, False, False, True, False, False,
    ]  # fmt: skip
    assert said(elements, "EchoTime") == [2.0, 4.0, 2.0, None, 2.0, 4.0]


def test_two_series(tmp_path: Path) -> None:
    made = [
        make_series(tmp_path / name, seed=seed, header={"SeriesDescription": name})
        for seed, name in enumerate("ab")
    ]
    tables = tuple(
        series._own_table
        for series in sorted(db.database(tmp_path).series(), key=lambda s: s.SeriesDescription)
    )
    # Each image from one frame of either.
    order = np.array([0, 0, 1, 1, 2, 2])
    sources = Sources(
        db.database(tmp_path), tables, np.array([0, 1] * 3), order, np.arange(0, 7, 2), ("n",), (3,)
    )
    elements = derived(sources, MR, now=NOW)
    for image, items in enumerate(said(elements, "SourceImageSequence")):
        assert {str(item.ReferencedSOPInstanceUID) for item in items} == {
            str(one.datasets[image].SOPInstanceUID) for one in made
        }
    assert said(elements, "SeriesDescription") == []
    assert len(said(elements, "FrameOfReferenceUID")) == 3


def test_the_same_frames_give_the_same(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, header=add_what_describes_pixels)
    series = opened(tmp_path)
    packed = [
        {key: column.pack() for key, column in derived(of_series(series), MR, now=NOW).items()}
        for _ in range(2)
    ]
    assert packed[0] == packed[1]
    assert list(packed[0]) == list(packed[1])


def test_what_was_derived_can_be_derived_from(tmp_path: Path) -> None:
    """Descriptions do not grow, and equipment is told each time."""

    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.ImageType = ["DERIVED", "PRIMARY", "M"]
        dataset.DerivationDescription = DERIVATION

    make_series(tmp_path, header=header)
    elements = derived(of_series(opened(tmp_path)), MR, now=NOW)
    assert said(elements, "DerivationDescription") == [DERIVATION] * 3
    assert said(elements, "ImageType") == [["DERIVED", "PRIMARY", "M"]] * 3


# -- enhanced objects and mosaics ------------------------------------------------------------------


def test_frames_of_enhanced_objects_speak_as_classic_images(tmp_path: Path) -> None:
    keys = {**KEYS, "AcquisitionTime": [32460.0, 32520.5]}
    make_enhanced(tmp_path / "enhanced", keys=keys, shuffle=3)
    classic = make_series(tmp_path / "classic", keys=keys)
    array, _ = opened(tmp_path / "enhanced").array(list(keys))
    elements = derived(sources_of(array, None), MR, now=NOW)
    for keyword in (
        "EchoTime", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FlipAngle",
        "RepetitionTime", "SliceThickness", "ImagedNucleus", "ImagingFrequency", "PixelBandwidth",
        "SequenceName", "MRAcquisitionType", "MagneticFieldStrength", "NumberOfAverages",
        "NumberOfPhaseEncodingSteps", "InPlanePhaseEncodingDirection", "SAR",
    ):  # fmt: skip
        wanted = [plain(dataset[keyword].value) for dataset in classic.datasets]
        assert said(elements, keyword) == wanted, keyword
    times = [float(value) for value in said(elements, "AcquisitionTime")]
    assert times == [float(dataset.AcquisitionTime) for dataset in classic.datasets]
    assert said(elements, "AcquisitionDate") == ["20240229"] * 12
    assert said(elements, "ImageType") == [["DERIVED", "PRIMARY", "DYNAMIC", "NONE"]] * 12
    assert not told(
        ["EffectiveEchoTime", "FrameType", "FrameAcquisitionDateTime", "ResonantNucleus",
         "TransmitterFrequency", "PulseSequenceName", "DimensionIndexValues", "StackID",
         "InStackPositionNumber", "SharedFunctionalGroupsSequence", "DimensionIndexSequence",
         "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence", "NumberOfFrames",
         "MREchoSequence", "FrameContentSequence", "PixelMeasuresSequence"]
    ) & set(elements)  # fmt: skip
    assert not any(
        kind.vr == "SQ" and key.tag >> 16 in (0x0018, 0x0020, 0x0028)
        for key, column in elements.items()
        for kind in column.kinds
        if key != key_of("ContributingEquipmentSequence")
    )
    assert key_of("AnatomicRegionSequence") in elements
    uid = pydicom.dcmread(next((tmp_path / "enhanced").glob("*.dcm"))).SOPInstanceUID
    numbers = set()
    for (item,) in said(elements, "SourceImageSequence"):
        assert item.ReferencedSOPInstanceUID == uid
        numbers.add(int(item.ReferencedFrameNumber))
    assert numbers == set(range(1, 13))


def test_empty_sequences_of_frames_go(tmp_path: Path) -> None:
    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        anatomy = dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
        anatomy.AnatomicRegionSequence = Sequence([])
        dataset.ProcedureCodeSequence = Sequence([])

    make_enhanced(tmp_path, header=header)
    elements = derived(of_series(opened(tmp_path)), MR, now=NOW)
    assert key_of("AnatomicRegionSequence") not in elements
    assert key_of("ProcedureCodeSequence") in elements


def test_a_reduction_of_an_enhanced_object(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys=KEYS)
    array, _ = opened(tmp_path).array(list(KEYS))
    elements = derived(sources_of(array.mean("EchoTime"), None), MR, now=NOW)
    assert said(elements, "EchoTime") == []
    assert said(elements, "FlipAngle") == [15.0] * 3
    frames = [item.ReferencedFrameNumber for (item,) in said(elements, "SourceImageSequence")]
    assert frames == [[1, 2], [3, 4], [5, 6]]
    whole = derived(of_series(opened(tmp_path), [0, 6]), MR, now=NOW)
    ((item,),) = said(whole, "SourceImageSequence")
    assert "ReferencedFrameNumber" not in item


@pytest.mark.parametrize("vendor", ["siemens", "uih"])
def test_tiles_of_a_mosaic_are_images(tmp_path: Path, vendor: str) -> None:
    made = make_mosaic(tmp_path, vendor=vendor)
    series = opened(tmp_path)
    assert len(series._own_table) > len(made.files)
    elements = derived(of_series(series), MR, now=NOW)
    for words in said(elements, "ImageType"):
        assert not {"MOSAIC", "VFRAME"} & set(words)
        assert words[0] == "DERIVED"
    creators = ("SIEMENS CSA HEADER", "SIEMENS MR HEADER", "Image Private Header")
    assert not [key for key in elements if key.creator in creators and key.tag & 0xFF in (
        0x0A, 0x10, 0x50, 0x51,
    )]  # fmt: skip
    positions = said(elements, "ImagePositionPatient")
    assert positions == [frame.ImagePositionPatient for frame in frames_of(series)]
    assert len({tuple(one) for one in positions}) > 1
    for items in said(elements, "SourceImageSequence"):
        assert len(items) == 1
        assert "ReferencedFrameNumber" not in items[0]
    whole = derived(of_series(series, [0, len(series._own_table)]), MR, now=NOW)
    (items,) = said(whole, "SourceImageSequence")
    assert len(items) == len(made.files)


def frames_of(series: Series) -> list[Any]:
    return of_series(series).frames()


# -- real files ------------------------------------------------------------------------------------

DATA = testdata_folder()
REAL = ["ge", "philips", "dcmstack", "uih", "canon61/cl", "philips_enh/cl", "nih"]


@pytest.mark.skipif(DATA is None, reason="no test data")
@pytest.mark.parametrize("name", REAL)
def test_real_images_say_what_they_said(name: str, tmp_path: Path) -> None:
    assert DATA is not None
    with quiet():
        database = db.database(DATA / name, index=tmp_path / "index")
        for series in database.series()[:4]:
            table = series._own_table
            if "PixelData" not in pydicom.dcmread(series.instances()[0].file):
                continue
            kind = kind_for(series.SOPClassUID[0], series.Modality[0], colour=False)
            elements = derived(of_series(series), kind, now=NOW)
            frames = frames_of(series)
            for image in sorted({0, len(frames) // 2, len(frames) - 1}):
                check_against_pydicom(elements, image, frames[image], table)


def check_against_pydicom(elements: Elements, image: int, frame: Any, table: Any) -> None:
    dataset = pydicom.dcmread(frame.file, stop_before_pixels=True)
    source = in_pydicom(dataset)
    got = columns(elements, image)
    anew = told(ANEW)
    tiled = not table.is_classic
    compared = 0
    for key, value in got.items():
        if key in anew or (tiled and key in told(["ImagePositionPatient", "SliceLocation"])):
            continue
        if table.column(key) is None:  # of a tile
            continue
        compared += 1
        if not isinstance(value, str) or not value.startswith("["):
            assert same(value, source[key]), key
    assert compared > 40
    assert not told(OF_PIXELS) & set(got)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, bytes) != isinstance(other, bytes):  # a VR that only one of the two knows
        return True
    return one == other or {str(one), str(other)} == {"None", "[]"}  # a sequence without items


@pytest.mark.skipif(DATA is None, reason="no test data")
@pytest.mark.parametrize("name", ["canon61/enh", "philips_enh/enh", "xa30", "enh"])
def test_real_enhanced_objects(name: str, tmp_path: Path) -> None:
    assert DATA is not None
    with quiet():
        database = db.database(DATA / name, index=tmp_path / "index")
        checked = 0
        for series in database.series():
            table = series._own_table
            if table.is_classic or series.SOPClassUID[0] != "1.2.840.10008.5.1.4.1.1.4.1":
                continue
            elements = derived(of_series(series), MR, now=NOW)
            datasets = {
                one.SOPInstanceUID: pydicom.dcmread(one.file, stop_before_pixels=True)
                for one in series.instances()
            }
            rows = of_series(series).rows.tolist()
            for image in sorted({0, len(rows) // 2, len(rows) - 1}):
                row = rows[image]
                dataset = datasets[table.uids[table.instance_of[row]]]
                check_enhanced(elements, image, dataset, int(table.frame_numbers[row]) - 1)
            checked += 1
            if checked == 3:
                break
        assert checked


def group_of(dataset: Dataset, frame: int, keyword: str) -> Any:
    for groups in (
        dataset.PerFrameFunctionalGroupsSequence[frame],
        dataset.SharedFunctionalGroupsSequence[0],
    ):
        if keyword in groups and groups[keyword].value:
            return groups[keyword].value[0]
    return Dataset()


def check_enhanced(elements: Elements, image: int, dataset: Dataset, frame: int) -> None:
    def got(keyword: str) -> Any:
        values = said(elements, keyword)
        return values[image] if values else None

    content = group_of(dataset, frame, "FrameContentSequence")
    moment = str(content.FrameAcquisitionDateTime)
    assert got("AcquisitionDate") == moment[:8]
    assert got("AcquisitionTime") == moment[8:]
    frame_type = group_of(dataset, frame, "MRImageFrameTypeSequence").FrameType
    assert got("ImageType")[1:] == list(frame_type)[1:]
    echo = group_of(dataset, frame, "MREchoSequence").get("EffectiveEchoTime")
    if echo is not None:
        assert got("EchoTime") == pytest.approx(echo, rel=1e-9)
    timing = group_of(dataset, frame, "MRTimingAndRelatedParametersSequence")
    assert got("RepetitionTime") == float(timing.RepetitionTime)
    assert got("FlipAngle") == float(timing.FlipAngle)
    position = group_of(dataset, frame, "PlanePositionSequence").ImagePositionPatient
    assert got("ImagePositionPatient") == [float(one) for one in position]
    weighting = group_of(dataset, frame, "MRDiffusionSequence").get("DiffusionBValue")
    assert got("DiffusionBValue") == weighting
    assert got("MagneticFieldStrength") == float(dataset.MagneticFieldStrength)
    (item,) = said(elements, "SourceImageSequence")[image]
    assert item.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    if int(dataset.NumberOfFrames) > 1:
        assert item.ReferencedFrameNumber == frame + 1


def test_a_kind_decides_how_many_values_image_type_has(tmp_path: Path) -> None:
    make_series(tmp_path, header={"ImageType": None})
    kinds: list[Kind] = [kind_named(name) for name in ("mri", "ct", "pet", "sc")]
    series = opened(tmp_path)
    assert [said(derived(of_series(series), kind, now=NOW), "ImageType")[0] for kind in kinds] == [
        ["DERIVED", "SECONDARY", "OTHER"],
        ["DERIVED", "SECONDARY", "AXIAL"],
        ["DERIVED", "PRIMARY"],
        ["DERIVED", "SECONDARY"],
    ]
