"""Makers of synthetic DICOM, with the truth that a reader should find in it.

For tests of this package and of yours: small, valid files about nobody, the same for the same seed.

==================  =========================================================================
`make_series`       classic images on a grid of any tags; gaps, duplicates, jitter, any syntax
`make_enhanced`     the same in one Enhanced MR file
`make_mosaic`       the same with the slices of each volume as tiles of one image
`make_dce`          a dynamic series with known kinetics
`make_multi_echo`   several echoes with known T2*
`make_flip_angles`  several flip angles with known T1
`make_study`        several patients, studies and series; reports; odd files
`make_many`         thousands of files in seconds
==================  =========================================================================
"""

from dbdicom_xr.testing.dce import MadeDCE, arterial_input, arterial_integral, make_dce
from dbdicom_xr.testing.enhanced import make_enhanced
from dbdicom_xr.testing.many import MadeMany, make_many
from dbdicom_xr.testing.mosaic import make_mosaic
from dbdicom_xr.testing.relaxation import MadeRelaxation, make_flip_angles, make_multi_echo
from dbdicom_xr.testing.series import Geometry, MadeSeries, make_series
from dbdicom_xr.testing.study import MadeStudy, make_study

__all__ = [
    "Geometry",
    "MadeDCE",
    "MadeMany",
    "MadeRelaxation",
    "MadeSeries",
    "MadeStudy",
    "arterial_input",
    "arterial_integral",
    "make_dce",
    "make_enhanced",
    "make_flip_angles",
    "make_many",
    "make_mosaic",
    "make_multi_echo",
    "make_series",
    "make_study",
]
