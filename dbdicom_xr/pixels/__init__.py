"""Bytes to numbers and back: how pixels are laid out, decoded and rescaled.

It knows arrays and transfer syntaxes, but no records, no files and no dask.
"""
