"""From one state of what is staged to the next: instances are taken up, changed and put somewhere.

Nothing here touches a disk. All changes of one call become one new :class:`Layer`, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.staging.file import EmptyRecord, Layer
from dbdicom_xr.staging.patch import NOWHERE, Patch, PatchKey, Role
from dbdicom_xr.staging.view import View

__all__ = ["Change", "Selection"]

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Selection:
    """Instances of one series, as it is shown.

    Parameters
    ----------
    key : SeriesKey
    rows : ndarray of int
        In the table of the series.
    """

    key: SeriesKey
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Change:
    """A new state in the making.

    Parameters
    ----------
    view : View
        The present state.
    """

    view: View
    _gone: dict[PatchKey, list[Rows]] = field(default_factory=dict)
    _added: list[Patch] = field(default_factory=list)
    _empty: dict[tuple[str, SeriesKey], EmptyRecord] | None = None

    # -- instances ---------------------------------------------------------------------------

    def _lifted(self, selection: Selection) -> list[tuple[Patch, Rows]]:
        """Return instances as patches, and the positions of each in the selection."""
        result = []
        composed = self.view.composed(selection.key)
        for piece, rows, positions in composed.split(selection.rows):
            if piece.patch is not None:
                result.append((piece.patch.take(piece.patch_rows[rows]), positions))
                continue
            assert piece.table is not None
            table, at = piece.table, piece.rows[rows]
            uids = table.uids
            bare = Patch.bare(
                PatchKey(selection.key, selection.key, Role.EDITED),
                self.view.identity,
                table.places["file"][at],
                [uids[i] for i in at.tolist()],
                self.view.versions(table.places["file"][at]),
            )
            result.append((bare, positions))
        return result

    def _take_out(self, selection: Selection) -> None:
        composed = self.view.composed(selection.key)
        for piece, rows, _ in composed.split(selection.rows):
            if piece.patch is not None:
                self._gone.setdefault(piece.patch.key, []).append(piece.patch_rows[rows])

    def edit(
        self,
        selection: Selection,
        edits: Mapping[Key, Column],
        *,
        target: SeriesKey | None = None,
        uids: Sequence[str] | None = None,
        frames: Callable[[Rows], tuple[npt.NDArray[np.int32], Mapping[Key, Column]]] | None = None,
    ) -> None:
        """Change attributes of instances, and perhaps their place.

        Parameters
        ----------
        selection : Selection
        edits : mapping of Key to Column
            The changes, a row per instance of the selection: see ``patch.delta``.
        target : SeriesKey, optional
            The series to which they move.
        uids : sequence of str, optional
            Their new SOPInstanceUIDs, which are among the edits too.
        frames : callable, optional
            Gives for positions in the selection what their functional groups say now.
        """
        lifted = self._lifted(selection)
        self._take_out(selection)
        for patch, positions in lifted:
            changed = _changed(patch, positions, edits, uids, frames)
            self._added.append(changed if target is None else changed.at(target))

    def copy(
        self,
        selection: Selection,
        edits: Mapping[Key, Column],
        *,
        target: SeriesKey,
        uids: Sequence[str],
        frames: Callable[[Rows], tuple[npt.NDArray[np.int32], Mapping[Key, Column]]] | None = None,
    ) -> None:
        """Make new instances with the pixels of others; parameters are those of ``edit``."""
        for patch, positions in self._lifted(selection):
            role = Role.NEW if patch.key.role == Role.NEW else Role.COPY
            changed = _changed(patch, positions, edits, uids, frames)
            self._added.append(changed.at(target, role))

    def make(self, uid: str, edits: Mapping[Key, Column], *, target: SeriesKey) -> None:
        """Make an instance from nothing; ``edits`` are all its elements, in columns of one row."""
        key = PatchKey(NOWHERE, target, Role.NEW)
        bare = Patch.bare(key, self.view.identity, np.array([-1]), [uid])
        self._added.append(replace(bare, origins=[""]).edited(edits))

    def remove(self, selection: Selection) -> None:
        """Take instances out of the database."""
        lifted = self._lifted(selection)
        self._take_out(selection)
        for patch, _ in lifted:
            if patch.key.masks:
                source = patch.key.source
                counts = np.zeros(len(patch), np.int32)
                bare = Patch.bare(
                    PatchKey(source, source, Role.REMOVED), patch.identity, patch.files,
                    patch.origins, patch.versions,
                )  # fmt: skip
                self._added.append(replace(bare, counts=counts))

    def add(self, patch: Patch) -> None:
        """Add instances as they are."""
        self._added.append(patch)

    def put_back(self, wanted: Callable[[Patch], npt.NDArray[np.bool_]]) -> None:
        """Take back all that is staged of some rows of the patches."""
        for key, patch in self.view.layer.patches.items():
            rows = np.flatnonzero(wanted(patch))
            if len(rows):
                self._gone.setdefault(key, []).append(rows)

    # -- records made by hand ----------------------------------------------------------------

    @property
    def empty(self) -> dict[tuple[str, SeriesKey], EmptyRecord]:
        """The records made by hand, to be changed in place."""
        if self._empty is None:
            self._empty = dict(self.view.layer.empty)
        return self._empty

    # -- the new state -----------------------------------------------------------------------

    def result(self) -> Layer:
        """Return the new state."""
        layer = self.view.layer
        patches: dict[PatchKey, Patch | None] = {}
        for key, parts in self._gone.items():
            patch = layer.patches[key]
            stay = np.ones(len(patch), np.bool_)
            stay[np.concatenate(parts)] = False
            patches[key] = patch.take(np.flatnonzero(stay)) if stay.any() else None
        for patch in self._added:
            before = patches[patch.key] if patch.key in patches else layer.patches.get(patch.key)
            patches[patch.key] = patch if before is None else before.plus(patch)
        if self._empty is None and not patches:
            return layer
        result = layer.replaced(patches)
        return result if self._empty is None else result.with_empty(self._empty)


def _changed(
    patch: Patch,
    positions: Rows,
    edits: Mapping[Key, Column],
    uids: Sequence[str] | None,
    frames: Callable[[Rows], tuple[npt.NDArray[np.int32], Mapping[Key, Column]]] | None,
) -> Patch:
    taken: dict[Key, Any] = {key: column.take(positions) for key, column in edits.items()}
    result = patch.edited(taken)
    if uids is not None:
        result = result.named([uids[i] for i in positions.tolist()])
    return result if frames is None else result.with_frames(*frames(positions))
