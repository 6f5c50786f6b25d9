"""Solvers side by side: ``python -m dae_solver.bench operator=…``.

The output folder holds ``bench.json``, ``bench.csv``, ``sizes.csv`` and ``report.html``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from dae_solver.config.bench import BenchConfig
from scimind.cli import command
from scimind.errors import EXIT_OK

log = logging.getLogger(__name__)


def bench(config: BenchConfig) -> int:
    """Measures error and cost of the operator and of what it must beat, on the same scenarios.

    Args:
        config: The settings.

    Returns:
        The exit code.

    Raises:
        InputError: The operator or a case cannot be read.
        EnvironmentProblem: ANDES is asked for and does not run.
    """
    from dae_solver.benchmark.report import write
    from dae_solver.benchmark.suite import bench as measure

    findings = measure(config)
    for row in findings.table():
        log.info(
            "%d at a time, %s: %.3g ms of CPU; errors p50 %.2g, p90 %.2g, max %.2g deg",
            row["batch"], row["name"], row["cpu_ms"], row["p50_deg"], row["p90_deg"],
            row["max_deg"],
        )  # fmt: skip
    for note in findings.notes:
        log.warning("%s", note)
    write(findings, Path(config.output))
    log.info("report: %s", Path(config.output) / "report.html")
    return EXIT_OK


main = command(
    bench,
    schema=BenchConfig,
    config_package="dae_solver.configs",
    config_name="bench",
    prog="python -m dae_solver.bench",
    examples=(
        ("operator=outputs/run", "an operator against classical and learned baselines"),
        ("operator=outputs/run batch=100 rounds=1 step_map=0 ida=0", "a quick look"),
        (
            "operator=outputs/run sizes.cases='[wscc9, ieee39.json]'",
            "and the cost by size of the system",
        ),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
