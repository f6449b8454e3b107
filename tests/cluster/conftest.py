"""A cluster of two processes, for all tests of this folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

import dbdicom_xr as db
from dbdicom_xr.testing import make_study


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 0}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=50,
        ) as made:  # fmt: skip
            yield made


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    import distributed

    with distributed.Client(cluster) as made:
        made.wait_for_workers(2)
        yield made


@pytest.fixture
def root(tmp_path: Path) -> str:
    make_study(tmp_path / "dicom", patients=2, studies=1, series=2, images=3)
    db.database(tmp_path / "dicom")._close()
    return str(tmp_path / "dicom")
