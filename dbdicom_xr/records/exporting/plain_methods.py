"""The methods by which records leave the database as files that any program reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from dbdicom_xr.records.attributes.lookup import Name

__all__ = ["PlainFiles"]


class PlainFiles:
    """The part of a record that writes NumPy arrays, pictures and tables."""

    __slots__ = ()

    def export_as_npy(
        self,
        path: str | os.PathLike[str],
        sortby: Name | Sequence[Name] | None = None,
        *,
        overwrite: bool = False,
        rescale: bool | str = True,
        align: str = "auto",
        identify: bool = False,
    ) -> list[str]:
        """Write the images as NumPy arrays, one file per series.

        Beside each ``.npy`` stands a ``.npy.json`` with what its numbers mean: dimensions,
        coordinates, the header of the images, and which images they were. ``db.load_npy`` puts both
        together again. Pixels are read while they are written, in bounded memory.

        Parameters
        ----------
        path : str or path
            A folder, made if missing, for files named after the series; or for one series the name
            of the file, which ends in ``.npy``.
        sortby : name, or sequence of names
            The dimensions, as in :meth:`Series.array`.
        overwrite : bool
            Replace files that are there already.
        rescale, align
            As in :meth:`Series.array`.
        identify : bool
            Tell patient, dates, institution and private attributes in the ``.json``. Without it,
            only UIDs lead back to the images, and dates where ``sortby`` asks for them.

        Returns
        -------
        list of str
            The ``.npy`` files that were written.

        Raises
        ------
        GridError
            The frames of the series make no array of these dimensions.
        FileExists
            There are files of these names; nothing was written.
        InvalidValue
            A single file was asked for, but several result.
        NotAFolder
            A file is where the folder should be.
        PixelError
            There are no images, or they cannot be read.

        Warns
        -----
        LeftOut
            Of a database, patient or study: series that cannot be exported, each with the reason.

        Examples
        --------
        >>> import dbdicom_xr as db, numpy as np, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> files = series.export_as_npy(
        ...     tempfile.mkdtemp(), sortby=["SliceLocation", "TemporalPositionIdentifier"]
        ... )
        >>> np.load(files[0]).shape
        (3, 10, 1, 32, 24)
        """
        from dbdicom_xr.records.exporting.each import require_flags
        from dbdicom_xr.records.exporting.to_npy import NpyOptions, export_npy

        require_flags(overwrite=overwrite, identify=identify)
        options = NpyOptions(sortby, rescale, align, identify)
        return export_npy(self, path, overwrite=overwrite, options=options)  # type: ignore[arg-type]

    def export_as_png(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        window: Sequence[float] | None = None,
        colormap: Any = None,
        bits: int = 8,
    ) -> list[str]:
        """Write the images as pictures, one PNG file per frame.

        Grey values are shown through the window, as DICOM displays do (PS3.3 C.11.2): that of the
        header with its function; else the VOI LUT of the header; else from the smallest to the
        largest value of the series. MONOCHROME1 is inverted. Colour images are as they are. NaN is
        black. Pixels are not resampled: their size in mm stands in the file, for programs that
        heed it. Overlays and annotations are not drawn.

        Parameters
        ----------
        path : str or path
            A folder, made if missing, for files named after series, slice (``s``) and the number
            of the image at that place (``t``); or for one frame the name of the file, which ends
            in ``.png``.
        overwrite : bool
            Replace files that are there already.
        window : (float, float), optional
            Centre and width in real values, for all images. Of integers DICOM's displays count
            whole steps (LINEAR); of fractions it is as wide as it says (LINEAR_EXACT).
        colormap : str or matplotlib.colors.Colormap, optional
            For grey images. By default that of the attribute ``colormap``, else ``"gray"``.
        bits : {8, 16}
            Per grey value or colour. Colour maps have 8.

        Returns
        -------
        list of str
            The files that were written, in the order of InstanceNumber and frame.

        Raises
        ------
        FileExists
            There are files of these names; nothing was written.
        InvalidValue
            A window without width, an unknown colour map, or one file for several images.
        NotAFolder
            A file is where the folder should be.
        PixelError
            There are no images, or they cannot be read.

        Warns
        -----
        LeftOut
            Of a database, patient or study: series that cannot be exported, each with the reason.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10]})
        >>> files = db.database(folder).export_as_png(tempfile.mkdtemp(), window=(500, 1000))
        >>> len(files)
        3
        """
        from dbdicom_xr.records.exporting.each import require_flags
        from dbdicom_xr.records.exporting.to_png import PngOptions, export_png

        require_flags(overwrite=overwrite)
        options = PngOptions.of(window, colormap, bits)
        return export_png(self, path, overwrite=overwrite, options=options)  # type: ignore[arg-type]

    def export_as_csv(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, identify: bool = False
    ) -> list[str]:
        r"""Write the header as a table: one row per frame, one column per attribute.

        Columns are named by keyword. Several values are joined by ``\``, as in DICOM. Sequences and
        binary values are left out. The text is UTF-8, as Excel reads it. A text that a spreadsheet
        would take for a formula, since it begins with ``=``, ``+``, ``-`` or ``@``, has an
        apostrophe in front.

        Parameters
        ----------
        path : str or path
            A folder, made if missing, for one table per series; or the name of one table for all,
            which ends in ``.csv``.
        overwrite : bool
            Replace files that are there already.
        identify : bool
            Also write patient, dates, institution and private attributes. Without it, only UIDs
            lead back to the images. ``to_dataframe`` has all of them.

        Returns
        -------
        list of str
            The files that were written.

        Raises
        ------
        FileExists
            There are files of these names; nothing was written.
        GridError
            There is no series.
        NotAFolder
            A file is where the folder should be.

        Examples
        --------
        >>> import dbdicom_xr as db, pandas, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10]})
        >>> (file,) = db.database(folder).export_as_csv(f"{tempfile.mkdtemp()}/header.csv")
        >>> pandas.read_csv(file).SliceLocation.tolist()
        [0, 5, 10]
        """
        from dbdicom_xr.records.exporting.each import require_flags
        from dbdicom_xr.records.exporting.to_csv import export_csv

        require_flags(overwrite=overwrite, identify=identify)
        return export_csv(self, path, overwrite=overwrite, identify=identify)  # type: ignore[arg-type]
