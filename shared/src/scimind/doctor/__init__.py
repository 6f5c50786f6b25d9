"""Finds what is wrong with an environment; needs nothing but the standard library to start."""

from scimind.doctor.checks import Finding, examine
from scimind.doctor.facts import Facts, gather

__all__ = ["Facts", "Finding", "examine", "gather"]
