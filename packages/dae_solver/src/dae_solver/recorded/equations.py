"""The equations of a grid as programs: derivatives, currents, limits.

Parameters are one array ``[row, scenario]``, those of one name below those of the one before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.groups import Group
from dae_solver.recorded.program import Program
from dae_solver.recorded.recording import Recorded, Recording, RecordingMath
from scimind.errors import InputError

OF_MACHINES, OF_LOADS = ("vref", "pref", "field", "tm0"), ("p0", "q0", "v0")

T = TypeVar("T")


def _with_math(owner: T, math: Any) -> T:
    """A copy whose models use other functions."""
    made: Any = copy.copy(owner)
    made.m = math
    for name, value in vars(owner).items():
        if isinstance(value, list) and value and all(isinstance(each, Group) for each in value):
            setattr(made, name, [_with_model(group, math) for group in value])
    found: T = made
    return found


def _with_model(group: Group[Any], math: Any) -> Group[Any]:
    group = copy.copy(group)
    group.model = copy.copy(group.model)
    group.model.m = math
    return group


class RecordedDAE(PowerDAE):
    """A grid whose equations are called with recorded arrays."""

    def __init__(self, dae: PowerDAE) -> None:
        self.__dict__.update(vars(_with_math(dae, RecordingMath())))
        self.converters = _with_math(dae.converters, self.m)
        self.terms = _with_math(dae.terms, self.m)

    def _by_network(self, matrices: Any, right: Any, network: Any) -> Any:
        """Nothing: the currents through the network, which every scenario has its own of."""
        return 0.0

    def limit(self, t: Any, x: Any, p: Any) -> Any:
        """States within their hard limits."""
        rows: list[Any] = []
        for group in self._every_group():
            states = group.view(x)
            rows += [*(states | group.model.limits(states, p)).values()]
        return self.m.concat([*rows, x[sum(map(len, rows)) :]])

    def turned(self, x: Any, y: Any, p: Any) -> tuple[Any, Any]:
        """How far the machines have turned, and minus the currents at the buses in their frame.

        The voltages ``y`` are in that frame too.
        """
        turn = self._turn(x, p)
        return turn, -(self.joined @ self._currents(x, y, self._seen(x, p), turn))


class Equations:
    """The programs of a grid.

    Attributes:
        rows: Rows of each parameter in the array of all.
        input: The recorded arrays ``x [state]``, ``y [algebraic]`` and ``p``.
        f: Derivatives of the states, of ``x, y, p``.
        currents: Minus the currents of the devices at the buses, so that
            ``g = Y y + currents(x, y, p)``; of ``x, y, p``.
        limit: The states within their hard limits, of ``x, p``.

    Args:
        dae: The grid.
        parameters: Names that are arguments besides the set-points, fields, loads, converters and
            terms: ``online``, ``connected``, ``alpha``, ``beta``, ``kpf``, ``kqf`` or
            ``MODEL.name``. Those that the grid was given are always among them.

    Raises:
        InputError: A name is unknown.
    """

    def __init__(self, dae: PowerDAE, parameters: Sequence[str] = ()) -> None:
        self.dae = dae
        sizes = self._sizes([*dict.fromkeys([*dae.given, *parameters])])
        ends = np.cumsum([*sizes.values()]).tolist()
        self.rows = {
            name: slice(end - size, end)
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
        self.number = ends[-1]
        recording, recorded = Recording(), RecordedDAE(dae)
        x = recording.input("x", len(dae.states))
        y = recording.input("y", len(dae.algebraics))
        p = recording.input("p", self.number)
        self.input = {"x": x, "y": y, "p": p}
        named = {name: p[rows] for name, rows in self.rows.items()}
        named["network"] = None  # type: ignore[assignment]
        self.f = Program(self._recorded(recorded.f(0.0, x, y, named), x), (x, y, p))
        self.currents = Program(recorded.g(0.0, x, y, named), (x, y, p))
        self.limit = Program(self._recorded(recorded.limit(0.0, x, named), x), (x, p))
        self._check_local()

    @staticmethod
    def _recorded(found: Any, x: Recorded) -> Recorded:
        assert isinstance(found, Recorded)
        assert len(found) == len(x)
        return found

    def _sizes(self, parameters: Sequence[str]) -> dict[str, int]:
        machines, loads = len(self.dae.machine_ids), len(self.dae.case.loads)
        always = dict.fromkeys(OF_MACHINES, machines) | dict.fromkeys(OF_LOADS, loads)
        always |= dict.fromkeys(self.dae.converters.parameters, len(self.dae.converters))
        if self.dae.terms:
            always["v_rest"] = machines
            always |= {key: len(value) for key, value in self.dae.terms.parameters(1).items()}
        optional = {"online": machines, "connected": len(self.dae.converters)}
        optional |= dict.fromkeys(("alpha", "beta", "kpf", "kqf"), loads)
        for group in self.dae._every_group():
            model = group.model
            optional |= {f"{model.name}.{name}": len(model.ids) for name in model.parameters}
        for name in parameters:
            if name not in optional and name not in always:
                raise InputError(
                    f"the grid {self.dae.case.name} has no parameter {name!r}; there are: "
                    f"{', '.join([*always, *optional])}",
                    rule="power.parameter",
                )
        if ("alpha" in parameters) != ("beta" in parameters):
            raise InputError(
                "exponents of the loads are given for one power only; name alpha and beta",
                rule="power.load",
            )
        sizes = always | {name: optional[name] for name in parameters if name not in always}
        return {name: size for name, size in sizes.items() if size}

    def _check_local(self) -> None:
        """The currents at a bus depend on the voltage of no other bus."""
        states, half = len(self.dae.states), len(self.dae.kept)
        pattern = self.currents.pattern[:, states : states + 2 * half].reshape(2, half, 2, half)
        between = pattern.any((0, 2)) & ~np.eye(half, dtype=bool)
        assert not between.any(), "a device joins two buses"

    def pack(self, values: Mapping[str, Any]) -> np.ndarray:
        """Parameters of a batch as one array ``[row, scenario]``.

        Raises:
            InputError: One is missing, or has another number of rows.
        """
        parts = []
        for name, rows in self.rows.items():
            if name not in values:
                raise InputError(
                    f"the parameter {name!r} is missing; there are: {', '.join(values)}",
                    rule="power.parameter",
                )
            part = np.asarray(values[name], float)
            if part.ndim != 2 or len(part) != rows.stop - rows.start:
                raise InputError(
                    f"the parameter {name!r} has shape {part.shape}; give "
                    f"[{rows.stop - rows.start}, scenario]",
                    rule="dae.shape",
                )
            parts.append(part)
        return np.concatenate(parts)

    def filled(self, values: Mapping[str, Any], scenarios: int) -> dict[str, np.ndarray]:
        """``values`` with those of the case for the parameters that are missing.

        Raises:
            InputError: One is no parameter of the equations.
        """
        if more := sorted(set(values) - set(self.rows) - {"network"}):
            raise InputError(
                f"{more[0]!r} is no parameter of the differentiable grid; name it among the "
                f"parameters, which are: {', '.join(self.rows)}",
                rule="power.parameter",
            )
        found = {name: np.asarray(value, float) for name, value in values.items()}
        case: dict[str, Any] = {"online": 1.0, "connected": 1.0, "kpf": 0.0, "kqf": 0.0}
        case["alpha"], case["beta"] = self.dae.load_model.alpha, self.dae.load_model.beta
        for group in self.dae._every_group():
            case |= {f"{group.model.name}.{k}": v for k, v in group.model.value.items()}
        for name, rows in self.rows.items():
            if name not in found and case.get(name) is not None:
                shape = (rows.stop - rows.start, scenarios)
                found[name] = np.array(np.broadcast_to(case[name], shape))
        return found
