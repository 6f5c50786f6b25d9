"""Dynamic models by name."""

from dae_solver.physics.models.base import Model
from dae_solver.physics.models.controls import CONTROLS
from dae_solver.physics.models.converters import CONVERTERS
from dae_solver.physics.models.exciters import EXCITERS
from dae_solver.physics.models.governors import GOVERNORS
from dae_solver.physics.models.loops import LOOPS
from dae_solver.physics.models.machines import MACHINES
from dae_solver.physics.models.stabilisers import STABILISERS

MODELS: dict[str, type[Model]] = {
    **MACHINES,
    **EXCITERS,
    **GOVERNORS,
    **STABILISERS,
    **CONVERTERS,
    **CONTROLS,
    **LOOPS,
}

__all__ = [
    "CONTROLS",
    "CONVERTERS",
    "EXCITERS",
    "GOVERNORS",
    "LOOPS",
    "MACHINES",
    "MODELS",
    "STABILISERS",
]
