"""What somebody asks of a record that records of another level have, and how to come there."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["where_else"]

_LEVELS: Final = ("database", "patient", "study", "series", "instance")
_ARTICLES: Final = {"instance": "an instance"}
_LISTS: Final = {
    "patient": "patients",
    "study": "studies",
    "series": "series",
    "instance": "instances",
}


def where_else(level: str, name: str) -> str:
    """Return a sentence on the level that has a method or property, "" where none has.

    Parameters
    ----------
    level : str
        Of the record that was asked.
    name : str
        What it was asked for.

    Examples
    --------
    >>> where_else("study", "volume")
    'A study has no volume(); a series has: study.series()[0].volume().'
    >>> where_else("series", "changes")
    'A series has no changes(); a database has: series.database.changes().'
    >>> where_else("study", "volumes")
    ''
    """
    own = _LEVELS.index(level) if level in _LEVELS else len(_LEVELS)
    classes = _classes()
    for other in (*_LEVELS[own + 1 :], *reversed(_LEVELS[:own])):
        found = None if name.startswith("_") else getattr(classes[other], name, None)
        if found is None:
            continue
        what = f"{name}()" if callable(found) else name
        if other == "database":
            way = "database"
        elif other in _LEVELS[own:]:
            way = f"{_LISTS[other]}()[0]"
        else:
            way = f"{_LISTS[other]}()"
        return f"{_a(level).capitalize()} has no {what}; {_a(other)} has: {level}.{way}.{what}."
    return ""


def _a(level: str) -> str:
    return _ARTICLES.get(level, f"a {level}")


def _classes() -> dict[str, type[Any]]:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Patient, Series, Study

    kinds = (Database, Patient, Study, Series, Instance)
    return dict(zip(_LEVELS, kinds, strict=True))
