"""Write written_objects.md: what programs of others find in series that were written from arrays.

``python docs/make_written_table.py`` from the folder of the project, with the public scanner files
of DBDICOM_XR_TESTDATA; it works on a copy of them. Takes about 15 minutes. Names of ways as
arguments (``unchanged mean``) leave out the others.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import dbdicom_xr as db  # noqa: E402
from tests.data import testdata_folder  # noqa: E402
from tests.emit.rewritten import WAYS, Judgement, judge_series  # noqa: E402

PAGE = ROOT / "docs" / "written_objects.md"
HEAD = """# Written objects before judges from outside

Each series of images among the public files of scanners was read as an array and written to a new
series beside it. Of what was written, the first and the last file are looked at by programs of
others.

- *way*: what was done with the array. `unchanged`: nothing. `mean`: the mean over all images.
  `crop`, `flip`: along `x` and `y`. `RLE`, `JPEG-LS`: another transfer syntax. `multiframe`: one
  Enhanced MR object. `map`: a Parametric Map of 32-bit floats.
- *error*: the largest difference of a value, as pydicom reads it, to that of the source, as pydicom
  reads it, in parts of the range of values. 0 is exact; 7.6e-06 is half a step of 16 bits. Empty
  where images have no single source, or pydicom reads none.
- *new errors*: those that `dciodvfy -new` finds in the new file and not in its sources.
- *read by*: which of DCMTK (`dcmdump`), GDCM, SimpleITK and highdicom read the file with the same
  values. SimpleITK is not asked about objects whose frames differ in slope and intercept: it takes
  those of the first frame for all.

`python docs/make_written_table.py` writes this page.

"""


def row(folder: Path, images: int, one: Judgement) -> str:
    """Return a line of the table."""
    name = one.source.relative_to(folder).as_posix()
    if one.refused:
        return f"| `{name}` | {one.way} | refused | {images} |  |  |  | {one.refused[:90]} ... |"
    error = f"{one.error / one.span if one.span else one.error:.2g}" if one.checked else ""
    readers = ", ".join(
        reader if agrees else f"**not {reader}**" for reader, agrees in one.readers.items()
    )
    said = [*sorted(one.new_errors), *dict.fromkeys(one.wrong)]
    said += [f"lacks {name}" for name in sorted(one.missing)]
    said += [f"says otherwise {name}" for name in sorted(one.differing)]
    note = "; ".join(said).replace("|", "\\|").replace("<", "&lt;")
    return (
        f"| `{name}` | {one.way} | {one.sop_class.removesuffix(' Storage')} | {one.files} | "
        f"{error} | {len(one.new_errors)} | {readers} | {note} |"
    )


def judged_all(folder: Path, ways: Sequence[str]) -> list[tuple[int, Judgement]]:
    """Write the series of a folder in each way, and judge them."""
    found: list[tuple[int, Judgement]] = []
    with db.database(folder) as database:
        for series in database.series():
            for name in ways:
                one = judge_series(series, WAYS[name], most=2)
                if one is not None:
                    found.append((len(series.instances()), one))
        database.restore()
    return found


def totals(found: Sequence[tuple[int, Judgement]]) -> list[str]:
    """Return the lines of the table of sums."""
    lines = [
        "| way | series | refused | exact | largest error | new errors | misread | headers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.way for _, one in found):
        all_of = [one for _, one in found if one.way == name]
        some = [one for one in all_of if not one.refused]
        checked = [one for one in some if one.checked]
        errors: list[float] = [one.error / (one.span or 1.0) for one in checked]
        count: Counter[str] = Counter()
        for one in some:
            count["errors"] += len(one.new_errors)
            count["misread"] += not all(one.readers.values())
            count["headers"] += bool(one.missing or one.differing or one.wrong)
        exact = f"{sum(error < 1e-6 for error in errors)} of {len(errors)}" if errors else ""
        largest = f"{max(errors):.2g}" if errors else ""
        lines.append(
            f"| {name} | {len(all_of)} | {len(all_of) - len(some)} | {exact} | {largest} | "
            f"{count['errors']} | {count['misread']} | {count['headers']} |"
        )
    return [
        *lines,
        "",
        "*misread*: files that a program does not read with equal values; *headers*: series in "
        "which something else is noted below.",
        "",
    ]


def main(*arguments: str) -> Any:
    """Write, judge and make the page."""
    testdata = testdata_folder()
    if testdata is None:
        sys.exit("The scanner files are missing; DBDICOM_XR_TESTDATA names their folder.")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "data"  # images are written into it
        shutil.copytree(testdata, folder, ignore=shutil.ignore_patterns(".dbdicom_xr"))
        found = judged_all(folder, arguments or list(WAYS))
        lines = [
            *totals(found),
            "| first file | way | class written | files | error | new errors | read by | note |",
            "|---|---|---|---|---|---|---|---|",
            *(row(folder, images, one) for images, one in found),
        ]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE, *totals(found), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
