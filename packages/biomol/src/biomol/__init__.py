"""One multimodal model of biomolecules: sequence, structure and property."""

from importlib.metadata import version

__version__ = version("scimind-biomol")
