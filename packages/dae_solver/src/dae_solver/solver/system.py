"""Semi-explicit differential-algebraic systems, evaluated for a batch of scenarios at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.solver.newton import newton, size_of
from dae_solver.solver.parameters import Parameters, spread
from dae_solver.solver.quotients import quotients
from scimind.errors import InputError
from scimind.typing import Bool, Float

if TYPE_CHECKING:
    from dae_solver.solver.stretch import Stretch

Function = Callable[[Any, Any, Any, Any], Any]


class DAESystem:
    """``x' = f(t, x, y, p)``, ``0 = g(t, x, y, p)`` for a batch of scenarios.

    Every array has the variable on its first axis and the scenario on its last, so ``x[0]`` is one
    variable of all scenarios and a formula reads as for one. Times are in the unit of the model,
    seconds unless it says otherwise.

    Attributes:
        states: Names of the differential variables.
        algebraics: Names of the algebraic variables.
        defaults: Parameter values of one scenario, ``[]`` or ``[row]``.
        x_scale: Typical size of each state, for tolerances and difference quotients.
        y_scale: The same of the algebraic variables.
        x0: Where a simulation starts unless told otherwise.
        y0: First guess of the algebraic variables.
    """

    states: tuple[str, ...]
    algebraics: tuple[str, ...]
    defaults: Mapping[str, np.ndarray]
    x_scale: Float[np.ndarray, " state"]
    y_scale: Float[np.ndarray, " algebraic"]
    x0: Float[np.ndarray, " state"] | None = None
    y0: Float[np.ndarray, " algebraic"] | None = None

    def f(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Derivatives ``[state, scenario]``."""
        raise NotImplementedError

    def g(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Residuals ``[algebraic, scenario]``, zero on a solution."""
        raise NotImplementedError

    def settled(self, t: Any, x: Any, y: Any, p: Any) -> tuple[Any, Any]:
        """Algebraic variables, better ones than ``y`` if that is cheap; their largest residual."""
        if not self.algebraics:
            return y, np.zeros(np.shape(x)[-1])
        return y, size_of(np.asarray(self.g(t, x, y, p)))

    def stretches(self, stages: int, p: Parameters) -> bool:
        """Whether :meth:`stretch` can be asked, for a method of so many stages."""
        return False

    def stretch(self, stretch: Stretch, p: Parameters) -> None:
        """Do all steps of a stretch without events."""
        raise NotImplementedError

    def invariants(self, t: Any, x: Any, p: Any) -> Any:
        """What is zero along every solution, ``[invariant, scenario]``, or None.

        Each step ends with the projection onto it.
        """
        return None

    def kinks(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """What changes sign where ``f`` or ``g`` is not smooth, ``[kink, scenario]``, or None.

        A step ends there where the simulation locates kinks, so that methods keep their order.
        """
        return None

    def limit(self, t: Any, x: Any, p: Any) -> Any:
        """The states within their hard limits, after a step; ``x`` itself by default.

        It may not change its argument.
        """
        return x

    @property
    def output_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of what :meth:`outputs` returns."""
        return self.states, self.algebraics

    def outputs(self, x: Any, y: Any) -> tuple[Any, Any]:
        """States and algebraic variables as the user wrote them, on the last axis."""
        return x, y

    @classmethod
    def from_callable(
        cls,
        f: Function,
        g: Function | None = None,
        *,
        states: int | Sequence[str],
        algebraics: int | Sequence[str] = 0,
        parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> DAESystem:
        """A system of Python functions.

        ``f(t, x, y, p)`` returns one value per state, ``g`` one per algebraic variable: a list of
        arrays ``[scenario]``, or one array. ``p`` holds the parameters by name.

        Args:
            f: The derivatives.
            g: The algebraic residuals; none for an ordinary differential equation.
            states: Names of the states, or how many.
            algebraics: Names of the algebraic variables, or how many.
            parameters: Default values by name.
            **options: ``invariants``, ``kinks``, ``limit``, ``jacobian`` (functions);
                ``x_scale``, ``y_scale``, ``x0``, ``y0`` (arrays).

        Raises:
            InputError: ``algebraics`` and ``g`` do not go together.
        """
        return CallableSystem(
            f, g, states=states, algebraics=algebraics, parameters=parameters or {}, **options
        )

    @classmethod
    def from_sympy(cls, t: Any, **description: Any) -> DAESystem:
        """A system of symbolic equations, see :func:`dae_solver.solver.symbolic.from_sympy`."""
        from dae_solver.solver.symbolic import from_sympy

        return from_sympy(t, **description)

    @classmethod
    def from_mass_matrix(cls, mass: Any, function: Any, **description: Any) -> DAESystem:
        """``M z' = F(t, z, p)``, see :class:`dae_solver.solver.mass.MassMatrixSystem`."""
        from dae_solver.solver.mass import MassMatrixSystem

        return MassMatrixSystem(mass, function, **description)

    def jacobian(
        self, t: Any, x: Any, y: Any, p: Parameters, *, central: bool = False
    ) -> Float[np.ndarray, "scenario row column"]:
        """Derivatives of ``(f, g)`` by ``(x, y)``, by difference quotients unless overridden.

        Args:
            t: ``[scenario]``.
            x: ``[state, scenario]``.
            y: ``[algebraic, scenario]``.
            p: Parameters of the same scenarios.
            central: Two-sided quotients: about 1e-10 relative instead of 1e-8, at twice the cost.
        """
        nx = len(self.states)

        def both(t: Any, z: Any, p: Any) -> np.ndarray:
            return np.concatenate([self.f(t, z[:nx], z[nx:], p), self.g(t, z[:nx], z[nx:], p)])

        scale = np.concatenate([self.x_scale, self.y_scale])
        return quotients(both, t, np.concatenate([x, y]), p, scale, central=central)

    def jacobian_y(
        self, t: Any, x: Any, y: Any, p: Parameters
    ) -> Float[np.ndarray, "scenario row column"]:
        """Derivatives of ``g`` by ``y``."""
        nx = len(self.states)

        def residual(t: Any, z: Any, p: Any) -> Any:
            return self.g(t, z[:nx], z[nx:], p)

        moving = slice(nx, None)
        scale = np.concatenate([self.x_scale, self.y_scale])
        return quotients(residual, t, np.concatenate([x, y]), p, scale, moving=moving)

    def solve(
        self, t: Any, x: Any, y: Any, p: Parameters, tolerance: float
    ) -> tuple[Float[np.ndarray, "algebraic scenario"], Bool[np.ndarray, " scenario"]]:
        """Algebraic variables from a guess that is near, and where that succeeded.

        Called at every stage of every step; :func:`dae_solver.solver.initial.consistent` is for
        guesses that may be far away.
        """
        if not self.algebraics:
            return y, np.ones(x.shape[-1], bool)
        found = newton(self, t, x, y, p, tolerance=tolerance, iterations=10)
        return found.y, found.converged

    def batch(
        self, scenarios: int, values: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """The parameters of a batch: the defaults, with ``values`` over them.

        Args:
            scenarios: How many.
            values: One value for all (as in ``defaults``) or one per scenario on the last axis.

        Raises:
            InputError: A name is unknown or a shape fits neither.
        """
        values = dict(values or {})
        unknown = sorted(set(values) - set(self.defaults))
        if unknown:
            known = ", ".join(self.defaults) or "none"
            raise InputError(
                f"parameter {unknown[0]!r} is not in this system; it has: {known}",
                rule="dae.parameter",
            )
        return {
            name: spread(name, np.asarray(values.get(name, default)), np.ndim(default), scenarios)
            for name, default in self.defaults.items()
        }


class CallableSystem(DAESystem):
    """A system of Python functions; see :meth:`DAESystem.from_callable`."""

    def __init__(
        self,
        f: Function,
        g: Function | None,
        *,
        states: int | Sequence[str],
        algebraics: int | Sequence[str] = 0,
        parameters: Mapping[str, Any],
        invariants: Callable[[Any, Any, Any], Any] | None = None,
        kinks: Function | None = None,
        limit: Callable[[Any, Any, Any], Any] | None = None,
        jacobian: Function | None = None,
        x_scale: Any = None,
        y_scale: Any = None,
        x0: Any = None,
        y0: Any = None,
    ) -> None:
        self.states = _names(states, "x")
        self.algebraics = _names(algebraics, "y")
        if bool(self.algebraics) != (g is not None):
            raise InputError(
                f"{len(self.algebraics)} algebraic variables and "
                f"{'no ' if g is None else ''}algebraic equations; give both or neither",
                rule="dae.algebraic",
            )
        self.defaults = {name: np.asarray(value, float) for name, value in parameters.items()}
        self.x_scale = _vector(x_scale, len(self.states), "x_scale", 1.0)
        self.y_scale = _vector(y_scale, len(self.algebraics), "y_scale", 1.0)
        self.x0 = None if x0 is None else _vector(x0, len(self.states), "x0", 0.0)
        self.y0 = None if y0 is None else _vector(y0, len(self.algebraics), "y0", 0.0)
        self._f, self._g = f, g
        self._invariants, self._kinks, self._limit, self._jacobian = (
            invariants,
            kinks,
            limit,
            jacobian,
        )

    def f(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        return _rows(self._f(t, x, y, p), len(self.states), x, "f")

    def g(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        if self._g is None:
            return np.zeros((0, x.shape[-1]))
        return _rows(self._g(t, x, y, p), len(self.algebraics), x, "g")

    def invariants(self, t: Any, x: Any, p: Any) -> Any:
        if self._invariants is None:
            return None
        return _rows(self._invariants(t, x, p), None, x, "invariants")

    def kinks(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        return None if self._kinks is None else _rows(self._kinks(t, x, y, p), None, x, "kinks")

    def limit(self, t: Any, x: Any, p: Any) -> Any:
        if self._limit is None:
            return x
        return _rows(self._limit(t, x, p), len(self.states), x, "limit")

    def jacobian(
        self, t: Any, x: Any, y: Any, p: Parameters, *, central: bool = False
    ) -> Float[np.ndarray, "scenario row column"]:
        if self._jacobian is None:
            return super().jacobian(t, x, y, p, central=central)
        number, scenarios = len(self.states) + len(self.algebraics), x.shape[-1]
        found = np.empty((number, number, scenarios))
        for row, values in enumerate(self._jacobian(t, x, y, p)):
            for column, value in enumerate(values):
                found[row, column] = value
        return np.ascontiguousarray(found.transpose(2, 0, 1))

    def jacobian_y(
        self, t: Any, x: Any, y: Any, p: Parameters
    ) -> Float[np.ndarray, "scenario row column"]:
        if self._jacobian is None:
            return super().jacobian_y(t, x, y, p)
        nx = len(self.states)
        return self.jacobian(t, x, y, p)[:, nx:, nx:]


def _rows(values: Any, number: int | None, like: np.ndarray, what: str) -> np.ndarray:
    """What a user's function returned as ``[row, scenario]``."""
    scenarios = like.shape[-1]
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == scenarios:
        found = values
    else:
        parts = [np.broadcast_to(np.asarray(value, float), (scenarios,)) for value in values]
        found = np.stack(parts) if parts else np.zeros((0, scenarios))
    if number is not None and len(found) != number:
        raise InputError(
            f"{what} returned {len(found)} values for {number} variables; return one for each",
            rule="dae.rows",
        )
    return found


def _names(given: int | Sequence[str], letter: str) -> tuple[str, ...]:
    if isinstance(given, int):
        return tuple(f"{letter}{number}" for number in range(given))
    names = tuple(given)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"variable {twice[0]!r} is named twice", rule="dae.names")
    return names


def _vector(given: Any, number: int, what: str, default: float) -> np.ndarray:
    if given is None:
        return np.full(number, default)
    found = np.asarray(given, float)
    if found.shape != (number,):
        raise InputError(
            f"{what} has shape {found.shape} for {number} variables; give one value for each",
            rule="dae.shape",
        )
    return found
