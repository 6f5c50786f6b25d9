"""A term that is a sum of a few functions out of many candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.terms import LOADS
from dae_solver.unknown.coefficients import Coefficient, TermUnknown
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A function that may be part of a term.

    Attributes:
        name: For tables.
        text: Formula with its numbers in braces, such as ``{0} dw``.
        function: ``function(seen, values)`` of the signals and of its numbers ``[scenario]`` each;
            zero at rest, and everywhere where the numbers are the nominal ones.
        numbers: Its numbers; the names are completed by that of the term.
    """

    name: str
    text: str
    function: Callable[[Mapping[str, Any], Sequence[Any]], Any]
    numbers: tuple[Coefficient, ...]


def linear(name: str, text: str, function: Callable[[Mapping[str, Any]], Any]) -> Candidate:
    """A candidate that is a multiple of a function; its scale is found by :class:`LibraryTerm`."""
    return Candidate(
        name=name,
        text=f"{{0}} {text}",
        function=lambda seen, values: values[0] * function(seen),
        numbers=(Coefficient(name="c", nominal=0.0, scale=0.0),),
    )


def _clip(u: Any, half: Any) -> Any:
    return np.minimum(np.maximum(u, -half), half)


def _band(seen: Mapping[str, Any], values: Sequence[Any]) -> Any:
    return seen["gain"] * _clip(seen["speed"], values[0])


def _exponent(seen: Mapping[str, Any], values: Sequence[Any]) -> Any:
    log = np.log(seen["v"])
    return np.exp(values[0] * log) - np.exp(2.0 * log)


_SPEED = (
    linear("linear", "dw", lambda s: s["speed"]),
    linear("quadratic", "dw |dw|", lambda s: s["speed"] * np.abs(s["speed"])),
    linear("even", "dw^2", lambda s: s["speed"] ** 2),
    linear("cubic", "dw^3", lambda s: s["speed"] ** 3),
    linear("friction", "tanh(dw / 0.001)", lambda s: np.tanh(s["speed"] / 1e-3)),
    linear("voltage", "(v - 1)", lambda s: s["v"] - 1.0),
)
_LOAD = (
    Candidate(
        name="exponent",
        text="(v^{0} - v^2)",
        function=_exponent,
        numbers=(Coefficient(name="a", nominal=2.0, scale=0.3, low=-1.0, high=6.0),),
    ),
    linear("current", "(v - v^2)", lambda s: s["v"] - s["v"] ** 2),
    linear("power", "(1 - v^2)", lambda s: 1.0 - s["v"] ** 2),
    linear("cubic", "(v^3 - v^2)", lambda s: s["v"] ** 3 - s["v"] ** 2),
    linear("frequency", "f v^2", lambda s: s["frequency"] * s["v"] ** 2),
    linear("frequency quadratic", "f |f| v^2", lambda s: s["frequency"] * np.abs(s["frequency"])),
)
_BAND = Candidate(
    name="dead band",
    text="gain clip(dw, ±{0})",
    function=_band,
    numbers=(
        Coefficient(
            name="half width",
            nominal=0.0,
            scale=1e-4,
            low=0.0,
            high=0.01,
            tries=(0.0, 2e-4, 5e-4, 1e-3, 2e-3),
        ),
    ),
)
# By place; those at machines serve for every state too.
CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "torque": _SPEED,
    "pref": (*_SPEED, _BAND),
    "vref": _SPEED,
    "field": _SPEED,
    "load.p": _LOAD,
    "load.q": _LOAD,
}


class LibraryTerm(TermUnknown):
    """A sum of candidates, of which the fewest that explain the measurements are kept.

    >>> LibraryTerm(where="torque")                                   # all candidates there
    >>> LibraryTerm(where="pref", functions=["linear", "cubic", "dead band"])

    Args:
        where: Place, see :class:`dae_solver.physics.terms.Term`.
        functions: Names of candidates or candidates of one's own; all of the place by default.
        size: A change of what is added that matters, pu; it scales the numbers.
        name: Of the term; the place by default.

    Raises:
        InputError: There is no such candidate.
    """

    def __init__(
        self,
        where: str,
        functions: Sequence[str | Candidate] | None = None,
        *,
        size: float = 0.01,
        name: str | None = None,
    ) -> None:
        self.where, self.name, self.size = where, name or where, size
        known = {each.name: each for each in CANDIDATES.get(where, _SPEED)}
        chosen: list[Candidate] = []
        for each in known if functions is None else functions:
            if isinstance(each, str):
                if each not in known:
                    raise InputError(
                        f"there is no candidate {each!r} for {where}; there are: "
                        f"{', '.join(known)}",
                        rule="unknown.candidate",
                    )
                each = known[each]
            chosen.append(each)
        if not chosen:
            raise InputError(
                f"the library for {where} has no candidate; give at least one",
                rule="unknown.candidate",
            )
        self.candidates = tuple(chosen)

    def prepare(self, grid: PowerDAE) -> None:
        """Check that the candidates fit the load model.

        Raises:
            InputError: An exponent is asked for where the loads are no impedances.
        """
        exponent = any(each.name == "exponent" for each in self.candidates)
        if self.where in LOADS and exponent and not grid.load_model.linear:
            raise InputError(
                "the candidate 'exponent' replaces an impedance, and the nominal loads are none; "
                "leave it out, or begin with load 'zip 1 0 0'",
                rule="unknown.candidate",
            )

    def scaled(self, seen: Mapping[str, Any]) -> None:
        """Set the scale of each multiple so that it adds about ``size`` at its largest.

        Args:
            seen: Signals of the nominal trajectories.
        """
        found = []
        for each in self.candidates:
            numbers = each.numbers
            if len(numbers) == 1 and numbers[0].scale == 0:
                most = float(np.nanmax(np.abs(each.function(seen, [1.0]))))
                scale = self.size / most if most > 0 else 1.0
                numbers = (replace(numbers[0], scale=scale),)
            found.append(replace(each, numbers=numbers))
        self.candidates = tuple(found)

    def coefficients(self) -> list[Coefficient]:
        """The numbers of all candidates."""
        return [
            replace(number, name=f"{self.name}: {each.text.replace('{0}', number.name)}")
            for each in self.candidates
            for number in each.numbers
        ]

    def groups(self) -> list[list[int]]:
        """Positions of the numbers of each candidate, which are kept or dropped together."""
        found, first = [], 0
        for each in self.candidates:
            found.append(list(range(first, first + len(each.numbers))))
            first += len(each.numbers)
        return found

    def add(self, seen: Mapping[str, Any], values: Any) -> Any:
        """The sum, ``[device, scenario]``."""
        total: Any = 0.0
        for each, rows in zip(self.candidates, self.groups(), strict=True):
            total = total + each.function(seen, [values[row] for row in rows])
        return total

    def formula(self, values: Float[np.ndarray, " coefficient"]) -> str:
        """The candidates that are part of it, ``0`` where none is."""
        parts = []
        for each, rows in zip(self.candidates, self.groups(), strict=True):
            own = [float(values[row]) for row in rows]
            if any(v != n.nominal for v, n in zip(own, each.numbers, strict=True)):
                parts.append(each.text.format(*(f"{v:.4g}" for v in own)))
        place = {"load.p": "P / P0", "load.q": "Q / Q0"}.get(self.where, self.where)
        return f"{place} += {' + '.join(parts) or '0'}"
