"""Steps of equal size from one event to the next, which some systems do all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.solver.methods.step import Point
from scimind.typing import Bool, Float, Int


@dataclass(kw_only=True)
class Stretch:
    """What a system is asked to integrate, and where it puts the results.

    Attributes:
        a: Tableau of an explicit method, ``[stage, stage]``.
        b: Its weights.
        c: Its nodes.
        first: Steps end at multiples of ``step`` after this time,
        step: seconds,
        stop: and here; of each scenario.
        pause: The first step that ends here or later is the last.
        tolerance: Of the algebraic variables.
        point: Where the scenarios are, moved to the end in place; with ``missed`` and ``h``.
        times: Of the outputs; None makes the end of each step one.
        x_out: States there, ``[row, time, state]``.
        y_out: Algebraic variables there, ``[row, time, algebraic]``; not without times,
        f_out: where derivatives are kept instead.
        place: Row of each scenario in both.
        next_output: Number of the next output of each scenario, changed in place.
        steps: Steps of each scenario, added to in place.
        stuck: Whether the next step could not be done; the scenario is before it.
        single: Whether single precision will do, which a system need not have.
    """

    a: Float[np.ndarray, "stage stage"]
    b: Float[np.ndarray, " stage"]
    c: Float[np.ndarray, " stage"]
    first: Float[np.ndarray, " scenario"]
    step: Float[np.ndarray, " scenario"]
    stop: Float[np.ndarray, " scenario"]
    pause: Float[np.ndarray, " scenario"]
    tolerance: float
    point: Point
    times: Float[np.ndarray, " time"] | None
    x_out: Float[np.ndarray, "row time state"]
    y_out: Float[np.ndarray, "row time algebraic"] | None = None
    f_out: Float[np.ndarray, "row time state"] | None = None
    place: Int[np.ndarray, " scenario"]
    next_output: Int[np.ndarray, " scenario"]
    steps: Int[np.ndarray, " scenario"]
    stuck: Bool[np.ndarray, " scenario"]
    single: bool = False
