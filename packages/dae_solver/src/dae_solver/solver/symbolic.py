"""Systems from symbolic equations, with their index found and reduced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dae_solver.solver.index import reduce_index
from dae_solver.solver.system import CallableSystem
from scimind.errors import InputError


class SymbolicSystem(CallableSystem):
    """A system of symbolic equations; derivatives are exact.

    Attributes:
        index: Differentiation index of the equations as they were given.
        hidden: Constraints on the states that follow from them and were not written, and those that
            were written without an algebraic variable, as text; every step is projected onto them.
    """

    index: int
    hidden: tuple[str, ...]


def from_sympy(
    t: Any,
    *,
    x: Sequence[Any],
    f: Sequence[Any],
    y: Sequence[Any] = (),
    g: Sequence[Any] = (),
    p: Mapping[Any, Any] | None = None,
    x0: Any = None,
    y0: Any = None,
    x_scale: Any = None,
    y_scale: Any = None,
    reduce: bool = True,
) -> SymbolicSystem:
    """A system of sympy expressions; index 2 and 3 are reduced to 1.

    Args:
        t: Symbol of the time.
        x: Symbols of the states.
        f: Their derivatives.
        y: Symbols of the algebraic variables.
        g: As many expressions that are zero.
        p: Symbols of the parameters with their default values.
        x0: Initial states.
        y0: First guess of the algebraic variables.
        x_scale: Typical sizes of the states.
        y_scale: Typical sizes of the algebraic variables.
        reduce: Differentiate constraints as often as needed; otherwise a higher index is an error.

    Returns:
        An index-1 system; where constraints were differentiated, the ones before are its
        invariants.

    Raises:
        InputError: Numbers do not fit, a symbol is unknown, or the index cannot be reduced.
    """
    import sympy

    p = dict(p or {})
    x, y, f, g = list(x), list(y), [sympy.sympify(e) for e in f], [sympy.sympify(e) for e in g]
    for what, exprs, symbols in (("f", f, x), ("g", g, y)):
        if len(exprs) != len(symbols):
            raise InputError(
                f"{what} has {len(exprs)} expressions for {len(symbols)} variables; give one each",
                rule="dae.rows",
            )
    known = {t, *x, *y, *p}
    for what, exprs in (("f", f), ("g", g)):
        for number, expr in enumerate(exprs):
            if unknown := sorted(map(str, expr.free_symbols - known)):
                raise InputError(
                    f"{what}[{number}] = {expr} has the unknown symbol {unknown[0]}; it is neither "
                    "the time, a variable nor a parameter",
                    rule="dae.symbol",
                )
    found = reduce_index(t, x, f, y, g, reduce=reduce)
    arguments = [t, x, y, list(p)]
    variables = sympy.Matrix([*x, *y])
    names = [str(symbol) for symbol in p]

    def compiled(exprs: Any, *, signature: Any = arguments) -> Any:
        function = sympy.lambdify(signature, exprs, modules="numpy", cse=True)
        return lambda *given: function(*given[:-1], [given[-1][name] for name in names])

    slopes = sympy.Matrix([*f, *found.g]).jacobian(variables).tolist()
    system = SymbolicSystem(
        compiled(f),
        compiled(found.g) if y else None,
        states=[str(symbol) for symbol in x],
        algebraics=[str(symbol) for symbol in y],
        parameters={str(symbol): value for symbol, value in p.items()},
        invariants=compiled(found.invariants, signature=[t, x, list(p)])
        if found.invariants
        else None,
        jacobian=compiled(slopes),
        x_scale=x_scale,
        y_scale=y_scale,
        x0=x0,
        y0=None if y0 is None else np.asarray(y0, float),
    )
    system.index, system.hidden = found.index, tuple(map(str, found.invariants))
    return system
