"""Compiled graphs kept between processes, under a key that holds everything they depend on.

Compiling a training step takes MindSpore tens of seconds for each batch shape, in every process.
Its own cache would avoid that, but finds a graph by its number within the process and answers
another shape, setting or source with the old graph. `kept` uses it for one graph at a time, with a
key of our own: sources, attributes, shapes, versions and device settings.
"""

from scimind.graphs.keeping import kept
from scimind.graphs.key import Unkeyable, graph_key, signature

__all__ = ["Unkeyable", "graph_key", "kept", "signature"]
