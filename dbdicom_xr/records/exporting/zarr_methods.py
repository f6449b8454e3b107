"""The methods by which records become zarr stores."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dbdicom_xr.records.attributes.lookup import Name

__all__ = ["ZarrStores"]


class ZarrStores:
    """The part of a record that writes zarr."""

    __slots__ = ()

    def export_as_zarr(
        self,
        path: str | os.PathLike[str],
        sortby: Name | Sequence[Name] | None = None,
        *,
        overwrite: bool = False,
        rescale: bool | str = True,
        align: str = "auto",
    ) -> list[str]:
        """Write the images as zarr stores, which plain xarray opens, with their whole header.

        The array is ``pixels``; the group ``header`` below it has every element of every image, and
        the group ``files`` what :func:`dbdicom_xr.from_zarr` makes the same DICOM files of, byte
        for byte. So a store identifies patients as the images do. Arrays are sharded and
        compressed, version 3 of the format. They are written block by block, also on a cluster,
        and read again before the store gets its name.

        Parameters
        ----------
        path : str or path
            A folder, made if missing, for a store per series, named after it; or the name of one
            store, which ends in ``.zarr``. Of a study, patient or database it has groups as the
            tree below the record, which ``xarray.open_datatree(path, engine="zarr")`` reads.
        sortby : name, or sequence of names
            The dimensions, as in :meth:`Series.array`.
        overwrite : bool
            Replace stores that are there already. Never replaced is what is no store, is of
            another program, or holds anything that was added to it.
        rescale : bool or str
            As in :meth:`Series.array`: real values, or with False stored values.
        align
            As in :meth:`Series.array`.

        Returns
        -------
        list of str
            The stores.

        Raises
        ------
        GridError
            The frames of the series make no array of these dimensions.
        FileExists
            There are stores of these names; nothing was written.
        InvalidValue
            There is something else of this name.
        NotAFolder
            A file is where the folder should be.
        PixelError
            There is nothing to export, or pixels cannot be read.

        Warns
        -----
        LeftOut
            Of a database, patient or study: series that make no array, each with the reason. Their
            header and files are in the store.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile, xarray as xr
        >>> from dbdicom_xr.testing import make_series
        >>> folder, store = tempfile.mkdtemp(), f"{tempfile.mkdtemp()}/echoes.zarr"
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2.3, 4.6]})
        >>> series = db.database(folder).series()[0]
        >>> stores = series.export_as_zarr(store, ["SliceLocation", "EchoTime"])
        >>> xr.open_zarr(store)["pixels"].sizes["EchoTime"]
        2
        """
        from dbdicom_xr.records.exporting.to_zarr import ZarrOptions, export_zarr

        options = ZarrOptions(sortby, rescale, align)
        return export_zarr(self, path, overwrite=overwrite, options=options)  # type: ignore[arg-type]

    def to_virtual(
        self,
        store: str | os.PathLike[str],
        sortby: Name | Sequence[Name] | None = None,
        *,
        overwrite: bool = False,
        rescale: bool = True,
        align: str = "auto",
        check: bool = True,
    ) -> list[str]:
        """Make a store of zarr that refers to the pixels in the DICOM files, and copies none.

        For images that are not compressed, in a folder of this computer, on S3 or on a web server.
        The store holds the array ``pixels`` with its coordinates; a chunk is a frame. The DICOM
        files have to stay where they are, as they are.
        Needs the extra ``virtual``.

        Parameters
        ----------
        store : str or path
            A new folder, for an Icechunk repository, which has a group per series for a study, a
            patient or a database. Or for one series a file that ends in ``.json``, for references
            of kerchunk.
        sortby : name, or sequence of names
            The dimensions, as in :meth:`Series.array`.
        overwrite : bool
            Replace a store that is there already.
        rescale : bool
            Where slope and intercept are the same in all frames, they are the ``scale_factor`` and
            ``add_offset`` of CF, by which xarray gives real values. Else the array holds stored
            values, and ``RescaleSlope`` and ``RescaleIntercept`` are coordinates. False: stored
            values.
        align
            As in :meth:`Series.array`.
        check : bool
            Read all images once to see that the bits beside the values hold nothing else.

        Returns
        -------
        list of str
            The store.

        Raises
        ------
        PixelError
            The images cannot be referred to; the message says why.
        GridError
            The frames of the series make no array of these dimensions.
        FileExists
            There is a store of this name.
        InvalidValue
            There is something else of this name.

        Warns
        -----
        LeftOut
            Of a database, patient or study: series that cannot be referred to, with the reason.
        DicomWarning
            Slope and intercept differ among the images, so that the array holds stored values.

        Examples
        --------
        >>> series.to_virtual("/data/virtual/dce", "SliceLocation")  # doctest: +SKIP
        ['/data/virtual/dce']
        """
        from dbdicom_xr.records.exporting.to_zarr import ZarrOptions
        from dbdicom_xr.records.exporting.virtual import to_virtual

        options = ZarrOptions(sortby, rescale, align)
        return to_virtual(self, store, overwrite=overwrite, check=check, options=options)  # type: ignore[arg-type]
