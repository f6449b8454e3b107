"""The custom attributes that come with the package."""

from __future__ import annotations

from typing import Any

from dbdicom_xr.records.attributes import add_custom
from dbdicom_xr.records.vendors.diffusion import b_values, gradient_directions
from dbdicom_xr.records.vendors.echo import echoes
from dbdicom_xr.records.vendors.image_type import image_types

__all__: list[str] = []


def _window(centre: Any, width: Any) -> list[float] | None:
    first = [value[0] if isinstance(value, list) and value else value for value in (centre, width)]
    if not all(isinstance(value, (int, float)) for value in first):
        return None
    return [float(value) for value in first]


add_custom("image_type", image_types, None, "MAGNITUDE, PHASE, REAL, IMAGINARY, WATER, FAT...")
add_custom("b_value", b_values, None, "diffusion weighting in s/mm2")
add_custom(
    "gradient_direction", gradient_directions, None, "of diffusion, unit vector in the patient"
)
add_custom("echo", echoes, None, "number of the echo, from 1")
add_custom(
    "window",
    _window,
    ["WindowCenter", "WindowWidth"],
    "centre and width of the first window",
)
