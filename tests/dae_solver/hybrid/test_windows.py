"""Windows by the compiled library are those that NumPy makes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from dae_solver.compiled import library
from dae_solver.config.model import ModelConfig
from dae_solver.hybrid import learned
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.learned import Learned
from dae_solver.hybrid.outputs import ClassicalPiece, OperatorPiece, RestingPiece
from dae_solver.hybrid.shown import ShownCourse, ShownRest, ShownWindows
from dae_solver.hybrid.solver import HybridRun
from dae_solver.model.modes import Modes
from dae_solver.model.operator import Scaling, TrajectoryOperator
from dae_solver.physics import (
    PowerSystem,
    Scenarios,
    fault,
    generator_trip,
    line_trip,
    load_step,
    vref_step,
)
from dae_solver.physics.trajectories import center
from instruction_sets import LOWER
from scimind.device.compiler import enabled
from trained_operator import Trained

pytestmark = pytest.mark.skipif(
    not enabled() or shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="windows are compiled by g++, unless SCIMIND_KERNELS=plain",
)
TIMES = np.linspace(0.0, 3.0, 91)


def mixed(grid: PowerSystem) -> Scenarios:
    """Events of many kinds in many networks, with a machine that is tripped in one."""
    return grid.scenarios(
        *[fault(7, t=0.1 + 0.03 * k, clear=0.05, trip="5-7") for k in range(13)],
        *[load_step(5, t=0.2, p=1.0 + 0.02 * k) for k in range(11)],
        line_trip("4-5", t=0.3),
        line_trip("8-9", t=0.0),
        [fault(8, t=0.4, clear=0.07), line_trip("4-6", t=1.0)],
        generator_trip("G3", t=0.5),
        vref_step("G2", t=0.5, by=0.15),
        fault(5, t=0.5, clear=0.4),
        load_level=np.linspace(0.9, 1.05, 30),
    )


@pytest.fixture
def untiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No numbers of 16 bits, whatever the processor has."""
    monkeypatch.setattr(learned, "TILED", False)
    monkeypatch.setattr(Learned, "_known", WeakKeyDictionary())


def both(
    grid: PowerSystem, operator: TrajectoryOperator, scenarios: Scenarios, **options: Any
) -> list[HybridRun]:
    """Runs by the library and in NumPy, with their solutions, where both have one precision."""
    certificate = replace(Certificate.of(operator, 3.0), single=False, void=False)
    runs = []
    for compiled in (True, False):
        run = HybridRun(
            grid=grid.dae if compiled else grid.in_numpy().dae,
            operator=operator,
            tolerance=1e-9,
            certificate=certificate,
            **options,
        )
        run.solve(scenarios, TIMES)
        assert (run.compiled is not None) == compiled
        runs.append(run)
    return runs


@pytest.mark.usefixtures("untiled")
@pytest.mark.parametrize("refuse", [True, False])
@pytest.mark.parametrize("scenarios", [slice(None), slice(3, 4), slice(12, 14)])
def test_all_decisions_and_trajectories_are_those_of_numpy(
    trained: Trained, refuse: bool, scenarios: slice
) -> None:
    some = mixed(trained.grid).take(np.arange(29)[scenarios])
    ours, theirs = both(trained.grid, trained.operator, some, refuse=refuse)
    np.testing.assert_array_equal(ours.solution.windows, theirs.solution.windows)
    np.testing.assert_array_equal(ours.solution.refused, theirs.solution.refused)
    np.testing.assert_allclose(ours.solution.ended, theirs.solution.ended, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.score, theirs.score, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(ours.spread, theirs.spread, rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours.solution.x, theirs.solution.x, rtol=0, atol=5e-5)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=0, atol=5e-5)
    if not refuse or len(some) > 2:
        assert ours.solution.windows[:2].sum() > len(some)


def test_numbers_of_16_bits_change_little(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks propose windows in them where the processor has a matrix unit; equations judge."""
    scenarios, angles = mixed(trained.grid), trained.grid.dae.rows("delta")
    tiled, plain = both(trained.grid, trained.operator, scenarios)
    monkeypatch.setattr(learned, "TILED", False)
    monkeypatch.setattr(Learned, "_known", WeakKeyDictionary())
    untiled, _ = both(trained.grid, trained.operator, scenarios)
    inertia = trained.grid.dae.inertia
    one, other = (center(run.solution.x[..., angles], inertia) for run in (tiled, untiled))
    assert np.nanmax(np.abs(np.degrees(one - other))) < 0.1 * 3.0
    accepted = tiled.solution.windows[:2].sum()
    assert accepted > 0.95 * plain.solution.windows[:2].sum()
    for run, error in ((tiled, 1e-5), (untiled, 2e-6)):  # of where windows end
        t_end = run.solution.ended == TIMES[-1]
        np.testing.assert_allclose(run.solution.x[t_end, -1], run.x[:, t_end].T, rtol=0, atol=error)


@pytest.mark.parametrize("level", LOWER)
def test_decisions_on_processors_with_fewer_lanes(
    trained: Trained, level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "instruction_set", lambda: level)
    grid = PowerSystem.load("wscc9")
    ours, theirs = both(grid, trained.operator, mixed(grid))
    np.testing.assert_array_equal(ours.solution.windows, theirs.solution.windows)
    np.testing.assert_allclose(ours.solution.x, theirs.solution.x, rtol=0, atol=5e-5)


# A lone one is not worked out by the matrix unit, whose numbers have 16 bits.
@pytest.mark.parametrize(("copies", "tolerance"), [(1, 2e-3), (2, 3e-5)])
def test_a_window_does_not_depend_on_those_beside_it(
    trained: Trained, copies: int, tolerance: float
) -> None:
    scenarios = mixed(trained.grid)
    together, _ = both(trained.grid, trained.operator, scenarios)
    for number in (0, 20, 27):
        few, _ = both(trained.grid, trained.operator, scenarios.take(np.full(copies, number)))
        if copies > 1:
            expected = together.solution.windows[:, number]
            np.testing.assert_array_equal(few.solution.windows.T, [expected] * copies)
        for x in few.solution.x:
            np.testing.assert_allclose(x, together.solution.x[number], rtol=0, atol=tolerance)


@pytest.mark.usefixtures("untiled")
def test_a_lone_window_is_what_it_is_beside_others(trained: Trained) -> None:
    scenarios = mixed(trained.grid)
    together, _ = both(trained.grid, trained.operator, scenarios)
    for number in (0, 20, 27):
        alone, _ = both(trained.grid, trained.operator, scenarios.take(np.array([number])))
        np.testing.assert_array_equal(
            alone.solution.windows[:, 0], together.solution.windows[:, number]
        )
        np.testing.assert_allclose(
            alone.solution.x[0], together.solution.x[number], rtol=0, atol=3e-5
        )


def test_what_the_library_shows_is_what_numpy_shows(trained: Trained) -> None:
    run, _ = both(trained.grid, trained.operator, mixed(trained.grid))
    shape = (len(run.t), len(TIMES))
    kinds = {ShownWindows: OperatorPiece, ShownCourse: ClassicalPiece, ShownRest: RestingPiece}
    seen = set()
    for piece in run.outputs.pieces:
        if type(piece) not in kinds:
            continue
        seen.add(type(piece))
        for rows in (np.array([4]), np.arange(len(run.x))):
            ours, theirs = np.full((2, *shape, len(rows)), np.nan)
            piece.fill(TIMES, rows, ours)
            super(type(piece), piece).fill(TIMES, rows, theirs)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
            if isinstance(piece, ShownRest):
                np.testing.assert_array_equal(ours, theirs)
    assert seen == set(kinds)


def test_pieces_cover_every_output(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in both(trained.grid, trained.operator, mixed(trained.grid)):
        monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, 7e77, dtype))
        x = run.outputs.states(np.arange(len(run.x)))
        monkeypatch.undo()
        ended = run.outputs.ended[:, None] + 1e-12 < TIMES
        assert np.isnan(x[ended]).all()
        assert (np.abs(x[~ended]) < 1e6).all()
        assert ended.any()


def test_voltages_at_outputs_are_those_of_numpy(trained: Trained) -> None:
    ours, theirs = both(trained.grid, trained.operator, mixed(trained.grid))
    theirs.outputs.pieces = ours.outputs.pieces
    theirs.outputs.ended = ours.outputs.ended
    np.testing.assert_array_equal(ours.solution.x, theirs.solution.x)
    np.testing.assert_allclose(ours.solution.y, theirs.solution.y, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(
        np.isnan(ours.solution.y[..., 0]), np.isnan(ours.solution.x[..., 0])
    )


def odd_operator(trained: Trained) -> TrajectoryOperator:
    """With sizes that fill neither panels of rows nor anything else, and weights at random."""
    config = ModelConfig(name="odd", nodes=5, modes=7, width=13, depth=1, experts=3)
    rng = np.random.default_rng(3)
    states = len(trained.grid.dae.states)
    deviations = rng.standard_normal((states, 5, 40)) * 0.01
    features = len(trained.operator.scaling.center)
    sizes = {
        "predictor.enter": (13, features),
        "predictor.leave": (7, 13),
        "predictor.direct": (7, features),
        "corrector.enter": (13, features + 15),
        "corrector.leave": (7, 13),
        "corrector.direct": (7, 7),
        "corrector.gate": (3, 13),
        "corrector.mixed": (21, 7),
    }
    weights = {}
    for name, size in sizes.items():
        weights[f"{name}.weight"] = 0.05 * rng.standard_normal(size).astype(np.float32)
        if not name.endswith(("direct", "mixed")):
            weights[f"{name}.bias"] = 0.05 * rng.standard_normal(size[0]).astype(np.float32)
    ones = np.ones(7, np.float32)
    return TrajectoryOperator(
        states=trained.operator.states,
        config=config,
        modes=Modes.fit(trained.grid.dae, deviations, 7),
        scaling=Scaling(
            center=trained.operator.scaling.center,
            spread=trained.operator.scaling.spread,
            reach=trained.operator.scaling.reach,
            residual=0.3 * ones,
            change=0.2 * ones,
        ),
        weights=weights,
        facts=trained.operator.facts,
    )


@pytest.mark.usefixtures("untiled")
def test_networks_of_any_size(trained: Trained) -> None:
    some = mixed(trained.grid).take(np.arange(11))
    ours, theirs = both(trained.grid, odd_operator(trained), some, refuse=False)
    np.testing.assert_array_equal(ours.solution.windows, theirs.solution.windows)
    np.testing.assert_allclose(ours.solution.x, theirs.solution.x, rtol=0, atol=1e-4)


def test_an_operator_whose_weights_are_replaced_is_read_anew(trained: Trained) -> None:
    operator = replace(trained.operator)
    first = Learned.of(operator)
    assert Learned.of(operator) is first
    operator.weights = {name: 2.0 * value for name, value in operator.weights.items()}
    assert Learned.of(operator) is not first
