"""Pixels and headers of records as arrays."""
