"""Pixels and headers of records as arrays, and what arrays were made from."""
