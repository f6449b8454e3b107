"""Write nifti_references.md: dcm2niix and ``export_as_nifti`` beside each other.

``python docs/make_nifti_table.py`` from the folder of the project, with the public scanner files
of DBDICOM_XR_TESTDATA.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.data import testdata_folder  # noqa: E402
from tests.formats.references import Comparison, candidates, compare, export_all  # noqa: E402

PAGE = ROOT / "docs" / "nifti_references.md"
HEAD = """# NIfTI beside dcm2niix

Public files of scanners come with what [dcm2niix](https://github.com/rordenlab/dcm2niix) makes of
them. Here each of these results stands beside what `export_as_nifti` makes of the same files. Both
are brought to RAS (left to right, back to front, foot to head) before they are compared.

- *affine*: the largest difference between the two matrices; up to 0.001 is the same.
- *voxels*: the largest difference, in steps between stored numbers; below one half, all stored
  numbers are equal.
- *gradients*: the largest difference in `.bval` (s/mm²) and `.bvec`.

`python docs/make_nifti_table.py` writes this page.

"""
NOTES = {
    "_ph.nii.gz": "dcm2niix rounds the slope of Philips phase images to 11 bits; stored numbers "
    "are equal",
}


def row(one: Comparison) -> str:
    """Return a line of the table."""
    name = one.reference.name
    gradients = ", ".join(f"{off:.1g}" for off in one.gradients.values()) or ""
    note = next((text for end, text in NOTES.items() if name.endswith(end)), "")
    if one.file is None:
        note = "no file of this shape was exported"
    yes = "yes" if one.is_reproduced else "**no**"
    shape = "x".join(map(str, one.shape))
    return (
        f"| {one.reference.parent.parent.name} | `{name}` | {shape} | {yes} | {one.affine:.1g} | "
        f"{one.steps:.1g} | {gradients} | {note} |"
    )


def main() -> None:
    """Export, compare and write the page."""
    testdata = testdata_folder()
    if testdata is None:
        sys.exit("The scanner files are missing; DBDICOM_XR_TESTDATA names their folder.")
    with tempfile.TemporaryDirectory() as folder:
        exported = export_all(testdata, Path(folder))
        found = [
            compare(path, candidates(path, exported))
            for path in sorted(testdata.glob("*/Ref/*.nii*"))
        ]
    count = sum(one.is_reproduced for one in found)
    lines = [
        f"Reproduced: **{count} of {len(found)}**.\n",
        "| set | file | shape | reproduced | affine | voxels | gradients | note |",
        "|---|---|---|---|---|---|---|---|",
        *map(row, found),
    ]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{PAGE}: {count} of {len(found)}")


if __name__ == "__main__":
    main()
