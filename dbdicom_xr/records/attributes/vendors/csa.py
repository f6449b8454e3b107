"""What Siemens keeps in its own header, (0029,xx10) of ``SIEMENS CSA HEADER``."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any, NamedTuple

from dbdicom_xr.records.attributes.vendors.columns import first_number

__all__ = ["CsaDiffusion", "csa_diffusion"]


class CsaDiffusion(NamedTuple):
    """Diffusion as the CSA image header has it.

    Parameters
    ----------
    b_value : float or None
        In s/mm2.
    direction : list or None
        In the patient (LPS).
    directionality : str or None
        ``DIRECTIONAL``, ``ISOTROPIC`` or ``NONE``.
    """

    b_value: float | None = None
    direction: list[Any] | None = None
    directionality: str | None = None


@lru_cache(maxsize=1)
def _reader() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls the whole folder experimental
        from nibabel.nicom import csareader
    return csareader


def csa_diffusion(raw: Any) -> CsaDiffusion:
    """Return what a CSA image header says of diffusion; nothing where it cannot be read.

    Parameters
    ----------
    raw : bytes

    Examples
    --------
    >>> csa_diffusion(b"no header")
    CsaDiffusion(b_value=None, direction=None, directionality=None)
    """
    try:
        tags = _reader().read(raw)["tags"]
    except Exception:  # nibabel raises whatever comes of damaged bytes
        return CsaDiffusion()

    def items(name: str) -> list[Any]:
        return list(tags.get(name, {}).get("items", []))

    direction = items("DiffusionGradientDirection")
    directionality = [str(item).strip() for item in items("DiffusionDirectionality")]
    return CsaDiffusion(
        first_number(items("B_value")),
        direction if len(direction) == 3 else None,
        directionality[0] if directionality else None,
    )
