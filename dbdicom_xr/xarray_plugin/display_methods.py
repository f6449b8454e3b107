"""``da.dicom.window``, ``plot`` and ``montage``: an array as a viewer shows it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import xarray as xr

from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.reading.header import Header

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DisplayMethods"]


class DisplayMethods:
    """What :class:`DicomAccessor` does to show an array."""

    _array: xr.DataArray

    @of_one_state
    def window(
        self, window: Any = None, *, dtype: str = "float32", header: Header | None = None
    ) -> xr.DataArray:
        """Return what a display would show of the values, from 0 (black) to 1 (white).

        Lazy where the array is chunked. It is what :meth:`Series.export_as_png` shows (PS3.3
        C.11.2): MONOCHROME1 is inverted, and colours stay colours.

        Parameters
        ----------
        window : (float, float) or str, optional
            Centre and width in the values of the array (of integers as LINEAR counts them, of
            others as LINEAR_EXACT); ``"range"``: from the smallest to the largest value of the
            whole array; ``"percentile"``: from the 1st to the 99th percentile, of at most 64 images
            evenly spread; ``"header"``: the window or VOI LUT of each image, which each must have;
            for CT ``"abdomen"``, ``"bone"``, ``"brain"``, ``"liver"``, ``"lung"``,
            ``"mediastinum"``, ``"stroke"`` or ``"subdural"``. By default as ``"header"``, and as
            ``"range"`` for images whose headers tell none.
        dtype : {"float32", "float64", "uint8", "uint16"}
            Integers go from 0 to 255, or to 65535.
        header : Header, optional
            The frames of the array, where it does not tell them itself.

        Returns
        -------
        xarray.DataArray
            With the dimensions and coordinates of the array. NaN stays NaN; as an integer it is 0.

        Raises
        ------
        InvalidValue
            No such window, none in the header, or values that are no numbers.

        Notes
        -----
        The window of a header is for the values of its images. Give another for what was computed
        from them, such as a T1 map.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, header={"WindowCenter": 30_000, "WindowWidth": 2000})
        >>> array, _ = db.database(folder).series()[0].array("SliceLocation")
        >>> grey = array.dicom.window(dtype="uint8")
        >>> int(grey.min()), int(grey.max()), grey.sizes == array.sizes
        (0, 255, True)
        """
        from dbdicom_xr.xarray_plugin.window import windowed

        return windowed(self._array, window, dtype, header)

    @of_one_state
    def plot(
        self,
        ax: Axes | None = None,
        *,
        window: Any = None,
        colormap: Any = None,
        colorbar: bool = False,
        title: str | None = None,
        letters: bool = True,
        header: Header | None = None,
    ) -> Axes:
        """Draw one image as a viewer shows it: its columns and rows as stored, axes in mm.

        Of an array of several images the middle one along each dimension, which the title tells.
        Nothing else is read. An array with reversed columns or rows is drawn as stored.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            By default those of a new figure.
        window : (float, float) or str, optional
            As in :meth:`window`, for the image that is drawn. By default that of the header where
            the values are those of the image, and from the smallest to the largest value for what
            was computed from images.
        colormap : str or matplotlib.colors.Colormap, optional
            By default the ``colormap`` of the series, else grey.
        colorbar : bool
            Whether to draw what the colours mean, labelled with ``array.attrs["units"]``.
        title : str, optional
            By default the name of the array, which is SeriesDescription, and its labels. The
            patient is not named.
        letters : bool
            Whether to write at the edges where in the patient they lie: left, right, anterior,
            posterior, head, feet (PS3.3 C.7.6.1.1.1).
        header : Header, optional
            The frames of the array, where it does not tell them itself.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        InvalidValue
            The array is no image, or matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib as mpl
        >>> mpl.use("agg")
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder)
        >>> array, _ = db.database(folder).series()[0].array("SliceLocation")
        >>> print(array.dicom.plot().get_title())
        Synthetic series
        Slice Location 5 mm (2 of 3)
        """
        from dbdicom_xr.xarray_plugin.plot import plot

        return plot(
            self._array,
            ax,
            window=window,
            colormap=colormap,
            colorbar=colorbar,
            title=title,
            letters=letters,
            header=header,
        )

    @of_one_state
    def montage(
        self,
        *dims: Hashable,
        most: int = 30,
        columns: int | None = None,
        window: Any = None,
        colormap: Any = None,
        colorbar: bool = False,
        title: str | None = None,
        letters: bool = True,
        header: Header | None = None,
    ) -> npt.NDArray[Any]:
        """Draw many images side by side: those along one dimension, or a table of two.

        Along all other dimensions the middle image is taken, which the title tells. Only the images
        that are drawn are read.

        Parameters
        ----------
        *dims : str
            One dimension; or two, the rows and the columns of a table. By default
            ``SliceLocation``, else the first with several images.
        most : int, default 30
            How many images are drawn at most: of more, every second, third...
        columns : int, optional
            Of the montage.
        window, colormap, colorbar, title, letters, header
            As in :meth:`plot`. Windows of headers differ from image to image; any other is one for
            all.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes, shape (rows, columns)

        Raises
        ------
        InvalidValue
            No such dimension, no images, or matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib as mpl
        >>> mpl.use("agg")
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> array.dicom.montage("SliceLocation", "TemporalPositionIdentifier").shape
        (3, 10)
        """
        from dbdicom_xr.xarray_plugin.montage import montage

        return montage(
            self._array,
            dims,
            most=most,
            columns=columns,
            window=window,
            colormap=colormap,
            colorbar=colorbar,
            title=title,
            letters=letters,
            header=header,
        )
