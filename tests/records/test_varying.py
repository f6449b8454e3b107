"""``series.varying()`` of headers that hold more than images need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.testing import make_series


def test_overlays_have_attributes_that_vary(tmp_path: Path) -> None:
    made = make_series(tmp_path)
    for number, path in enumerate(made.files):
        dataset: Dataset = pydicom.dcmread(path)
        values: list[tuple[int, str, Any]] = [(0x0010, "US", 16), (0x0011, "US", 12)]
        values += [(0x0022, "LO", f"overlay {number}"), (0x0100, "US", 1)]
        for element, vr, value in values:
            dataset.add_new((0x6000, element), vr, value)
        dataset.save_as(path)
    table = db.database(tmp_path).series()[0].varying()
    assert "SliceLocation" in table.index
    assert table.loc["OverlayDescription", "distinct"] == len(made.files)
