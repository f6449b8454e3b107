"""What the new images of a series say, but what follows from their pixels."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.datadict import keyword_for_tag

from dbdicom_xr.deidentify.profile import Do, Options, decide
from dbdicom_xr.emit.elements import Elements, constant, key_of, per_image, take
from dbdicom_xr.emit.kinds import Kind, complete, template
from dbdicom_xr.emit.tracing import untraced
from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.merge import instance_numbers
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.records.attributes.lookup import nowhere, parse_name
from dbdicom_xr.records.attributes.modules import IDENTITY, keys_of
from dbdicom_xr.records.attributes.slices import slice_locations
from dbdicom_xr.records.editing.edits import encoded_one
from dbdicom_xr.records.editing.placing import Edits, identity_of, key_of_node, said_at
from dbdicom_xr.records.reading.sources import Sources
from dbdicom_xr.records.writing.cells import per_cell
from dbdicom_xr.records.writing.deriving import derived
from dbdicom_xr.records.writing.image_planes import image_planes, label_elements
from dbdicom_xr.staging.uids import new_uid, new_uids

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = ["OF_THE_ARRAY", "new_elements", "refuse_pixels"]

_INSTANCE_NUMBER: Final = Key(0x00200013)
_MODALITY: Final = Key(0x00080060)
_FRAME_OF_REFERENCE: Final = Key(0x00200052)
_LOCATION: Final = Key(0x00201041)
# What images say of themselves, also where the Basic Profile of PS3.15 would take it out.
_OF_THE_IMAGE: Final = frozenset(
    map(
        key_of,
        (
            "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate",
            "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "DerivationDescription",
            "ContributingEquipmentSequence", "SourceImageSequence", "SeriesDescription",
            "ProtocolName", "PixelPaddingValue",
        ),
    )
)  # fmt: skip
_OPTIONS: Final = (
    "header", "pixels_first", "mode", "dtype", "scale", "multiframe", "transfer_syntax", "compute",
    "affine", "spacing",
)  # fmt: skip
_DIFFUSION: Final = {
    "DiffusionBValue": "b_value",
    "DiffusionGradientOrientation": "gradient_direction",
}
OF_THE_ARRAY: Final = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelData", "RescaleSlope",
    "RescaleIntercept", "NumberOfFrames", "SOPClassUID", "PixelPaddingValue", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "SmallestImagePixelValue", "LargestImagePixelValue",
)  # fmt: skip


def new_elements(
    series: Series,
    array: xr.DataArray,
    sources: Sources | None,
    kind: Kind,
    attributes: Mapping[str, Any],
    *,
    append: bool = False,
    single: bool = False,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
) -> tuple[Elements, npt.NDArray[np.intp]]:
    """Return all that new images of a series say but what follows from their pixels.

    Parameters
    ----------
    series : Series
        That they come into.
    array : xarray.DataArray
        Of which dimensions and labels count; the last ones are those of the pixels.
    sources : Sources or None
    kind : Kind
    attributes : mapping
        Set in all images.
    append, single : bool
        Whether there are others before them, and whether they make one instance.
    affine, spacing
        As in :meth:`Series.set_array`.

    Returns
    -------
    elements : Elements
        A row per image.
    kept : ndarray of int, shape (images,)
        The cells of the array that have an image.
    """
    given = given_attributes(attributes)
    depth = array.ndim - (3 if "channel" in array.dims else 2)
    cells = int(np.prod(array.shape[:depth], dtype=np.int64))
    _refuse(given, kind, cells)
    if sources is None:
        elements = {**template(kind, cells), **untraced(kind, cells)}
    else:
        elements = derived(sources, kind)
        _put_diffusion(elements, sources, kind)
    elements.update(image_planes(array, sources, affine=affine, spacing=spacing))
    elements.update(label_elements(array, sources))
    if sources is not None and affine is None and spacing is None:
        _put_locations(elements, array, sources)
    kept = _cells_with_images(sources, cells)
    if not len(kept):
        raise InvalidValue("The array holds gaps only: there is no image to write.")
    elements = take(elements, kept)
    _put_in_place(series, elements, len(kept), sources)
    for key, encoded in given.items():
        elements.pop(key, None)
        if encoded is not None:
            elements[key] = constant(key, encoded, len(kept))
    complete(kind, elements, len(kept))
    _identify(series, elements, len(kept), append=append, single=single)
    return elements, kept


def given_attributes(attributes: Mapping[str, Any]) -> Edits:
    """Return attributes that were given by name; a misspelt option is not taken for one."""
    edits: Edits = {}
    for name, value in attributes.items():
        try:
            attribute = parse_name(name, nowhere)
        except UnknownKeyword:
            close = difflib.get_close_matches(name, _OPTIONS, 1, 0.7)
            if close:
                raise InvalidValue(
                    f"There is no option {name!r}; did you mean {close[0]}=?"
                ) from None
            raise
        key, encoded = encoded_one(attribute, value)
        edits[key] = encoded
    return edits


def _put_diffusion(elements: Elements, sources: Sources, kind: Kind) -> None:
    """Say b-value and direction by the attributes of the standard.

    Vendors say them elsewhere, and of mosaics that is left behind.
    """
    if kind.name != "mri":
        return
    for keyword, name in _DIFFUSION.items():
        if key_of(keyword) not in elements:
            values = sources.common_values(parse_name(name)).tolist()
            if any(value is not None for value in values):
                elements[key_of(keyword)] = per_image(keyword, values)


def _put_locations(elements: Elements, array: xr.DataArray, sources: Sources) -> None:
    """Say SliceLocation as arrays of the sources do, where it is worked out.

    An image that is turned over has its normal on the other side, from which it would be counted.
    """
    if _LOCATION in elements:
        return
    labels = per_cell(array, "SliceLocation")
    if labels is None or labels.dtype.kind not in "iuf":
        labels = _locations_of(sources)
    if np.isfinite(labels).any():
        values = [round(v, 4) + 0.0 if np.isfinite(v) else None for v in labels.tolist()]
        elements[_LOCATION] = per_image("SliceLocation", values)


def _locations_of(sources: Sources) -> npt.NDArray[np.float64]:
    """Return the middle of the frames of each image along their normal, NaN where unknown."""
    places = np.full(len(sources.rows), np.nan)
    for number, table in enumerate(sources.tables):
        mine = np.flatnonzero(sources.table_of == number)
        found = slice_locations(table, sources.rows[mine])
        if found is not None:
            places[mine] = found
    middle = np.full(len(sources), np.nan)
    filled = np.flatnonzero(np.diff(sources.starts) > 0)
    if len(filled):
        starts = sources.starts[:-1][filled]
        ends = np.minimum.reduceat(places, starts), np.maximum.reduceat(places, starts)
        middle[filled] = (ends[0] + ends[1]) / 2
    return middle


def _refuse(given: Mapping[Key, Any], kind: Kind, images: int) -> None:
    """Refuse attributes that follow from elsewhere."""
    for name, key in IDENTITY.items():
        if key in given:
            raise InvalidValue(f"{name} cannot be given: the series that is written to decides it.")
    for key in (*keys_of("patient"), *keys_of("study")):
        if key in given:
            raise InvalidValue(
                f"{keyword_for_tag(key.tag)} is said of the whole patient or study: set it there, "
                "as in series.parent.StudyDescription = ..."
            )
    for keyword in ("ImagePositionPatient", "SliceLocation", "InstanceNumber"):
        if images > 1 and key_of(keyword) in given:
            raise InvalidValue(
                f"{keyword} differs from image to image: label the dimension of the array, give "
                f"affine=, or set it afterwards: series.set_values({keyword!r}, [...])."
            )
    modality = given.get(_MODALITY)
    if modality is not None and kind.name not in ("sc", "cr"):
        text = modality.value.decode("ascii", "replace").strip()
        if text != kind.modality:
            raise InvalidValue(
                f"Modality cannot be {text!r}: the images are {kind.modality}, as those that they "
                "were made from. A new series of another Modality changes that: "
                f"study.new_series(Modality={text!r})."
            )
    refuse_pixels(given)


def refuse_pixels(given: Mapping[Key, Any]) -> None:
    """Refuse attributes that follow from the pixels."""
    for keyword in OF_THE_ARRAY:
        if key_of(keyword) in given:
            raise InvalidValue(
                f"{keyword} cannot be given: it follows from the array. It can be set afterwards."
            )


def _cells_with_images(sources: Sources | None, cells: int) -> npt.NDArray[np.intp]:
    if sources is None:
        return np.arange(cells)
    return np.flatnonzero(np.diff(sources.starts) > 0)


def _put_in_place(series: Series, elements: Elements, count: int, sources: Sources | None) -> None:
    """Give images what describes the patient, the study and the series that they come into."""
    database, node = series.database, series._node
    said = said_at(database, node)
    keys = [table.series.key for table in sources.tables] if sources is not None else []
    same_patient = bool(keys) and all(
        (key.patient_id, key.patient_name) == node.patient for key in keys
    )
    study = key_of_node(node).study_uid
    same_study = same_patient and all(key.study_uid == study for key in keys)
    strict = {*keys_of("patient"), *keys_of("study")}
    if not same_patient:
        strict.update(keys_of("patient study"))
        if keys:
            strict.update(filter(_identifies, elements))
        if keys and _FRAME_OF_REFERENCE in elements:
            elements[_FRAME_OF_REFERENCE] = constant(_FRAME_OF_REFERENCE, new_uid(), count)
    # Files of one patient or study may differ in what they say of it. Then what the sources say
    # counts, not what the first series says.
    own = {*keys_of("patient")} if same_patient else set()
    if same_study:
        own.update(keys_of("study"), keys_of("patient study"))
    kept = {key for key in own & elements.keys() if _is_constant(elements[key])}
    for key in strict - kept:
        elements.pop(key, None)
    for key, encoded in said.items():
        if encoded is not None and key != _MODALITY and key not in kept:
            elements[key] = constant(key, encoded, count)


def _identifies(key: Key) -> bool:
    """Return whether an attribute may tell who was examined, or when, where and by whom."""
    if key.creator or key.tag >> 16 & 1:
        return True
    if key in _OF_THE_IMAGE:
        return False
    taken_out = (Do.REMOVE, Do.EMPTY, Do.DUMMY, Do.CLEAN)
    return decide(key.tag, known_vr(key.tag) or "UN", Options()) in taken_out


def _is_constant(column: Column) -> bool:
    return len(column.values) == 1 and bool((column.codes_of() >= 0).all())


def _identify(
    series: Series, elements: Elements, count: int, *, append: bool, single: bool
) -> None:
    """Give images their place in the tree, new UIDs and numbers."""
    node = series._node
    for key, encoded in identity_of(key_of_node(node)).items():
        if encoded is not None:
            elements[key] = constant(key, encoded, count)
    first = 1
    if append and node.row is not None and node.row.instances:
        table = series._own_table
        column = table.column(_INSTANCE_NUMBER)
        numbers = instance_numbers(
            {} if column is None else {_INSTANCE_NUMBER: column}, len(table.places)
        )
        known = numbers[np.isfinite(numbers)]
        first = int(known.max()) + 1 if len(known) else len(table.places) + 1
    # In order: instances with equal numbers stand in the order of their UIDs.
    uids = [new_uid()] * count if single else sorted(new_uids(count))
    elements[IDENTITY["SOPInstanceUID"]] = per_image("SOPInstanceUID", uids)
    numbers_of = [first] * count if single else list(range(first, first + count))
    elements[_INSTANCE_NUMBER] = per_image("InstanceNumber", numbers_of)
