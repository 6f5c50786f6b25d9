"""Several processes on one run: launching them, collectives, data parallelism.

What is named here needs no MindSpore. The rest is imported from its module:
``scimind.parallel.launch``, ``scimind.parallel.collectives``, ``scimind.parallel.data_parallel``.
"""

from scimind.parallel.group import process_group
from scimind.parallel.ranks import is_main, main_print, rank, world

__all__ = ["is_main", "main_print", "process_group", "rank", "world"]
