"""Which decoder reads which transfer syntax.

JPEG baseline, extended and lossless come from libjpeg-turbo, through imagecodecs, which is
added to the decoders of pydicom. Of the decoders free to use, it alone reads the 12-bit
JPEG Extended. On all other real files it gives the same numbers as GDCM and DCMTK, two to three
times as fast as GDCM, and damaged bytes raise where they make GDCM abort the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydicom import uid as _uid
from pydicom.pixels.decoders.base import get_decoder

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

__all__ = ["DECODER_DEPENDENCIES", "choose", "is_available", "package_for", "register"]

_NAME = "imagecodecs"
_JPEG = (
    _uid.JPEGBaseline8Bit,
    _uid.JPEGExtended12Bit,
    _uid.JPEGLossless,
    _uid.JPEGLosslessSV1,
)
# What pydicom asks of a plugin's module, beside is_available.
DECODER_DEPENDENCIES = dict.fromkeys(_JPEG, ("imagecodecs",))

# Lossy decoders differ in the last bit, so the numbers must not depend on what is installed.
_PREFERRED = {
    **dict.fromkeys(_JPEG, (_NAME, "imagecodecs")),
    **dict.fromkeys(_uid.JPEGLSTransferSyntaxes, ("pyjpegls", "pyjpegls")),
    **dict.fromkeys(_uid.JPEG2000TransferSyntaxes, ("pylibjpeg", "pylibjpeg pylibjpeg-openjpeg")),
    _uid.RLELossless: ("pylibjpeg", "pylibjpeg pylibjpeg-rle"),
}


def is_available(uid: str) -> bool:
    """Return whether this plugin can decode the transfer syntax (asked by pydicom)."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def register() -> None:
    """Add the JPEG decoder of imagecodecs to pydicom's; a second call changes nothing.

    Examples
    --------
    >>> from pydicom.pixels.decoders import JPEGExtended12BitDecoder
    >>> register()
    >>> "imagecodecs" in JPEGExtended12BitDecoder.available_plugins
    True
    """
    for uid in _JPEG:
        decoder = get_decoder(uid)
        if _NAME not in decoder.available_plugins:
            decoder.add_plugin(_NAME, (__name__, "_decode_frame"))


def choose(uid: str, available: Iterable[str]) -> str | None:
    """Return the decoder to use for a transfer syntax: always the same one, if it is installed.

    Parameters
    ----------
    uid : str
        The transfer syntax.
    available : iterable of str
        Names of the plugins that pydicom could use.

    Returns
    -------
    str or None
        GDCM is never chosen: bytes that are damaged can make it abort the whole process.

    Examples
    --------
    >>> choose("1.2.840.10008.1.2.4.80", ["gdcm", "pylibjpeg", "pyjpegls"])
    'pyjpegls'
    """
    usable = [name for name in available if name != "gdcm"]
    preferred, _ = _PREFERRED.get(_uid.UID(uid), ("", ""))
    return preferred if preferred in usable else next(iter(usable), None)


def package_for(uid: str) -> str:
    """Return what to install to decode a transfer syntax, as pip takes it."""
    return _PREFERRED.get(_uid.UID(uid), ("", "imagecodecs"))[1]


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode one JPEG frame; called by pydicom."""
    from imagecodecs import jpeg8_decode

    # The same colour space in and out: no conversion, since pydicom does that where it is due.
    space = "YCBCR" if runner.samples_per_pixel == 3 else None
    decoded = jpeg8_decode(src, colorspace=space, outcolorspace=space)
    if decoded.shape[:2] != (runner.rows, runner.columns):
        raise ValueError(
            f"the image is {decoded.shape[0]} x {decoded.shape[1]} pixels, "
            f"not {runner.rows} x {runner.columns}"
        )
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    data: bytes = decoded.tobytes()
    return data
