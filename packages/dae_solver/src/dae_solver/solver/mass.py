"""Systems with a constant mass matrix that may be singular."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dae_solver.solver.system import CallableSystem
from scimind.errors import InputError

# Singular values below this share of the largest are zero.
RANK_TOLERANCE = 1e-12


class MassMatrixSystem(CallableSystem):
    """``M z' = F(t, z, p)`` in semi-explicit form.

    With the singular value decomposition ``M = U diag(S, 0) W^T`` the variables are ``W^T z``: the
    first are states with ``S x' = U1^T F``, the rest algebraic with ``0 = U2^T F``. Solutions are
    returned in ``z``.

    Args:
        mass: ``[row, variable]``.
        function: ``F(t, z, p)``, one value per row.
        variables: Names of ``z``, or how many.
        parameters: Default values by name.
        z0: Initial values; they need not be consistent.

    Raises:
        InputError: The matrix is not square or has another size.
    """

    def __init__(
        self,
        mass: Any,
        function: Callable[[Any, Any, Any], Any],
        *,
        variables: int | Sequence[str],
        parameters: Mapping[str, Any] | None = None,
        z0: Any = None,
    ) -> None:
        mass = np.asarray(mass, float)
        number = variables if isinstance(variables, int) else len(variables)
        if mass.shape != (number, number):
            raise InputError(
                f"the mass matrix has shape {mass.shape} for {number} variables", rule="dae.mass"
            )
        u, s, wt = np.linalg.svd(mass)
        rank = int((s > RANK_TOLERANCE * max(s.max(), 1e-300)).sum())
        self.turn = wt.T
        u1, u2, size = u[:, :rank].T, u[:, rank:].T, s[:rank, None]
        names = [f"z{k}" for k in range(number)] if isinstance(variables, int) else list(variables)
        self.variables = tuple(names)

        def rows(t: Any, x: Any, y: Any, p: Any) -> np.ndarray:
            z = self.turn @ np.concatenate([x, y])
            scenarios = x.shape[-1]
            parts = [np.broadcast_to(np.asarray(v, float), (scenarios,)) for v in function(t, z, p)]
            return np.stack(parts)

        start = None if z0 is None else self.turn.T @ np.asarray(z0, float)
        super().__init__(
            lambda t, x, y, p: (u1 @ rows(t, x, y, p)) / size,
            (lambda t, x, y, p: u2 @ rows(t, x, y, p)) if rank < number else None,
            states=rank,
            algebraics=number - rank,
            parameters=parameters or {},
            x0=None if start is None else start[:rank],
            y0=None if start is None else start[rank:],
        )

    @property
    def output_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of ``z``."""
        return self.variables, ()

    def outputs(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The variables ``z``; there are no further ones."""
        z = np.concatenate([x, y], axis=-1) @ self.turn.T
        return z, z[..., :0]
