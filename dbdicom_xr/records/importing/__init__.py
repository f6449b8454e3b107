"""Files of other formats, or of elsewhere, as records."""
