"""Simulate disturbances of a power system: ``python -m dae_solver.simulate case=… event=…``.

The output folder holds ``summary.csv`` (one line per scenario), ``trajectories.csv`` (all states
and voltages), ``events.csv`` and ``report.html``.
"""

from __future__ import annotations

import logging
import time

from dae_solver.config.simulate import SimulateConfig
from scimind.cli import command

log = logging.getLogger(__name__)


def simulate(config: SimulateConfig) -> int:
    """Simulates a batch of scenarios with the classical engine and writes tables and a report.

    Args:
        config: The settings.

    Returns:
        The exit code; 3 where a scenario could not be simulated to its end.

    Raises:
        InputError: The case, an event, a relay or a number of scenarios is wrong.
    """
    from dae_solver.answers import asked, relays, write
    from dae_solver.physics import PowerSystem

    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    scenarios = asked(grid, config)
    started = time.process_time()
    runs = grid.simulate(
        scenarios,
        t_end=config.t_end,
        every=config.every,
        method=config.method,
        step=config.step,
        state_events=relays(grid, config),
        rtol=config.rtol,
        locate_kinks=config.locate_kinks,
    )
    spent = time.process_time() - started
    return write(grid, runs, config, spent, method=config.method)


main = command(
    simulate,
    schema=SimulateConfig,
    config_package="dae_solver.configs",
    config_name="simulate",
    prog="python -m dae_solver.simulate",
    examples=(
        ("", "a fault on the built-in nine-bus system"),
        (
            "case=kundur.xlsx event='[fault bus 8 t 1 clear 0.1, line_trip line Line_8 t 1]'",
            "two scenarios of an ANDES case",
        ),
        (
            "event='generator_trip machine G3 t 1' relays='[shedding below 59.5 share 0.1]'",
            "a tenth of the loads is shed below 59.5 Hz",
        ),
        (
            "case=ieee39.raw dyr=ieee39.dyr load='zip 0.4 0.3 0.3' step=null method=radau3",
            "PSS/E files, other loads, adaptive steps",
        ),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
