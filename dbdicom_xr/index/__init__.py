"""What is known of a folder: the headers of its files as columns, and where the pixels lie.

From bytes to columns: `elements` (the vocabulary); `walker` with `nested`, `repeats` and `fallback`
(one file); `group` and `gather` (many files); `functional` (frames of enhanced files); `values`
(raw bytes to Python values); `columns` and `blocks` (what is kept).

The index of a folder: `store` on `connection` and `rows` (the file), `update` with `merge`
(changes of it), `scan` with `worker` (which files to read, and by whom), `table` (the header of one
series, for all that reads it).
"""
