"""``array.attrs["units"]``: what the real values are in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, GridError
from dbdicom_xr.testing import make_enhanced, make_series

CT = "1.2.840.10008.5.1.4.1.1.2"
PET = "1.2.840.10008.5.1.4.1.1.128"


def series_of(folder: Path, **options: Any) -> Any:
    make_series(folder, **options)
    return db.database(folder).series()[0]


def real_world(*maps: tuple[float, float, str, str]) -> list[Dataset]:
    made = []
    for slope, intercept, label, unit in maps:
        item, code = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
        item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 65535
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
        item.LUTLabel = label
        item.MeasurementUnitsCodeSequence = [code]
        made.append(item)
    return made


CASES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"RescaleType": "mrad"}, "mrad"),
    ({"RescaleType": "US"}, None),
    ({"RescaleType": "normalized"}, None),
    ({"RescaleType": ""}, None),
    ({"RescaleType": "us"}, "us"),
    ({"RescaleType": "milliseconds"}, "ms"),  # else xarray makes timedeltas of stored arrays
    ({"RescaleType": "days since 2000-01-01"}, None),  # and dates
    ({"RescaleType": "HU", "Modality": "CT", "SOPClassUID": CT}, "HU"),
    ({"Modality": "CT", "SOPClassUID": CT}, "HU"),
    ({"RescaleType": "US", "Modality": "CT", "SOPClassUID": CT}, None),
    ({"Modality": "PT", "SOPClassUID": PET, "Units": "BQML"}, "Bq/ml"),
    ({"Modality": "PT", "SOPClassUID": PET, "Units": "NONE"}, None),
    ({"RealWorldValueMappingSequence": real_world((2, -100, "Philips", "mrad"))}, "mrad"),
    ({"RealWorldValueMappingSequence": real_world((3, -100, "T2", "ms"))}, None),  # other values
    ({"RealWorldValueMappingSequence": real_world((2, -100, "none", "1"))}, None),
]


@pytest.mark.parametrize(("header", "expected"), CASES)
def test_the_unit_that_the_header_tells(
    header: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    series = series_of(tmp_path, header=header, slope=2, intercept=-100)
    found = (
        series.array()[0], series.array("SliceLocation")[0], series.volume()[0],
        series.instances()[0].array(), xr.open_dataset(tmp_path, engine="dicom").pixels,
    )  # fmt: skip
    assert [array.attrs.get("units") for array in found] == [expected] * 5
    assert "units" not in series.array(rescale=False)[0].attrs
    (written,) = series.export_as_zarr(tmp_path / "written")
    stored = xr.open_dataset(written, engine="zarr", consolidated=False).pixels
    assert stored.dtype.kind in "iuf"
    assert stored.attrs.get("units") == expected


def test_the_unit_of_a_real_world_value_map(tmp_path: Path) -> None:
    maps = real_world((2, 0, "T2", "ms"), (5, 1, "angle", "mrad"))
    series = series_of(tmp_path, header={"RealWorldValueMappingSequence": maps})
    units = [series.array(rescale=label)[0].attrs.get("units") for label in ("T2", "angle", True)]
    assert units == ["ms", "mrad", None]


def magnitude_and_phase(folder: Path, *types: str) -> Any:
    return series_of(
        folder,
        keys={"SliceLocation": [0, 5, 10], "AcquisitionNumber": [1, 2]},
        per_frame={
            "RescaleType": np.array(types).reshape(1, 2, 1),
            "ImageType": np.array(
                [["ORIGINAL", "PRIMARY", "M", "NONE"], ["ORIGINAL", "PRIMARY", "P", "NONE"]]
            ).reshape(1, 2, 1, 4),
        },
        slope=2,
        intercept=-100,
    )


def test_several_units_are_none_and_that_is_said(tmp_path: Path) -> None:
    series = magnitude_and_phase(tmp_path, "normalized", "mrad")
    with pytest.warns(DicomWarning, match="3 in mrad, 3 do not say.*split_by.'image_type'") as told:
        array, _ = series.array(["SliceLocation", "image_type"])
    assert len(told) == 1
    assert told[0].filename == __file__
    assert "units" not in array.attrs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series.array(rescale=False)
        phase = series.volume(image_type="PHASE")[0]
        parts = series.split_by("image_type")
        units = {name: part.array()[0].attrs.get("units") for name, part in parts.items()}
    assert phase.attrs["units"] == "mrad"
    assert units == {"MAGNITUDE": None, "PHASE": "mrad"}
    series.database.close(save=False)


def two_types(dataset: Dataset, _: Any) -> None:
    """Make every second frame of an enhanced object phase, in mrad."""
    (shared,) = dataset.SharedFunctionalGroupsSequence
    for keyword in ("PixelValueTransformationSequence", "MRImageFrameTypeSequence"):
        if keyword in shared:
            delattr(shared, keyword)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        scale, frame_type = Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = 2, -100
        scale.RescaleType = "mrad" if number % 2 else "normalized"
        kind = "P" if number % 2 else "M"
        frame_type.FrameType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
        frame_type.ComplexImageComponent = "PHASE" if number % 2 else "MAGNITUDE"
        group.PixelValueTransformationSequence = [scale]
        group.MRImageFrameTypeSequence = [frame_type]


def test_several_units_in_one_file(tmp_path: Path) -> None:
    make_enhanced(
        tmp_path, keys={"SliceLocation": [0, 5], "TemporalPositionIndex": [1, 2]}, header=two_types
    )
    with db.database(tmp_path) as database:
        (series,) = database.series()
        with pytest.warns(DicomWarning, match="in mrad") as told:
            array, _ = series.array(["SliceLocation", "image_type"])
        # A file is not taken apart: what is advised has to work.
        assert "split_by" not in str(told[0].message)
        with pytest.raises(GridError):
            series.split_by("image_type")
        assert array.sel(image_type="PHASE").shape == (2, 1, 16, 12)


def test_units_that_say_nothing_do_not_differ(tmp_path: Path) -> None:
    array, _ = magnitude_and_phase(tmp_path, "normalized", "US").array()
    assert "units" not in array.attrs


def test_what_is_written_says_its_unit_only_when_told(tmp_path: Path) -> None:
    # Arithmetic of xarray keeps attributes, whatever becomes of the values.
    series = series_of(tmp_path, header={"RescaleType": "mrad"}, slope=2, intercept=-100)
    array, _ = series.array("SliceLocation")
    plain = (array / 1000).dicom.write(series.new_sibling())
    told = (array / 1000).dicom.write(series.new_sibling(), RescaleType="rad")
    assert "units" not in plain.array()[0].attrs
    assert told.array()[0].attrs["units"] == "rad"
    exact = (array / 1000).dicom.write(series.new_sibling(), dtype="float32", RescaleType="rad")
    assert exact.array()[0].attrs["units"] == "rad"
    series.database.close(save=False)


def test_phase_of_philips_is_in_mrad(testdata: Path, tmp_path: Path) -> None:
    for name in ("cl", "enh"):  # the enhanced one says it in its real world value map
        database = db.database(testdata / "philips_enh" / name, index=tmp_path / name)
        (series,) = database.series(SeriesDescription="*Field*")
        array, _ = series.volume(image_type="PHASE", EchoTime=min(series.EchoTime))
        assert array.attrs["units"] == "mrad"
        assert -3143 < float(array.min()) < -3000


def test_warnings_point_at_the_line_of_the_user_through_xarray(tmp_path: Path) -> None:
    database = magnitude_and_phase(tmp_path, "normalized", "mrad").database
    for opening in (
        lambda: xr.open_dataset(tmp_path, engine="dicom"),
        lambda: [leaf.pixels for leaf in xr.open_datatree(tmp_path, engine="dicom").leaves],
        lambda: [leaf.pixels for leaf in database.to_datatree().leaves],
    ):
        with pytest.warns(DicomWarning, match="several units") as told:
            opening()
        assert {one.filename for one in told} == {__file__}
