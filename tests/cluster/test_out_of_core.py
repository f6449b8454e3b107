"""A series larger than the memory that a process may hold."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.testing import make_dce

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted by Linux")
def test_a_mean_of_3_gib_needs_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    from benchmarks.child import run_apart
    from benchmarks.outofcore import work_through

    found = run_apart(work_through, home=str(tmp_path), times=308, virtual=True).result
    assert found["GiB"] > 3
    assert found["peak"] < 0.6


def test_a_copy_for_a_cluster(client: Any, tmp_path: Path) -> None:
    make_dce(tmp_path / "dicom")
    database = db.database(tmp_path / "dicom")
    series = database.series()[0]
    array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
    wanted = array.std("TemporalPositionIdentifier").values
    copy = array.dicom.cache(tmp_path / "shared")
    for turn in range(2):
        found = copy.std("TemporalPositionIdentifier")
        np.testing.assert_array_equal(found.values, wanted)
        made = series.new_sibling(SeriesDescription=f"{turn}").set_array(found)
        np.testing.assert_allclose(made.array("SliceLocation")[0], wanted, atol=0.01)
    del copy, found
    assert os.listdir(tmp_path / "shared") == []
    database.close(save=False)
