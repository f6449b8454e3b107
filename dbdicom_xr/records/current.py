"""What is read of a folder that changes meanwhile is read again, from its new state.

So it is where the index turns out to be damaged, once it has been made anew.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from dbdicom_xr.errors import DatabaseChanged, IndexDamaged

__all__ = ["levels_to_user", "of_one_change", "of_one_state"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

# Each time the folder would have to change once more. A writer that saves all the time is given the
# time to come to an end: 2 seconds in all.
_TRIES = 20
_AT_ONCE = 3


def of_one_state(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Make a method of a record repeat itself when the index changed while it read it."""

    @wraps(method)
    def repeated(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        rebuilt = False
        for attempt in range(_TRIES):
            try:
                return method(self, *args, **kwargs)
            except (DatabaseChanged, IndexDamaged) as error:
                database: Any = getattr(self, "database", None)
                if database is None or rebuilt:
                    raise
                if isinstance(error, IndexDamaged):
                    database._rebuild(error)
                    rebuilt = True
                else:
                    if attempt >= _AT_ONCE:
                        time.sleep(0.01 * attempt)
                    database._look_again()
        return method(self, *args, **kwargs)

    return repeated


def of_one_change(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Let one thread at a time change a database, from what it reads to what it makes of it."""
    repeated = of_one_state(method)

    @wraps(method)
    def alone(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database: Any = getattr(self, "database", None)
        with database._staging.changing:
            database._take_in_finished()
            return repeated(self, *args, **kwargs)

    return alone


def levels_to_user() -> int:
    """Return the stack level, seen from the caller, of the first code outside this package.

    xarray is no such code: it stands between, as in ``xr.open_dataset``.
    """
    inside = (__name__.partition(".")[0] + ".", "contextlib.", "xarray.")
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(inside):
        frame, levels = frame.f_back, levels + 1
    return levels
