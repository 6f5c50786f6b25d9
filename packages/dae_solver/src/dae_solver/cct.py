"""Critical clearing times: ``python -m dae_solver.cct case=… bus=…``.

The output folder holds ``cct.csv`` and ``report.html``.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dae_solver.config.cct import CctConfig
from scimind.cli import command
from scimind.errors import InputError

if TYPE_CHECKING:
    from dae_solver.physics import Fault, PowerSystem

log = logging.getLogger(__name__)


def cct(config: CctConfig) -> None:
    """Finds the critical clearing times of faults by bisection, all faults in one batch.

    Args:
        config: The settings.

    Raises:
        InputError: A bus or line does not exist.
    """
    from dae_solver.physics import PowerSystem
    from dae_solver.reports import clearing_report

    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    faults = _faults(grid, config)
    log.info("%s: %d faults", grid.case.name, len(faults))
    started = time.process_time()
    times = grid.cct(
        faults,
        shortest=config.shortest,
        longest=config.longest,
        tolerance=config.tolerance,
        t_end=config.t_end,
        load_level=config.load_level,
        step=config.step,
        solver=config.solver,
        operator=config.operator,
        certify=config.certify,
    )
    spent = time.process_time() - started
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    times.to_pandas().to_csv(folder / "cct.csv", index=False)
    clearing_report(grid, times, seconds=spent).write(folder / "report.html")
    for number in times.cct.argsort(kind="stable")[:10]:
        log.info("%s: %.0f ms", times.faults[number], 1e3 * times.cct[number])
    for number in (~times.monotonic).nonzero()[0]:
        log.warning(
            "bus %s: a longer time than an unstable one is stable", times.faults[number].bus
        )
    log.info(
        "%d simulations, %d by the solver that looks first; report: %s",
        times.simulations + times.coarse, times.coarse, folder / "report.html",
    )  # fmt: skip


def _faults(grid: PowerSystem, config: CctConfig) -> list[Fault]:
    from dae_solver.physics import Fault

    network = grid.dae.network
    buses = [bus.id for bus in grid.case.buses]
    if config.bus is None:
        with_machine = {generator.bus for generator in grid.case.generators}
        chosen = [bus for bus in buses if bus not in with_machine]
    else:
        chosen = list(config.bus) if isinstance(config.bus, list) else [config.bus]
    if config.trip == "each":
        found = []
        for bus in chosen:
            place = network.find(bus, "the fault")
            for number, branch in enumerate(grid.case.branches):
                at_bus = place in (network.start[number], network.end[number])
                left = network.built.without([number])
                if at_bus and branch.in_service and len(network.islands(left)) == 1:
                    found.append(Fault(bus=bus, trip=branch.id))
        return found
    trips = config.trip if isinstance(config.trip, list) else [config.trip] * len(chosen)
    if len(trips) != len(chosen):
        raise InputError(
            f"{len(trips)} lines to trip for {len(chosen)} faults; give one, or one for each",
            rule="power.scenario",
        )
    return [Fault(bus=bus, trip=trip) for bus, trip in zip(chosen, trips, strict=True)]


main = command(
    cct,
    schema=CctConfig,
    config_package="dae_solver.configs",
    config_name="cct",
    prog="python -m dae_solver.cct",
    examples=(
        ("", "faults at all buses without a machine of the built-in nine-bus system"),
        ("case=kundur.xlsx bus=[7,8] trip=each", "cleared by each line at the buses"),
        ("solver=hybrid operator=outputs/…", "narrowed down by a learned operator"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
