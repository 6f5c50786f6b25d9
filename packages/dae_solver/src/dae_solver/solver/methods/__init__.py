"""Methods by name; each docstring says order, dense output and source."""

from dae_solver.solver.methods.collocation import (
    BACKWARD_EULER,
    GAUSS2,
    GAUSS3,
    RADAU2,
    RADAU3,
    TRAPEZOID,
)
from dae_solver.solver.methods.explicit import BOGACKI_SHAMPINE, DORMAND_PRINCE, EULER, HEUN, RK4
from dae_solver.solver.methods.step import Method, Point, Tolerances, Trial
from scimind.errors import InputError

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        EULER,
        HEUN,
        RK4,
        BOGACKI_SHAMPINE,
        DORMAND_PRINCE,
        BACKWARD_EULER,
        TRAPEZOID,
        GAUSS2,
        GAUSS3,
        RADAU2,
        RADAU3,
    )
}


def method_of(name: str) -> Method:
    """The method of a name.

    Raises:
        InputError: There is none.
    """
    if name not in METHODS:
        raise InputError(
            f"method {name!r} is not known; there are: {', '.join(METHODS)}", rule="dae.method"
        )
    return METHODS[name]


__all__ = ["METHODS", "Method", "Point", "Tolerances", "Trial", "method_of"]
