"""Mutation fuzzing of file readers."""
