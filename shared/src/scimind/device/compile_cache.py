"""Where compiled things are kept between processes, and why MindSpore's own cache is switched off.

MindSpore 2.10 finds a cached graph by its number within the process and a hash of the entry script
and of what it imports outside installed packages. Neither the shapes of the inputs, nor the
constants of a Cell, nor installed code are part of that key: another shape or another setting is
silently answered with the old graph, and a jitted function that closes over a Cell returns NaN,
because its parameters are not restored. `scimind.graphs` keeps graphs under a key of our own.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from scimind.errors import EnvironmentProblem

_log = logging.getLogger("scimind.device")


def cache_root() -> Path:
    """``$SCIMIND_CACHE``, else ``$XDG_CACHE_HOME/scimind``, else ``~/.cache/scimind``.

    Raises:
        EnvironmentProblem: None of them is known: this user has no home folder.
    """
    explicit = os.environ.get("SCIMIND_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "scimind"
    except RuntimeError as error:
        raise EnvironmentProblem(
            "this user has no home folder, so there is nowhere to keep what is compiled; set "
            "SCIMIND_CACHE to a folder"
        ) from error


def switch_off_graph_cache() -> None:
    """Keep MindSpore from answering with a graph of another shape or setting."""
    if os.environ.get("MS_COMPILER_CACHE_ENABLE", "0") not in ("", "0"):
        _log.warning(
            "MS_COMPILER_CACHE_ENABLE is ignored: MindSpore's cache does not look at shapes and "
            "settings and would return wrong results; scimind.graphs keeps graphs by both"
        )
    os.environ["MS_COMPILER_CACHE_ENABLE"] = "0"
