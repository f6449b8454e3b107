"""What becomes of the header in each operation: the table of docs/guide/operations.md, as code."""

from __future__ import annotations

SAME = "kept"
COMMON = "common"
LABELS = "common to all with its labels"
LABEL = "that of its label"
REFUSED = "refused"
FIRST = "that of the first variable"  # wrong, and known to be

# Sorted by SliceLocation and FlipAngle; ``other`` is a second series of the same places, ``times``
# the array sorted by SliceLocation and AcquisitionTime, ``peak`` the brightest angle of each voxel.
OPERATIONS: dict[str, str] = {
    # selection and order
    "array.isel(SliceLocation=[2, 0], FlipAngle=slice(1, 3))": SAME,
    "array.sel(FlipAngle=5)": SAME,
    'array.sel(FlipAngle=6, method="nearest")': SAME,
    "array.isel(x=slice(1, 2))": SAME,
    "array.thin(FlipAngle=2)": SAME,
    "array.where(array.FlipAngle > 4, drop=True)": SAME,
    "array.drop_duplicates('FlipAngle')": SAME,
    'array.sortby("FlipAngle", ascending=False)': SAME,
    'array.transpose("y", "FlipAngle", "x", ...)': SAME,
    "array.squeeze()": SAME,
    'array.expand_dims("parameter")': SAME,
    'array.rename(FlipAngle="angle")': SAME,
    'array.rename(FlipAngle="angle").max("SliceLocation")': COMMON,
    'array.assign_coords(scan=("FlipAngle", [1, 2, 3])).swap_dims(FlipAngle="scan")': SAME,
    'array.stack(image=["SliceLocation", "FlipAngle"])': SAME,
    'array.stack(image=["SliceLocation", "FlipAngle"]).unstack("image")': SAME,
    'array.mean("n").stack(image=["SliceLocation", "FlipAngle"]).unstack("image")': SAME,
    'array.stack(voxel=["x", "y"]).mean("FlipAngle").unstack("voxel")': COMMON,
    "array.reindex(FlipAngle=[5, 6, 2])": SAME,
    "array.reindex_like(array.isel(SliceLocation=[1, 3]))": SAME,
    'array.reindex(SliceLocation=[4], method="nearest")': REFUSED,
    'array.mean("SliceLocation").reindex(FlipAngle=[5, 6, 2])': REFUSED,
    "array.pad(FlipAngle=1)": SAME,
    'array.pad(SliceLocation=1, mode="edge")': SAME,
    "array.pad(x=1, constant_values=0)": SAME,
    "array.roll(FlipAngle=1, roll_coords=True)": SAME,
    "array.isel(FlipAngle=peak)": COMMON,
    'array.isel(SliceLocation=xr.DataArray([0, 1], dims="p"), '
    'FlipAngle=xr.DataArray([2, 0], dims="p"))': SAME,
    'array.drop_vars("FlipAngle")': SAME,
    'array.drop_vars(["SOPInstanceUID", "frame"])': SAME,
    "array.reset_coords(drop=True)": REFUSED,
    # voxel by voxel
    "array * 2 + 1": SAME,
    "np.sqrt(array)": SAME,
    "array > 100": SAME,
    "array.clip(0, 100)": SAME,
    "array.where(array > 100)": SAME,
    "array.where(array > 100).fillna(0)": SAME,
    "xr.apply_ufunc(np.abs, array)": SAME,
    "xr.map_blocks(lambda block: block * 2, array)": SAME,
    'array.groupby("FlipAngle").map(lambda group: group * 2)': SAME,
    "pickle.loads(pickle.dumps(array * 2))": SAME,
    'array.astype("float32")': SAME,
    # reductions
    'array.mean("FlipAngle")': COMMON,
    'array.max(["SliceLocation", "FlipAngle"])': COMMON,
    'array.std(["x", "y"])': SAME,
    'array.mean("n")': SAME,
    'array.sel(FlipAngle=5).mean("n")': SAME,
    'array.isel(FlipAngle=[0, 1]).mean("FlipAngle")': LABELS,
    'array.argmax("FlipAngle")': COMMON,
    'array.idxmax("FlipAngle")': COMMON,
    'array.median("FlipAngle")': COMMON,
    'array.quantile(0.9, "FlipAngle")': REFUSED,
    'array.quantile(0.9, ["x", "y"])': SAME,
    'array.reduce(np.ptp, "FlipAngle")': COMMON,
    'array.groupby("SliceLocation").mean("FlipAngle")': COMMON,
    'array.groupby_bins("FlipAngle", [0, 6, 12]).mean()': REFUSED,
    'array.weighted(xr.DataArray([1, 2, 3], dims="FlipAngle")).mean("FlipAngle")': COMMON,
    'array.dot(xr.DataArray([1, 2, 3], dims="FlipAngle"))': COMMON,
    'xr.apply_ufunc(lambda v: v.mean(-1), array, input_core_dims=[["FlipAngle"]])': COMMON,
    'xr.map_blocks(lambda block: block.mean("FlipAngle"), array)': COMMON,
    'xr.apply_ufunc(lambda v: np.sort(v)[..., :2], array, input_core_dims=[["FlipAngle"]], '
    'output_core_dims=[["parameter"]])': COMMON,
    'array.mean("FlipAngle").expand_dims(parameter=["M0", "T1"])': COMMON,
    'array.mean("FlipAngle").assign_coords(FlipAngle=5)': COMMON,
    'array.mean("FlipAngle").expand_dims(FlipAngle=[2, 5])': REFUSED,
    'array.mean("FlipAngle", keep_attrs=False)': REFUSED,
    'array.polyfit("FlipAngle", 1).polyfit_coefficients': REFUSED,
    'array.integrate("FlipAngle")': REFUSED,
    # neighbours
    'array - array.mean("FlipAngle")': LABEL,
    "array / array.isel(FlipAngle=0)": LABEL,
    "array.isel(FlipAngle=1) - array.isel(FlipAngle=0)": LABELS,
    'array.diff("FlipAngle")': LABEL,
    'array.cumsum("FlipAngle")': LABEL,
    "array.shift(FlipAngle=1)": LABEL,
    "array.roll(FlipAngle=1)": LABEL,
    "array.rolling(FlipAngle=3, center=True).mean()": LABEL,
    'array.rolling(FlipAngle=3, center=True).construct("window")': LABEL,
    "array.rolling(x=2).mean()": SAME,
    'array.differentiate("FlipAngle")': REFUSED,
    'xr.broadcast(array.mean("FlipAngle"), array)[0]': LABEL,
    # other grids
    "array.interp(x=[1, 2])": SAME,
    "array.interp(FlipAngle=[2, 5])": SAME,
    "array.interp(FlipAngle=[3, 6])": REFUSED,
    "array.interp(SliceLocation=[2.5, 7.5])": REFUSED,
    'array.interp(FlipAngle=[3, 6]).rename(FlipAngle="angle")': REFUSED,
    'array.interp(FlipAngle=[3, 6]).drop_vars("FlipAngle")': REFUSED,
    'array.interp(FlipAngle=[3]).squeeze("FlipAngle", drop=True)': REFUSED,
    'array.interp(FlipAngle=[3, 6]).isel(FlipAngle=xr.DataArray([0, 1], dims="q"))': REFUSED,
    'array.interp(SliceLocation=[2.5, 7.5]).rename(SliceLocation="z")': REFUSED,
    "array.interp(SliceLocation=[2.5, 7.5]).isel(SliceLocation=0, drop=True)": REFUSED,
    'array.interp(SliceLocation=[2.5, 7.5]).assign_coords(scan=("SliceLocation", [1, 2]))'
    '.swap_dims(SliceLocation="scan")': REFUSED,
    'array.interp(SliceLocation=[2.5, 7.5]).stack(image=["SliceLocation", "FlipAngle"])': REFUSED,
    'array.interp(SliceLocation=[2.5, 7.5]).mean("FlipAngle").rename(SliceLocation="z")': REFUSED,
    'array.mean("FlipAngle").interp(x=[1, 2])': COMMON,
    'array.mean("FlipAngle").interp(SliceLocation=[2.5, 7.5])': REFUSED,
    "array.coarsen(x=2, y=2).mean()": SAME,
    "array.dicom.coarsen(SliceLocation=2).mean()": COMMON,
    'array.mean("FlipAngle").coarsen(SliceLocation=2).mean()': REFUSED,
    "array.dicom.coarsen(SliceLocation=2, FlipAngle=3).max()": COMMON,
    'array.dicom.coarsen(FlipAngle=3).mean().max("SliceLocation")': REFUSED,
    'array.isel(SliceLocation=[0, 1, 2]).dicom.coarsen(SliceLocation=3).mean().max("FlipAngle")': (
        REFUSED
    ),
    'array.dicom.coarsen(FlipAngle=3).mean().squeeze("FlipAngle").max("SliceLocation")': COMMON,
    'times.resample(AcquisitionTime="20s").mean()': REFUSED,
    'times.resample(AcquisitionTime="5s").nearest()': REFUSED,
    # several arrays
    'xr.concat([array.isel(FlipAngle=[2]), array.isel(FlipAngle=[0])], "FlipAngle")': SAME,
    'xr.concat([array.isel(FlipAngle=2), array.isel(FlipAngle=0)], "FlipAngle", '
    'coords="different", compat="equals")': SAME,
    'xr.concat([array.isel(FlipAngle=2), array.isel(FlipAngle=0)], "FlipAngle", '
    'coords="minimal", compat="override")': REFUSED,
    'xr.concat([array, array * 2], "parameter")': SAME,
    'xr.concat([array.mean("FlipAngle"), array.max("FlipAngle")], "parameter")': COMMON,
    'xr.concat([array, other], "phase")': SAME,
    'xr.concat([array, other], "phase").isel(phase=1)': REFUSED,
    'xr.concat([array, other], "phase", combine_attrs="drop_conflicts").isel(phase=1)': SAME,
    'xr.concat([array, other], "phase").mean("phase")': REFUSED,
    'xr.concat([array, other], "phase").mean("FlipAngle")': REFUSED,
    "array + other": REFUSED,
    'array - other.mean("FlipAngle")': REFUSED,
    "array.where(other > 100)": REFUSED,
    "array.combine_first(other)": REFUSED,
    "array.dicom.align(other)[1] * 2": SAME,
    # Datasets and files
    'array.to_dataset(name="pixels").mean("FlipAngle").pixels': COMMON,
    'xr.merge([array.rename("a"), (2 * array).rename("b")]).b': SAME,
    'array.isel(FlipAngle=0).to_dataset(name="low").assign(high=array.isel(FlipAngle=2)).high': (
        FIRST
    ),
    'array.to_dataset(name="a").assign(b=other.reset_coords(drop=True)).b': REFUSED,
    "through_zarr(array)": SAME,
    'through_zarr(array.mean("FlipAngle"))': COMMON,
    "through_zarr(array.dicom.coarsen(SliceLocation=2).mean())": COMMON,
    "through_zarr(array).dicom.coarsen(SliceLocation=2).mean()": COMMON,
    "through_netcdf(array)": SAME,
    'through_netcdf(array.max("FlipAngle"))': COMMON,
}
