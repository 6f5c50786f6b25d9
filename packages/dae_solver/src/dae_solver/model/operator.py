"""A trained trajectory operator: everything that turns the start of a window into its course."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.config.model import ModelConfig
from dae_solver.model import host
from dae_solver.model.collocation import RadauWindow
from dae_solver.model.modes import Modes
from dae_solver.physics.dae import PowerDAE
from scimind.errors import InputError
from scimind.typing import Bool, Float

FORMAT = "dae_solver.operator/2"


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Of what goes into the networks and comes out.

    Attributes:
        center: Mean of each feature.
        spread: Standard deviation of each feature.
        reach: How large each scaled feature may be: what training saw, and some more.
        residual: Typical size of each coefficient of a residual.
        change: Typical size of each coefficient of a correction for a residual of size 1.
    """

    center: Float[np.ndarray, " feature"]
    spread: Float[np.ndarray, " feature"]
    reach: Float[np.ndarray, " feature"]
    residual: Float[np.ndarray, " mode"]
    change: Float[np.ndarray, " mode"]

    def features(
        self, features: Float[np.ndarray, "feature batch"]
    ) -> Float[np.ndarray, "feature batch"]:
        """Features of mean 0 and standard deviation 1."""
        found: np.ndarray = (features - self.center[:, None]) / self.spread[:, None]
        return found

    def within(self, scaled: Float[np.ndarray, "feature batch"]) -> Bool[np.ndarray, " batch"]:
        """Whether scaled features are of a kind that training saw."""
        found: np.ndarray = (np.abs(scaled) <= self.reach[:, None]).all(0)
        return found

    def unit(
        self, residual: Float[np.ndarray, "mode batch"]
    ) -> tuple[np.ndarray, Float[np.ndarray, "one batch"]]:
        """A residual of unit mean square, and its size."""
        scaled = residual / self.residual[:, None]
        size = np.sqrt((scaled**2).mean(0, keepdims=True)) + np.float32(1e-12)
        return scaled / size, size


@dataclass(kw_only=True, eq=False)
class TrajectoryOperator:
    """Predicts windows of a grid and corrects them from their residual.

    Attributes:
        states: Names of the states, which tell the grid.
        config: Sizes.
        modes: In which trajectories are expressed.
        scaling: Of inputs and outputs.
        weights: Parameters of `dae_solver.model.network.OperatorNetwork`, by name.
        facts: What else belongs to it: calibration, case, training, provenance.
    """

    states: tuple[str, ...]
    config: ModelConfig
    modes: Modes
    scaling: Scaling
    weights: Mapping[str, np.ndarray]
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        self.window = RadauWindow(self.config.nodes, self.config.horizon)
        self._digested: tuple[tuple[Any, ...], str] | None = None

    def check(self, grid: PowerDAE) -> None:
        """Refuse another grid than the one it was trained for.

        Raises:
            InputError: The states differ.
        """
        if grid.states != self.states:
            raise InputError(
                f"the operator was trained for {self.facts.get('case', 'another grid')} with "
                f"{len(self.states)} states; {grid.case.name} has {len(grid.states)}: train one "
                "for it with python -m dae_solver.train case=…",
                rule="operator.grid",
            )

    def predict(
        self, features: Float[np.ndarray, "feature batch"]
    ) -> Float[np.ndarray, "mode batch"]:
        """First guess of the coefficients, from scaled features."""
        scaled = host.predict(self.weights, features)
        found: np.ndarray = scaled * self.modes.spread[:, None]
        return found

    def correction(
        self,
        features: Float[np.ndarray, "feature batch"],
        coefficients: Float[np.ndarray, "mode batch"],
        residual: Float[np.ndarray, "mode batch"],
    ) -> Float[np.ndarray, "mode batch"]:
        """Change of the coefficients that removes a residual, to first order."""
        unit, size = self.scaling.unit(residual)
        iterate = coefficients / self.modes.spread[:, None]
        change = host.correct(self.weights, features, iterate, unit, np.log(size))
        found: np.ndarray = change * (self.scaling.change[:, None] * size)
        return found

    @property
    def digest(self) -> str:
        """Of all numbers that windows depend on, 16 hex digits; certificates are of one digest."""
        parts = self.modes, self.scaling, *self.weights.values()
        if self._digested is None or [*map(id, self._digested[0])] != [*map(id, parts)]:
            total = hashlib.sha256()
            for name, array in self._arrays().items():
                total.update(name.encode() + np.ascontiguousarray(array).tobytes())
            self._digested = parts, total.hexdigest()[:16]
        return self._digested[1]

    def _arrays(self) -> dict[str, np.ndarray]:
        """All arrays by their names in a file."""
        arrays = {f"network.{name}": np.asarray(value) for name, value in self.weights.items()}
        for group, part in (("modes", self.modes), ("scaling", self.scaling)):
            arrays |= {
                f"{group}.{each.name}": np.asarray(getattr(part, each.name))
                for each in fields(part)
            }
        return dict(sorted(arrays.items()))

    def save(self, path: str | Path) -> None:
        """Write one ``.safetensors`` file with all arrays and facts."""
        from safetensors.numpy import save_file

        facts = {"format": FORMAT, "states": self.states, "config": asdict(self.config)}
        text = json.dumps(facts | {"facts": self.facts})
        contiguous = {name: np.ascontiguousarray(value) for name, value in self._arrays().items()}
        save_file(contiguous, str(path), metadata={"dae_solver": text})

    @classmethod
    def load(cls, path: str | Path) -> TrajectoryOperator:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: There is no such file, or it is another one.
        """
        from safetensors import SafetensorError, safe_open

        place = Path(path)
        if place.is_dir():
            place = place / "operator.safetensors"
        if not place.is_file():
            raise InputError(
                f"there is no operator at {place}; python -m dae_solver.train makes one",
                rule="operator.file",
            )
        try:
            with safe_open(str(place), "numpy") as file:
                text = (file.metadata() or {}).get("dae_solver", "")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for array in arrays.values():
                array.flags.writeable = False  # what is known of an operator is of its numbers
        except SafetensorError as error:
            raise InputError(
                f"{place} is not an operator: {error}", rule="operator.file"
            ) from error
        facts = json.loads(text) if text else {}
        if facts.get("format") != FORMAT:
            raise InputError(
                f"{place} is {facts.get('format', 'another file')}, not {FORMAT}; train it anew",
                rule="operator.format",
            )
        groups: dict[str, dict[str, np.ndarray]] = {}
        for name, value in arrays.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = value
        # Operators of before know no reach.
        groups["scaling"].setdefault("reach", np.full_like(groups["scaling"]["center"], np.inf))
        return cls(
            states=tuple(facts["states"]),
            config=ModelConfig(**facts["config"]),
            modes=Modes(**groups["modes"]),
            scaling=Scaling(**groups["scaling"]),
            weights=groups["network"],
            facts=facts["facts"],
        )
