"""Simulate disturbances of a power system: ``python -m dae_solver.simulate case=… event=…``.

The output folder holds ``summary.csv`` (one line per scenario), ``trajectories.csv`` (all states
and voltages), ``events.csv`` and ``report.html``.
"""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.config.simulate import SimulateConfig
from scimind.cli import command
from scimind.errors import EXIT_NUMERICS, EXIT_OK, InputError

if TYPE_CHECKING:
    from dae_solver.physics import PowerSystem, Trajectories

log = logging.getLogger(__name__)


def simulate(config: SimulateConfig) -> int:
    """Simulates a batch of scenarios with the classical engine and writes tables and a report.

    Args:
        config: The settings.

    Returns:
        The exit code; 3 where a scenario could not be simulated to its end.

    Raises:
        InputError: The case, an event or a number of scenarios is wrong.
    """
    from dae_solver.physics import PowerSystem
    from dae_solver.physics.phrases import parse

    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    texts = [config.event] if isinstance(config.event, str) else list(config.event)
    level = np.atleast_1d(np.asarray(config.load_level, float))
    if len(level) not in (1, len(texts)):
        raise InputError(
            f"{len(level)} load levels for {len(texts)} scenarios; give one, or one for each",
            rule="power.scenario",
        )
    scenarios = grid.scenarios(*map(parse, texts), load_level=level)
    log.info(
        "%s: %d buses, %d machines, %d states; %d scenarios of %g s",
        grid.case.name,
        len(grid.case.buses),
        len(grid.dae.machine_ids),
        len(grid.dae.states),
        len(scenarios),
        config.t_end,
    )
    started = time.process_time()
    runs = grid.simulate(
        scenarios,
        t_end=config.t_end,
        every=config.every,
        method=config.method,
        step=config.step,
        rtol=config.rtol,
        locate_kinks=config.locate_kinks,
    )
    spent = time.process_time() - started
    log.info("start: %s", runs.solution.start.text())
    failed = _tell(runs)
    _write(grid, runs, config, spent)
    return EXIT_NUMERICS if failed else EXIT_OK


def _tell(runs: Trajectories) -> int:
    failed = 0
    for scenario, (text, reason) in enumerate(
        zip(runs.scenarios.texts, runs.solution.failure, strict=True)
    ):
        separated = runs.separated[scenario]
        if reason:
            failed += 1
            log.error("%s: %s", text, reason)
        elif np.isfinite(separated):
            log.info("%s: loses synchronism at %.2f s", text, separated)
        else:
            log.info("%s: stable", text)
    return failed


def _write(grid: PowerSystem, runs: Trajectories, config: SimulateConfig, spent: float) -> None:
    from dae_solver.reports import simulation_report

    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    runs.summary().to_csv(folder / "summary.csv", index_label="number")
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scenario", "time", "event"])
        for event in runs.solution.events:
            writer.writerow([event.scenario, f"{event.time:.9g}", event.name])
    if config.table:
        runs.to_pandas().to_csv(folder / "trajectories.csv", float_format="%.10g")
    report = simulation_report(grid, runs, shown=config.plots, seconds=spent, method=config.method)
    report.write(folder / "report.html")
    log.info("report: %s", folder / "report.html")


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
            "case=ieee39.raw dyr=ieee39.dyr load='zip 0.4 0.3 0.3' step=null method=radau3",
            "PSS/E files, other loads, adaptive steps",
        ),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
