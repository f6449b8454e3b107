"""The methods by which records leave the database as files of other formats."""

from __future__ import annotations

import os

from dbdicom_xr.records.exporting.dicom_methods import DicomFiles
from dbdicom_xr.records.exporting.plain_methods import PlainFiles
from dbdicom_xr.records.exporting.zarr_methods import ZarrStores

__all__ = ["Exporting"]


class Exporting(DicomFiles, PlainFiles, ZarrStores):
    """The part of a record that writes other formats."""

    __slots__ = ()

    def export_as_nifti(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        rescale: bool | str = True,
        philips: str = "float",
        sidecar: bool = True,
        identify: bool = False,
    ) -> list[str]:
        """Write the images as NIfTI files.

        Each file holds one kind of image: of one size, one orientation, one echo; magnitude, phase,
        real and imaginary part apart, and derived maps. Images of several times, b-values or the
        like are its volumes, in the order of acquisition. Beside each file stands a ``.json`` with
        what BIDS wants to know, and for diffusion ``.bval`` and ``.bvec`` as FSL reads them.

        Parameters
        ----------
        path : str or path
            A folder, made if missing, for files named after the series; or where one file results,
            its name, which ends in ``.nii.gz`` or ``.nii``.
        overwrite : bool
            Replace files that are there already, and what stands beside them.
        rescale : bool or str
            As in :meth:`Series.array`. Integers stay integers, with slope and intercept in the
            header of the file, where these are the same in all frames; else they become floats.
        philips : {"float", "display"}
            Values of Philips MR images: those of the reconstruction, as dcm2niix has them by
            default (phase in rad), or those that RescaleSlope tells, as ``series.array`` has them.
        sidecar : bool
            Whether to write ``.json``, ``.bval`` and ``.bvec``.
        identify : bool
            Tell patient, dates and institution in the ``.json``.

        Returns
        -------
        list of str
            The NIfTI files that were written.

        Raises
        ------
        GridError
            The frames of a series are no even volumes: slices are missing, unevenly spaced, or
            shifted against each other as by a tilted gantry.
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
            The others are. Or objects without pixels among the images of a series.
        MixedGeometry
            Images whose place in the patient is not known, as screenshots; the files say so.

        Examples
        --------
        >>> import dbdicom_xr as db, nibabel, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2.3, 4.6]})
        >>> series = db.database(folder).series()[0]
        >>> files = series.export_as_nifti(tempfile.mkdtemp())
        >>> [nibabel.load(file).shape for file in files]
        [(16, 12, 3), (16, 12, 3)]
        """
        from dbdicom_xr.errors import InvalidValue
        from dbdicom_xr.records.exporting.each import require_flags
        from dbdicom_xr.records.exporting.nifti_images import NiftiOptions
        from dbdicom_xr.records.exporting.to_nifti import export_nifti

        require_flags(overwrite=overwrite, sidecar=sidecar, identify=identify)
        if philips not in ("float", "display"):
            raise InvalidValue(f"philips is {philips!r}; it is 'float' or 'display'.")
        options = NiftiOptions(rescale, philips, sidecar, identify)
        return export_nifti(self, path, overwrite=overwrite, options=options)  # type: ignore[arg-type]
