"""The methods by which a series becomes arrays, and arrays become a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from dbdicom_xr.records.attributes.filters import parse_filters
from dbdicom_xr.records.attributes.lookup import Name

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Series
    from dbdicom_xr.records.reading.header import Header

__all__ = ["ArraySeries"]


class ArraySeries:
    """The part of a series that has to do with arrays."""

    __slots__ = ()

    @overload
    def array(
        self,
        sortby: Name | Sequence[Name] | None = None,
        pixels_first: bool = False,
        *,
        chunks: Any = "auto",
        rescale: bool | str = True,
        align: str = "auto",
        tolerance: float | Mapping[Name, float] | None = None,
        fill_value: float = np.nan,
        padding: str | None = None,
    ) -> tuple[xr.DataArray, Header]: ...

    @overload
    def array(self, sortby: Any, pixels_first: Any = None, *, header: Any = None) -> Series: ...

    def array(
        self,
        sortby: Any = None,
        pixels_first: Any = False,
        *,
        header: Any = None,
        chunks: Any = "auto",
        rescale: bool | str = True,
        align: str = "auto",
        tolerance: float | Mapping[Name, float] | None = None,
        fill_value: float = np.nan,
        padding: str | None = None,
    ) -> Any:
        """Return the images as one lazy labelled array, and their header aligned with it.

        Called with an array, ``series.array(array, header)``, it writes that array into the series,
        as :meth:`set_array` does.

        Parameters
        ----------
        sortby : name, sequence of names, "auto" or None
            The attributes that make the dimensions, slowest first: keywords, ``(group, element)``
            or ``(creator, element)``. None: all frames in the order of InstanceNumber. "auto":
            the attributes that vary and form a full grid.
        pixels_first : bool
            Put ``x`` and ``y`` before the other dimensions.
        chunks : "auto", int, tuple, dict or None
            How the array is cut into blocks: a number of images, or sizes by dimension as in dask.
            "auto" makes blocks of 32 to 128 MiB that hold whole images. None: no dask; pixels are
            read when values are used, and kept.
        rescale : bool or str
            True: real values, by the Modality LUT or RescaleSlope and RescaleIntercept of each
            frame. False: the stored values. Text: the real world value map of that label.
        align : {"auto", "value", "order", "exact"}
            How frames are put on the grid: by value with gaps, by their order within each point of
            the earlier dimensions, or by value without gaps. "auto": by value where more than half
            of the grid is filled, else by order, which is told with an AlignedByOrder warning.
        tolerance : float or dict, optional
            Values no further apart are one; for lengths and angles 1e-3 unless given, else 0. A
            dict gives it by attribute. Times in seconds.
        fill_value : float
            What stands in gaps.
        padding : {None, "nan"}
            "nan": pixels with the PixelPaddingValue become NaN.

        Returns
        -------
        array : xarray.DataArray
            Dimensions: those of ``sortby``, then ``n`` (frames at the same point), ``x``
            (columns), ``y`` (rows), and for colour ``channel``. Nothing is read until it is
            computed. ``array.attrs["units"]`` is what real values are in, where the header says it.
        header : Header
            The frames, with the dimensions of ``array`` without the pixel ones; None in gaps.

        Raises
        ------
        GridError
            The frames do not form a grid, are of several sizes or kinds, or lack an attribute.
        PixelError
            There are no pixels, or of a kind that this version cannot read.

        Warns
        -----
        AlignedByOrder, LeftOut, MixedGeometry
            As they say.
        DicomWarning
            The real values are in several units, as of magnitude and phase.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> array, header = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> array.dims
        ('SliceLocation', 'TemporalPositionIdentifier', 'n', 'x', 'y')
        >>> header.shape == array.shape[:3]
        True
        """
        if getattr(sortby, "ndim", 0) > 1:
            if not isinstance(pixels_first, (bool, np.bool_)) and pixels_first is not None:
                header = pixels_first
            return self.set_array(sortby, header)
        from dbdicom_xr.records.reading.series_array import series_array

        return series_array(
            self,  # type: ignore[arg-type]
            sortby,
            pixels_first,
            chunks=chunks,
            rescale=rescale,
            align=align,
            tolerance=tolerance,
            fill_value=fill_value,
            padding=padding,
        )

    def set_array(
        self,
        array: Any,
        header: Any = None,
        pixels_first: bool = False,
        *,
        mode: str = "w",
        dtype: str | None = None,
        scale: str | None = None,
        multiframe: bool = False,
        transfer_syntax: str | None = None,
        compute: bool = True,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        **attributes: Any,
    ) -> Any:
        """Write an array into the series as DICOM images.

        As any change it is staged: the images that were there come back with ``restore``, and no
        file of yours is touched before ``save``. Blocks are computed and written one by one.

        Parameters
        ----------
        array : xarray.DataArray, numpy.ndarray or dask.array.Array
            Dimensions of the header, then ``x`` (columns), ``y`` (rows), and for colour ``channel``
            of size 3 and type uint8. Dimensions of a ``DataArray`` may stand in any order.
        header : Header, sequence of instances, "template" or None
            What the new images say: their frames, matched by the names of the dimensions. Where a
            dimension of the header is missing in the array, an image gets what all its sources
            have in common. None: the header that the array carries, or where it carries none, and
            with "template", a neutral one that names no scanner.
        pixels_first : bool
            Whether ``x`` and ``y`` come first in an array without names of dimensions.
        mode : {"w", "a"}
            Replace the images of the series, or add to them.
        dtype : {None, "float32", "float64"}
            None: 16 bits per pixel (8 where the kind of image has them). Integers that fit are
            exact. Floats on the scale of their source are exact too; others are rounded to 65,535
            steps between the smallest and the largest value of each image, with a slope and an
            intercept. NaN comes back as NaN. A type: exact floats, as Parametric Maps.
        scale : {None, "frame", "series"}
            Whether each image has its own steps ("frame"), or all have the same ("series"). None:
            those of its own, but in one file of many frames the same wherever values are rounded.
        multiframe : bool
            Write one Enhanced MR file in place of one file per image.
        transfer_syntax : str, optional
            "RLE", "JPEG-LS", "JPEG 2000" or the UID of another lossless one; None: uncompressed.
        compute : bool
            False: return a ``dask.delayed.Delayed``, which writes when it is computed.
        affine : array_like, shape (4, 4), optional
            From voxel indices ``(x, y, slice)`` to patient coordinates (LPS, mm), in place of the
            geometry of the header.
        spacing : sequence of 3 floats, optional
            The same for an array along the axes of the patient: size of a voxel, mm.
        **attributes
            Set in all new images.

        Returns
        -------
        Series
            The series, or with ``compute=False`` a Delayed that gives it.

        Raises
        ------
        InvalidValue
            Values that DICOM cannot hold (infinite, complex), or a header that does not fit.
        GridError, NotInDatabase
            What the array was made from is ambiguous: pass ``header``.
        SaveFailed
            The disk is full, or the like. The series is as it was.

        Notes
        -----
        New images have new UIDs. They say that they are derived and from which images
        (SourceImageSequence, PS3.3 C.7.6.1.1.4), when, and by which program.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> database = db.database(folder)
        >>> series = database.series()[0]
        >>> array, header = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> peak = array.max("TemporalPositionIdentifier")
        >>> new = series.new_sibling(SeriesDescription="Peak").set_array(peak)
        >>> new.array("SliceLocation")[0].shape == peak.shape
        True
        >>> database.close(save=False)
        """
        from dbdicom_xr.records.writing.write_array import write_array

        return write_array(
            self,  # type: ignore[arg-type]
            array,
            header,
            pixels_first=pixels_first,
            mode=mode,
            dtype=dtype,
            scale=scale,
            multiframe=multiframe,
            transfer_syntax=transfer_syntax,
            compute=compute,
            affine=affine,
            spacing=spacing,
            attributes=attributes,
        )

    def volume(
        self,
        *filters: Mapping[Name, Any],
        stack: int | None = None,
        space: str = "LPS",
        rescale: bool | str = True,
        chunks: Any = "auto",
        **conditions: Any,
    ) -> tuple[xr.DataArray, npt.NDArray[np.float64]]:
        """Return one 3D volume, and where it lies in the patient.

        Parameters
        ----------
        *filters : mapping
            Conditions on attributes that are no Python names: ``{(0x0019, 0x100c): 1000}``.
        stack : int, optional
            Of a series of several orientations, which of :meth:`stacks`, counted from 0.
        space : {"LPS", "RAS"}
            DICOM's patient coordinates, or those of NIfTI and nibabel.
        rescale, chunks
            As in :meth:`array`.
        **conditions
            Which frames, where the series has several volumes: ``volume(EchoTime=4.6)``. As in
            :meth:`series`.

        Returns
        -------
        array : xarray.DataArray
            Dimensions ``x`` (columns), ``y`` (rows) and ``SliceLocation``, for colour ``channel``;
            slices in their order along the normal. Lazy.
        affine : numpy.ndarray of float64, shape (4, 4)
            From ``(x, y, slice, 1)``, indices counted from 0, to mm, as
            ``array.dicom.get_affine(space)``.

        Raises
        ------
        GridError
            The frames are more than one volume: the message names what varies and how to choose.
            Or they are not evenly spaced: it names where.

        Warns
        -----
        MixedGeometry
            The slices are shifted against each other, as by a tilted gantry.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2.3, 4.6]})
        >>> array, affine = db.database(folder).series()[0].volume(EchoTime=4.6)
        >>> array.dims
        ('x', 'y', 'SliceLocation')
        >>> affine @ [0, 0, 2, 1]
        array([-20., -30.,  50.,   1.])
        """
        from dbdicom_xr.records.reading.volume import series_volume

        wanted = parse_filters(filters, conditions, self._has)  # type: ignore[attr-defined]
        return series_volume(
            self,  # type: ignore[arg-type]
            wanted,
            stack=stack,
            space=space,
            rescale=rescale,
            chunks=chunks,
        )

    def stacks(self, *filters: Mapping[Name, Any], **conditions: Any) -> list[list[Instance]]:
        """Return the frames of each orientation, in their order along the normal.

        Axial stacks come first, then coronal, then sagittal ones.

        Parameters
        ----------
        **conditions
            Filters, see :meth:`series`.

        Raises
        ------
        GridError
            A frame has no ImagePositionPatient or ImageOrientationPatient.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder)
        >>> stacks = db.database(folder).series()[0].stacks()
        >>> [[frame.SliceLocation for frame in stack] for stack in stacks]
        [[0.0, 5.0, 10.0]]
        """
        from dbdicom_xr.records.reading.volume import series_stacks

        wanted = parse_filters(filters, conditions, self._has)  # type: ignore[attr-defined]
        return series_stacks(self, wanted)  # type: ignore[arg-type]

    def map_to(
        self,
        target: Any,
        *,
        order: int = 1,
        dtype: str | None = None,
        stack: int | None = None,
        **attributes: Any,
    ) -> Any:
        """Make a new series with the values of this one on the grid of another.

        Parameters
        ----------
        target : Series, Instance or xarray.DataArray
            Whose grid is wanted. All orientations of a series are mapped to, one after the other.
        order : {0, 1, 3}
            0: the value of the nearest voxel; 1: linear between voxels; 3: cubic splines.
        dtype : {None, "float32", "float64"}
            None: 16 bits per pixel; a type: exact floats, as Parametric Maps. See
            :meth:`set_array`.
        stack : int, optional
            Of a series of several orientations, which of :meth:`stacks` is mapped. By default, to
            each grid the one most nearly parallel to it, with a warning.
        **attributes
            Of the new series: ``SeriesDescription`` for one.

        Returns
        -------
        Series
            Beside this one. Planes, SliceLocation and frame of reference are those of the target.
            Times, echoes and other volumes are those of this series, as is the rest of the header.

        Raises
        ------
        GridError
            One of the two has no places in the patient, or slices that are not evenly spaced.
        InvalidValue
            The series holds colours, or the target is none.

        Warns
        -----
        MixedGeometry
            The two are not of one frame of reference, or do not overlap.

        Notes
        -----
        Outside the series there is NaN. It ends half a voxel beyond the centres of its outermost
        voxels; a single image half its SliceThickness to both sides. Where all voxels of the
        target meet voxels of the series, as after cutting and flipping, they are copied. NaN in
        the series makes NaN of what lies between it and its neighbours.

        The target is mapped block by block. Of the series a block reads what it needs.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10]})
        >>> database = db.database(folder)
        >>> series = database.series()[0]
        >>> array, _ = series.array("SliceLocation")
        >>> coarse = array.isel(SliceLocation=slice(1, 3), x=slice(0, 8, 2), y=slice(0, 8, 2))
        >>> overlay = series.map_to(coarse, SeriesDescription="Overlay")
        >>> bool((overlay.array("SliceLocation")[0].values == coarse.values).all())
        True
        >>> database.close(save=False)
        """
        from dbdicom_xr.records.reading.mapping import map_to

        return map_to(
            self,  # type: ignore[arg-type]
            target,
            order=order,
            dtype=dtype,
            stack=stack,
            attributes=attributes,
        )

    def map_mask_to(
        self, target: Any, *, threshold: float = 0.5, stack: int | None = None, **attributes: Any
    ) -> Any:
        """Make a new series with the mask that this series holds on the grid of another.

        Parameters
        ----------
        target : Series, Instance or xarray.DataArray
            As in :meth:`map_to`.
        threshold : float
            Which part of a voxel of the target has to be covered by the mask, above 0 and up to 1.
        stack, **attributes
            As in :meth:`map_to`.

        Returns
        -------
        Series
            1 in the mask and 0 elsewhere, also outside this series.

        Raises
        ------
        GridError, InvalidValue
            As in :meth:`map_to`.

        Notes
        -----
        Voxels of this series belong to the mask that are neither 0 nor NaN. The part that they
        cover is counted by samples within each voxel of the target: along each axis about 4 for
        each voxel of this series, at least 2 and at most 32.

        Examples
        --------
        >>> import dbdicom_xr as db, numpy as np, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> mask = np.zeros((3, 1, 16, 12), np.uint16)
        >>> mask[:, :, 2:7, 2:8] = 1
        >>> _ = make_series(folder, pixels=mask)
        >>> database = db.database(folder)
        >>> series = database.series()[0]
        >>> array, _ = series.array("SliceLocation")
        >>> coarse = series.map_mask_to(array.coarsen(x=2, y=2).mean())
        >>> coarse.array("SliceLocation")[0].values[0, 0, :, 1]
        array([0, 1, 1, 1, 0, 0, 0, 0], dtype=uint16)
        >>> database.close(save=False)
        """
        from dbdicom_xr.records.reading.mapping import map_mask_to

        return map_mask_to(
            self,  # type: ignore[arg-type]
            target,
            threshold=threshold,
            stack=stack,
            attributes=attributes,
        )
