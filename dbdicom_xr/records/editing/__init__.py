"""Changes of records: of values and of places, staged, saved and restored."""
