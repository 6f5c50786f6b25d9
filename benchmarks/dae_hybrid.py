"""The learned trajectory operator of dae_solver beside what it must beat: error, cost, size.

What ``python -m dae_solver.bench`` measures, for the record: process CPU time of the same batch of
scenarios on lines that training never saw, solvers in turn. IDA takes part where scikit-sundae is
installed, ANDES where its Python is named. Takes about five minutes of CPU time.

    python benchmarks/dae_hybrid.py --operator RUN
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dae_solver.benchmark.report import plain
from dae_solver.benchmark.suite import bench
from dae_solver.config.bench import BenchConfig, SizesConfig
from dae_solver.hybrid import learned
from report import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operator", required=True, help="run folder of a training")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--single", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nearest", type=int, default=2000)
    parser.add_argument("--step-map", type=float, default=120.0, help="CPU seconds of training")
    parser.add_argument("--ida", type=int, default=5)
    parser.add_argument("--andes-python", default="")
    parser.add_argument("--andes-case", default="", help="a file with a disturbance")
    parser.add_argument("--cases", nargs="*", default=["wscc9"], help="files or run folders")
    parser.add_argument("--cases-scenarios", type=int, default=100)
    parser.add_argument(
        "--no-matrix-unit", action="store_true", help="networks as on a processor without one (AMX)"
    )
    parser.add_argument("--output", type=Path, help="benchmarks/dae_hybrid.json keeps the results")
    options = parser.parse_args()
    if options.no_matrix_unit:
        learned.TILED = False
    load = os.getloadavg()[0]
    findings = bench(
        BenchConfig(
            operator=options.operator,
            batch=options.batch,
            single=options.single,
            rounds=options.rounds,
            nearest=options.nearest,
            step_map=options.step_map,
            ida=options.ida,
            andes=options.andes_python,
            andes_case=options.andes_case,
            sizes=SizesConfig(cases=options.cases, scenarios=options.cases_scenarios),
        )
    )
    if options.no_matrix_unit:
        findings.networks = "compiled, single precision"
    what = "solvers on power systems, CPU and wall time per scenario of 5 s, angle errors"
    found = {"load_average_at_the_start": round(load, 1), **plain(findings)}
    report(__file__, what, found, options.output)


if __name__ == "__main__":
    main()
