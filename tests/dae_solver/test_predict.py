"""The command that answers scenarios with an operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from dae_solver.metrics import angle_error
from dae_solver.physics import PowerSystem
from dae_solver.physics.io.native import write_native
from dae_solver.physics.trajectories import center
from dae_solver.predict import main as predict
from dae_solver.simulate import main as simulate

EVENTS = "event=[fault bus 8 t 0.2 clear 0.1 trip 8-9, load_step bus 5 t 0.3 p 1.2, none]"


def angles(path: Path, grid: PowerSystem) -> np.ndarray:
    table = pandas.read_csv(path / "trajectories.csv", index_col=[0, 1])
    delta = table[[name for name in table if name.startswith("delta:")]].to_numpy()
    return center(delta.reshape(3, -1, delta.shape[1]), grid.dae.inertia)


def test_predictions_are_within_their_certificates(trained_run: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "predicted", tmp_path / "simulated"
    times = ["t_end=3.0", "every=0.05", EVENTS]
    assert predict([f"operator={trained_run}", f"output={ours}", "audit=1", *times]) == 0
    assert simulate([f"output={theirs}", "step=0.00416666667", *times]) == 0
    summary = pandas.read_csv(ours / "summary.csv")
    certificate = summary["certificate_deg"].to_numpy()
    assert set(summary["source"]) <= {"net", "corrected", "classical"}
    assert (certificate <= 3.0).all()
    grid = PowerSystem.load("wscc9")
    t, never = np.arange(61) * 0.05, np.full(3, np.inf)
    error = angle_error(t, angles(theirs, grid), angles(ours, grid), never)
    assert (error <= 3.0).all()
    for name in ("events.csv", "trajectories.csv", "summary.csv"):
        one, other = (pandas.read_csv(folder / name) for folder in (ours, theirs))
        assert list(one) == list(other)
        assert len(one) == len(other)
    page = (ours / "report.html").read_text()
    assert "Audit: 3 scenarios were integrated again" in page
    assert "within, deg" in page
    assert "within, deg" not in (theirs / "report.html").read_text()


def test_relays_act_in_predictions_as_in_simulations(trained_run: Path, tmp_path: Path) -> None:
    events = "event=[load_step bus 5 t 0.4 p 1.5, load_step bus 5 t 0.4 p 1.02]"
    relays = "relays=[shedding below 59.85 share 0.2]"
    asked = [events, relays, "t_end=3.0", "every=0.05"]
    assert predict([f"operator={trained_run}", f"output={tmp_path}/ours", *asked]) == 0
    assert simulate([f"output={tmp_path}/theirs", *asked]) == 0
    ours, theirs = (pandas.read_csv(tmp_path / name / "events.csv") for name in ("ours", "theirs"))
    assert ours["event"].tolist() == theirs["event"].tolist()
    assert "shedding 20% below 59.85 Hz" in set(ours["event"])
    assert (pandas.read_csv(tmp_path / "ours" / "summary.csv")["certificate_deg"] <= 3.0).all()


def test_wrong_requests_end_with_code_2_and_the_reason(
    trained_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = PowerSystem.load("wscc9").case
    other.devices = [d for d in other.devices if d.id != "G3" or d.model != "TGOV1DB"]
    write_native(other, tmp_path / "other.json")
    for arguments, message in (
        ([f"operator={tmp_path}/nothing"], "there is no operator at"),
        ([f"operator={trained_run}", f"case={tmp_path}/other.json"], "train one for it"),
        ([f"operator={trained_run}", "certify=0.01"], "below what the operator is calibrated for"),
        ([f"operator={trained_run}", "audit=2"], "audit=2.0 must be a share"),
        ([f"operator={trained_run}", "event=quake bus 7"], "begins with 'quake'"),
        ([], "operator"),
    ):
        assert predict([f"output={tmp_path}/out", *arguments]) == 2
        assert message in capfd.readouterr().err
