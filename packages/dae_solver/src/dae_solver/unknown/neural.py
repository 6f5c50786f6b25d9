"""A term that is a small network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dae_solver.physics.terms import AT_REST, LOADS
from dae_solver.unknown.coefficients import Coefficient, TermUnknown
from scimind.errors import InputError
from scimind.typing import Float

# Inner weights to begin with, for inputs of about one, and the standard deviation of their prior.
WIDTHS = (0.5, 15.0)
INNER_PRIOR = 3.0


class NeuralTerm(TermUnknown):
    """One hidden layer of tanh, less its value at rest: the form of the term is not assumed.

    ``size (N(u) - N(rest))`` with ``N(u) = a . tanh(W u + b)``, the inputs ``u`` scaled to about
    one. The weights have a normal prior, which makes the fit well posed. One network serves all
    machines or all loads.

    There are so few weights that Gauss-Newton with derivatives from one batched simulation needs
    ten rounds where descent along gradients would need hundreds of backward simulations, and it
    gives their covariance.

    Args:
        where: Place, see :class:`dae_solver.physics.terms.Term`.
        inputs: Signals it sees.
        hidden: Width.
        size: A change of what is added that matters, pu.
        prior: Standard deviation of the output weights before anything is measured.
        seed: Of the first weights.
        name: Of the term; the place by default.

    Raises:
        InputError: A signal does not exist there, or the width is not positive.
    """

    def __init__(
        self,
        where: str,
        inputs: Sequence[str],
        hidden: int = 8,
        *,
        size: float = 0.05,
        prior: float = 3.0,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        self.where, self.name = where, name or where
        known = AT_REST["load" if where in LOADS else "machine"]
        if not inputs or (wrong := [each for each in inputs if each not in known]):
            raise InputError(
                f"a network at {where} sees {', '.join(wrong) if inputs else 'nothing'}; signals "
                f"there are: {', '.join(known)}",
                rule="unknown.input",
            )
        if hidden < 1:
            raise InputError(f"a network has hidden={hidden}; give at least 1", rule="unknown.size")
        self.inputs, self.hidden, self.size, self.prior = tuple(inputs), hidden, size, prior
        self.rest = {each: known[each] for each in inputs}
        self.scale = dict.fromkeys(inputs, 1.0)
        rng = np.random.default_rng(seed)
        number = len(self.inputs)
        # Bends of all widths, from the whole range of the inputs to a fraction; no output at first.
        width = np.repeat(np.geomspace(*WIDTHS, hidden), number)
        direction = rng.choice([-1.0, 1.0], hidden * number) if number > 1 else 1.0
        self.begin = np.concatenate(
            [width * direction, rng.uniform(-1.0, 1.0, hidden), np.zeros(hidden)]
        )

    def scaled(self, seen: Mapping[str, Any]) -> None:
        """Scale the inputs by the nominal trajectories."""
        self.scale = dict(self.scale)
        for name, rest in self.rest.items():
            most = float(np.nanquantile(np.abs(seen[name] - rest), 0.995))
            self.scale[name] = most if most > 0 else 1.0

    def coefficients(self) -> list[Coefficient]:
        """The weights: of the inputs, then the offsets, then of the output."""
        inner = self.hidden * (len(self.inputs) + 1)
        return [
            Coefficient(
                name=f"{self.name}: weight {k}",
                nominal=float(value),
                scale=1.0,
                prior=INNER_PRIOR if k < inner else self.prior,
            )
            for k, value in enumerate(self.begin)
        ]

    def first(self) -> list[bool]:
        """The weights of the output, in which the term is linear.

        With all weights at once the search creeps along a curved valley.
        """
        inner = self.hidden * (len(self.inputs) + 1)
        return [False] * inner + [True] * self.hidden

    def add(self, seen: Mapping[str, Any], values: Any) -> Any:
        """What the network gives, ``[device, scenario]``."""
        hidden, number = self.hidden, len(self.inputs)
        total: Any = 0.0
        for k in range(hidden):
            offset = values[hidden * number + k]
            inside: Any = offset
            for j, name in enumerate(self.inputs):
                weight = values[k * number + j] / self.scale[name]
                inside = inside + weight * (seen[name] - self.rest[name])
            out = values[hidden * (number + 1) + k]
            total = total + out * (np.tanh(inside) - np.tanh(offset))
        return self.size * total

    def formula(self, values: Float[np.ndarray, " coefficient"]) -> str:
        """Its size; what it does is in the curve."""
        signals = ", ".join(self.inputs)
        return f"{self.where} += network({signals}), {self.hidden} hidden, {len(values)} weights"
