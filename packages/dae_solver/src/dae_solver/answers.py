"""What the commands that answer scenarios share: what is asked, and what is written."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np

from dae_solver.config.scenarios import ScenarioConfig
from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.physics.phrases import parse, parse_relay
from dae_solver.reports import simulation_report
from dae_solver.solver.events import StateEvent
from scimind.errors import EXIT_NUMERICS, EXIT_OK

log = logging.getLogger(__name__)


def asked(grid: PowerSystem, config: ScenarioConfig) -> Scenarios:
    """The scenarios of a configuration.

    Raises:
        InputError: An event or a number of scenarios is wrong.
    """
    texts = [config.event] if isinstance(config.event, str) else list(config.event)
    scenarios = grid.scenarios(*map(parse, texts), load_level=config.load_level)
    log.info(
        "%s: %d buses, %d machines, %d states, %d algebraic variables; %d scenarios of %g s",
        grid.case.name,
        len(grid.case.buses),
        len(grid.dae.machine_ids),
        len(grid.dae.states),
        len(grid.dae.algebraics),
        len(scenarios),
        config.t_end,
    )
    return scenarios


def relays(grid: PowerSystem, config: ScenarioConfig) -> list[StateEvent]:
    """The relays of a configuration.

    Raises:
        InputError: One is wrong.
    """
    return [event for text in config.relays for event in parse_relay(grid.dae, text)]


def write(
    grid: PowerSystem, runs: Trajectories, config: ScenarioConfig, spent: float, *, method: str
) -> int:
    """Tell how scenarios ended and write the output folder.

    Args:
        grid: The system.
        runs: Its trajectories.
        config: The settings.
        spent: CPU time of the solution, seconds.
        method: How they were found, for the report.

    Returns:
        The exit code; 3 where a scenario could not be simulated to its end.
    """
    log.info("start: %s", runs.solution.start.text())
    failed = _tell(runs)
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
    report = simulation_report(grid, runs, shown=config.plots, seconds=spent, method=method)
    report.write(folder / "report.html")
    log.info("report: %s", folder / "report.html")
    return EXIT_NUMERICS if failed else EXIT_OK


def _tell(runs: Trajectories) -> int:
    failed = 0
    for scenario, (text, reason) in enumerate(
        zip(runs.scenarios.texts, runs.solution.failure, strict=True)
    ):
        separated, certificate = runs.separated[scenario], runs.certificate[scenario]
        within = (
            "" if np.isnan(certificate) else f" ({runs.source[scenario]}, {certificate:.2g} deg)"
        )
        if reason:
            failed += 1
            log.error("%s: %s", text, reason)
        elif np.isfinite(separated):
            log.info("%s: loses synchronism at %.2f s%s", text, separated, within)
        else:
            log.info("%s: stable%s", text, within)
    return failed
