"""What xarray finds of this package: the accessor ``da.dicom``."""
