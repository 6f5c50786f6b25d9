"""The benchmarks by name."""

from __future__ import annotations

from dae_solver.tasks.drawn import EveryKind, SeenLines, UnseenLines, UnseenLoads
from dae_solver.tasks.stored import StoredIeee39, StoredWscc9
from dae_solver.tasks.transients import Settings, TransientTask
from scimind.errors import ConfigError

DRAWN: dict[str, type[TransientTask]] = {
    "seen_lines": SeenLines,
    "unseen_lines": UnseenLines,
    "unseen_loads": UnseenLoads,
    "every_kind": EveryKind,
}
"""Tasks that need nothing but an operator and the settings of its training."""

STORED: dict[str, type[TransientTask]] = {
    "stored_wscc9": StoredWscc9,
    "stored_ieee39": StoredIeee39,
}
"""Tasks on files of the data folder, each for operators of one system."""


def make_task(name: str, settings: Settings) -> TransientTask:
    """A task by its name.

    Raises:
        ConfigError: There is none of that name.
    """
    known = DRAWN | STORED
    if name not in known:
        raise ConfigError(f"task={name!r}: choose of {', '.join((*known, 'all'))}")
    return known[name](settings)
