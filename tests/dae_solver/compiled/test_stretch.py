"""Steps from event to event at once are the steps that are done one by one."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import dae_solver.compiled.dae as compiled_dae
from dae_solver.compiled import library
from dae_solver.hybrid.classical import Course, integrate
from dae_solver.hybrid.shown import angles_apart
from dae_solver.physics import PowerSystem, fault, generator_trip, line_trip, load_step
from dae_solver.solver.stretch import Stretch
from dae_solver.solver.system import DAESystem
from instruction_sets import LOWER
from scimind.errors import InputError


def scenarios_of(grid: PowerSystem) -> Any:
    return grid.scenarios(
        fault(7, t=0.1, clear=0.083, trip="5-7"),
        load_step(5, t=0.05, p=1.3),
        [],
        [fault(8, t=0.2, clear=0.07), line_trip("4-5", t=0.6)],
        fault(5, t=0.5, clear=0.4),  # separates
        generator_trip("G3", t=0.3),
        load_level=[1.0, 0.9, 1.0, 0.95, 1.0, 1.0],
    )


@pytest.fixture
def scenarios(wscc: PowerSystem) -> Any:
    return scenarios_of(wscc)


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_dae.CompiledDAE, "stretches", DAESystem.stretches)


@pytest.mark.parametrize("method", ["euler", "heun", "rk4", "bs32", "dopri5"])
def test_trajectories_are_the_same(
    wscc: PowerSystem, scenarios: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        return wscc.simulate(scenarios, t_end=1.5, every=0.013, step=1 / 60, method=method)

    found = run().solution
    one_by_one(monkeypatch)
    expected = run().solution
    assert found.statistics.rounds < expected.statistics.rounds / 5
    np.testing.assert_array_equal(found.statistics.steps, expected.statistics.steps)
    np.testing.assert_allclose(found.x, expected.x, rtol=0, atol=2e-8)
    np.testing.assert_allclose(found.y, expected.y, rtol=0, atol=2e-8)
    assert [(e.time, e.name) for e in found.events] == [(e.time, e.name) for e in expected.events]


@pytest.mark.parametrize("level", LOWER)
def test_processors_with_fewer_lanes_find_the_same(
    wscc: PowerSystem, scenarios: Any, level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = wscc.simulate(scenarios, t_end=1.5, every=0.05, step=1 / 60)
    monkeypatch.setattr(library, "instruction_set", lambda: level)
    again = PowerSystem.load("wscc9")
    found = again.simulate(scenarios_of(again), t_end=1.5, every=0.05, step=1 / 60)
    assert again.dae.evaluated_by == "compiled"
    np.testing.assert_allclose(found.solution.x, expected.solution.x, rtol=0, atol=1e-8)


def many(grid: PowerSystem) -> Any:
    """Enough of each network for lanes of single precision; the last one is alone."""
    return grid.scenarios(
        *[fault(7, t=0.1 + 0.003 * k, clear=0.05 + 0.002 * k, trip="5-7") for k in range(21)],
        *[load_step(5, t=0.05 * k, p=0.9 + 0.02 * k) for k in range(13)],
        line_trip("8-9", t=0.0),
        load_level=np.linspace(0.9, 1.02, 35),
    )


@pytest.mark.parametrize("method", ["heun", "rk4", "dopri5"])
def test_single_precision_takes_the_same_steps(wscc: PowerSystem, method: str) -> None:
    scenarios, options = many(wscc), {"t_end": 5.0, "every": 0.013, "step": 1 / 60}
    double, single = (
        wscc.simulate(scenarios, method=method, single=single, **options)  # type: ignore[arg-type]
        for single in (False, True)
    )
    assert single.stable.all()
    found, expected = single.solution, double.solution
    np.testing.assert_array_equal(found.statistics.steps, expected.statistics.steps)
    assert [(e.time, e.name) for e in found.events] == [(e.time, e.name) for e in expected.events]
    off = np.degrees(np.abs(single.delta_coi - double.delta_coi)).max((1, 2))
    assert off[-1] == 0.0  # one alone is not put into lanes
    assert (off[:-1] > 0.0).all()
    assert off.max() < 0.02
    np.testing.assert_allclose(found.y, expected.y, rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", LOWER)
def test_single_precision_on_processors_with_fewer_lanes(
    wscc: PowerSystem, level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"t_end": 1.5, "every": 0.05, "step": 1 / 60, "single": True}
    expected = wscc.simulate(many(wscc), **options)  # type: ignore[arg-type]
    monkeypatch.setattr(library, "instruction_set", lambda: level)
    again = PowerSystem.load("wscc9")
    found = again.simulate(many(again), **options)  # type: ignore[arg-type]
    assert again.dae.evaluated_by == "compiled"
    off = np.degrees(np.abs(found.delta_coi - expected.delta_coi))
    assert 0.0 < off.max() < 0.02


@pytest.mark.parametrize(
    "options", [{"step": None, "method": "dopri5"}, {"method": "trapezoid"}, {"method": "radau3"}]
)
def test_single_precision_is_refused_where_it_is_not_there(
    wscc: PowerSystem, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="single precision is for fixed steps of an explicit"):
        wscc.simulate(many(wscc), single=True, **options)


def test_a_step_that_cannot_be_solved_is_left_to_the_others_ways(
    wscc: PowerSystem, scenarios: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    own = compiled_dae.CompiledDAE.stretch

    def stuck(self: Any, stretch: Stretch, p: Any) -> None:
        asked.append(1)
        if len(asked) % 2:  # as if the first step of each scenario could not be solved
            stretch.stuck[:] = True
        else:
            own(self, stretch, p)

    whole = wscc.simulate(scenarios, t_end=1.0, every=1 / 60, step=1 / 60)
    monkeypatch.setattr(compiled_dae.CompiledDAE, "stretch", stuck)
    found = wscc.simulate(scenarios, t_end=1.0, every=1 / 60, step=1 / 60)
    np.testing.assert_allclose(found.solution.x, whole.solution.x, rtol=0, atol=1e-9)


def test_windows_of_the_hybrid_solver_are_the_same(
    wscc: PowerSystem, scenarios: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = np.array([1.0, 0.31, 0.02, 0.7, 0.5, 1.0])
    x = scenarios.x0 + 0.01 * np.random.default_rng(0).standard_normal(scenarios.x0.shape)
    y, _ = wscc.dae.solve(0.0, x, scenarios.y0, scenarios.parameters, 1e-11)

    def run() -> Any:
        return integrate(wscc.dae, x, y, scenarios.parameters, length, 1 / 30, 1e-11)

    found = run()
    one_by_one(monkeypatch)
    expected = run()
    assert found.steps.tolist() == [30, 10, 1, 21, 15, 30]
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(found.end, expected.end, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.y, expected.y, rtol=0, atol=1e-9)
    p = scenarios.parameters
    np.testing.assert_allclose(
        found.spread(wscc.dae, p), expected.spread(wscc.dae, p), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("tripped", [False, True])
def test_how_far_angles_are_apart_is_what_numpy_says(
    wscc: PowerSystem, scenarios: Any, tripped: bool
) -> None:
    """Together, apart for a while, out of step and back, with nothing to say, with no machine."""
    rows, degrees = wscc.dae.rows("delta"), np.pi / 180
    paths = [
        [0, 10, 20],
        [100, 150, 160, 120, 145],
        [150, 170, 190, 160, 300],
        [150, np.nan, 155],
        [0],
        [160, 179],
    ]
    x = np.zeros((sum(map(len, paths)), len(wscc.dae.states)))
    x[:, rows[0]] = np.concatenate(paths) * degrees
    x[:, rows[1]] = 5 * degrees
    steps = np.array([len(each) - 1 for each in paths])
    course = Course.of(steps, x=x, f=x, y=np.zeros((0, len(paths))))
    p = dict(scenarios.parameters)
    if tripped:
        p["online"] = np.ones((3, len(paths)))
        p["online"][0, 1] = 0.0  # the one that moves
        p["online"][:, 2] = 0.0
    found = angles_apart(wscc.dae, p, course, np.radians(140.0))
    expected = course.spread(wscc.dae, p, np.radians(140.0))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    largest, beyond, last = found
    if not tripped:
        assert np.degrees(largest) == pytest.approx([20, 160, 300, 155, 5, 179])
        assert beyond.tolist() == [0, 3, 2, 2, 0, 2]
        assert last.tolist() == [0, 4, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CXX", "no-such-compiler", "no C++ compiler"),
        ("SCIMIND_KERNELS", "plain", "SCIMIND_KERNELS=plain"),
    ],
)
def test_without_a_library_numpy_answers_and_the_log_says_so(
    wscc: PowerSystem,
    scenarios: Any,
    name: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = wscc.simulate(scenarios, t_end=0.5, step=1 / 60)
    monkeypatch.setattr(compiled_dae, "_said", set())
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path))
    monkeypatch.setenv(name, value)
    plain = PowerSystem.load("wscc9")
    with caplog.at_level(logging.WARNING, logger="dae_solver"):
        for _ in range(2):
            found = plain.simulate(scenarios_of(plain), t_end=0.5, step=1 / 60)
    assert caplog.text.count(said) == 1
    assert (wscc.dae.evaluated_by, plain.dae.evaluated_by) == ("compiled", "NumPy")
    np.testing.assert_allclose(found.solution.x, expected.solution.x, rtol=0, atol=1e-9)
