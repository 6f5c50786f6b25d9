"""Levels of instruction sets that equations are compiled for."""

from __future__ import annotations

from scimind.device.compiler import LEVELS, instruction_set

# Those of any processor, and on up to this machine's own.
LEVELS_HERE: list[str | None] = [None, *reversed(LEVELS)]
LEVELS_HERE = LEVELS_HERE[: LEVELS_HERE.index(instruction_set()) + 1]
LOWER = LEVELS_HERE[:-1]
