"""A worker that is killed from outside while an array is written: as if nothing had been."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.testing import make_study

pytestmark = pytest.mark.slow

COUNT = 60


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_worker_is_killed_while_an_array_is_written(client: Any, tmp_path: Path) -> None:
    root = tmp_path / "dicom"
    make_study(root, patients=1, studies=1, series=1, images=COUNT)
    database = db.database(root)
    (series,) = database.series()
    array, _ = series.array("InstanceNumber", chunks={"InstanceNumber": 2})
    assert len(array.chunks[0]) == COUNT // 2
    slowly = lambda block: (time.sleep(0.1), block + 1)[1]  # noqa: E731  # by value
    new = series.new_sibling(SeriesDescription="plus one")
    pids = client.run(os.getpid)
    inside = root / ".dbdicom_xr"
    written: list[Path] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while len(written) < COUNT // 4 and time.monotonic() < until:
            written[:] = inside.glob("writing/*/images/*.dcm")
            time.sleep(0.01)
        os.kill(next(iter(pids.values())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    array.copy(data=array.data.map_blocks(slowly, dtype=array.dtype)).dicom.write(new)
    killer.join()
    assert COUNT // 4 <= len(written) < COUNT
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != set(pids.values())

    again, header = new.array("InstanceNumber")
    assert again.shape == array.shape
    np.testing.assert_array_equal(again.values, array.values + 1)
    assert len(new.instances()) == len(set(header.SOPInstanceUID.ravel())) == COUNT
    assert not list(inside.glob("writing/*"))
    assert len(list(inside.rglob("*.dcm"))) == COUNT  # staged
    database.save()
    assert not list(inside.rglob("*.dcm"))
    files = [path for path in root.rglob("*") if path.is_file() and inside not in path.parents]
    assert len(files) == 2 * COUNT
    uids = [
        pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for path in files
    ]
    assert len(set(uids)) == 2 * COUNT
    database.close()
