"""The command ``dbdicom-xr``: what is in a folder, without writing Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dbdicom_xr._version import __version__
from dbdicom_xr.errors import DbdicomError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        0, or 1 after an error.
    """
    parser = argparse.ArgumentParser(prog="dbdicom-xr", description="Look into a folder of DICOM.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("tree", "print patients, studies and series"),
        ("scan", "read all files again, then print the tree"),
        ("problems", "list the files that could not be read, and why"),
        ("varying", "tell which attributes vary in one series"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("folder", help="the folder")
        command.add_argument("--index", help="where to keep the index (a file, or a folder for it)")
        if name == "varying":
            command.add_argument("series", help="its name, number, description or UID")
    chosen = parser.parse_args(arguments)
    try:
        print(_answer(chosen))
    except DbdicomError as error:
        print(f"dbdicom-xr: {error}", file=sys.stderr)
        return 1
    return 0


def _answer(chosen: argparse.Namespace) -> str:
    from dbdicom_xr.records.opening import database

    opened = database(chosen.folder, index=chosen.index)
    if chosen.command == "scan":
        opened.scan()
    if chosen.command == "problems":
        lines = [
            f"{problem.file}: {problem.reason}{'' if problem.kept else ' (not in the database)'}"
            for problem in opened.problems
        ]
        return "\n".join(lines) or "No problems."
    if chosen.command == "varying":
        wanted = chosen.series
        found = [
            series
            for series in opened.series()
            if wanted in (series.name, series.SeriesInstanceUID.item())
            or wanted in [str(value) for value in (*series.SeriesNumber, *series.SeriesDescription)]
        ]
        if len(found) != 1:
            names = ", ".join(repr(series.name) for series in found or opened.series())
            count = f"{len(found)} series are" if found else "no series is"
            raise DbdicomError(f"{count} called {wanted!r}; there are {names}")
        return str(found[0].varying())
    return str(opened)
