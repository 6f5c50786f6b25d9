"""What training, calibration and test see of a grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dae_solver.config.data import DataConfig
from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import Lines, TrainingDraws, split_lines
from dae_solver.physics import PowerSystem, Scenarios
from dae_solver.physics.network import Topology
from scimind.errors import InputError
from trained_operator import drawn_for


@pytest.fixture(scope="module")
def grid() -> PowerSystem:
    made = PowerSystem.load("wscc9")
    made.scenarios([])
    return made


def networks(grid: PowerSystem, scenarios: Scenarios) -> list[Topology]:
    """After every event of every scenario."""
    return [
        grid.dae.topologies[change.value]
        for events in scenarios.events
        for event in events
        for change in event.changes
        if change.name == "network"
    ]


def split(grid: PowerSystem) -> Lines:
    return split_lines(grid.dae, DataConfig(held_out=0.34), seed=0)


def test_training_never_opens_or_nearly_opens_a_held_out_line(grid: PowerSystem) -> None:
    lines = split(grid)
    assert lines.held_out
    assert set(lines.held_out).isdisjoint(lines.trained)
    draws = TrainingDraws(grid, lines, DataConfig(), np.random.default_rng(0))
    seen = networks(grid, draws.batch(300))
    held, weakened = set(lines.held_out), set()
    opened = {branch for each in seen for branch in each.out}
    assert opened == set(lines.trained)
    for each in seen:
        for branch, factor in each.strength:
            assert factor >= (0.3 if branch in held else 0.03)
            weakened.add(branch)
    assert weakened == set(range(len(grid.case.branches)))


def test_another_fault_came_before_some_faults_of_the_training(grid: PowerSystem) -> None:
    """As in an unsuccessful reclosing: a fault, a line that is open, a fault, all in time."""
    config, lines = DataConfig(), split(grid)
    draws = TrainingDraws(grid, lines, config, np.random.default_rng(0))
    drawn = draws.batch(400)
    number, same = Counter[int](), 0
    for events in drawn.events:
        states = [
            (event.time, grid.dae.topologies[change.value])
            for event in events
            for change in event.changes
            if change.name == "network"
        ]
        struck = [k for k, (_, topology) in enumerate(states) if topology.shunts]
        number[len(struck)] += 1
        if len(struck) < 2:
            continue
        (first, _), (cleared, opened), (again, faulted), (settled, after) = states
        assert struck == [0, 2]
        assert settled == config.settled
        assert not faulted.out
        assert not after.shunts
        assert len(opened.out) == 1
        assert opened.out <= set(lines.trained)
        assert first > 0.0
        assert config.clearing[0] <= cleared - first <= config.usual
        assert config.apart[0] <= again - cleared <= config.apart[1]
        assert config.clearing[0] <= settled - again <= config.clearing[1]
        first_at, again_at = ({bus for bus, _ in each.shunts} for each in (states[0][1], faulted))
        same += first_at == again_at
    assert set(number) == {0, 1, 2}
    assert 0.08 < number[2] / (number[1] + number[2]) < 0.25
    assert 0.4 < same / number[2] < 0.95


def test_two_faults_must_fit_before_the_network_settles() -> None:
    with pytest.raises(ValueError, match=r"settled=1.2 is too early .* take 1.495"):
        DataConfig(settled=1.2)
    with pytest.raises(ValueError, match=r"apart=\(1.0, 0.5\) must rise"):
        DataConfig(apart=(1.0, 0.5))


def test_tests_open_only_the_lines_that_they_are_of(grid: PowerSystem) -> None:
    lines, config = split(grid), TrainConfig()
    seen = networks(grid, drawn_for(grid, lines.held_out, config, "test", 60))
    assert {branch for each in seen for branch in each.out} == set(lines.held_out)


def test_calibration_and_test_have_other_events_and_loads(grid: PowerSystem) -> None:
    every, config = split(grid).every, TrainConfig()
    one, other = (drawn_for(grid, every, config, name, 80) for name in ("calibration", "test"))
    assert not set(one.texts) & set(other.texts)
    assert not set(one.load_factor.ravel()) & set(other.load_factor.ravel())
    times = [event.time for each in (*one.events, *other.events) for event in each]
    assert len(set(times)) > 0.9 * len(times)  # at any time, none is fixed
    again = drawn_for(grid, every, config, "test", 80)
    assert again.texts == other.texts


def test_operating_points_where_a_governor_would_begin_at_its_limit_are_brought_nearer(
    grid: PowerSystem, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(TrainConfig(), data=DataConfig(load_level=(0.9, 1.3)))
    usual = drawn_for(grid, split(grid).every, config, "test", 40)
    torque = usual.parameters["pref"][2]  # of the third machine
    assert torque.max() > 1.2 * torque.min()
    case = PowerSystem.load("wscc9").case
    limit = float(np.quantile(torque, 0.6))
    machine = grid.dae.machine_ids[2]
    case.devices = [
        replace(device, parameters={**device.parameters, "VMAX": limit})
        if device.of == machine and device.model.startswith("TGOV1")
        else device
        for device in case.devices
    ]
    limited = PowerSystem(case)
    with pytest.raises(InputError, match="outside VMIN"):
        limited.scenarios([], load_level=1.3)
    drawn = drawn_for(limited, split(grid).every, config, "test", 40)
    assert "16 of 40 operating points are brought nearer" in caplog.text
    fine = torque <= limit
    assert fine.sum() == 24
    np.testing.assert_array_equal(drawn.load_factor[:, fine], usual.load_factor[:, fine])
    assert (drawn.parameters["pref"][2] <= limit + 1e-9).all()
    before, after = (np.abs(each.load_factor - 1.0)[:, ~fine] for each in (usual, drawn))
    assert (after < before).all()
    assert drawn.texts == usual.texts
