"""Screen contingencies: ``python -m dae_solver.screen case=… kinds=[line,fault]``.

The output folder holds ``screen.csv`` (the most severe contingency first), ``calibration.json``
(which a later screen may use again) and ``report.html``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dae_solver.config.screen import ScreenConfig
from scimind.cli import command
from scimind.errors import EXIT_NUMERICS, EXIT_OK

if TYPE_CHECKING:
    from dae_solver.physics import Screening

log = logging.getLogger(__name__)


def screen(config: ScreenConfig) -> int:
    """Tells which contingencies lose synchronism, and how close the others come to it.

    Args:
        config: The settings.

    Returns:
        The exit code; 3 where a contingency could not be simulated to its end.

    Raises:
        InputError: The case, a contingency or the calibration is wrong.
    """
    from dae_solver.physics import Calibration, PowerSystem
    from dae_solver.physics.contingencies import of_kinds
    from dae_solver.physics.phrases import parse
    from dae_solver.screen_report import screening_report

    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    clear = tuple(config.clear) if isinstance(config.clear, list) else config.clear
    listed = [*of_kinds(grid, config.kinds, clear=clear), *map(parse, config.event)]
    log.info("%s: %d contingencies", grid.case.name, len(listed))
    found = grid.screen(
        listed,
        alpha=config.alpha,
        solver=config.solver,
        step=config.step,
        operator=config.operator,
        certify=config.certify,
        t_end=config.t_end,
        calibration=Calibration.load(config.calibration) if config.calibration else None,
        load_level=config.load_level,
        fine_step=config.fine_step,
        voltages=config.voltages,
        cases=config.cases,
        calibration_load=config.calibration_load,
        seed=config.seed,
    )
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    found.to_pandas().to_csv(folder / "screen.csv", index=False)
    found.calibration.save(folder / "calibration.json")
    screening_report(found).write(folder / "report.html")
    _tell(found)
    log.info("report: %s", folder / "report.html")
    return EXIT_NUMERICS if any(found.findings.failure) else EXIT_OK


def _tell(found: Screening) -> None:
    texts, findings = found.scenarios.texts, found.findings
    for number in found.order[:10].tolist():
        verdict = "stable" if findings.stable[number] else "unstable"
        log.info("%s: %s, margin %.3f", texts[number], verdict, findings.margin[number])
    for number, reason in enumerate(findings.failure.tolist()):
        if reason:
            log.error("%s: %s", texts[number], reason)
    if found.refused:
        first = found.refused[0]
        log.warning(
            "%d contingencies are not simulated, as %s: %s",
            len(found.refused), first.text, first.reason,
        )  # fmt: skip


main = command(
    screen,
    schema=ScreenConfig,
    config_package="dae_solver.configs",
    config_name="screen",
    prog="python -m dae_solver.screen",
    examples=(
        ("", "line and generator trips, faults and load steps of the built-in nine-bus system"),
        (
            "case=ieee39.raw dyr=ieee39.dyr 'kinds=[fault]' 'clear=[0.1,0.2]' load_level=1.05",
            "faults that last 100 and 200 ms",
        ),
        ("solver=hybrid operator=outputs/…", "the first look by a learned operator"),
        ("calibration=outputs/…/calibration.json", "as before, without calibrating again"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
