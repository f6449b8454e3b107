"""A DICOM folder as a labelled, lazy array store."""
