"""Identify unknown equations: ``python -m dae_solver.identify case=… data=… unknown=…``.

The output folder holds ``values.csv`` (numbers with their uncertainty), ``result.json`` (formulas,
residuals), ``candidates.csv`` (sets that were fitted, of a library), ``held_out.csv`` and
``report.html``.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dae_solver.config.identify import IdentifyConfig
from scimind.cli import command

if TYPE_CHECKING:
    from dae_solver.physics import PowerSystem
    from dae_solver.unknown import Identified, Measurements

log = logging.getLogger(__name__)


def identify(config: IdentifyConfig) -> None:
    """Finds unknown parameters and terms of a power system from measured trajectories.

    Args:
        config: The settings.

    Raises:
        InputError: The case, the measurements or an unknown is wrong.
    """
    from dae_solver.physics import PowerSystem
    from dae_solver.unknown import identify as find
    from dae_solver.unknown.files import read_measurements
    from dae_solver.unknown.phrases import parse_hidden, parse_unknown

    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    unknown = [parse_unknown(text) for text in config.unknown]
    hidden = None
    if config.data is None:
        log.info("no data: measurements are simulated with %s", ", ".join(config.hidden))
        hidden = PowerSystem(
            grid.case, grid.dae.load_model, parameters=parse_hidden(grid, config.hidden)
        )
        data = _rehearsal(grid, hidden, config)
    else:
        data = read_measurements(config.data, grid)
    test = sorted(set(config.test))
    train = [k for k in range(len(data)) if k not in test]
    if test:
        data.of(test)  # refuses those that do not exist
    fit = find(
        grid,
        data.of(train),
        unknown,
        criterion=config.criterion,
        step=config.step,
        rounds=config.rounds,
        most=config.most,
    )
    for line in fit.formula.splitlines():
        log.info("%s", line)
    log.info("mean square of the residuals: %.4g of what the noise explains", fit.reduced_chi2)
    if not fit.explained:
        log.warning("the measurements are not explained to within their noise")
    _write(fit, data.of(test) if test else None, hidden, Path(config.output))


def _rehearsal(grid: PowerSystem, hidden: PowerSystem, config: IdentifyConfig) -> Measurements:
    """Measurements of a grid with hidden values."""
    from dae_solver.physics.phrases import parse
    from dae_solver.unknown import measure

    events = [parse(text) for text in config.event]
    runs = hidden.simulate(
        hidden.scenarios(*events, load_level=config.load_level),
        t_end=config.t_end,
        every=config.every,
        step=config.step / 2,
        locate_kinks=True,
    )
    scenarios = grid.scenarios(*events, load_level=config.load_level)
    exact = measure(runs, scenarios, what=config.measured, buses=config.buses)
    return exact.noisy(config.seed, config.noise)


def _write(
    fit: Identified, test: Measurements | None, hidden: PowerSystem | None, folder: Path
) -> None:
    from dae_solver.unknown.page import held_out

    folder.mkdir(parents=True, exist_ok=True)
    fit.table().to_csv(folder / "values.csv", index=False)
    if fit.choices:
        fit.choices_table().to_csv(folder / "candidates.csv", index=False)
    if test is not None:
        held_out(fit, test).to_csv(folder / "held_out.csv", index=False)
    summary = {
        "formula": fit.formula.splitlines(),
        "candidates": list(fit.needed),
        "reduced_chi2": fit.reduced_chi2,
        "explained": fit.explained,
        "converged": fit.fit.converged,
        "equations": fit.grid.dae.evaluated_by,
        "samples": fit.problem.number,
        "cpu_seconds": fit.seconds,
    }
    (folder / "result.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    fit.report(test, hidden).write(folder / "report.html")
    log.info("report: %s", folder / "report.html")


main = command(
    identify,
    schema=IdentifyConfig,
    config_package="dae_solver.configs",
    config_name="identify",
    prog="python -m dae_solver.identify",
    examples=(
        ("", "a rehearsal: hidden damping is found among candidates from simulated phasors"),
        (
            "hidden=\"['alpha=1.35', 'beta=2.6']\" unknown='[parameter alpha, parameter beta]'",
            "exponents of the loads",
        ),
        (
            "case=grid.xlsx data=measured.npz unknown='[neural torque inputs speed]' test=[]",
            "a network for a torque, from measurements of one's own",
        ),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
