"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from biomol.tasks.bbbp import Bbbp
from biomol.tasks.engine import Engine
from biomol.tasks.esol import Esol
from biomol.tasks.flip_gb1 import FlipGb1
from biomol.tasks.flip_secondary_structure import FlipSecondaryStructure
from biomol.tasks.freesolv import FreeSolv
from biomol.tasks.inverse_folding import InverseFolding
from biomol.tasks.inverse_folding_file import InverseFoldingFile
from biomol.tasks.lipophilicity import Lipophilicity
from biomol.tasks.side_chains import SideChains
from biomol.tasks.structure import StructureFromSequence
from biomol.tasks.table import TableTask
from biomol.tasks.tox21 import Tox21
from scimind.errors import ConfigError
from scimind.eval import Task

FIXED: dict[str, Callable[[], Task]] = {
    "esol": Esol,
    "freesolv": FreeSolv,
    "lipophilicity": Lipophilicity,
    "bbbp": Bbbp,
    "tox21": Tox21,
    "flip_gb1": FlipGb1,
    "flip_secondary_structure": FlipSecondaryStructure,
    "inverse_folding": InverseFolding,
    "structure": StructureFromSequence,
    "side_chains": SideChains,
}
"""Tasks that need nothing but the data folder; ``all`` runs these."""

FROM_FILE = ("table", "inverse_folding_file")
"""Tasks on one file of the user's (``data.path``)."""


def make_task(
    name: str,
    *,
    path: Path | None = None,
    splits: Path | None = None,
    chains: tuple[str, ...] = (),
    variant: str = "",
    num_steps: int | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> Task:
    """A task by its name.

    Args:
        name: One of ``FIXED`` or ``FROM_FILE``.
        path: File of a ``FROM_FILE`` task.
        splits: Names of the test entries of ``inverse_folding_file``.
        chains: Named chains of ``structure``.
        variant: Split of ``flip_gb1``.
        num_steps: Steps of the structure sampler; the task's own default if None.
        noise: Scale of its initial noise; the task's own default if None.
        seed: Seed of the structure sampler.

    Raises:
        ConfigError: There is no such task, or it lacks its file.
    """
    if name in FROM_FILE:
        if path is None:
            raise ConfigError(f"task={name} needs a file; set data.path=")
        return TableTask(path) if name == "table" else InverseFoldingFile(path, splits)
    if name not in FIXED:
        raise ConfigError(f"task={name!r}: choose of {', '.join((*FIXED, *FROM_FILE, 'all'))}")
    chosen = {"num_steps": num_steps, "noise": noise}
    sampler: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    if name == "structure":
        return StructureFromSequence(chains=chains, seed=seed, **sampler)
    if name == "side_chains":
        return SideChains(seed=seed, **sampler)
    if name == "flip_gb1" and variant:
        return FlipGb1(variant)
    return FIXED[name]()


def missing_outputs(task: Task, engine: Engine) -> list[str]:
    """Labels that a task asks for and an engine does not know."""
    required: frozenset[str] = getattr(task, "requires", frozenset)()
    return sorted(required - {*engine.property_names, *engine.token_label_names})
