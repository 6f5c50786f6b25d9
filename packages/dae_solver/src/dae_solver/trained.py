"""An operator with the grid and the settings that it was trained for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import Lines, split_lines
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from scimind.config import load_resolved
from scimind.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training left behind.

    Attributes:
        operator: With its certificates.
        grid: That it solves.
        path: The operator's file.
        settings: Of the training; None where ``config.yaml`` does not lie beside the file.
    """

    operator: TrajectoryOperator
    grid: PowerSystem
    path: Path
    settings: TrainConfig | None

    @classmethod
    def load(
        cls, operator: str | Path, *, case: str = "", load: str = "", dyr: str | None = None
    ) -> Trained:
        """Read an operator and load its grid.

        Args:
            operator: Run folder of ``python -m dae_solver.train``, or its ``operator.safetensors``.
            case: Of the training by default.
            load: Of the training by default.
            dyr: Of the training by default.

        Raises:
            InputError: There is no operator, no case is known, or the operator is of another grid.
        """
        found = TrajectoryOperator.load(operator)
        path = Path(operator)
        path = path / "operator.safetensors" if path.is_dir() else path
        config = path.parent / "config.yaml"
        settings = load_resolved(config, TrainConfig) if config.is_file() else None
        if not case:
            if settings is None:
                raise InputError(
                    f"there is no config.yaml beside {path}, so its case is unknown; give case=",
                    rule="operator.case",
                )
            case, dyr = settings.case, dyr or settings.dyr
        grid = PowerSystem.load(case, load=load or str(found.facts["load"]), dyr=dyr)
        found.check(grid.dae)
        return cls(operator=found, grid=grid, path=path, settings=settings)

    def known_settings(self) -> TrainConfig:
        """The settings of the training.

        Raises:
            InputError: They are unknown.
        """
        if self.settings is None:
            raise InputError(
                f"what {self.path} was trained on is unknown: there is no config.yaml beside it; "
                "give the run folder of its training",
                rule="operator.settings",
            )
        return self.settings

    @property
    def lines(self) -> Lines:
        """Which lines training saw, and which it did not."""
        settings = self.known_settings()
        return split_lines(self.grid.dae, settings.data, settings.seed)

    @property
    def untouched(self) -> tuple[int, ...]:
        """Lines that neither training nor calibration saw."""
        return self.lines.untouched

    @property
    def parameters(self) -> int:
        """Number of the weights."""
        return sum(value.size for value in self.operator.weights.values())

    @property
    def digest(self) -> str:
        """SHA-256 of the operator's file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()
