"""Arrays to DICOM objects: what images say, how their pixels are stored, writing the files."""
