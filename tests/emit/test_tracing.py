"""What images say of where they come from."""

import io
import time
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dbdicom_xr._version import __version__
from dbdicom_xr.emit import tracing
from dbdicom_xr.emit.elements import Elements, lookup
from dbdicom_xr.emit.kinds import kind_named
from dbdicom_xr.emit.obsolete import is_obsolete, is_of_a_mosaic
from dbdicom_xr.emit.tracing import (
    DERIVATION,
    Origins,
    derived_image_type,
    described,
    equipment_item,
    moments,
    source_images,
    untraced,
    with_equipment,
    with_related_series,
)
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.staging.encode import encode
from dbdicom_xr.staging.items import element

NOW = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=UTC)
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"


def read(tag: int, value: bytes) -> Dataset:
    """Read a sequence with pydicom alone."""
    raw = element(tag, "SQ", value, False, False).raw
    return dcmread(io.BytesIO(bytes(128) + b"DICM" + raw), force=True)


def origins(
    counts: list[int], frames: list[list[tuple[int, int]]], sop_class: str = ENHANCED
) -> Origins:
    flat = [one for image in frames for one in image]
    return Origins(
        [sop_class] * len(counts),
        [f"1.2.3.{number}" for number in range(len(counts))],
        np.array(counts),
        np.array([instance for instance, _ in flat], np.intp),
        np.array([number for _, number in flat], np.intp),
        np.cumsum([0, *map(len, frames)]),
    )


def items_of(column: Column | None, image: int) -> list[tuple[str, object]] | None:
    if column is None or column.code(image) < 0:
        return None
    value = column.values[column.code(image)]
    assert isinstance(value, bytes)
    items = read(0x00082112, value).SourceImageSequence
    for item in items:
        (purpose,) = item.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
        assert item.ReferencedSOPClassUID == ENHANCED
    return [
        (str(item.ReferencedSOPInstanceUID), item.get("ReferencedFrameNumber")) for item in items
    ]


@pytest.mark.parametrize(
    ("counts", "frames", "expected"),
    [
        ([1], [[(0, 1)]], [("1.2.3.0", None)]),
        ([1, 1], [[(1, 1), (0, 1)]], [("1.2.3.1", None), ("1.2.3.0", None)]),
        ([9], [[(0, 7)]], [("1.2.3.0", 7)]),
        ([9], [[(0, 7), (0, 2)]], [("1.2.3.0", [2, 7])]),
        ([3], [[(0, 3), (0, 1), (0, 2)]], [("1.2.3.0", None)]),  # the whole object
        ([3, 1], [[(0, 3), (1, 1), (0, 1)]], [("1.2.3.0", [1, 3]), ("1.2.3.1", None)]),
        ([1], [[(0, 1), (0, 1)]], [("1.2.3.0", None)]),  # the tiles of a mosaic
        ([1], [[]], None),  # a gap
    ],
)
def test_sources_are_instances_with_the_frames_that_were_used(
    counts: list[int], frames: list[list[tuple[int, int]]], expected: object
) -> None:
    column, too_many = source_images(origins(counts, frames))
    assert items_of(column, 0) == expected
    assert too_many.tolist() == [False]


def test_each_image_has_its_own_sources_and_equal_ones_are_kept_once() -> None:
    column, _ = source_images(origins([1, 1], [[(0, 1)], [], [(1, 1)], [(0, 1)]]))
    assert column is not None
    assert column.codes_of().tolist() == [0, -1, 1, 0]
    assert items_of(column, 2) == [("1.2.3.1", None)]


def test_too_many_sources_are_not_listed() -> None:
    most = tracing.MOST_REFERENCES
    frames = [[(one, 1) for one in range(most)], [(one, 1) for one in range(most + 1)]]
    column, too_many = source_images(origins([1] * (most + 1), frames))
    assert too_many.tolist() == [False, True]
    listed = items_of(column, 0)
    assert listed is not None
    assert len(listed) == most
    assert items_of(column, 1) is None


def test_too_many_frames_to_list_are_the_whole_object_or_none() -> None:
    frames = [(0, number) for number in range(1, 20_001)]
    column, too_many = source_images(origins([20_000], [frames, frames[:-1]]))
    assert too_many.tolist() == [False, True]
    assert items_of(column, 0) == [("1.2.3.0", None)]


def test_an_instance_without_uid_is_not_referred_to() -> None:
    nameless = Origins(
        [ENHANCED, "", ENHANCED], ["", "1.2", "1.2.3"], np.ones(3, int), np.arange(3),
        np.ones(3, int), np.array([0, 2, 3]),
    )  # fmt: skip
    column, too_many = source_images(nameless)
    assert items_of(column, 0) is None
    assert items_of(column, 1) == [("1.2.3", None)]
    assert not too_many.any()


def test_a_hundred_thousand_images_take_no_time() -> None:
    images = 100_000
    many = Origins(
        [MR] * images, [f"1.2.826.0.1.3680043.8.498.{number}" for number in range(images)],
        np.ones(images, int), np.arange(images), np.ones(images, int), np.arange(images + 1),
    )  # fmt: skip
    start = time.process_time()
    column, _ = source_images(many)
    assert time.process_time() - start < 3
    assert column is not None
    assert len(column.values) == images
    item = read(0x00082112, bytes(column.values[4711])).SourceImageSequence[0]  # type: ignore[arg-type]
    assert item.ReferencedSOPInstanceUID == "1.2.826.0.1.3680043.8.498.4711"


def test_related_series_keep_other_relations_and_replace_their_own() -> None:
    other = encode(
        0x00081250,
        {
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": "1.2.9",
            "PurposeOfReferenceCodeSequence": {
                "CodeValue": "122403",
                "CodingSchemeDesignator": "DCM",
                "CodeMeaning": "For Attenuation Correction",
            },
        },
    )
    assert other is not None
    once = with_related_series(other.value, [("1.2", "1.2.3"), ("", "1.2.4")])
    assert once is not None
    again = with_related_series(once.value, [("1.2", "1.2.5")])
    assert again is not None
    items = read(0x00081250, again.value).RelatedSeriesSequence
    assert [
        (str(item.SeriesInstanceUID), item.PurposeOfReferenceCodeSequence[0].CodeValue)
        for item in items
    ] == [("1.2.9", "122403"), ("1.2.5", "121322")]
    assert with_related_series(again.value, []) == other
    assert with_related_series(b"", []) is None
    assert with_related_series(b"damaged.", []) is None


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["ORIGINAL", "PRIMARY", "M", "ND"], "mri", ["DERIVED", "PRIMARY", "M", "ND"]),
        (["ORIGINAL", "PRIMARY", "M", "MOSAIC"], "mri", ["DERIVED", "PRIMARY", "M"]),
        (["ORIGINAL", "PRIMARY", "VFRAME", "X"], "mri", ["DERIVED", "PRIMARY", "X"]),
        (["DERIVED", "SECONDARY", "", "X"], "mri", ["DERIVED", "SECONDARY", "OTHER", "X"]),
        (["ORIGINAL"], "mri", ["DERIVED", "SECONDARY", "OTHER"]),
        ([], "ct", ["DERIVED", "SECONDARY", "AXIAL"]),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "ct", ["DERIVED", "PRIMARY", "LOCALIZER"]),
        ([], "pet", ["DERIVED", "PRIMARY"]),
        ([], "sc", ["DERIVED", "SECONDARY"]),
        (["MIXED", "PRIMARY", "ORIGINAL"], "sc", ["DERIVED", "PRIMARY"]),
    ],
)
def test_image_type(values: list[str], kind: str, expected: list[str]) -> None:
    assert derived_image_type(values, kind) == expected


def test_derivation_description_keeps_the_earlier_one_where_both_fit() -> None:
    assert described(None) == described("") == DERIVATION
    assert described("Denoised") == f"Denoised; {DERIVATION}"
    assert described(described("Denoised")) == described("Denoised")
    room = 1024 - len(DERIVATION) - 2
    assert len(described("x" * room)) == 1024
    assert described("x" * (room + 1)) == DERIVATION


def test_equipment_comes_last_and_keeps_earlier_items() -> None:
    earlier = encode(0x0018A001, {"Manufacturer": "Müller"})
    assert earlier is not None
    made = with_equipment(earlier.value, NOW)
    assert made.kind.charset == b"ISO_IR 192"
    assert made.value == earlier.value + equipment_item(NOW).value
    (item,) = read(0x0018A001, equipment_item(NOW).value).ContributingEquipmentSequence
    (purpose,) = item.PurposeOfReferenceCodeSequence
    assert (purpose.CodeValue, purpose.CodeMeaning) == ("109102", "Processing Equipment")
    assert (item.Manufacturer, item.SoftwareVersions) == ("dbdicom_xr", __version__)
    assert item.ContributionDateTime == "20260301123015.000250+0000"


@pytest.mark.parametrize(
    ("offset", "date", "clock"),
    [
        (None, "20260301", "123015.000250"),
        ("+1200", "20260302", "003015.000250"),
        ("-0330", "20260301", "090015.000250"),
        ("nonsense", "20260301", "123015.000250"),
        ("", "20260301", "123015.000250"),
    ],
)
def test_times_are_those_of_the_zone_of_the_image(
    offset: str | None, date: str, clock: str
) -> None:
    assert moments(NOW, offset) == {
        "InstanceCreationDate": date,
        "InstanceCreationTime": clock,
        "ContentDate": date,
        "ContentTime": clock,
    }


def test_images_from_nothing_name_what_made_them() -> None:
    elements: Elements = untraced(kind_named("mri"), 2, NOW)
    assert lookup(elements, "ImageType") == [["DERIVED", "SECONDARY", "OTHER"]] * 2
    assert lookup(elements, "ContentDate") == ["20260301"] * 2
    equipment = lookup(elements, "ContributingEquipmentSequence")
    assert equipment is not None
    assert equipment[1][0].Manufacturer == "dbdicom_xr"
    assert lookup(elements, "SourceImageSequence") is None
    assert lookup(untraced(kind_named("ct"), 1), "InstanceCreationDate") is not None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(0x00020010), True),
        (Key(0x00280010), True),
        (Key(0x00280008), True),
        (Key(0x00281050), True),
        (Key(0x00281053), True),
        (Key(0x00283000), True),
        (Key(0x00280106), True),
        (Key(0x00409096), True),
        (Key(0x60003000), True),
        (Key(0x60020010), True),
        (Key(0x50003000), True),
        (Key(0x00880200), True),
        (Key(0x00700001), True),
        (Key(0x7FE00010), True),
        (Key(0x7FE00008), True),
        (Key(0x52009230), True),
        (Key(0x00209222), True),
        (Key(0xFFFAFFFA), True),
        (Key(0xFFFCFFFC), True),
        (Key(0x00080000), True),
        (Key(0x00082112), True),
        (Key(0x00080005), True),
        (Key(0x3004000E), True),
        (Key(0x2005000E, "Philips MR Imaging DD 001"), True),
        (Key(0x2005000D, "Philips MR Imaging DD 001"), True),
        (Key(0x20050009, "Philips MR Imaging DD 005"), True),
        (Key(0x2005000F, "Philips MR Imaging DD 005"), True),
        (Key(0x70530000, "Philips PET Private Group"), True),
        (Key(0x700D0000, "TOSHIBA_MEC_MR3"), True),
        (Key(0x00990001, "DBDICOM_XR"), True),
        (Key(0x00290010), True),  # a private creator; blocks are numbered anew
        (Key(0x00291010), True),  # nobody's
        (Key(0x00280030), False),
        (Key(0x00280051), False),
        (Key(0x00282110), False),
        (Key(0x00282112), False),
        (Key(0x00280301), False),
        (Key(0x00180081), False),
        (Key(0x00541001), False),
        (Key(0x00190008, "SIEMENS MR HEADER"), False),
        (Key(0x0019000C, "SIEMENS MR HEADER"), False),
        (Key(0x00290010, "SIEMENS CSA HEADER"), False),
        (Key(0x00430039, "GEMS_PARM_01"), False),
        (Key(0x20050011, "Philips MR Imaging DD 001"), False),
        (Key(0x20010003, "Philips Imaging DD 001"), False),
    ],
)
def test_what_describes_pixels_does_not_hold_on(key: Key, expected: bool) -> None:
    assert is_obsolete(key) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(0x00290010, "SIEMENS CSA HEADER"), True),
        (Key(0x0019000A, "SIEMENS MR HEADER"), True),
        (Key(0x0019000C, "SIEMENS MR HEADER"), False),
        (Key(0x00650050, "Image Private Header"), True),
        (Key(0x00650051, "Image Private Header"), True),
        (Key(0x00290020, "SIEMENS CSA HEADER"), False),
    ],
)
def test_what_tells_of_tiles(key: Key, expected: bool) -> None:
    assert is_of_a_mosaic(key) is expected


def test_a_naive_moment_is_local() -> None:
    local = timezone(timedelta(hours=2))
    value = equipment_item(datetime(2026, 3, 1, tzinfo=local)).value
    assert b"20260301000000.000000+0200" in value
    assert b"20260301000000.000000" in equipment_item(datetime(2026, 3, 1)).value
