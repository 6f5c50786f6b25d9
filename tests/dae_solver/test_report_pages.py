"""Reports in a browser: complete, quiet, readable on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from browser import DESKTOP, PHONE, Browser, driver
from dae_solver.benchmark.andes import AndesCost
from dae_solver.benchmark.report import write as write_benchmark
from dae_solver.benchmark.sizes import SizeRow
from dae_solver.benchmark.suite import Findings
from dae_solver.benchmark.timing import Row
from dae_solver.cct import main as cct
from dae_solver.finish import measure
from dae_solver.hybrid.calibration import reference
from dae_solver.identify import main as identify
from dae_solver.physics import Trajectories, fault, load_step
from dae_solver.physics.contingencies import of_kinds
from dae_solver.predict import main as predict
from dae_solver.reports import simulation_report, training_report
from dae_solver.screen_report import screening_report
from scimind.eval.report import Report
from scimind.train import RunFolder
from trained_operator import Trained

SIMULATION = ["Scenarios", "Trajectories", "Modes at rest", "Solution"]
SECTIONS = {
    "simulation": SIMULATION,
    "prediction": SIMULATION,
    "training": ["Test", "Certificates", "Trajectories", "Cost", "Training"],
    "screening": ["Screening", "Margins", "Contingencies", "Not simulated", "Calibration"],
    "clearing": ["Times"],
    "identification": [
        *("Result", "Values", "Choice of candidates", "Terms", "Trajectories"),
        "Held-out scenarios",
    ],
    "benchmark": [
        *("10 at a time", "One at a time", "Size of the system", "ANDES", "Left out"),
        "Provenance",
    ],
}
# At least so many, and so wide on a desktop, CSS pixels.
PLOTS, WIDE = {"training": 6, "clearing": 1, "identification": 3, "benchmark": 3}, 500
# Of every image: is it there, where it lies, and how many colours it has.
IMAGES = """
return [...document.images].map(image => {
  const box = image.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set(new Uint32Array(data.buffer));
  return {complete: image.complete, alt: image.alt, left: box.left, right: box.right,
          width: box.width, height: box.height, colours: colours.size};
});
"""


@pytest.fixture(scope="module")
def runs(trained: Trained) -> Trajectories:
    scenarios = trained.grid.scenarios(
        [fault(7, t=0.2, clear=0.08, trip="5-7"), load_step(5, t=0.9, p=1.1)],
        fault(7, t=0.2, clear=0.5),
    )
    return trained.grid.simulate(
        scenarios, t_end=1.5, every=1 / 30, solver="hybrid", operator=trained.operator, audit=0.5
    )


def simulation(trained: Trained, runs: Trajectories) -> Report:
    return simulation_report(trained.grid, runs, shown=2, seconds=1.0, method="hybrid")


def training(trained: Trained, run: Path) -> Report:
    grid, some = trained.grid, trained.scenarios.take(np.arange(8))
    truth = reference(grid, some, 1.5, 1 / 30)
    results = {
        "test_lines": [grid.case.branches[k].id for k in trained.lines.held_out],
        "cpu_seconds": {"simulation": 5.0, "training": 10.0, "calibration": 1.5},
        "break_even_scenarios": [12345],
    }
    outcome = measure(grid, trained.operator, some, truth, 3.0)
    return training_report(grid, truth, [outcome], results, RunFolder(run, writer=False))


def screening(trained: Trained) -> Report:
    options = {"step": 0.1, "fine_step": 1 / 30, "t_end": 2.0}
    calibration = trained.grid.calibrate_screen(cases=12, lines=("4-5", "7-8"), **options)
    each = of_kinds(trained.grid, ("line", "fault"), clear=(0.1, 0.3))
    found = trained.grid.screen(each, alpha=0.1, calibration=calibration, **options)
    return screening_report(found)


def benchmark(folder: Path) -> None:
    """The page of numbers that nobody measured."""
    row = Row(
        name="RK4, 1/30 s", batch=10, scenarios=10, cpu_ms=2.0, cpu_ms_low=1.9, cpu_ms_high=2.1,
        wall_ms=2.0, p50_deg=0.01, p90_deg=0.02, max_deg=0.03,
    )  # fmt: skip
    others = {"RK4, 1/15 s": 1.0, "RK4, 1/30 s, NumPy": 30.0, "operator, within 3 deg": 0.7}
    rows = [row, *(replace(row, name=name, cpu_ms=cost) for name, cost in others.items())]
    findings = Findings(
        case="wscc9", states=30, lines=["4-5", "7-8"], t_end=5.0,
        rows=[*rows, *(replace(each, batch=1, max_deg=np.inf) for each in rows)],
        sizes=[
            SizeRow(case=f"{n} buses", buses=n, machines=n // 3, states=3 * n, load="zip 1 0 0",
                    stable=0.9, row=replace(row, cpu_ms=0.1 * n))
            for n in (9, 39, 140)
        ],
        andes=AndesCost(cpu_ms=210.0, start_cpu_ms=1100.0), andes_case="kundur_full.xlsx",
        notes=["IDA: not installed."],
    )  # fmt: skip
    write_benchmark(findings, folder)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with driver() as found:
        yield found


@pytest.fixture(scope="module")
def pages(
    address: str,
    trained: Trained,
    trained_run: Path,
    runs: Trajectories,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "simulation": simulation(trained, runs),
        "training": training(trained, trained_run),
        "screening": screening(trained),
    }
    for name, report in reports.items():
        report.write(folder / f"{name}.html")
    events = "[fault bus 7 t 0.3 clear 0.1 trip 5-7, load_step bus 6 t 0.3 p 1.3]"
    common = [f"event={events}", "t_end=1.5"]
    assert predict([f"output={folder}/prediction", f"operator={trained_run}", *common]) == 0
    assert cct([f"output={folder}/clearing", "bus=[5,7,8]", "t_end=1.0", "tolerance=0.02"]) == 0
    found = [f"output={folder}/identification", "test=[1]", "step=0.0333333333", *common]
    assert identify(found) == 0
    benchmark(folder / "benchmark")
    written = ("prediction", "clearing", "identification", "benchmark")
    own = {name: folder / f"{name}.html" for name in reports}
    return own | {name: folder / name / "report.html" for name in written}


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def browser(address: str, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with Browser(address, request.param) as opened:
        yield opened


@pytest.mark.parametrize("name", SECTIONS)
def test_a_report_is_complete_and_fits(name: str, pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages[name])
    headings = browser.run("return [...document.querySelectorAll('h2')].map(e => e.textContent)")
    assert headings == SECTIONS[name]
    links = (
        "return [...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))"
    )
    assert browser.run(links) == [True] * len(headings)
    width, needed = browser.run(
        "const page = document.documentElement; return [page.clientWidth, page.scrollWidth]"
    )
    assert 0 <= browser.width - width <= 20  # a scroll bar
    assert needed <= width, "the page is wider than the window"
    plots = browser.run(IMAGES)
    assert len(plots) >= PLOTS.get(name, 2)
    for plot in plots:
        assert plot["complete"]
        assert plot["alt"]
        assert 0 <= plot["left"] < plot["right"] <= width
        assert plot["colours"] > 20, plot["alt"]
        assert min(plot["width"], plot["height"]) > 100
        assert plot["width"] >= min(WIDE, 0.75 * width)
    assert browser.complaints() == []


def test_a_page_that_is_too_wide_or_runs_a_script_is_noticed(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    page = pages["screening"].read_text(encoding="utf-8")
    worse = page.replace("<main>", "<main><div style='width: 2000px'>x</div><script>1</script>")
    (tmp_path / "worse.html").write_text(worse, encoding="utf-8")
    browser.open(tmp_path / "worse.html")
    assert browser.run("return document.documentElement.scrollWidth") >= 2000
    assert len(browser.complaints()) == 1


def test_plots_of_trajectories_mark_every_event(runs: Trajectories) -> None:
    for scenario in range(2):
        times = [event.time for event in runs.solution.events_of(scenario)]
        # The second loses synchronism before its fault is cleared.
        assert len(times) == (3 if scenario == 0 else 1)
        figure = runs.plot([scenario])
        for axis in figure.axes:
            dotted = [line for line in axis.lines if line.get_linestyle() == ":"]
            assert [line.get_xdata()[0] for line in dotted] == times
        names = [text.get_text() for text in figure.axes[-1].texts]
        assert names == [event.name for event in runs.solution.events_of(scenario)]


def test_plots_of_trajectories_show_their_certificates(runs: Trajectories) -> None:
    for scenario in range(2):
        axis = runs.plot(scenario).axes[0]
        bound, end = runs.certificate[scenario], runs.separated[scenario]
        assert [text.get_text() for text in axis.texts] == [f"band: certificate, ±{bound:.2g} deg"]
        assert len(axis.collections) == 3
        angle = np.degrees(runs.delta_coi[scenario])
        for band, line in zip(axis.collections, angle.T, strict=True):
            t, edge = band.get_paths()[0].vertices.T
            assert t.max() <= min(end, runs.t[-1])
            middle = np.interp(t, runs.t, line)
            assert np.abs(edge - middle).max() == pytest.approx(bound, rel=1e-6)
    unbounded = replace(runs, certificate=np.array([np.inf, np.nan]))
    assert not unbounded.plot(1).axes[0].texts
    assert not unbounded.plot(1).axes[0].collections
    (text,) = unbounded.plot(0).axes[0].texts
    assert text.get_text() == "no bound: certificate is infinite"
