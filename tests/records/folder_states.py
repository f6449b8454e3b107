"""A small folder in which everything can be staged, and all that is to be known of its state."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom

import dbdicom_xr as db
from dbdicom_xr.errors import SaveRecovered
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_study

Act = Callable[[Any], Any]


def make_folder(root: Path, images: int = 3) -> None:
    make_study(root, patients=1, studies=1, series=2, images=images)
    with opened(root):
        pass


def opened(root: Path) -> Any:
    return db.database(root)


def files_of(root: Path) -> dict[str, bytes]:
    """All files, by path, but those of the index and of what is staged."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(("index.sqlite", "staging.sqlite"))
    }


def described(database: Any, pixels: bool = False) -> dict[str, Any]:
    """What the database shows: each instance with all its elements, and its pixels as an array."""
    instances = {}
    for instance in database.instances():
        written = io.BytesIO()
        dataset = instance.dataset()
        dataset.save_as(written)
        values = b""
        if pixels and "PixelData" in dataset:
            values = np.ascontiguousarray(instance.array().values).tobytes()
        instances[instance.uid] = (
            instance.StudyInstanceUID, instance.SeriesInstanceUID,
            hashlib.sha1(written.getvalue()).hexdigest(), hashlib.sha1(values).hexdigest(),
        )  # fmt: skip
    changes = sorted(map(str, database.changes().fillna("").itertuples(index=False, name=None)))
    return {
        "instances": instances,
        "tree": sorted(str(series.path) for series in database.series()),
        "changes": changes,
    }


def state_of(root: Path, pixels: bool = False) -> dict[str, Any]:
    """Open a folder and return its whole state, with what the opening said of a save."""
    with (
        warnings.catch_warnings(record=True) as said,
        use_front_end(ScriptedFrontEnd()),
        dask.config.set(scheduler="synchronous"),  # a forked process has no pool of threads
    ):
        warnings.simplefilter("always")
        database = opened(root)
        found = described(database, pixels)
        problems = list(database.problems)
        database._close()
    others = [str(w.message) for w in said if w.category is not SaveRecovered]
    assert not others, others
    assert not problems, problems
    recovered = [str(w.message) for w in said if w.category is SaveRecovered]
    staging = root / ".dbdicom_xr" / "staging.sqlite"
    left = {}
    if staging.exists() and staging.stat().st_size:  # killed before it was begun: empty, and none
        connection = sqlite3.connect(staging)
        for table, where in (("patch", "waiting"), ("save", "1"), ("save_step", "1"),
                             ("save_folder", "1")):  # fmt: skip
            sql = f"SELECT count(*) FROM {table} WHERE {where}"
            left[table] = connection.execute(sql).fetchone()[0]
        connection.close()
    assert not any(left.values()), left
    found["files"] = {path: hashlib.sha1(data).hexdigest() for path, data in files_of(root).items()}
    for path in found["files"]:
        pydicom.dcmread(root / path)
    folders = [path for path in root.rglob("*") if path.is_dir()]
    found["folders"] = sorted(p.relative_to(root).as_posix() for p in folders)
    return {"state": found, "said": recovered}


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Say in which places two states differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            found += differences(one.get(key), other.get(key), f"{at}/{key}")
        return found
    return [] if one == other else [f"{at}: {one!r} / {other!r}"]
