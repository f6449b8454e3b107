"""Changes a folder at random, and says before and after each act what it is; to be killed.

What is done depends on the seed and the folder alone, so that it can be done again.
"""

from __future__ import annotations

import hashlib
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dbdicom_xr as db

_ACTS = [
    "edit", "edit", "edit all", "batch", "move", "copy", "copy series", "remove", "new",
    "save", "save", "save one", "restore", "restore one",
]  # fmt: skip


def shown(database: Any) -> dict[str, Any]:
    """The state as far as the acts below change it: who stands where, with which label."""
    return {
        "instances": sorted(
            [i.SeriesDescription or "", i.InstanceNumber or 0, i.ImageComments or "",
             i.PatientComments or ""]
            for i in database.instances()
        ),
        "series": sorted(str(series.SeriesDescription) for series in database.series()),
        "staged": len(database.changes()) > 0,
    }  # fmt: skip


def choose(database: Any, chance: random.Random) -> str:
    """Return what to do next, so that the folder neither empties nor grows for ever."""
    what = chance.choice(_ACTS)
    count = len(database.instances())
    if count < 4 and what in ("remove", "restore", "restore one"):
        return "copy series"
    return "remove" if count > 12 and what.startswith("copy") else what


def act(database: Any, chance: random.Random, number: str, what: str) -> None:
    """Do one of the things that a user does."""
    series = [s for s in database.series() if s.instances()]
    one, other = chance.choice(series), chance.choice(series)
    instance = chance.choice(one.instances())
    if what == "edit":
        instance.ImageComments = f"edit {number} " + "x" * chance.choice([0, 1, 5000])
    elif what == "edit all":
        database.PatientComments = f"all {number}"
    elif what == "batch":
        with database.batch():
            for each in one.instances():
                each.ImageComments = f"batch {number}"
            if one != other:
                instance.move_to(other)
            other.instances()[0].PatientComments = f"batch {number}"
    elif what == "move":
        if one != other:
            instance.move_to(other)
    elif what == "copy":
        instance.copy_to(other, ImageComments=f"copy {number}")
    elif what == "copy series":
        one.copy_to(one.studies(), SeriesDescription=f"copy {number}")
    elif what == "remove":
        instance.remove()
    elif what == "new":
        one.studies().new_series(SeriesDescription=f"new {number}")
    elif what == "save":
        database.save()
    elif what == "save one":
        chance.choice([one, instance, one.studies()]).save()
    elif what == "restore":
        database.restore()
    else:
        chance.choice([one, instance]).restore()


def keep_changing(root: Path, seed: int, say: Callable[[str], None], acts: int) -> None:
    """Open a folder and do one act after the other, saying which is begun and which is done."""
    warnings.simplefilter("ignore")
    database = db.database(root)
    say(f"opened 0 {digest(database)}")
    chance = random.Random(seed)
    for number in range(1, acts + 1):
        what = choose(database, chance)
        say(f"begun {number} {what}")
        act(database, chance, f"{seed} {number}", what)
        say(f"done {number} {digest(database)}")


def digest(database: Any) -> str:
    """The state in few letters."""
    return hashlib.sha1(json.dumps(shown(database), sort_keys=True).encode()).hexdigest()
