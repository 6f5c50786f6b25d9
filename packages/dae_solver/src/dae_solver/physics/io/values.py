"""Values of a file as numbers, with errors that name the place."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from scimind.errors import InputError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def number(value: Any, what: str, path: Path, line: int | None = None) -> float:
    """A finite number.

    Args:
        value: A number, or its digits.
        what: Its name, for the message.
        path: The file.
        line: Where in it.

    Raises:
        InputError: It is something else, NaN or infinite.
    """
    try:
        digits = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        result = float(value) if digits or plain else float("nan")
    except OverflowError:  # an integer beyond the largest float
        result = float("inf")
    if not math.isfinite(result):
        raise InputError(
            f"{what} is {_shown(value)}, which is no finite number; correct it",
            path=path,
            line=line,
            rule="power.number",
        )
    return result


def whole(value: Any, what: str, path: Path, line: int | None = None) -> int:
    """A whole number, such as a bus number or a status.

    Raises:
        InputError: It is something else.
    """
    result = number(value, what, path, line)
    if result != int(result):
        raise InputError(
            f"{what} is {_shown(value)}, which is no whole number; correct it",
            path=path,
            line=line,
            rule="power.number",
        )
    return int(result)


def positive(value: Any, what: str, path: Path, line: int | None = None) -> float:
    """A number above zero, such as a base.

    Raises:
        InputError: It is something else.
    """
    result = number(value, what, path, line)
    if not result > 0:
        raise InputError(
            f"{what} is {result:g}, and has to be positive; correct it",
            path=path,
            line=line,
            rule="power.base",
        )
    return result


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**18:
        return "an integer of many digits"
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
