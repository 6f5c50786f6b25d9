"""Trivial and classical baselines, fitted on the training part of each task."""
