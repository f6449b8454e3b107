"""The method by which records become a tree of xarray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dbdicom_xr.records.attributes.lookup import Name

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AsTree"]


class AsTree:
    """The part of a database, patient, study or series that makes trees."""

    __slots__ = ()

    def to_datatree(
        self,
        sortby: Name | Sequence[Name] | Mapping[Any, Any] | None = None,
        *,
        pixels_first: bool = False,
        chunks: Any = "auto",
        rescale: bool | str = True,
        align: str = "auto",
        tolerance: float | Mapping[Name, float] | None = None,
        fill_value: float = np.nan,
        padding: str | None = None,
        drop_variables: str | Iterable[str] | None = None,
    ) -> xr.DataTree:
        """Return the record and all below it, down to the series, as an ``xarray.DataTree``.

        Nodes are called as the records: ``tree["a/b"].path`` is the path of ``record["a/b"]``. The
        node of a series of images holds them as ``pixels``. No pixel is read before it is computed,
        and no header before somebody looks at the node.

        Parameters
        ----------
        sortby : name, sequence of names, "auto", dict or None
            The dimensions of the images, as in :meth:`Series.array`. A dict gives them by series;
            the first that fits counts, and None holds for the others. Its keys are series; text (a
            path in the tree, SeriesDescription or SeriesInstanceUID, with ``*`` and ``?``); or
            filters as a tuple of pairs. With "auto", images that form no grid are in the order of
            InstanceNumber, and ``why_not_sorted`` tells why.
        pixels_first, rescale, align, tolerance, fill_value, padding
            As in :meth:`Series.array`.
        chunks : "auto", int, tuple, dict or None
            As in :meth:`Series.array`; None: lazy without dask.
        drop_variables : str or iterable of str, optional
            Variables and coordinates that are left out.

        Returns
        -------
        xarray.DataTree
            What all images below a patient or a study agree in of what describes patient and study
            stands in the attributes of that node; what else is constant in a series, in those of
            the series. A series without images has attributes alone. Of one whose images make no
            array, ``why_no_pixels`` tells why. ``node.dicom.record`` is the record of a node.

        Raises
        ------
        InvalidValue, UnknownKeyword
            A wrong argument, or a key of ``sortby`` that fits no series.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> database = db.database(folder)
        >>> tree = database.to_datatree({"DCE": ["SliceLocation", "TemporalPositionIdentifier"]})
        >>> leaf = tree.leaves[0]
        >>> leaf.pixels.sizes["TemporalPositionIdentifier"]
        10
        >>> leaf.dicom.record == database.series()[0]
        True
        """
        import dbdicom_xr

        # By the package, which knows where it lives: imports point one way, and not from here.
        tree: xr.DataTree = dbdicom_xr.to_datatree(
            self,
            sortby,
            chunks=chunks,
            drop_variables=drop_variables,
            pixels_first=pixels_first,
            rescale=rescale,
            align=align,
            tolerance=tolerance,
            fill_value=fill_value,
            padding=padding,
        )
        return tree
