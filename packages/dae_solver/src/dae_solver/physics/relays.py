"""Protection that acts on its own while a scenario runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dae_solver.physics.case import BusId
from dae_solver.physics.dae import PowerDAE
from dae_solver.solver.events import Change, StateEvent
from scimind.errors import InputError


def under_frequency_shedding(
    grid: PowerDAE,
    stages: Sequence[tuple[float, float]],
    *,
    delay: float = 0.1,
    buses: Sequence[BusId] | None = None,
) -> list[StateEvent]:
    """Loads are shed in stages while the frequency of the centre of inertia falls.

    Args:
        grid: The equations.
        stages: Pairs of a threshold, hertz, and the share of the load as it is then that is shed.
        delay: Between a threshold and the breaker, seconds; nothing is shed where the frequency has
            risen above the threshold meanwhile.
        buses: Whose loads are shed; all by default.

    Raises:
        InputError: A threshold is not below the nominal frequency, a share not in ``(0, 1)``, or a
            bus has no load.
    """
    nominal = grid.case.frequency
    network = grid.network
    at = [network.position[load.bus] for load in grid.case.loads]
    chosen = at if buses is None else [network.find(bus, "the load to shed") for bus in buses]
    for place in chosen:
        if place not in at:
            bus = grid.case.buses[place].id
            raise InputError(f"there is no load at bus {bus} to shed", rule="power.load")
    rows = [k for k, place in enumerate(at) if place in chosen]
    speed = grid.rows("omega")
    weight = (grid.inertia / grid.inertia.sum())[:, None]

    def below(threshold: float) -> Any:
        def condition(t: Any, x: Any, y: Any, p: Any) -> Any:
            share = weight * p["online"] if "online" in p else weight
            omega = (share * x[speed]).sum(0) / np.broadcast_to(share, x[speed].shape).sum(0)
            return nominal * omega - threshold

        return condition

    events = []
    for threshold, share in stages:
        if not 0 < threshold < nominal or not 0 < share < 1:
            raise InputError(
                f"a stage sheds {share:g} of the load below {threshold:g} Hz; give a threshold "
                f"below {nominal:g} Hz and a share between 0 and 1",
                rule="power.shedding",
            )
        events.append(
            StateEvent(
                condition=below(threshold),
                direction=-1,
                delay=delay,
                once=True,
                changes=[
                    Change(name=name, value=1.0 - share, row=rows, how="scale")
                    for name in ("p0", "q0")
                ],
                name=f"shedding {share:.0%} below {threshold:g} Hz",
            )
        )
    return events
