"""Methods of other packages for whole series, by the names of these packages."""
