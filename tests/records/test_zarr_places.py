"""Stores of zarr take their places: none is lost, none replaces another unasked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import FileExists
from dbdicom_xr.records import exporting_zarr
from dbdicom_xr.testing import make_series

pytest.importorskip("zarr")


@pytest.fixture
def series(tmp_path: Path) -> Any:
    make_series(tmp_path / "in", keys={"SliceLocation": [0, 5]})
    with db.database(tmp_path / "in") as database:
        yield database.series()[0]


def exported_before(series: Any, out: Path) -> None:
    """Make a store of stored values, as another program would."""
    out.mkdir(exist_ok=True)
    series.export_as_zarr(out, rescale=False)


def test_a_store_that_another_program_makes_meanwhile_stays(
    series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    exported_before(series, tmp_path / "other")
    (other,) = (tmp_path / "other").iterdir()
    consolidate = exporting_zarr.consolidate

    def meanwhile(*args: Any) -> None:
        consolidate(*args)
        if not (out / other.name).exists():
            shutil.copytree(other, out / other.name)

    monkeypatch.setattr(exporting_zarr, "consolidate", meanwhile)
    with pytest.raises(FileExists, match="meanwhile"):
        series.export_as_zarr(out)
    assert os.listdir(out) == [other.name]
    with xr.open_zarr(out / other.name) as plain:
        assert plain["pixels"].dtype == np.uint16


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
def test_a_former_store_comes_back_after_a_kill(series: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported_before(series, out)
    (store,) = out.iterdir()
    before = sorted((path.relative_to(out), path.stat().st_size) for path in out.rglob("*"))
    script = """
        import os, sys, dbdicom_xr as db
        from dbdicom_xr.formats import zarr_store
        rename = os.rename
        def killed(old, new):
            rename(old, new)
            if "former " in new:
                os._exit(9)
        series = db.database(sys.argv[1]).series()[0]
        zarr_store.os.rename = killed
        series.export_as_zarr(sys.argv[2], overwrite=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "in"), str(out)],
        check=False, cwd=Path(db.__file__).parent.parent, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr.decode()
    assert not store.exists()
    series.export_as_csv(out / "a.csv")
    (out / "a.csv").unlink()
    assert sorted((path.relative_to(out), path.stat().st_size) for path in out.rglob("*")) == before
