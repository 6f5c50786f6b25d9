"""The command that screens: what it writes, what it reuses, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from dae_solver.screen import main as screen

QUICK = ["alpha=0.1", "cases=12", "step=0.1", "fine_step=0.0166666667", "t_end=3.0"]


def test_screen_writes_a_table_a_calibration_and_a_report(tmp_path: Path) -> None:
    first = tmp_path / "first"
    events = "event=[fault bus 7 t 0.1 clear 0.4 + load_step bus 5 t 1 p 1.1]"
    code = screen([f"output={first}", "kinds=[line,generator]", events, *QUICK])
    assert code == 0
    table = pandas.read_csv(first / "screen.csv")
    assert len(table) == 9 + 3 + 1
    assert table["verdict"].value_counts().to_dict() == {
        "stable": 9,
        "not simulated": 3,
        "unstable": 1,
    }
    assert table["contingency"][0].startswith("fault at bus 7")
    assert table["margin"][:10].is_monotonic_increasing
    assert "[power.island]" in table["note"].iloc[-1]
    page = (first / "report.html").read_text()
    assert page.count("<img") == 2
    assert "left to the fine engine" in page
    assert "fault at bus 7, 0.1 s, 400 ms and load at bus 5" in page
    second = tmp_path / "second"
    again = [f"calibration={first / 'calibration.json'}", f"output={second}", "kinds=[line]"]
    assert screen([*again, *QUICK]) == 0
    lines = pandas.read_csv(second / "screen.csv").set_index("contingency")["margin"].dropna()
    before = table.set_index("contingency")["margin"]
    assert lines.to_dict() == pytest.approx(before[lines.index].to_dict())
    assert (first / "calibration.json").read_text() == (second / "calibration.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinds=[quake]"], "no contingencies of kind 'quake'; kinds are: line"),
        (["kinds=[]"], "kinds and event are both empty"),
        (["alpha=2"], "alpha=2.0 must be between 0 and 1"),
        (["calibration=nothing.json"], "nothing.json is no calibration of a screen"),
        (["solver=hybrid"], "needs operator="),
        (["step=0.5"], "steps of 0.5 s; give at most 0.1 s"),
        (
            ["alpha=0.001"],
            "cases=300 calibration scenarios cannot promise alpha=0.001; give at least 999",
        ),
        (["event=[fault bus 70 t 0.1 clear 0.1]", "kinds=[]", *QUICK], "bus 70, which does not"),
    ],
)
def test_wrong_requests_end_with_code_2_and_the_reason(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert screen([f"output={tmp_path}", *arguments]) == 2
    assert message in capfd.readouterr().err


def test_help_answers_without_loading_the_solver(capsys: pytest.CaptureFixture[str]) -> None:
    assert screen(["--help"]) == 0
    assert "calibration_load" in capsys.readouterr().out
