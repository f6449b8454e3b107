"""Records as files of other formats, or for somebody else."""
