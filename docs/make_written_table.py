"""Write written_objects.md: what programs of others find in series that were written from arrays.

``python docs/make_written_table.py`` from the folder of the project, with the public scanner files
of DBDICOM_XR_TESTDATA; it works on a copy of them. Takes about 6 minutes. Names of ways as
arguments (``crop RLE``) take these instead of the usual ones; ``tests/emit/rewritten.py`` has them.
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
OFF = "off by more than half a step"
HALF_A_STEP = 1 / 65_534 / 2 * 1.001  # of the range; the last digits are those of DS
HEAD = """---
orphan: true
---

# Written objects before judges from outside

Each series of images among the public files of scanners was read as an array, something was done
with it, and it was written to a new series beside. Of what was written, the first and the last file
are looked at by programs of others.

"""
DEFAULT = ("unchanged", "mean", "multiframe", "map")
TOLD = {
    "unchanged": "the array as it is, one file per image",
    "mean": "the mean over all images, in 64-bit floats, with their header",
    "crop": "without some columns and rows; values are not compared",
    "flip": "the columns in reverse order; values are not compared",
    "RLE": "the array as it is, compressed with RLE",
    "JPEG-LS": "the array as it is, compressed with JPEG-LS",
    "multiframe": "the array of an MR series as one Enhanced MR object",
    "map": "the array in 32-bit floats, as Parametric Maps",
}
COLUMNS = """
- *error*: the largest difference of a value, as pydicom reads it, to that of the source, as pydicom
  reads it, or to the mean of the sources, which numpy computes in 64-bit floats. In parts of the
  range of the values. 0 is exact; 7.6e-06 is half a step of 16 bits, as floats may be off.
  Empty where nothing was compared: the source has no UID to be named by, or pydicom does not decode
  it, or does not tell how many tiles it has.
- *new errors*: those that `dciodvfy -new` finds in the new file and not in its sources.
- *read by*: which of DCMTK (`dcmdump`), GDCM and SimpleITK read the file with the same values; of
  maps DCMTK and highdicom. SimpleITK is not asked about objects whose frames differ in slope and
  intercept: it takes those of the first frame for all. A write leaves such where nothing else is
  exact, and warns.

`python docs/make_written_table.py` writes this page.

"""
# Why something is not as it should be, by what the table says of it.
REASONS = {
    "3 channels of uint16": "DICOM has colours of 8 bits; those of these palettes have 16. The "
    "message says how to scale them.",
    "several orientations": "The mean of images in several directions lies nowhere.",
    "neither its frames nor its series": "A series without SeriesInstanceUID, of one image: after "
    "the mean nothing is left by which to find it. `header=` tells.",
    "SliceThickness is empty": "The frames of an Enhanced MR object must have a thickness, and the "
    "source has none. `SliceThickness=` tells.",
    "lacks TemporalPositionIndex": "The source says it beside the functional groups, where it has "
    "no meaning; the image says TemporalPositionIdentifier.",
    OFF: "The array that was read is of 32-bit floats. Against that array it is half a step at "
    "most; their rounding, up to 6e-8 of each value, comes on top, which counts where values are "
    "large beside their range.",
}


def relative_error(one: Judgement) -> float:
    """Return the error in parts of the range of values."""
    return one.error / (one.span or 1.0)


def notes(one: Judgement) -> list[str]:
    """Return what is not as it should be."""
    if one.refused:
        return [one.refused]
    said = [*sorted(one.new_errors), *dict.fromkeys(one.wrong)]
    said += [f"lacks {name}" for name in sorted(one.missing)]
    said += [f"says otherwise {name}" for name in sorted(one.differing)]
    said += [f"not read by {name}" for name, agrees in one.readers.items() if not agrees]
    if one.checked and relative_error(one) > HALF_A_STEP:
        said.append(OFF)
    return said


def row(folder: Path, images: int, one: Judgement) -> str:
    """Return a line of the table."""
    name = one.source.relative_to(folder).as_posix()
    if one.refused:
        return f"| `{name}` | {one.way} | refused | {images} |  |  |  | {one.refused[:90]} ... |"
    error = f"{relative_error(one):.2g}" if one.checked else ""
    readers = ", ".join(reader for reader, agrees in one.readers.items() if agrees)
    note = "; ".join(notes(one)).replace("|", "\\|").replace("<", "&lt;")
    return (
        f"| `{name}` | {one.way} | {one.sop_class.removesuffix(' Storage')} | {one.files} | "
        f"{error} | {len(one.new_errors)} | {readers} | {note} |"
    )


def explained(found: Sequence[tuple[int, Judgement]]) -> list[str]:
    """Return the lines that say why things are not as they should be."""
    count: Counter[str] = Counter()
    unknown = []
    for _, one in found:
        for note in notes(one):
            reason = next((text for part, text in REASONS.items() if part in note), None)
            count[reason or ""] += 1
            if reason is None:
                unknown.append(f"- **not explained**: {one.way}, `{one.source.name}`: {note}")
    lines = [f"- {number} x: {reason}" for reason, number in count.most_common() if reason]
    return ["## Why not all is as it should be", "", *lines, *unknown, ""] if count else []


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
        "| way | series | refused | compared | exact | within half a step | largest error | "
        "new errors | misread | headers |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.way for _, one in found):
        all_of = [one for _, one in found if one.way == name]
        some = [one for one in all_of if not one.refused]
        errors = [relative_error(one) for one in some if one.checked]
        count: Counter[str] = Counter()
        for one in some:
            count["errors"] += len(one.new_errors)
            count["misread"] += not all(one.readers.values())
            count["headers"] += bool(one.missing or one.differing or one.wrong)
        largest = f"{max(errors):.2g}" if errors else ""
        lines.append(
            f"| {name} | {len(all_of)} | {len(all_of) - len(some)} | {len(errors)} | "
            f"{sum(error < 1e-6 for error in errors)} | "
            f"{sum(error <= HALF_A_STEP for error in errors)} | {largest} | "
            f"{count['errors']} | {count['misread']} | {count['headers']} |"
        )
    return [
        *lines,
        "",
        "*compared*: series whose values were compared; *exact*: to a millionth of the range; "
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
        ways = arguments or DEFAULT
        found = judged_all(folder, ways)
        lines = [
            *(f"- `{way}`: {TOLD[way]}" for way in ways),
            COLUMNS,
            *totals(found),
            *explained(found),
            "## Each series",
            "",
            "| first file | way | class written | files | error | new errors | read by | note |",
            "|---|---|---|---|---|---|---|---|",
            *(row(folder, images, one) for images, one in found),
        ]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE, *totals(found), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
