"""The custom attributes that come with the package."""

from __future__ import annotations

from dbdicom_xr.records.attributes.custom_affine import affines, affines_together, write_affine
from dbdicom_xr.records.attributes.custom_frames import (
    write_b_value,
    write_direction,
    write_echo,
    write_image_type,
)
from dbdicom_xr.records.attributes.display_attributes import (
    colormaps,
    first_window,
    luts,
    write_colormap,
    write_lut,
    write_window,
)
from dbdicom_xr.records.attributes.lookup import add_custom
from dbdicom_xr.records.attributes.vendors.diffusion import b_values, gradient_directions
from dbdicom_xr.records.attributes.vendors.echo import echoes
from dbdicom_xr.records.attributes.vendors.image_type import image_types

__all__: list[str] = []

for name in ("image_type", "signal_type"):
    about = "MAGNITUDE, PHASE, REAL, IMAGINARY, WATER, FAT..."
    add_custom(name, image_types, None, about, write=write_image_type)
add_custom("b_value", b_values, None, "diffusion weighting in s/mm2", write=write_b_value)
add_custom(
    "gradient_direction",
    gradient_directions,
    None,
    "of diffusion, unit vector in the patient",
    write=write_direction,
)
add_custom("echo", echoes, None, "number of the echo, from 1", write=write_echo)
add_custom(
    "window",
    first_window,
    ["WindowCenter", "WindowWidth"],
    "centre and width of the first window",
    write=write_window,
)
add_custom("lut", luts, None, "palette of PALETTE COLOR images", write=write_lut)
add_custom("colormap", colormaps, None, "name of a colour map", write=write_colormap)
add_custom(
    "affine",
    affines,
    None,
    "from indices (column, row, slice) to the patient, mm",
    write=write_affine,
    together=affines_together,
)
