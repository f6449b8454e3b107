"""DICOM that these tests make, and how a layout is read from it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dbdicom_xr.pixels.layout import PixelLayout

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def layout_of(dataset: Dataset) -> PixelLayout:
    keyword = next(k for k in KEYWORDS if k in dataset)
    bits = dataset.BitsAllocated
    stored = dataset.get("BitsStored", bits)
    return PixelLayout(
        rows=dataset.Rows,
        columns=dataset.Columns,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=dataset.get("HighBit", stored - 1),
        pixel_representation=dataset.get("PixelRepresentation", 0),
        samples_per_pixel=dataset.SamplesPerPixel,
        planar_configuration=dataset.get("PlanarConfiguration") or 0,
        photometric_interpretation=dataset.PhotometricInterpretation,
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
        keyword=keyword,
        vr=dataset[keyword].VR,
    )


def make(
    pixel_data: bytes,
    rows: int,
    columns: int,
    *,
    syntax: str = ExplicitVRLittleEndian,
    frames: int = 1,
    vr: str = "OW",
    keyword: str = "PixelData",
    **attributes: Any,
) -> Dataset:
    """Return a dataset that was written as DICOM and read again by pydicom."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    given = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "PixelRepresentation": 0,
        **attributes,
    }
    given.setdefault("HighBit", given["BitsStored"] - 1)
    dataset.update({})
    for name, value in given.items():
        setattr(dataset, name, value)
    dataset.add_new(keyword, vr, pixel_data)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    if UID(syntax).is_compressed:
        dataset[keyword].is_undefined_length = True
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    read: Dataset = dcmread(file)
    return read


def random_values(
    seed: int, shape: tuple[int, ...], bits: int, signed: bool, dtype: str
) -> np.ndarray:
    low = -(1 << bits - 1) if signed else 0
    rng = np.random.default_rng(seed)
    return rng.integers(low, low + (1 << bits), shape, dtype="i8" if signed else "u8").astype(dtype)


def write(folder: Path, dataset: Dataset, name: str = "image.dcm") -> Path:
    """Write what `make` returned as a file of a series of its own folder."""
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "P", "1.2", "1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"enforce_file_format": True}
    if not UID(dataset.file_meta.TransferSyntaxUID).is_transfer_syntax:  # younger than pydicom
        options = {"implicit_vr": False, "little_endian": True, "force_encoding": True}
    dataset.save_as(folder / name, **options)
    return folder / name
