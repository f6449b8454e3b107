"""Damage files of every kind, and read them: ``python -m tests.fuzz --minutes 10``.

Whatever a file holds, reading it gives an array or one of this package's own exceptions: it does
not crash, hang, take memory without bound, or raise anything else. Files that do otherwise are
kept in the folder that is named at the end; ``--file`` reads one of them again.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, DicomWarning
from tests.data import testdata_files
from tests.fuzz.damage import damaged
from tests.fuzz.kinds import kinds

MEMORY = 6 << 30  # of addresses: libraries take 2 of them before anything is read
LONGEST = 60.0  # seconds for one batch
BATCH = 8
LARGEST = 1 << 17  # of real files


def read_all(folder: Path) -> Counter[str]:
    """Read all that there is in a folder, and count what came of it."""
    found: Counter[str] = Counter()
    with warnings.catch_warnings():
        # Warnings of numpy and others mean that something was not foreseen.
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DicomWarning)
        warnings.filterwarnings("ignore", module="pydicom")
        with db.database(folder, index=folder / "index") as database:
            found["problems"] += len(database.problems)
            repr(database)
            for series in database.series():
                for read in (lambda s=series: s.header, lambda s=series: s.array()[0].compute()):
                    found[_outcome(read)] += 1
                for instance in series.instances():
                    for read in (
                        lambda i=instance: i.array().compute(),
                        lambda i=instance: i.array(rescale=False)[..., :3].compute(),
                        lambda i=instance: i.overlays(),
                        lambda i=instance: [child.ImagePositionPatient for child in i.children()],
                    ):
                        found[_outcome(read)] += 1
    return found


def _outcome(read) -> str:
    try:
        read()
    except DbdicomError as error:
        return type(error).__name__
    return "read"


def main() -> int:
    """Run, and return the number of batches that went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, help="so many files, however long it takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for what goes wrong")
    parser.add_argument("--file", type=Path, help="read this one, and nothing else")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.enable()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    if options.file:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(options.file, folder)
            print(read_all(Path(folder)))
        return 0
    sound = kinds()
    if not options.cases:  # real ones too, of which there may be others elsewhere
        sound |= {
            path.stem: path.read_bytes()
            for path in testdata_files()
            if path.suffix in (".dcm", "") and path.stat().st_size < LARGEST
        }
    names = list(sound)
    end = time.monotonic() + 60 * options.minutes
    found: Counter[str] = Counter()
    wrong = number = 0
    while number < options.cases if options.cases else time.monotonic() < end:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            for _ in range(BATCH):
                rng = np.random.default_rng([options.seed, number])
                name = (
                    names[int(rng.integers(len(names)))]
                    if options.cases is None
                    else (names[number % len(names)])
                )
                (folder / f"{number:06d} {name[-40:]}.dcm").write_bytes(damaged(sound[name], rng))
                number += 1
            # A crash leaves them where they are: the last batch in the folder is the one.
            batch = keep / f"{number - BATCH:06d}"
            shutil.copytree(folder, batch)
            faulthandler.dump_traceback_later(LONGEST, exit=True)
            try:
                found += read_all(folder)
            except Exception:
                wrong += 1
                print(f"{batch}:", file=sys.stderr)
                traceback.print_exc()
            else:
                shutil.rmtree(batch)
            faulthandler.cancel_dump_traceback_later()
    print(f"{number} files, {wrong} batches wrong: {dict(found)}")
    print(f"kept in {keep}" if wrong else "nothing was kept")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 100))
