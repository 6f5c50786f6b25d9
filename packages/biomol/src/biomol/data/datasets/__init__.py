"""Data sets: records with their split, their labels and what was refused."""
