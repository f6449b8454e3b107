"""The part of ``da.dicom`` that does what xarray does, and keeps track of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from dbdicom_xr.records.current import of_one_state

__all__ = ["OperationMethods"]


class OperationMethods:
    """Operations of xarray on arrays that were read from DICOM."""

    _array: xr.DataArray

    @of_one_state
    def align(
        self, other: xr.DataArray, join: str = "inner", *, tolerance: float | None = None
    ) -> tuple[xr.DataArray, xr.DataArray]:
        """Bring two arrays on common coordinates, so that they can be added or compared.

        As ``xarray.align``, but labels that differ by no more than their rounding are one, where
        xarray would find nothing in common; and images of the same labels must lie in the same
        planes.

        Parameters
        ----------
        other : DataArray
            With the dimensions of the array, or some of them.
        join : {"inner", "outer", "left", "right", "exact"}
            Which labels stay: those of both, of either, of the array, of ``other``; ``"exact"``
            raises where they differ.
        tolerance : float, optional
            How far labels and positions may be apart. By default lengths 1e-3 mm, angles 1e-3
            degrees, other numbers 1e-6 of their value. Times and text are equal, or are not.

        Returns
        -------
        array, other : DataArray
            Lazy, with the labels of the array (of ``other`` where ``join="right"``). Slices whose
            SliceLocation is counted from another origin, or the other way, are matched by their
            place, and labelled by it. Each keeps the images that it was made from, and so its own
            header.

        Raises
        ------
        GridError
            The frames of reference or the planes differ, or there is no label in common.
            ``series.map_to(other_series)`` resamples.
        NotInDatabase
            One of the arrays does not tell where it lies.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> for number in (1, 2):
        ...     _ = make_series(
        ...         f"{folder}/{number}",
        ...         seed=number,
        ...         jitter={"SliceLocation": 2e-4},
        ...         per_frame={"FrameOfReferenceUID": [["1.2.3"]] * 3},
        ...     )
        >>> first, second = (s.array("SliceLocation")[0] for s in db.database(folder).series())
        >>> (first + second).sizes["SliceLocation"]
        0
        >>> first, second = first.dicom.align(second)
        >>> (first + second).sizes["SliceLocation"]
        3
        """
        from dbdicom_xr.xarray_plugin.align import aligned

        return aligned(self._array, other, join, tolerance)

    def coarsen(
        self,
        dim: Mapping[Any, int] | None = None,
        boundary: str = "exact",
        side: Any = "left",
        coord_func: Any = "mean",
        **windows: int,
    ) -> Any:
        """Coarsen the array and know which images each average is made of.

        ``array.coarsen`` averages the coordinates too, and fails on the UIDs of the images. Here
        they are put together, so that the header tells what all images of a window have in common.

        Parameters
        ----------
        dim, boundary, side, coord_func, **windows
            As those of ``DataArray.coarsen``.

        Returns
        -------
        xarray.core.rolling.DataArrayCoarsen
            Whose ``mean()``, ``max()``... give the coarser array.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10, 15]})
        >>> array, header = db.database(folder).series()[0].array("SliceLocation")
        >>> thick = array.dicom.coarsen(SliceLocation=2).mean()
        >>> thick.SliceLocation.values.tolist()
        [2.5, 12.5]
        >>> thick.dicom.header[0, 0].sources == header[:2, 0].tolist()
        True
        """
        from dbdicom_xr.xarray_plugin.coarsen import coarsened

        return coarsened(self._array, dim, boundary, side, coord_func, windows)
