"""The files of a benchmark: JSON, CSV, and a page with the plot of error against cost."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dae_solver.benchmark.suite import Findings
from scimind.eval.report import Report
from scimind.eval.writing import write_whole
from scimind.provenance import commit_state, hardware, library_versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity: they become null; numbers get four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


def plain(findings: Findings) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    found: dict[str, Any] = finite(
        {
            "case": findings.case,
            "states": findings.states,
            "equations": findings.equations,
            "networks": findings.networks,
            "lines": findings.lines,
            "t_end": findings.t_end,
            "rows": findings.table(),
            "sizes": [asdict(each) for each in findings.sizes],
            "andes": None if findings.andes is None else asdict(findings.andes),
            "andes_case": Path(findings.andes_case).name,
            "notes": findings.notes,
        }
    )
    return found


def write(findings: Findings, folder: Path) -> None:
    """Write ``bench.json``, ``bench.csv``, ``sizes.csv`` and ``report.html``."""
    commit, dirty = commit_state() or (None, None)
    head = {
        "command": " ".join(["python -m dae_solver.bench", *sys.argv[1:]]),
        "commit": commit,
        "dirty": dirty,
        "hardware": hardware(),
        "versions": library_versions(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "bench.json", json.dumps({**head, **plain(findings)}, indent=1) + "\n")
    _write_csv(folder / "bench.csv", findings.table())
    _write_csv(
        folder / "sizes.csv",
        [
            {**{k: v for k, v in asdict(each).items() if k != "row"}, **asdict(each.row)}
            for each in findings.sizes
        ],
    )
    _report(findings, head).write(folder / "report.html")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(finite(row) for row in rows)


def _report(findings: Findings, head: Mapping[str, Any]) -> Report:
    report = Report(
        f"Solvers on {findings.case}",
        subtitle=f"{findings.states} states; scenarios of {findings.t_end:g} s on lines that "
        f"training never saw: {', '.join(findings.lines)}",
    )
    for batch in dict.fromkeys(row.batch for row in findings.rows):
        section = f"{batch} at a time" if batch > 1 else "One at a time"
        report.add_table(
            section,
            [
                "solver", "CPU ms", "lowest", "highest", "wall ms", "p50, deg", "p90, deg",
                "largest, deg", "scenarios", "excluded", "net", "corrected", "classical",
                "above bound", "certificates held", "times RK4 1/30", "times RK4 1/15",
                "times RK4 1/30 in NumPy", "training, CPU s", "scenarios that earn it back",
            ],
            [_cells(each) for each in findings.table() if each["batch"] == batch],
            caption="Process CPU time of a scenario: median, lowest and highest over the rounds, "
            "in which the solvers take turns. Errors are the largest of a trajectory until "
            "separation.",
        )  # fmt: skip
        report.add_figure(
            section,
            pareto(findings, batch),
            alt=f"Error against CPU time of each solver, {batch} scenarios at a time",
        )
    if findings.sizes:
        report.add_table(
            "Size of the system",
            [
                "case", "buses", "machines", "states", "loads", "solver", "CPU ms", "p50, deg",
                "largest, deg", "stable", "scenarios", "excluded",
            ],
            [
                [
                    each.case, each.buses, each.machines, each.states, each.load, each.row.name,
                    each.row.cpu_ms, each.row.p50_deg, each.row.max_deg,
                    f"{100 * each.stable:.0f} %", each.row.scenarios, each.row.excluded,
                ]
                for each in findings.sizes
            ],
        )  # fmt: skip
        report.add_figure(
            "Size of the system", sizes(findings), alt="CPU time of a scenario against states"
        )
    if findings.andes is not None:
        report.add_facts(
            "ANDES",
            {
                "case": findings.andes_case,
                f"CPU time of {findings.t_end:g} s, ms": f"{findings.andes.cpu_ms:.4g}",
                "of start, reading and power flow, ms": f"{findings.andes.start_cpu_ms:.4g}",
            },
            caption="One simulation with default settings and the case's own disturbance.",
        )
    for note in findings.notes:
        report.add_text("Left out", note, warning=True)
    report.add_facts("Provenance", {name: str(value) for name, value in head.items()})
    return report


def _cells(row: Mapping[str, Any]) -> list[Any]:
    def known(name: str) -> Any:
        value = row[name]
        return None if value is None or not math.isfinite(value) else value

    shares = [known(name) for name in ("net", "corrected", "classical", "above_bound", "coverage")]
    return [
        row["name"],
        *(known(k) for k in ("cpu_ms", "cpu_ms_low", "cpu_ms_high", "wall_ms")),
        *(known(k) for k in ("p50_deg", "p90_deg", "max_deg")),
        row["scenarios"],
        row["excluded"],
        *(None if share is None else f"{100 * share:.1f} %" for share in shares),
        known("times_rk4_30"),
        known("times_rk4_15"),
        known("times_numpy_30"),
        known("training_cpu_s"),
        "never" if row["break_even"] is None and row["training_cpu_s"] else row["break_even"],
    ]


def pareto(findings: Findings, batch: int) -> Figure:
    """Error against cost: a line from the median to the largest error, a mark at 90 %."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axis = figure.subplots()
    for row in findings.rows:
        if row.batch != batch:
            continue
        low, middle, high = (max(e, 1e-5) for e in (row.p50_deg, row.p90_deg, row.max_deg))
        high = high if math.isfinite(high) else 1e3
        middle = middle if math.isfinite(middle) else 1e3
        (line,) = axis.plot([row.cpu_ms] * 2, [low, min(high, 1e3)], "-", lw=1)
        axis.plot(row.cpu_ms, min(middle, 1e3), "o", color=line.get_color())
        axis.annotate(
            row.name, (row.cpu_ms, min(middle, 1e3)), xytext=(5, 3), textcoords="offset points",
            fontsize=7, color=line.get_color(),
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("CPU time of a scenario, ms")
    axis.set_ylabel("angle error, deg: median – 90 % (mark) – largest")
    axis.margins(x=0.2)
    return figure


def sizes(findings: Findings) -> Figure:
    """Cost against the number of states, one line for each solver."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axis = figure.subplots()
    for name in dict.fromkeys(each.row.name for each in findings.sizes):
        of = sorted(
            (each.states, each.row.cpu_ms) for each in findings.sizes if each.row.name == name
        )
        axis.loglog([s for s, _ in of], [c for _, c in of], "o-", label=name)
    axis.set_xlabel("states")
    axis.set_ylabel("CPU time of a scenario, ms")
    axis.legend(fontsize=7)
    return figure
