"""What every vendor spells in its own way, worked out from the columns of a series."""
