"""Numbers to be found, and what they stand for in the equations of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.physics.terms import Term
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A number to be found.

    Attributes:
        name: For tables and formulas.
        nominal: Its value where nothing is unknown.
        scale: A change of it that matters.
        low: Least value that makes sense.
        high: Largest value that makes sense.
        tries: Values from which the search starts, the best of them by a simulation of each; the
            nominal value alone where there are none.
        prior: Standard deviation of its distribution around ``nominal`` before anything is
            measured; infinity where nothing is known.
    """

    name: str
    nominal: float
    scale: float
    low: float = -np.inf
    high: float = np.inf
    tries: tuple[float, ...] = ()
    prior: float = np.inf


class Unknown:
    """Something unknown in the equations: numbers, and the parameters of the grid they make.

    Attributes:
        name: For people.
    """

    name: str

    def prepare(self, grid: PowerDAE) -> None:
        """Look at the nominal equations before anything else is asked.

        Raises:
            InputError: What is unknown does not exist in this grid.
        """

    def coefficients(self) -> Sequence[Coefficient]:
        """The numbers, in a fixed order."""
        raise NotImplementedError

    def first(self) -> Sequence[bool]:
        """Which of the numbers are fitted before all are; all of them by default."""
        return [True] * len(self.coefficients())

    def term(self) -> Term | None:
        """What is added to the equations, with its nominal values; None where nothing is."""
        return None

    def parameters(
        self, values: Float[np.ndarray, "coefficient batch"]
    ) -> dict[str, Float[np.ndarray, "row batch"]]:
        """Parameters of the grid, see :class:`dae_solver.physics.dae.PowerDAE`, by name."""
        raise NotImplementedError

    def formula(self, values: Float[np.ndarray, " coefficient"]) -> str:
        """What was found, as text."""
        raise NotImplementedError


class TermUnknown(Unknown, Term):
    """A term whose values are unknown; those of :attr:`values` are the nominal ones until set."""

    _values: np.ndarray | None = None

    @property
    def values(self) -> Float[np.ndarray, " value"]:
        """Its numbers."""
        if self._values is None:
            return np.array([each.nominal for each in self.coefficients()])
        return self._values

    @values.setter
    def values(self, values: Float[np.ndarray, " value"]) -> None:
        self._values = values

    def term(self) -> Term:
        """Itself."""
        return self

    def parameters(
        self, values: Float[np.ndarray, "coefficient batch"]
    ) -> dict[str, Float[np.ndarray, "row batch"]]:
        """Its values as they are."""
        return {self.key: values}
