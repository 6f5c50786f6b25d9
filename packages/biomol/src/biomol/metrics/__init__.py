"""Scores of structures, sequences and predictions, in plain NumPy."""
