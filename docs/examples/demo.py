"""From a folder of DICOM to a map of perfusion, and back to DICOM: real files, and known truth.

Run it with ``make demo``, or ``python docs/examples/demo.py [folder]``. It writes to that
folder only, by default ``demo_output``.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom.data
import xarray as xr
from matplotlib.figure import Figure

import dbdicom_xr as db
from dbdicom_xr.testing import arterial_input, arterial_integral, make_dce

output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output")
folder = output / "dicom"
mark = output / "made_by_the_demo"
if folder.exists() and not mark.exists():
    sys.exit(f"{folder} exists, and was not made by this demo; give it another folder.")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
mark.touch()

# Real files of several scanners come with pydicom; they show what a folder looks like.
scanners = Path(pydicom.data.__file__).parent / "test_files"
for name in ("77654033", "98892001", "98892003"):
    shutil.copytree(scanners / "dicomdirtests" / name, folder / name)
for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"):
    shutil.copy(scanners / name, folder)

# A dynamic MR series of which we know the truth: 3 slices, 30 times, some noise.
truth = make_dce(folder / "dce", shape=(3, 30, 96, 72), noise=2.0, seed=1)

with db.database(folder) as database:
    print(database)

    # Four dimensions out of 90 files. No two slices share a time, as the scanner acquires them one
    # after the other: align="order" puts the first, second, ... time of each slice together.
    series = database.series(SeriesDescription="DCE")[0]
    array, header = series.array(["SliceLocation", "AcquisitionTime"], align="order")
    print(array)  # lazy: no pixel has been read
    print("Acquired at", [instance.AcquisitionTime for instance in header[0, :3, 0]], "...")

    # The uptake rate Ktrans, by a linear fit of Patlak's model to each pixel; still lazy.
    signal = array.isel(n=0, drop=True)
    seconds = signal["AcquisitionTime"].values / np.timedelta64(1, "s") - truth.arrival
    design = np.stack([arterial_integral(seconds) / 60, arterial_input(seconds)], axis=-1)
    dims = ("SliceLocation", "parameter", "AcquisitionTime")
    weights = xr.DataArray(np.linalg.pinv(design), dims=dims)
    baseline = signal.isel(AcquisitionTime=slice(truth.n_baseline)).mean("AcquisitionTime")
    concentration = (signal / baseline - 1) / truth.relaxivity
    fit = xr.dot(weights, concentration, dim="AcquisitionTime")
    ktrans = fit.isel(parameter=0)

    # Back to DICOM, beside the series that it was made from. Pixels are read now, chunk by chunk.
    result = ktrans.dicom.write(
        series.new_sibling(SeriesDescription="Ktrans (1/min)"),
        header,  # all times of a slice are the sources of its map
        ImageType=["DERIVED", "SECONDARY", "KTRANS"],
    )
    result.save()  # until here no DICOM file was written, and result.restore() would undo it
    ktrans = ktrans.compute()

# Opened again, as another program would.
with db.database(folder) as database:
    series = database.series(SeriesDescription="Ktrans*")[0]
    written, header = series.array("SliceLocation")
    image = header[0, 0]
    print(f"Read again: {series}")
    print("   ", image.file)
    print("   ", "\\".join(image.ImageType), "|", image.DerivationDescription)
    print("    made from", len(image.SourceImageSequence), "images of", image.PatientID)
    ktrans_read = written.isel(n=0, drop=True).compute()

rounding = float(abs(ktrans_read - ktrans).max())
step = float((ktrans.max(["x", "y"]) - ktrans.min(["x", "y"])).max()) / 65534
print(f"    rounded to 16 bits: off by {rounding:.2g} 1/min at most, {rounding / step:.2f} steps")
if rounding > 0.51 * step:
    sys.exit("The map that was read is not the one that was written.")

tissue = truth.s0 > 100
error = np.abs(ktrans_read.values - truth.ktrans)[tissue]
print(
    f"Ktrans against the truth: median error {np.median(error):.4f}, 95% below "
    f"{np.quantile(error, 0.95):.4f} 1/min; true values up to {truth.ktrans.max():.2f}"
)

figure = Figure(figsize=(9, 5), layout="constrained")
rows = figure.subplots(2, len(truth.ktrans))
maps = {"true": truth.ktrans, "fitted, from DICOM": np.where(tissue, ktrans_read.values, 0)}
for row, (title, volume) in zip(rows, maps.items(), strict=True):
    for z, axis in enumerate(row):
        shown = axis.imshow(volume[z].T, vmin=0, vmax=0.3, cmap="viridis")
        axis.set(title=f"{title}, slice {z + 1}", xticks=[], yticks=[])
figure.colorbar(shown, ax=rows, label="Ktrans (1/min)")
figure.savefig(output / "ktrans.png", dpi=100)
print(f"The map is in {output / 'ktrans.png'}, the DICOM files in {folder}")
