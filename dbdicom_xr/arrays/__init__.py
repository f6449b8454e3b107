"""Frames to labelled arrays: the grid, the labels, and the reader behind the pixels."""
