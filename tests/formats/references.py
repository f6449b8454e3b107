"""What dcm2niix made of scanner files, beside what this package makes of them.

The folders ``<set>/Ref`` of the test data hold it. Both are brought to RAS before voxels are
compared; gradients are compared where both files have the same axes.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning

AFFINE = 1e-3  # mm
# dcm2niix takes the slope of Philips phase images as a difference of two numbers of 32 bits, which
# leaves 11 bits of it: 7e-5 of the value, a quarter of a stored step at the end of the range.
STEPS = 0.5


@dataclass
class Comparison:
    """A reference, and the exported file that is most like it."""

    reference: Path
    shape: tuple[int, ...] = ()
    file: Path | None = None
    affine: float = np.inf
    steps: float = np.inf
    gradients: dict[str, float] = field(default_factory=dict)

    @property
    def is_reproduced(self) -> bool:
        """Whether affine and voxels agree."""
        return self.affine <= AFFINE and self.steps < STEPS


def folders_of(testdata: Path) -> dict[str, list[Path]]:
    """Return the folders of each set: those with classic and enhanced twins have two."""
    found = {}
    for folder in sorted(path.parent for path in testdata.glob("*/Ref")):
        twins = [folder / name for name in ("cl", "enh") if (folder / name).is_dir()]
        found[folder.name] = twins or [folder / "In"]
    return found


def export_all(testdata: Path, out: Path) -> dict[str, list[Path]]:
    """Export every folder that has references; return the files by ``set/folder``."""
    found = {}
    for name, folders in folders_of(testdata).items():
        for folder in folders:
            key = f"{name}/{folder.name}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DicomWarning)  # there are reports among the images
                database = db.database(folder, index=out / f"{name}_{folder.name}.sqlite")
                database.mute()
                files = database.export_as_nifti(out / key)
                database.close()
            found[key] = [Path(file) for file in files]
    return found


def candidates(reference: Path, exported: dict[str, list[Path]]) -> list[Path]:
    """Return the files that may be the same as a reference: of its set, and of its twin."""
    name = reference.parent.parent.name
    parts = [key for key in exported if key.startswith(f"{name}/")]
    if len(parts) > 1:
        wanted = "enh" if "_enh" in reference.name else "cl"
        parts = [f"{name}/{wanted}"]
    return [file for part in parts for file in exported[part]]


def ras(path: Path) -> tuple[Any, Any, float]:
    """Return affine and voxels in RAS, and the step between stored numbers."""
    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    voxels = np.asanyarray(image.dataobj)
    if voxels.dtype.names:
        voxels = np.stack([voxels[name] for name in "RGB"], axis=-1)
    return image.affine, voxels.astype(np.float64), float(nibabel.load(path).dataobj.slope)


def compare(reference: Path, files: list[Path]) -> Comparison:
    """Return how near the nearest of some files is to a reference."""
    affine, voxels, step = ras(reference)
    best = Comparison(reference, voxels.shape)
    for file in files:
        other_affine, other, _ = ras(file)
        if other.shape != voxels.shape:
            continue
        off = float(np.abs(affine - other_affine).max())
        steps = float(np.abs(voxels - other).max()) / abs(step)
        if (off > AFFINE, steps) < (best.affine > AFFINE, best.steps):
            best = Comparison(reference, voxels.shape, file, off, steps)
    if best.file is not None:
        best.gradients = gradients(start_of(reference), start_of(best.file))
    return best


def start_of(path: Path) -> Path:
    """Return the name of an image without its ending."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii"))


def gradients(reference: Path, start: Path) -> dict[str, float]:
    """Return how far ``.bval`` and ``.bvec`` are off; infinite where only one side has them."""
    found = {}
    for ending in (".bval", ".bvec"):
        theirs, own = (Path(f"{path}{ending}") for path in (reference, start))
        if not theirs.exists() and not own.exists():
            continue
        found[ending] = np.inf
        if theirs.exists() and own.exists():
            a, b = np.loadtxt(theirs), np.loadtxt(own)
            found[ending] = float(np.abs(a - b).max()) if a.shape == b.shape else np.inf
    return found


def sidecars(comparison: Comparison) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the side-car of a reference, and of the file like it."""
    assert comparison.file is not None
    paths = (Path(f"{start_of(p)}.json") for p in (comparison.reference, comparison.file))
    theirs, own = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    return theirs, own
