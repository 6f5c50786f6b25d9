"""The benchmark command, its arithmetic, and the integrators of others."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from andes_process import andes_python
from dae_solver.bench import main as bench
from dae_solver.benchmark.andes import measure_andes
from dae_solver.benchmark.suite import Findings, training_cost
from dae_solver.benchmark.timing import Contender, Row, first, in_turn
from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.outputs import Outputs
from dae_solver.physics import PowerSystem, fault, load_step
from dae_solver.tasks import solvers
from dae_solver.tasks.solvers import Clock, Hybrid, RungeKutta, Whole
from dae_solver.trained import Trained as TrainedRun
from scimind.errors import EnvironmentProblem, InputError
from trained_operator import Trained

ROW = Row(
    name="RK4, 1/30 s",
    batch=10,
    scenarios=10,
    cpu_ms=2.0,
    cpu_ms_low=1.9,
    cpu_ms_high=2.1,
    wall_ms=2.0,
    p50_deg=0.01,
    p90_deg=0.02,
    max_deg=0.03,
)


def test_the_command_writes_table_sizes_and_report(trained_run: Path, tmp_path: Path) -> None:
    code = bench(
        [
            f"operator={trained_run}",
            f"output={tmp_path}",
            "batch=6",
            "single=1",
            "rounds=2",
            "t_end=2.0",
            "nearest=20",
            "step_map=1.0",
            "ida=0",
            "sizes.cases=[wscc9]",
            "sizes.scenarios=3",
        ]
    )
    assert code == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    rows = {(row["name"], row["batch"]): row for row in found["rows"]}
    names = [
        "RK4, 1/30 s",
        "RK4, 1/15 s",
        "RK4, 1/30 s, single precision",
        "RK4, 1/30 s, NumPy",
        "operator, within 3 deg",
        "operator, within 3 deg, all states and voltages",
        "networks, no certificate",
        "nearest of 20 training trajectories",
        "step map, 0.2 s",
        "state at rest",
    ]
    assert list(rows) == [(name, batch) for batch in (6, 1) for name in names]
    fine, coarse, single, plain, ours, whole, alone, nearest, step_map, _ = (
        rows[name, 6] for name in names
    )
    assert plain["max_deg"] == pytest.approx(fine["max_deg"], rel=1e-3)
    assert single["max_deg"] == pytest.approx(fine["max_deg"], abs=0.05)
    assert plain["times_numpy_30"] == 1.0
    assert fine["max_deg"] < coarse["max_deg"] < 1.0
    assert fine["times_rk4_30"] == 1.0
    assert fine["excluded"] == 0
    assert ours["max_deg"] <= 3.0
    assert ours["above_bound"] == 0.0
    assert ours["net"] + ours["corrected"] + ours["classical"] == pytest.approx(1.0, abs=1e-3)
    assert (whole["max_deg"], whole["bound"]) == (ours["max_deg"], 3.0)
    assert alone["bound"] is None
    assert ours["training_cpu_s"] == pytest.approx(
        training_cost(TrainedRun.load(trained_run)), rel=1e-3
    )
    assert step_map["training_cpu_s"] > nearest["training_cpu_s"] > 0.0
    for row in rows.values():
        assert row["cpu_ms_low"] <= row["cpu_ms"] <= row["cpu_ms_high"]
    assert [(each["buses"], each["states"]) for each in found["sizes"]] == [(9, 30)] * 4
    assert found["equations"] in ("compiled", "NumPy")
    assert found["notes"] == ["ANDES: not run; andes= names the Python of an installation."]
    with (tmp_path / "bench.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == names * 2
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 3


def test_answers_are_there_when_the_clock_stops(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is evaluated when it is asked for is asked for in the time that is measured."""
    inside, asked = False, []

    def clocked(act: Callable[[], object]) -> tuple[float, float]:
        nonlocal inside
        inside = True
        act()
        inside = False
        return 1.0, 1.0

    states = Outputs.states

    def noted(self: Outputs, rows: np.ndarray) -> np.ndarray:
        asked.append((inside, len(rows)))
        return states(self, rows)

    monkeypatch.setattr(solvers, "clocked", clocked)
    monkeypatch.setattr(Outputs, "states", noted)
    some = trained.scenarios.take(np.arange(3))
    hybrid = Hybrid(grid=trained.grid, operator=trained.operator, certify=3.0)
    Clock().measure(hybrid, [some], t_end=2.0, every=1 / 30)
    assert (True, len(trained.grid.dae.machine_ids)) in asked
    whole = Clock()
    whole.measure(Whole(solver=hybrid), [some], t_end=2.0, every=1 / 30)
    assert (True, len(trained.grid.dae.states)) in asked
    assert {"x", "y"} <= set(vars(whole.runs[0].solution))


def test_scenarios_that_earn_a_training_back() -> None:
    ours = replace(ROW, name="ours", cpu_ms=0.5, training_cpu_s=3.0)
    slower = replace(ours, name="slower", cpu_ms=2.5)
    findings = Findings(
        case="", states=1, lines=[], t_end=5.0,
        rows=[
            ROW, replace(ROW, name="RK4, 1/15 s", cpu_ms=1.0),
            replace(ROW, name="RK4, 1/30 s, NumPy", cpu_ms=10.0), ours, slower,
        ],
    )  # fmt: skip
    assert findings.break_even(ours) == 2000
    assert findings.break_even(slower) is None
    names = ("times_rk4_30", "times_rk4_15", "times_numpy_30")
    ratios = [tuple(row[name] for name in names) for row in findings.table()]
    assert ratios == [
        (1.0, 0.5, 5.0), (2.0, 1.0, 10.0), (0.2, 0.1, 1.0), (4.0, 2.0, 20.0), (0.8, 0.4, 4.0),
    ]  # fmt: skip


def test_errors_are_of_the_scenarios_that_were_answered() -> None:
    grid = PowerSystem.load("wscc9")
    scenarios = grid.scenarios(*(load_step(5, t=0.1, p=1.0 + 0.1 * k) for k in range(5)))
    tight, coarse = (RungeKutta(grid=grid, step=step) for step in (1 / 60, 1 / 8))
    truth = tight.simulate(scenarios, t_end=1.0, every=0.05)
    contenders = [
        Contender(name="tight", solver=tight),
        Contender(name="coarse", solver=coarse, most=3, bound=1e-9),
    ]
    rows = in_turn(contenders, scenarios, truth, batch=2, rounds=1)
    assert [(row.scenarios, row.excluded) for row in rows] == [(5, 0), (3, 0)]
    # A batch of other scenarios stops its voltage iterations elsewhere.
    assert rows[0].max_deg < 1e-4
    error = angle_errors(truth, coarse.simulate(scenarios, t_end=1.0, every=0.05).solution.x)
    assert rows[1].max_deg == pytest.approx(error[:3].max(), rel=1e-3)
    assert rows[1].above_bound == pytest.approx((error[:3] > 1e-9).mean())
    assert np.array_equal(first(truth, 2).delta, truth.delta[:2])


def test_ida_agrees_with_the_engine() -> None:
    pytest.importorskip("sksundae")
    from dae_solver.benchmark.ida import Ida

    grid = PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")
    scenarios = grid.scenarios(fault(7, t=0.1, clear=0.083, trip="5-7"), load_step(5, t=0.4, p=1.2))
    truth = grid.simulate(scenarios, t_end=1.0, every=1 / 30, step=1 / 240)
    found = Ida(grid=grid).simulate(scenarios, t_end=1.0, every=1 / 30)
    assert found.solution.success.all()
    assert angle_errors(truth, found.solution.x).max() < 0.02


def test_andes_that_does_not_run_is_reported(tmp_path: Path) -> None:
    case = tmp_path / "case.xlsx"
    with pytest.raises(InputError, match="there is no file"):
        measure_andes(sys.executable, str(case), t_end=1.0, rounds=1)
    case.touch()
    with pytest.raises(EnvironmentProblem, match=r"did not run .*No module named andes"):
        measure_andes(sys.executable, str(case), t_end=1.0, rounds=1)
    with pytest.raises(EnvironmentProblem, match="cannot be run"):
        measure_andes(str(tmp_path / "python"), str(case), t_end=1.0, rounds=1)


@pytest.mark.nightly
def test_andes_is_measured(tmp_path: Path) -> None:
    python = andes_python()
    find = "from andes.utils.paths import get_case; print(get_case('kundur/kundur_full.xlsx'))"
    case = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True)
    cost = measure_andes(python, case.stdout.split()[-1], t_end=5.0, rounds=1)
    assert 10.0 < cost.cpu_ms < 1e5
    (tmp_path / "broken.xlsx").write_text("no workbook")
    with pytest.raises(EnvironmentProblem, match=r"did not run .*broken\.xlsx"):
        measure_andes(python, str(tmp_path / "broken.xlsx"), t_end=5.0, rounds=1)


def test_bad_settings_are_refused(
    trained_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([f"operator={tmp_path}/nothing"], "there is no operator"),
        ([f"operator={trained_run}", "batch=0"], "batch=0 must be at least 1"),
        ([f"operator={trained_run}", "andes=python"], "andes= needs andes_case="),
    ):
        assert bench([f"output={tmp_path}/out", *arguments]) == 2
        assert message in capfd.readouterr().err
