"""Changes that are not in the files yet: kept durably, shown over the index, saved or restored."""
