"""Functions made from text that MindSpore's graph compiler can read like any others.

The compiler reads the source file of a function and resolves names through its closure, so the
text is kept as a file and what it refers to is passed as variables of an enclosing function.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scimind.device.compile_cache import cache_root


def define(name: str, text: str, module: str, **closure: Any) -> Callable[..., Any]:
    """The function ``name`` of ``text``, which refers to the variables of ``closure``.

    Args:
        name: Name of the function.
        text: Its definition, at the left margin.
        module: Name of the module that it counts to.
        closure: What the names in it mean.
    """
    body = textwrap.indent(text.strip(), "    ")
    source = f"def make({', '.join(closure)}):\n{body}\n\n    return {name}\n"
    file = _file(name, source)
    space: dict[str, Any] = {"__name__": module}
    exec(compile(source, file, "exec"), space)
    function: Callable[..., Any] = space["make"](**closure)
    return function


def _file(name: str, source: str) -> str:
    """Where ``source`` can be read from; from memory only when the cache cannot be written."""
    path = (
        cache_root() / "operators" / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    )
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(source)
            temporary.replace(path)
    except OSError:
        path = Path(f"<operator {path.stem}>")
    lines = source.splitlines(keepends=True)
    # No time of change, so that `linecache.checkcache` keeps the entry: the file may be removed.
    linecache.cache[str(path)] = (len(source), None, lines, str(path))
    return str(path)
