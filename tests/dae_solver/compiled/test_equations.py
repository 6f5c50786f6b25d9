"""Compiled equations are those of NumPy, for grids of every kind and batches of every size."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dae_solver.compiled import CompiledDAE, library
from dae_solver.physics import PowerSystem, fault
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.terms import Term
from dae_solver.solver.parameters import take
from grid_cases import system_of
from network_states import near_solutions, random_states

NAMES = ["wscc9", "wscc9 exponential", "first zip", "second", "ieee39 zip"]
NAMES += ["converter zip", "converter-PLL1 zip", "converter-PLL2", "terms zip", "kundur"]
# Eight scenarios are evaluated at once: one, fewer, as many, more.
BATCHES = (1, 5, 8, 21)


@pytest.fixture(scope="module", params=NAMES)
def grid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PowerSystem:
    data = request.getfixturevalue("real_data") if "ieee39" in request.param else None
    return system_of(request.param, tmp_path_factory.mktemp("case"), data)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * size)


def compiled(grid: PowerSystem) -> CompiledDAE:
    dae = grid.dae
    assert isinstance(dae, CompiledDAE)
    return dae


@pytest.mark.parametrize("online", [False, True])
def test_values_are_those_of_numpy(grid: PowerSystem, online: bool) -> None:
    dae = compiled(grid)
    for scenarios in BATCHES:
        x, y, p = random_states(dae, grid, scenarios=scenarios, seed=scenarios, online=online)
        y = y * np.random.default_rng(1).uniform(0.6, 1.1, y.shape)
        close(dae.f(0.0, x, y, p), PowerDAE.f(dae, 0.0, x, y, p))
        close(dae.g(0.0, x, y, p), PowerDAE.g(dae, 0.0, x, y, p))
        far = x + 50.0 * np.random.default_rng(2).standard_normal(x.shape)
        np.testing.assert_array_equal(dae.limit(0.0, far, p), PowerDAE.limit(dae, 0.0, far, p))
    assert all(dae._libraries.values())


def test_voltages_are_those_of_newtons_method(grid: PowerSystem) -> None:
    dae = compiled(grid)
    x, guess, expected, p = near_solutions(dae, grid, scenarios=21, seed=3, online=True)
    found, good = dae.solve(np.zeros(len(guess[0])), x, guess, p, 1e-11)
    assert good.all()
    assert np.abs(found - expected).max() < 1e-10


def test_settled_voltages_come_with_their_residual(grid: PowerSystem) -> None:
    dae = compiled(grid)
    x, guess, expected, p = near_solutions(dae, grid, scenarios=21, seed=6, online=True)
    guess[:, 3] = np.nan
    found, residual = dae.settled(0.0, x, guess, p)
    others = np.arange(21) != 3
    assert np.abs(found - expected)[:, others].max() < 1e-10
    largest = np.abs(PowerDAE.g(dae, 0.0, x, found, p)).max(0)
    np.testing.assert_allclose(residual[others], largest[others], rtol=0, atol=1e-11)
    # Where the iteration leads nowhere the guess is left alone.
    assert np.isnan(found[:, 3]).all()
    assert residual[3] == np.inf


def test_a_scenario_does_not_depend_on_those_beside_it(grid: PowerSystem) -> None:
    dae = compiled(grid)
    x, _, y, p = near_solutions(dae, grid, scenarios=24, seed=4, online=False)
    whole, _ = dae.solve(0.0, x, y + 0.01, p, 1e-11)
    back = np.arange(x.shape[1])[::-1]
    other, _ = dae.solve(0.0, x[:, back], y[:, back] + 0.01, take(p, back), 1e-11)
    np.testing.assert_allclose(other[:, back], whole, rtol=0, atol=1e-14)
    slopes, others = dae.f(0.0, x, y, p), dae.f(0.0, x[:, back], y[:, back], take(p, back))
    np.testing.assert_array_equal(others[:, back], slopes)


def test_arrays_may_lie_in_memory_as_they_like(wscc: PowerSystem) -> None:
    dae = compiled(wscc)
    x, y, p = random_states(dae, wscc, scenarios=6, seed=5, online=False)
    expected = dae.f(0.0, x, y, p)
    turned = {name: np.asfortranarray(value) for name, value in p.items()}
    for _ in range(2):
        found = dae.f(0.0, np.asfortranarray(x), y.astype(np.float32).astype(float), turned)
        close(found, dae.f(0.0, x, y.astype(np.float32).astype(float), p))
        # An event changes parameters in place.
        turned["pref"][0, 2] += 0.1
        p["pref"][0, 2] += 0.1
    assert not np.array_equal(dae.f(0.0, x, y, p), expected)


def test_grids_that_differ_in_numbers_only_share_a_library(
    wscc: PowerSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path))
    for inertia, alpha in ((6.0, 1.2), (7.0, 1.3)):
        grid = PowerSystem(wscc.case, parameters={"TWOAXIS.M": [47.28, 12.8, inertia]})
        other = PowerSystem(wscc.case, f"exponential {alpha} 2.0")
        for each in (grid, other):
            start = each.scenarios([])
            x = start.x0 + 0.01
            found = each.dae.f(0.0, x, start.y0, start.parameters)
            close(found, PowerDAE.f(each.dae, 0.0, x, start.y0, start.parameters))
            close(
                each.dae.g(0.0, x, start.y0, start.parameters),
                PowerDAE.g(each.dae, 0.0, x, start.y0, start.parameters),
            )
    assert len(list(tmp_path.glob("kernels/*.so"))) == 2


def test_a_grid_in_numpy_and_copies_are_the_same_grid(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.05, trip="5-7"))
    whole = wscc.simulate(scenarios, t_end=0.5, step=1 / 60)
    plain = wscc.in_numpy()
    assert not isinstance(plain.dae, CompiledDAE)
    for other in (plain, copy.deepcopy(wscc)):
        found = other.simulate(scenarios, t_end=0.5, step=1 / 60)
        np.testing.assert_allclose(found.solution.x, whole.solution.x, rtol=0, atol=1e-10)
    # Both know the topologies of one another.
    more = plain.scenarios(fault(5, t=0.1, clear=0.05, trip="4-5"))
    assert np.isfinite(wscc.simulate(more, t_end=0.5, step=1 / 60).solution.x).all()


def test_a_grid_that_does_not_fit_on_the_stack_is_left_to_numpy(
    wscc: PowerSystem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "MOST_STACK", 50_000)
    large = PowerSystem(wscc.case)
    start = large.scenarios([])
    large.dae.f(0.0, start.x0, start.y0, start.parameters)
    assert "30 states and 12 algebraic variables need" in caplog.text
    assert large.dae.evaluated_by == "NumPy"


class _Anybodys(Term):
    """A term in functions that cannot be recorded."""

    name, where = "own", "torque"
    values = np.array([-0.1])

    def add(self, seen: Mapping[str, Any], values: Any) -> Any:
        return values[0] * np.cbrt(np.asarray(seen["speed"]))


def test_terms_that_cannot_be_compiled_are_evaluated_all_the_same(
    wscc: PowerSystem, caplog: pytest.LogCaptureFixture
) -> None:
    grid = PowerSystem(wscc.case, terms=[_Anybodys()])
    runs = grid.simulate(grid.scenarios(fault(7, t=0.1, clear=0.05)), t_end=0.3, step=1 / 60)
    assert runs.solution.success.all()
    assert "are not compiled" in caplog.text
    assert grid.dae.evaluated_by == "NumPy"
