"""Taking identity out of DICOM objects, as PS3.15 Annex E tells; knows data sets, no database."""
