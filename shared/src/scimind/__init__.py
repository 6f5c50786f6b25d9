"""What the scimind packages share: training, operators, data, evaluation, parallelism."""

from importlib.metadata import version

__version__ = version("scimind")
