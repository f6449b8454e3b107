"""An index of many instances, without the files: for measuring what grows with their number.

Owns benchmarks of opening and browsing only; what reads pixels or looks at the folder needs files,
which `many.make_many` makes.
"""

from __future__ import annotations

import tempfile
from os import PathLike
from pathlib import Path

import numpy as np

from dbdicom_xr.index.blocks import PLACE, Block, Findings, SeriesKey
from dbdicom_xr.index.columns import Codes, Column, Key
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.update import Batch, apply
from dbdicom_xr.index.values import Kind
from dbdicom_xr.testing.headers import make_uid
from dbdicom_xr.testing.many import make_many

__all__ = ["make_index"]

_AT_ONCE = 20_000
_HEADER_BYTES = 5_000
_PIXEL_BYTES = 2 * 256 * 256


def make_index(
    path: str | PathLike[str],
    instances: int = 1_000_000,
    series: int = 10_000,
    *,
    series_per_study: int = 10,
    seed: int = 0,
) -> Path:
    """Write the index of a folder that does not exist, with about 100 elements per instance.

    Open it with ``dbdicom_xr.database(folder, index=path, refresh=False)``, where ``folder`` is
    any folder.

    Parameters
    ----------
    path : path-like
        The index file to be made.
    instances : int, default 1,000,000
        How many, of one frame each, evenly over the series.
    series : int, default 10,000
        How many.
    series_per_study : int, default 10
        Each study is of a patient of its own.
    seed : int, default 0
        Of the UIDs.

    Returns
    -------
    pathlib.Path
        The index file.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = make_index(Path(folder) / "index.sqlite", instances=60, series=3)
    ...     store = Store(path)
    ...     print([row.instances for row in store.series()], store.series()[0].modality)
    ...     store.close()
    [20, 20, 20] MR
    """
    store = Store(Path(path))
    template = _template(seed)
    sizes = np.diff(np.linspace(0, instances, series + 1).astype(int))
    batches: list[Batch] = []
    waiting = 0
    for number, size in enumerate(sizes.tolist()):
        study = number // series_per_study
        batches.append(_batch(template, number, study, size, f"{make_uid(seed, 'index')[:40]}"))
        waiting += size
        if waiting >= _AT_ONCE or number == series - 1:
            apply(store, batches)
            batches, waiting = [], 0
    store.close()
    return store.path


def _template(seed: int) -> dict[Key, Column]:
    with tempfile.TemporaryDirectory() as folder:
        made = make_many(folder, 1, shape=(0, 0), seed=seed)
        return gather([str(made.files[0])]).blocks[0].columns


def _batch(template: dict[Key, Column], number: int, study: int, size: int, stem: str) -> Batch:
    """Return one series as if its files had been read."""
    stem = stem.rstrip(".")
    uids = [f"{stem}.{study}.{number}.{i + 1}" for i in range(size)]
    key = SeriesKey(
        f"P{study:05d}", f"Synthetic^{study}", f"{stem}.{study}", f"{stem}.{study}.{number}"
    )
    same = {
        0x00100020: key.patient_id, 0x00100010: key.patient_name,
        0x0020000D: key.study_uid, 0x0020000E: key.series_uid,
        0x00200011: str(number % 100 + 1), 0x0008103E: f"series {number % 100 + 1}",
        0x00080020: f"20{study % 25:02d}{study % 12 + 1:02d}{study % 28 + 1:02d}",
    }  # fmt: skip
    each = {
        0x00020003: uids,
        0x00080018: uids,
        0x00200013: [str(i + 1) for i in range(size)],
        0x00201041: [f"{2.0 * i:.3f}" for i in range(size)],
        0x00200032: [f"0\\0\\{2.0 * i:.3f}" for i in range(size)],
        0x00080032: [f"{i % 24:02d}{i % 60:02d}{i % 59:02d}.{i % 10}" for i in range(size)],
    }
    columns = {
        name: Column(name, column.kinds, column.values, column.kind_of, None, size)
        for name, column in template.items()
    }
    for tag, text in same.items():
        columns[Key(tag)] = _column(template, Key(tag), [text], None, size)
    codes = np.arange(size, dtype=np.int32)
    for tag, texts in each.items():
        columns[Key(tag)] = _column(template, Key(tag), texts, codes, size)
    places = np.zeros(size, PLACE)
    places["file"] = np.arange(size)
    places["offset"] = _HEADER_BYTES
    places["length"] = _PIXEL_BYTES
    places["frames"] = 1
    places["element"] = 0x10
    version = (_HEADER_BYTES + _PIXEL_BYTES, 1)
    findings = Findings(
        blocks=[Block(key, columns, {}, places, uids)],
        versions=dict.fromkeys(range(size), version),
    )
    return Batch([f"P{study:05d}/{number:05d}/IM{i + 1:05d}.dcm" for i in range(size)], findings)


def _column(
    template: dict[Key, Column], key: Key, texts: list[str], codes: Codes | None, rows: int
) -> Column:
    kinds = template[key].kinds if key in template else (Kind("LO"),)
    if len(texts) == 1:
        codes = None
    return Column(key, kinds[:1], [text.encode() for text in texts], [0] * len(texts), codes, rows)
