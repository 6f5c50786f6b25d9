"""Unknown values of parameters that the equations already have."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.models.base import Model
from dae_solver.physics.models.loads import LoadModel
from dae_solver.unknown.coefficients import Coefficient, Unknown
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

# Parameters of the loads: nominal value (that of alpha and beta is the load model's), scale, range,
# and starts.
_LOADS: dict[str, tuple[float, float, float, tuple[float, ...]]] = {
    "alpha": (0.5, -1.0, 5.0, (0.5, 1.0, 1.5, 2.0, 3.0)),
    "beta": (0.5, -1.0, 6.0, (0.5, 1.0, 2.0, 3.0)),
    "kpf": (1.0, -10.0, 10.0, ()),
    "kqf": (1.0, -10.0, 10.0, ()),
}


class ParametricTerm(Unknown):
    """A parameter of a model or of the loads whose value is not what the case says.

    >>> ParametricTerm("TWOAXIS.D3", scale=500.0)
    >>> ParametricTerm("TWOAXIS.M", relative=True)              # one factor for all machines
    >>> ParametricTerm("TGOV1DB.dbU", tied={"TGOV1DB.dbL": -1.0}, tries=[0.0, 5e-4, 1e-3])

    Args:
        parameter: ``MODEL.name``, or ``alpha``, ``beta``, ``kpf``, ``kqf`` of the loads.
        each: A value for every device instead of one for all.
        relative: The number is a factor of the values of the case.
        tied: Parameters that are a multiple of this one, such as the other end of a dead band.
        scale: A change that matters; a tenth of the nominal value by default.
        low: Least value.
        high: Largest value.
        tries: Values from which the search starts, as for limits that are not reached at their
            nominal value, where no small change has an effect.
    """

    def __init__(
        self,
        parameter: str,
        *,
        each: bool = False,
        relative: bool = False,
        tied: Mapping[str, float] | None = None,
        scale: float | None = None,
        low: float = -np.inf,
        high: float = np.inf,
        tries: Sequence[float] = (),
    ) -> None:
        self.name = self.parameter = parameter
        self.each, self.relative, self.tied = each, relative, dict(tied or {})
        self.scale, self.low, self.high, self.tries = scale, low, high, tuple(tries)

    def prepare(self, grid: PowerDAE) -> None:
        """Find the devices and their nominal values.

        Raises:
            InputError: There is no such parameter, the devices differ and are to have one value, or
                no starting step can be made out.
        """
        self.nominal, self.ids = _nominal(grid, self.parameter)
        for other in self.tied:
            _nominal(grid, other)
        if self.parameter in _LOADS:
            scale, low, high, tries = _LOADS[self.parameter]
            self.scale = scale if self.scale is None else self.scale
            self.low, self.high = max(low, self.low), min(high, self.high)
            self.tries = self.tries or tries
        same = np.ptp(self.nominal) == 0
        if not (self.each or self.relative or same):
            raise InputError(
                f"{self.parameter} is {', '.join(f'{v:g}' for v in self.nominal)} in this case; "
                "say each (a value for every device) or relative (one factor for all)",
                rule="unknown.parameter",
            )
        typical = 1.0 if self.relative else float(np.abs(self.nominal).max())
        if self.scale is None and typical == 0:
            raise InputError(
                f"{self.parameter} is 0 in this case, so nothing says what a small change of it "
                "is; give its scale",
                rule="unknown.parameter",
            )
        self.step = 0.1 * typical if self.scale is None else self.scale

    def coefficients(self) -> list[Coefficient]:
        """One, or one for each device."""
        names = [f"{self.parameter}:{id}" for id in self.ids] if self.each else [self.parameter]
        start = np.ones(len(names)) if self.relative else self.nominal[: len(names)]
        if self.relative:
            names = [f"{name} / nominal" for name in names]
        return [
            Coefficient(
                name=name,
                nominal=float(value),
                scale=self.step,
                low=self.low,
                high=self.high,
                tries=self.tries,
            )
            for name, value in zip(names, start, strict=True)
        ]

    def parameters(
        self, values: Float[np.ndarray, "coefficient batch"]
    ) -> dict[str, Float[np.ndarray, "row batch"]]:
        """The parameter and those tied to it."""
        rows = np.broadcast_to(values, (len(self.nominal), values.shape[1]))
        rows = rows * self.nominal[:, None] if self.relative else np.array(rows)
        return {self.parameter: rows} | {name: by * rows for name, by in self.tied.items()}

    def formula(self, values: Float[np.ndarray, " coefficient"]) -> str:
        """The values."""
        return ", ".join(
            f"{c.name} = {v:.4g}" for c, v in zip(self.coefficients(), values, strict=True)
        )


def dead_band(model: str = "TGOV1DB") -> ParametricTerm:
    """An unknown dead band of all governors of a model, alike to both sides."""
    return ParametricTerm(
        f"{model}.dbU",
        tied={f"{model}.dbL": -1.0},
        scale=1e-4,
        low=0.0,
        high=0.02,
        tries=(0.0, 2e-4, 5e-4, 1e-3, 2e-3),
    )


def _nominal(grid: PowerDAE, parameter: str) -> tuple[np.ndarray, list[str]]:
    """Nominal values and names of the devices.

    Raises:
        InputError: There is no such parameter, or it cannot differ between simulations.
    """
    loads = [load.id for load in grid.case.loads]
    given = grid.given.get(parameter)
    if parameter in _LOADS:
        at = nominal_exponents(grid.load_model).get(parameter, 0.0)
        if parameter in ("alpha", "beta") and grid.load_model.alpha is None:
            _need_impedance(grid, parameter)
        value = np.full(len(loads), at) if given is None else np.asarray(given, float)
        return value, loads
    models = {group.model.name: group.model for group in grid._every_group()}
    name, _, own = parameter.partition(".")
    if name not in models or own not in models[name].parameters:
        known = [f"{m}.{p}" for m, model in models.items() for p in model.parameters]
        raise InputError(
            f"there is no parameter {parameter!r} in {grid.case.name}; there are: "
            f"{', '.join([*_LOADS, *known])}",
            rule="unknown.parameter",
        )
    model = models[name]
    if constants := _worked_out(model, own):
        raise InputError(
            f"{parameter} enters {', '.join(constants)} of the model, which are worked out once "
            "and not in each simulation; it cannot be identified",
            rule="unknown.parameter",
        )
    value = model.value[own][:, 0] if given is None else np.asarray(given, float)
    return value, list(model.ids)


def nominal_exponents(model: LoadModel) -> dict[str, float]:
    """Exponents of the loads at their initial voltage."""
    both = model.exponents(np, 1.0, 1.0)
    return dict(zip(("alpha", "beta"), map(float, both), strict=True))


def _need_impedance(grid: PowerDAE, parameter: str) -> None:
    if not grid.load_model.linear:
        raise InputError(
            f"{parameter} is an exponent, and the loads of {grid.case.name} are shares "
            f"(z={grid.load_model.z:g}, i={grid.load_model.i:g}, p={grid.load_model.p:g}); "
            "identify exponents of impedances or of exponential loads",
            rule="unknown.load",
        )


def _worked_out(model: Model, parameter: str) -> list[str]:
    """Constants of a model that change with a parameter without its check being made again."""
    before = {key: value for key, value in vars(model).items() if key != "value"}
    value = model.value[parameter]
    for change in (1.001, 0.999):
        moved = copy.copy(model)
        moved.value = model.value | {parameter: value * change + (value == 0) * 1e-6}
        try:
            moved.check()
        except InputError:
            continue
        return [key for key, old in before.items() if not _same(old, vars(moved)[key])]
    return []


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, list) and one and isinstance(one[0], np.ndarray):
        return all(map(_same, one, other))
    return one is other or bool(one == other)
