"""Annotated shapes and types are checked at some of many calls.

A check takes 50 to 100 us: those of small functions, which a simulation calls a million times,
would take most of the time of its test.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping

# All of a function's first calls in a process are checked, and every so many-th later one.
FIRST, EVERY = 100, 50

_every_call = jaxtyping.jaxtyped


def install() -> None:
    """Before the product is imported: what jaxtyping's import hook decorates, samples."""
    jaxtyping.jaxtyped = _sampled


def _sampled(*, typechecker: Any) -> Callable[[Any], Any]:
    check = _every_call(typechecker=typechecker)

    def decorate(function: Any) -> Any:
        checked = check(function)
        if not inspect.isfunction(function):
            return checked
        calls = 0

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            chosen = checked if calls <= FIRST or calls % EVERY == 0 else function
            return chosen(*args, **kwargs)

        return call

    return decorate
