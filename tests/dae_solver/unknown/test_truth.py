"""What a hidden grid has at the place of a term is the closed form of its parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dae_solver.physics import PowerSystem
from dae_solver.unknown import LibraryTerm, identify
from dae_solver.unknown.page import curve
from dae_solver.unknown.truth import true_term
from unknown_cases import exact

THREE = np.ones(3)
DEAD = {"TGOV1DB.dbU": 3e-3 * THREE, "TGOV1DB.dbL": -3e-3 * THREE}
U, V = np.linspace(-0.01, 0.01, 9), np.linspace(0.75, 1.1, 9)


@pytest.fixture(scope="module")
def nominal() -> PowerSystem:
    return PowerSystem.load("wscc9")


def hidden(grid: PowerSystem, parameters: dict[str, Any]) -> PowerSystem:
    return PowerSystem(grid.case, grid.dae.load_model, parameters=parameters)


@pytest.mark.parametrize(
    ("parameters", "where", "signal", "expected"),
    [
        ({"TWOAXIS.D3": 900.0 * THREE}, "torque", "speed", -900.0 * U * np.abs(U)),
        # A governor within its dead band sees nothing, outside it the rest.
        (DEAD, "pref", "speed", np.clip(U, -3e-3, 3e-3) / 0.05),
        ({"alpha": 1.35 * THREE, "beta": 2.6 * THREE}, "load.p", "v", V**1.35 - V**2),
        ({"alpha": 1.35 * THREE, "beta": 2.6 * THREE}, "load.q", "v", V**2.6 - V**2),
        ({"kpf": 1.5 * THREE}, "load.p", "frequency", 1.5 * U),
    ],
    ids=["damping", "dead band", "active", "reactive", "frequency"],
)
def test_a_true_term_is_the_closed_form(
    nominal: PowerSystem, parameters: Any, where: str, signal: str, expected: np.ndarray
) -> None:
    u = V if signal == "v" else U
    found = true_term(hidden(nominal, parameters), nominal, where, signal, u)
    assert found == pytest.approx(expected, abs=1e-8)


def test_where_nothing_is_hidden_there_is_no_true_term(nominal: PowerSystem) -> None:
    damped = hidden(nominal, {"TWOAXIS.D3": 900.0 * THREE})
    for where, signal in (("pref", "speed"), ("load.p", "v"), ("torque", "v")):
        assert true_term(damped, nominal, where, signal, U + (signal == "v")) is None


def test_the_curve_of_a_term_has_the_true_one_beside_it(nominal: PowerSystem) -> None:
    true = hidden(nominal, {"TWOAXIS.D3": 900.0 * THREE})
    data = exact(nominal, true).noisy(1)
    fit = identify(nominal, data, [LibraryTerm("torque")], step=1 / 30, most=1)
    alone, both = curve(fit, 0, None), curve(fit, 0, true)
    assert alone is not None
    assert both is not None
    assert [line.get_label() for line in alone.axes[0].lines] == ["identified"]
    found, drawn = both.axes[0].lines
    assert drawn.get_label() == "true"
    u = drawn.get_xdata()
    assert drawn.get_ydata() == pytest.approx(-900.0 * u * np.abs(u), abs=1e-8)
    assert np.abs(found.get_ydata() - drawn.get_ydata()).max() < 0.1 * np.ptp(drawn.get_ydata())
