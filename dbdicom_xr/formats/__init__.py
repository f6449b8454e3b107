"""Other formats than DICOM, one module each; they know arrays, affines and plain values only."""
