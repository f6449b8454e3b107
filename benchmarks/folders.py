"""The files that are read: made when first asked for, shared by all benchmarks of a run.

What makes them is imported when it is used: the processes that are timed import this module too.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A header of 17 kB, of an EPI series of GE.
SCANNED = Path(__file__).parents[2] / "shared/data/nih/In/20180918GE/mr_0006"


@dataclass(frozen=True)
class Sizes:
    """How much is measured, and how often."""

    study: int = 5_000  # files of the first open, with a private block of 70 kB
    private_bytes: int = 70_000
    dynamic: int = 1_000  # frames of the series whose pixels are computed
    slices: int = 20
    shape: tuple[int, int] = (256, 256)
    many: int = 100_000  # frames of the series of which arrays are only built
    million: int = 1_000_000
    series: int = 10_000
    tree: int = 2_000  # series of five images
    written: float = 10.0  # GiB of pixels in files that are written
    turns: int = 5


QUICK = Sizes(
    study=40, private_bytes=7_000, dynamic=24, slices=4, shape=(32, 32), many=60, million=2_000,
    series=20, tree=20, written=0.01, turns=1,
)  # fmt: skip


class Folders:
    """Makes each folder once.

    Parameters
    ----------
    home : Path
        Where the folders are made; those of an earlier run with the same sizes are used again.
    sizes : Sizes
    """

    def __init__(self, home: Path, sizes: Sizes) -> None:
        self.home = home
        self.sizes = sizes
        self._fresh: set[str] = set()

    def study(self) -> str:
        """5,000 images of 256 x 256 with 100 elements and a private block of 70 kB."""
        s = self.sizes
        return self._made(f"study-{s.study}", s.study, shape=s.shape, private_bytes=s.private_bytes)

    def dynamic(self) -> str:
        """1,000 images of 256 x 256: 50 times of 20 slices, every image at a time of its own."""
        s = self.sizes
        return self._made(f"dynamic-{s.dynamic}", s.dynamic, shape=s.shape, slices=s.slices)

    def volume(self) -> str:
        """1,000 images of 256 x 256, all at different slices."""
        s = self.sizes
        return self._made(f"volume-{s.dynamic}", s.dynamic, shape=s.shape)

    def scanned(self) -> str:
        """1,000 images of 256 x 256 with the header of a scanner, where shared data are there."""
        n, shape = self.sizes.dynamic, self.sizes.shape

        def make(folder: Path) -> None:
            import numpy as np
            from pydicom import dcmread

            dataset = dcmread(next(SCANNED.glob("*.dcm")))
            dataset.Rows, dataset.Columns = shape
            for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
                dataset.pop(keyword, None)
            folder.mkdir(parents=True)
            rng = np.random.default_rng(0)
            for number in range(n):
                dataset.SOPInstanceUID = f"2.25.{number + 1}"
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                dataset.InstanceNumber = number + 1
                dataset.ImagePositionPatient = [0.0, 0.0, 2.0 * number]
                dataset.SliceLocation = 2.0 * number
                dataset.PixelData = rng.integers(0, 4096, shape).astype("<i2").tobytes()
                dataset.save_as(folder / f"{number:06d}.dcm")

        return self._indexed(f"scanned-{n}", make) if SCANNED.is_dir() else self.volume()

    def small(self) -> str:
        """A series to warm up with."""
        return self._made("small", 12, shape=(8, 8), slices=3)

    def many(self) -> str:
        """100,000 images of 4 x 4 in folders of 1,000: 1,000 times of 100 slices."""
        n = self.sizes.many
        return self._made(f"many-{n}", n, shape=(4, 4), slices=min(100, n // 4), per_folder=1_000)

    def tree(self) -> str:
        """2,000 series of five images of 8 x 8."""
        n = self.sizes.tree

        def make(folder: Path) -> None:
            from dbdicom_xr.testing import make_many

            for number in range(n):
                make_many(folder / f"{number:05d}", 5, shape=(8, 8), seed=number)

        return self._indexed(f"tree-{n}", make)

    def shuffled(self) -> str:
        """The same files under names that do not follow the order of the images, as UIDs do not."""
        source = Path(self.many())

        def make(folder: Path) -> None:
            files = sorted(source.rglob("*.dcm"))
            numbers = random.Random(0).sample(range(10**9), len(files))
            folder.mkdir(parents=True)
            for file, number in zip(files, numbers, strict=True):
                (folder / f"{number:09d}.dcm").hardlink_to(file)

        return self._indexed(f"shuffled-{self.sizes.many}", make)

    def _made(self, name: str, n: int, **options: object) -> str:
        def make(folder: Path) -> None:
            from dbdicom_xr.testing import make_many

            print(f"  making {n:,} files ...", flush=True)
            make_many(folder, n, **options)  # type: ignore[arg-type]

        return self._indexed(name, make)

    def _indexed(self, name: str, make: Callable[[Path], None]) -> str:
        """Return a folder with an index that this version has made."""
        from dbdicom_xr import database

        folder = self.once(name, make)
        if folder not in self._fresh:
            shutil.rmtree(Path(folder, ".dbdicom_xr"), ignore_errors=True)
            database(folder).close()
            self._fresh.add(folder)
        return folder

    def once(self, name: str, make: Callable[[Path], None]) -> str:
        """Return a folder, made where it is missing; one that was not finished is made again."""
        folder = self.home / name
        if not folder.is_dir():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
        return str(folder)


# Where a folder keeps its index.
INDEX = Path(".dbdicom_xr", "index.sqlite")


def files_of(folder: str) -> list[str]:
    """Return the files of a folder by name."""
    return sorted(str(path) for path in Path(folder).rglob("*.dcm"))
