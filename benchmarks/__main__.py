"""``python -m benchmarks [name ...] [--quick] [--strict]``: run, print a table, keep it."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.folders import QUICK, Folders, Sizes
from benchmarks.harness import Care, Report, Unequal, free_processors
from dbdicom_xr import __version__

SUBJECTS = [
    "opening", "reopening", "arrays", "computing", "compressed", "everyday", "editing", "writing",
    "outofcore", "growth", "peers",
]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks; 1 where readers disagree, or with --strict a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(SUBJECTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: only shows that it runs")
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    parser.add_argument("--scratch", type=Path, help="where to keep the files for the next run")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="where the table goes"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in SUBJECTS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
    sizes = QUICK if options.quick else Sizes()
    Care.taken = not options.quick
    report = Report(judges=not options.quick)
    failed = 0
    free: list[float] = []
    scratch: AbstractContextManager[str] = (
        tempfile.TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True)
        if options.scratch is None
        else nullcontext(str(options.scratch))
    )
    about = _machine()
    print(about)
    with scratch as home:
        folders = Folders(Path(home), sizes)
        for subject in options.name or SUBJECTS:
            if not options.quick:
                free.append(free_processors())
            for benchmark in importlib.import_module(f"benchmarks.{subject}").BENCHMARKS:
                print(f"{subject}.{benchmark.__name__}: {benchmark.__doc__}", flush=True)
                try:
                    benchmark(report, folders)
                except Unequal as error:
                    failed += 1
                    report.note(f"UNEQUAL: {error}")
                except Exception:  # one that fails does not cost the others
                    failed += 1
                    report.note(f"FAILED: {subject}.{benchmark.__name__}")
                    traceback.print_exc()
    if free:
        # Two threads share the reading: what else runs on the second processor is seen here.
        free.append(free_processors())
        report.note(f"two threads were {min(free):.2f} to {max(free):.2f} times faster than one")
    print(f"\n{report.table()}")
    missed = [row for row in report.rows if row.met is False]
    met = [row for row in report.rows if row.met]
    print(f"\n{len(met)} targets met, {len(missed)} missed, {failed} benchmarks failed")
    options.results.mkdir(parents=True, exist_ok=True)
    name = "quick.md" if options.quick else "-".join(["results", *options.name]) + ".md"
    options.results.joinpath(name).write_text(f"{about}\n\n{report.markdown()}", "utf-8")
    if failed:
        return 1
    return 1 if missed and options.strict else 0


def _machine() -> str:
    """Return what the figures depend on; nothing that names the machine."""
    names = ["pydicom", "python-gdcm", "SimpleITK", "numpy", "dask", "xarray"]
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors, Python {platform.python_version()}, "
        f"dbdicom_xr {__version__}, " + ", ".join(f"{name} {version(name)}" for name in names)
    )


if __name__ == "__main__":
    sys.exit(main())
