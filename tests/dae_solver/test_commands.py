"""The commands: what they write, what they refuse, with which exit code."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from dae_solver.cct import main as cct
from dae_solver.identify import main as identify
from dae_solver.physics import PowerSystem, unsuccessful_reclose
from dae_solver.physics.phrases import KINDS, parse
from dae_solver.simulate import main as simulate
from scimind.errors import InputError


def test_simulate_writes_tables_and_a_report(tmp_path: Path) -> None:
    events = "[fault bus 7 t 0.2 clear 0.1 trip 5-7, fault bus 7 t 0.2 clear 0.6, none]"
    code = simulate([f"output={tmp_path}", f"event={events}", "t_end=1.5", "step=0.0166666667"])
    assert code == 0
    summary = pandas.read_csv(tmp_path / "summary.csv")
    assert summary["stable"].tolist() == [True, False, True]
    assert summary["kind"].tolist() == ["fault_trip", "fault", "none"]
    table = pandas.read_csv(tmp_path / "trajectories.csv")
    assert len(table) == 3 * 91
    assert table["delta:G1"].notna().all()
    happened = pandas.read_csv(tmp_path / "events.csv")
    assert happened["time"].tolist() == pytest.approx([0.2, 0.3, 0.2, 0.8])
    page = (tmp_path / "report.html").read_text()
    assert "30 states, 12 algebraic variables, 3 scenarios" in page
    assert "loses" not in page
    assert "fault at bus 7, 0.2 s, 100 ms, trips 5-7" in page
    assert page.count("<img") == 3


def test_cct_writes_a_table_and_a_report(tmp_path: Path) -> None:
    code = cct([f"output={tmp_path}", "bus=[5,7]", "t_end=2.0", "tolerance=0.02"])
    assert code == 0
    table = pandas.read_csv(tmp_path / "cct.csv")
    assert table["bus"].tolist() == [5, 7]
    assert ((table["unstable_s"] - table["stable_s"]) <= 0.02).all()
    assert table["cct_s"].between(0.05, 0.9).all()
    assert "<img" in (tmp_path / "report.html").read_text()


def test_clearing_times_do_not_depend_on_who_looks_first(trained_run: Path, tmp_path: Path) -> None:
    common = ["bus=7", "trip=[5-7]", "t_end=1.0", "tolerance=0.01", "longest=0.5"]
    looks = {"classical": [], "hybrid": ["solver=hybrid", f"operator={trained_run}"]}
    for name, look in looks.items():
        assert cct([f"output={tmp_path}/{name}", *common, *look]) == 0
    one, other = (pandas.read_csv(tmp_path / name / "cct.csv") for name in looks)
    assert abs(one["cct_s"] - other["cct_s"]).max() <= 0.01
    assert ((other["unstable_s"] - other["stable_s"]) <= 0.01).all()


def test_a_learned_look_needs_an_operator(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cct([f"output={tmp_path}", "bus=7", "solver=hybrid"]) == 2
    assert "operator" in capfd.readouterr().err


def test_identify_rehearses_and_writes_what_it_found(tmp_path: Path) -> None:
    code = identify(
        [
            f"output={tmp_path}",
            "event=[load_step bus 6 t 0.1 p 1.4, load_step bus 5 t 0.1 p 0.6]",
            "hidden=['alpha=1.35','beta=2.6']",
            "unknown=[parameter alpha,'parameter beta tries 1;3']",
            "t_end=0.6",
            "step=0.0333333333",
            "test=[1]",
        ]
    )
    assert code == 0
    values = pandas.read_csv(tmp_path / "values.csv")
    assert values["value"].tolist() == pytest.approx([1.35, 2.6], rel=0.15)
    assert (values["std"] > 0).all()
    held = pandas.read_csv(tmp_path / "held_out.csv").set_index("signal")
    assert held.loc["omega", "identified"] < 1.2 * held.loc["omega", "noise"]
    page = (tmp_path / "report.html").read_text()
    assert "alpha = 1.3" in page
    assert "<img" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unknown=[guess alpha]"], "begins with 'guess'; write one of: parameter NAME"),
        (["unknown=[neural torque]"], "lacks inputs"),
        (["unknown=[parameter alpha low]"], "has low without a value"),
        (["unknown=[library torque size big]"], "size = 'big', which is no number"),
        (["hidden=[alpha]"], "is not of the form NAME=NUMBER"),
        (["hidden=['TWOAXIS.X=1']"], "there is no parameter 'TWOAXIS.X'"),
        (["data=nothing.npz"], "cannot be read as .npz"),
        (["unknown=[]"], "unknown is empty"),
    ],
)
def test_wrong_requests_to_identify_end_with_code_2(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert identify([f"output={tmp_path}", *arguments]) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["event=quake bus 7"], "begins with 'quake'; kinds are: fault"),
        (["event=fault bus 7 t 1.0"], "lacks clear"),
        (["event=fault bus 7 t soon clear 0.1"], "t = 'soon', which is not a number"),
        (["event=fault bus 7 t 1.0 clear 0.1 color red"], "unknown name 'color'"),
        (["event=fault bus"], "name without a value"),
        (["event=fault bus 70 t 1.0 clear 0.1"], "does not exist"),
        (["case=nothing.xyz"], "no file and no built-in case"),
        (["load=zip 1 1 1"], "add up to 3"),
        (["load_level=[1.0,1.1]"], "2 load levels for 1 scenarios"),
        (["t_end=-1"], "t_end=-1.0 must be positive"),
        (["event=fault bus 7 t 1.0 clear 100"], "cleared after 100 s; clear is its duration in"),
        (["event=fault bus 7 t nan clear 0.1"], "is to happen at nan s"),
        (["event=load_step bus 5 t 1 p 125"], "p is a factor from 0 to 20"),
        (["event='line_trip line 5-7;7-8 t 1'"], "several of line, '5-7;7-8'; give one, and join"),
        (["relays=[tripping below 59]"], "relay 'tripping below 59' begins with 'tripping'"),
        (["relays=[shedding below 59]"], "lacks share; write: shedding below … share … delay"),
        (["relays=[shedding below 61 share 0.1]"], "give a threshold below 60 Hz"),
        (["relays=[shedding below 59 share 0.1 bus 7]"], "no load at bus 7 to shed"),
        (["method=magic"], "method"),
    ],
)
def test_wrong_requests_end_with_code_2_and_the_reason(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert simulate([f"output={tmp_path}", *arguments]) == 2
    assert message in capfd.readouterr().err


def test_every_kind_of_disturbance_can_be_written_as_text() -> None:
    texts = [
        "fault bus 7 t 1 clear 0.1",
        "fault bus 7 t 1 clear 0.1 trip 5-7;7-8 x 0.001",
        "line_trip line 5-7 t=1",
        "trip_reclose line 5-7 t 1 after 0.5",
        "unsuccessful_reclose bus 7 t 1 clear 0.1 trip 5-7 after 0.5",
        "load_step bus 5 t 1 p 1.2",
        "load_pulse bus 5 t 1 p 1.2 last 0.5",
        "vref_step machine G1 t 1 by 0.02",
        "pref_step machine G1 t 1 factor 0.9",
        "generator_trip machine G3 t 1",
    ]
    assert {parse(text)[0].kind for text in texts} == {*KINDS, "fault_trip"}
    both = parse("fault bus 7 t 1 clear 0.1 + load_step bus 5 t 2 p 1.2")
    assert [each.kind for each in both] == ["fault", "load_step"]
    assert parse("none") == []
    with pytest.raises(InputError, match="begins with ''"):
        parse("")


def test_relays_written_as_text_shed_load(tmp_path: Path) -> None:
    events = "[generator_trip machine G3 t 0.2, load_step bus 5 t 0.2 p 1.01]"
    relays = "[shedding below 59.7 share 0.2, 'shedding below 59.5 share 0.3 bus 5;6']"
    common = [f"event={events}", "t_end=3", "step=0.0333333", "table=false"]
    assert simulate([f"output={tmp_path}/with", f"relays={relays}", *common]) == 0
    assert simulate([f"output={tmp_path}/without", *common]) == 0
    happened = pandas.read_csv(tmp_path / "with" / "events.csv")
    first = happened[happened["scenario"] == 0]["event"].tolist()
    assert first == [
        "G3 trips", "shedding 20% below 59.7 Hz", "shedding 30% below 59.5 Hz"
    ]  # fmt: skip
    assert happened[happened["scenario"] == 1]["event"].tolist() == ["load at 5 x 1.01"]
    assert len(pandas.read_csv(tmp_path / "without" / "events.csv")) == 2


def test_a_reclosing_that_fails_written_as_text_is_that_of_its_function() -> None:
    grid = PowerSystem.load("wscc9")
    text = "unsuccessful_reclose bus 7 t 0.1 clear 0.05 trip 5-7 after 0.4"
    one = unsuccessful_reclose(7, t=0.1, clear=0.05, trip="5-7", after=0.4)
    scenarios = grid.scenarios(parse(text), one)
    assert scenarios.texts[0] == scenarios.texts[1]
    written, made = ([(e.time, e.changes) for e in each] for each in scenarios.events)
    assert written == made
    assert [time for time, _ in written] == pytest.approx([0.1, 0.15, 0.55, 0.6])


def test_help_answers_without_loading_the_solver(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(["--help"]) == 0
    page = capsys.readouterr().out
    assert "load_level" in page
    assert "fault bus 7" in page
    assert identify(["--help"]) == 0
    assert "parameter alpha" in capsys.readouterr().out
