"""Attributes of records: from a keyword, a tag or a name of our own to values, and back."""
