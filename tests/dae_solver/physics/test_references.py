"""Our engine against stored references of another one, and what must hold at every event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from power_references import STATES, Reference

# Set, step, and largest error of a state in a stable scenario.
SETS = [
    ("wscc9_constz_dev", 1 / 240, 2e-6),
    ("wscc9_zip_dev", 1 / 240, 2e-6),
    ("ieee39_zip_dev", 1 / 240, 2e-6),
    ("unknown_load_dev", 1 / 120, 2e-5),
    ("unknown_governor_deadband_dev", 1 / 120, 2e-5),
    ("unknown_damping_dev", 1 / 120, 2e-5),
]


@pytest.fixture(scope="module", params=SETS, ids=[name for name, _, _ in SETS])
def runs(request: pytest.FixtureRequest, real_data: Path):
    name, step, bound = request.param
    reference = Reference(real_data / "dae_solver", name)
    t = reference.arrays["t"]
    found = reference.grid.simulate(
        reference.scenarios,
        t_end=float(t[-1]),
        every=float(t[1] - t[0]),
        step=step,
        tolerance=1e-12,
        locate_kinks=True,
    )
    return reference, found, bound


def test_trajectories_agree_with_the_references(runs) -> None:
    reference, found, bound = runs
    assert found.solution.success.all()
    assert reference.angle_errors(found.delta).max() < 1e-3  # degrees
    exciter = reference.grid.dae.exciters[0].model
    # The files have the washout's state times its gain.
    gain = {"feedback": (exciter.value["KF"] / exciter.value["TF"])[:, 0]}
    for number, name in enumerate(STATES):
        expected = reference.arrays["x"][:, :, number]
        difference = np.abs(found.state(name) * gain.get(name, 1.0) - expected)
        if name == "delta":
            continue
        for scenario in range(len(difference)):
            end = reference.last(scenario)
            most = bound if reference.meta[scenario]["stable"] else 50 * bound
            assert difference[scenario, :end].max() < most, (name, scenario)


def test_voltages_of_all_buses_agree(runs) -> None:
    reference, found, bound = runs
    v, expected = found.voltages(), reference.arrays["V"]
    for scenario in range(len(v)):
        end = reference.last(scenario)
        most = bound if reference.meta[scenario]["stable"] else 500 * bound
        assert np.abs(v[scenario, :end] - expected[scenario, :end]).max() < most, scenario


def test_separation_is_seen_when_it_happens(runs) -> None:
    reference, found, _ = runs
    for scenario, meta in enumerate(reference.meta):
        if meta["stable"]:
            assert found.stable[scenario]
        else:
            assert found.separated[scenario] == pytest.approx(meta["t_sep"], abs=1e-9)


def test_states_are_continuous_over_events_and_voltages_solve_the_network(runs) -> None:
    reference, found, bound = runs
    grid, p = reference.grid.dae, reference.scenarios.parameters
    for happened in found.solution.events:
        assert np.array_equal(happened.x_minus, happened.x_plus)
    for scenario, meta in enumerate(reference.meta):
        events = found.solution.events_of(scenario)
        network = p["network"][[scenario]]
        for number, event in enumerate(events):
            changes = reference.scenarios.events[scenario][number].changes
            before = grid.voltages(event.y_minus[:, None], network)[:, 0]
            for change in changes:
                if change.name == "network":
                    network = np.array([change.value])
            after = grid.voltages(event.y_plus[:, None], network)[:, 0]
            if meta["stable"]:
                jump = reference.arrays["V_plus"] - reference.arrays["V_minus"]
                assert np.abs((after - before) - jump[scenario, number]).max() < bound
    for report in found.solution.restarts:
        assert report.residual.max() <= 1e-8


def test_outputs_satisfy_the_network_equations(runs) -> None:
    reference, found, _ = runs
    grid, scenarios = reference.grid.dae, reference.scenarios
    for scenario in range(0, len(scenarios), 5):
        if scenarios.events[scenario][0].changes[0].name != "network":
            continue
        network = found.networks(scenario)
        number = len(found.t)
        p = {k: np.repeat(v[..., [scenario]], number, -1) for k, v in scenarios.parameters.items()}
        p["network"] = network
        x, y = found.solution.x[scenario].T, found.solution.y[scenario].T
        assert np.abs(grid.g(found.t, x, y, p)).max() <= 1e-8
