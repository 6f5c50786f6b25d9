"""Functions made from text that MindSpore's graph compiler can read like any others.

The compiler reads the source file of a function and resolves names through its closure, so the
text is a module in the cache, and what it refers to are variables of an enclosing function.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import tempfile
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
    file = _file(name, f"def make({', '.join(closure)}):\n{body}\n\n    return {name}\n")
    spec = importlib.util.spec_from_file_location(f"scimind_generated_{name}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported as Python")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    function: Callable[..., Any] = made.make(**closure)
    function.__module__ = module
    return function


def _file(name: str, source: str) -> Path:
    """Where ``source`` is kept: in the cache, or for this process if that cannot be written."""
    file = f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    path = cache_root() / "operators" / file
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, source)
    except OSError:
        path = Path(_own_folder().name) / file
        _write(path, source)
    return path


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="scimind-operators-")


def _write(path: Path, source: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(source, encoding="utf-8")
    temporary.replace(path)
