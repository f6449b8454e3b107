"""Speed and memory against other readers of DICOM, on the same files in the same run.

``python -m benchmarks`` runs all, ``python -m benchmarks opening arrays`` some. What two readers
give is compared before they are timed. One module per subject, one function per question:

============  ==========================================================================
`opening`     first open of a folder: pydicom, GDCM's Scanner
`reopening`   an index that is there already, also of a million instances
`arrays`      `series.array()`: what it costs before any pixel is read, and pickled
`computing`   the pixels: pydicom, SimpleITK, bare reads; memory
`everyday`    one slice, columns of the header, pickles, filters; no targets
`editing`     changes of 100,000 instances; saving, beside copying files
============  ==========================================================================

`harness` times, `folders` makes the files, `child` runs what needs a process of its own.
"""
