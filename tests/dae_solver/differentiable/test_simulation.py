"""Differentiable simulations: values of the engine, gradients of the engine's quotients."""

from __future__ import annotations

import copy
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.physics import (
    PowerSystem,
    Scenarios,
    fault,
    generator_trip,
    load_pulse,
    pref_step,
    vref_step,
)
from dae_solver.solver.methods import METHODS, Point, Tolerances
from mixed_models import mixed_case
from scimind.errors import InputError

T_END, EVERY, STEP = 0.3, 1 / 60, 1 / 120
NAMES = ["TWOAXIS.M", "TWOAXIS.D", "IEEET1.KA", "IEEET1.VRMAX", "alpha", "beta", "online"]
# Events on and off the steps, two at one time, and limits of the exciters that hold.
EVENTS = [
    [fault(7, t=0.05, clear=0.083, trip="5-7")],
    [load_pulse(5, t=0.1, p=1.3, last=0.1), vref_step("G2", t=0.1, by=0.05)],
    [generator_trip("G3", t=0.07), pref_step("G1", t=0.151, factor=1.1)],
]


class Setting:
    def __init__(self) -> None:
        case = copy.deepcopy(PowerSystem.load("wscc9").case)
        for device in case.devices:
            if device.model == "IEEET1":
                device.parameters |= {"VRMAX": 2.5, "VRMIN": 0.0}
        self.system = PowerSystem(case, "exponential 1.35 2.6")
        self.scenarios = self.system.scenarios(*EVENTS, load_level=[0.97, 1.0, 1.03])
        self.grid = DifferentiableGrid(self.system, NAMES)
        self.x, self.p = self.grid.start(self.scenarios)
        times = round(T_END / EVERY) + 1
        rng = np.random.default_rng(0)
        self.weights = rng.standard_normal((times, *self.x.shape)) / times

    def path(self, x: Any, p: Any, method: str = "rk4") -> Any:
        options = {"t_end": T_END, "every": EVERY, "step": STEP}
        return self.grid.simulate(x, p, self.scenarios, method=method, **options)

    def engine(self, x: np.ndarray, p: np.ndarray, method: str = "rk4") -> np.ndarray:
        scenarios = copy.copy(self.scenarios)
        named = {name: p[rows] for name, rows in self.grid.rows.items()}
        scenarios.x0, scenarios.parameters = x, dict(scenarios.parameters) | named
        options = {"t_end": T_END, "every": EVERY, "step": STEP, "tolerance": 1e-13}
        runs = self.system.simulate(scenarios, method=method, **options)
        assert runs.solution.success.all()
        return runs.solution.x.transpose(1, 2, 0)

    def gradients(self, method: str) -> list[np.ndarray]:
        weights = self.grid.tensor(self.weights)

        def loss(x: Any, p: Any) -> Any:
            return (self.path(x, p, method) * weights).sum()

        return [each.asnumpy() for each in ms.grad(loss, (0, 1))(self.x, self.p)]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


@pytest.fixture(scope="module")
def gradients(setting: Setting) -> list[np.ndarray]:
    return setting.gradients("rk4")


def test_values_are_those_of_the_engine(setting: Setting) -> None:
    s = setting
    found = s.path(s.x, s.p).asnumpy()
    expected = s.engine(s.x.asnumpy(), s.p.asnumpy())
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    limited = s.system.dae.rows("regulator")
    assert (expected[:, limited].max(0) == 2.5).any(), "no limit holds"


def quotient(value: Any, base: np.ndarray, along: np.ndarray, step: float) -> float:
    """Of order 4."""
    near = value(base + step * along) - value(base - step * along)
    far = value(base + 2 * step * along) - value(base - 2 * step * along)
    return float((8 * near - far) / (12 * step))


def test_gradients_by_first_states(setting: Setting, gradients: list[np.ndarray]) -> None:
    s = setting
    base, p = s.x.asnumpy(), s.p.asnumpy()
    along = np.random.default_rng(1).standard_normal(base.shape) * np.abs(base)
    expected = quotient(lambda x: (s.engine(x, p) * s.weights).sum(), base, along, 1e-6)
    assert (gradients[0] * along).sum() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["vref", "pref", "p0", "q0", *NAMES])
def test_gradients_by_parameters(name: str, setting: Setting, gradients: list[np.ndarray]) -> None:
    s = setting
    x, base, rows = s.x.asnumpy(), s.p.asnumpy(), s.grid.rows[name]
    along = np.zeros_like(base)
    along[rows] = np.random.default_rng(2).uniform(0.5, 1.0, along[rows].shape) * base[rows]
    # Long enough for quotients as small as that by beta, of values known to about 1e-14.
    expected = quotient(lambda p: (s.engine(x, p) * s.weights).sum(), base, along, 1e-4)
    assert abs(expected) > 1e-4
    assert (gradients[1] * along).sum() == pytest.approx(expected, rel=1e-6)


def trapezoid(s: Setting, x: np.ndarray, p: np.ndarray, steps: int) -> np.ndarray:
    """Steps of the engine's method with its equations solved to rounding, without events."""
    dae, number = s.system.dae, x.shape[1]
    named = dict(s.scenarios.parameters)
    named |= {name: p[rows] for name, rows in s.grid.rows.items()}
    y, _ = dae.solve(0.0, x, s.scenarios.y0, named, 1e-14)
    point = Point(t=np.zeros(number), x=x, y=y, f=dae.f(0.0, x, y, named), slope=0.0 * y)
    tight = Tolerances(algebraic=1e-14, rtol=1e-14, atol=1e-14)
    found = [x]
    for _ in range(steps):
        point = METHODS["trapezoid"].step(dae, point, STEP, named, tight).end
        found.append(point.x)
    return np.stack(found)


def test_the_trapezoid(setting: Setting) -> None:
    s, steps = setting, 5
    scenarios = copy.copy(s.scenarios)
    scenarios.events = [[], [], []]
    rng = np.random.default_rng(3)
    first = s.x.asnumpy() + 0.01 * rng.standard_normal(s.x.shape)
    options = {"t_end": steps * STEP, "every": STEP, "step": STEP, "method": "trapezoid"}
    weights = rng.standard_normal((steps + 1, *s.x.shape))

    def loss(x: Any, p: Any) -> Any:
        path = s.grid.simulate(x, p, scenarios, **options)
        return (path * s.grid.tensor(weights)).sum(), path

    compute = ms.value_and_grad(loss, (0, 1), has_aux=True)
    (_, path), gradients = compute(s.grid.tensor(first), s.p)
    p = s.p.asnumpy()
    np.testing.assert_allclose(path.asnumpy(), trapezoid(s, first, p, steps), atol=1e-10)
    for which, base in enumerate((first, p)):
        along = rng.standard_normal(base.shape) * np.abs(base)

        def value(moved: np.ndarray, which: int = which) -> float:
            pair = [first, p]
            pair[which] = moved
            return float((trapezoid(s, *pair, steps) * weights).sum())

        expected = quotient(value, base, along, 1e-5)
        ours = (gradients[which].asnumpy() * along).sum()
        assert ours == pytest.approx(expected, rel=1e-6)


@pytest.mark.nightly
def test_models_of_every_kind_together() -> None:
    """A fault with GENROU, TWOAXIS, five regulators and a stabiliser in one network."""
    system = PowerSystem(mixed_case("second"), "zip 0.4 0.3 0.3")
    grid = DifferentiableGrid(system)
    scenarios = system.scenarios(fault(7, t=0.0, clear=0.05))
    x, p = grid.start(scenarios)
    options = {"t_end": 0.1, "every": 0.05, "step": 1 / 120}
    weights = np.random.default_rng(4).standard_normal((3, *x.shape))
    found = ms.grad(
        lambda x: (grid.simulate(x, p, scenarios, **options) * grid.tensor(weights)).sum()
    )(x)
    base = x.asnumpy()
    along = np.random.default_rng(5).standard_normal(base.shape) * 0.1

    def value(x: np.ndarray) -> float:
        moved = copy.copy(scenarios)
        moved.x0 = x
        path = system.simulate(moved, tolerance=1e-13, **options).solution.x
        return float((path.transpose(1, 2, 0) * weights).sum())

    expected = quotient(value, base, along, 1e-5)
    assert (found.asnumpy() * along).sum() == pytest.approx(expected, rel=1e-6)


def short(grid: DifferentiableGrid, scenarios: Scenarios) -> tuple[np.ndarray, np.ndarray]:
    x, p = grid.start(scenarios)
    options = {"t_end": 0.025, "every": 1 / 120, "step": 1 / 120}
    path = grid.simulate(x, p, scenarios, **options)
    gradient = ms.grad(lambda x: grid.simulate(x, p, scenarios, **options)[-1].sum())(x)
    return path.asnumpy(), gradient.asnumpy()


@pytest.mark.nightly
def test_without_compilation_and_in_single_precision() -> None:
    system = PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")
    scenarios = system.scenarios(fault(7, t=0.01, clear=0.1))
    path, gradient = short(DifferentiableGrid(system), scenarios)
    plain = short(DifferentiableGrid(system, compiled=False), scenarios)
    np.testing.assert_allclose(plain[0], path, atol=1e-12)
    np.testing.assert_allclose(plain[1], gradient, rtol=1e-9, atol=1e-9)
    single = short(DifferentiableGrid(system, dtype="float32"), scenarios)
    assert single[0].dtype == np.float32
    np.testing.assert_allclose(single[0], path, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(single[1], gradient, rtol=1e-2, atol=1e-2 * np.abs(gradient).max())


def test_what_cannot_be_done_is_refused(setting: Setting) -> None:
    s = setting
    other = PowerSystem.load("wscc9").scenarios([], [], [])
    with pytest.raises(InputError, match="made for another grid than this wscc9"):
        s.grid.start(other)
    with pytest.raises(InputError, match="made for another grid than this wscc9"):
        s.grid.simulate(s.x, s.p, other, t_end=0.1)
    with pytest.raises(InputError, match="multiple of the step"):
        s.grid.simulate(s.x, s.p, s.scenarios, t_end=0.3, every=0.05, step=1 / 90)
    with pytest.raises(InputError, match="method 'radau3' is not differentiable"):
        s.grid.simulate(s.x, s.p, s.scenarios, t_end=0.1, method="radau3")
    plain = DifferentiableGrid(s.system)
    with pytest.raises(InputError, match="'online' is no parameter of the differentiable grid"):
        plain.start(s.scenarios)
    values = {k: v for k, v in s.scenarios.parameters.items() if k in plain.rows}
    with pytest.raises(InputError, match="changes 'online'; name it among the parameters"):
        plain.simulate(s.x, plain.parameters(values), s.scenarios, t_end=0.1)
    with pytest.raises(InputError, match=r"scenario 0 has no voltages at"):
        s.grid.simulate(s.x, s.p * 1e3, s.scenarios, t_end=0.1)
    quiet = copy.copy(s.scenarios)
    quiet.events = [[], [], []]
    with pytest.raises(InputError, match=r"has no solution in the step from .* of 5 s"):
        s.grid.simulate(1.1 * s.x, s.p, quiet, t_end=100.0, every=5.0, step=5.0)
