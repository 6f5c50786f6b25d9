"""The recorded equations are those of the classical engine, and so are their derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.physics import PowerSystem
from dae_solver.physics.dae import PowerDAE
from grid_cases import system_of
from mixed_models import mixed_case, nearby
from scimind.errors import InputError


class Setting:
    """A grid, a point away from rest, and parameters that some scenarios have of their own."""

    def __init__(self, system: PowerSystem, names: list[str] | None = None) -> None:
        self.system, self.dae = system, system.dae
        rng = np.random.default_rng(0)
        scenarios = system.scenarios([], [], [], load_level=[0.98, 1.0, 1.02])
        self.x, self.y = nearby(scenarios, rng)
        self.p = dict(scenarios.parameters)
        names = names or []
        self.grid = DifferentiableGrid(system, names)
        filled = self.grid.equations.filled(self.p, 3)
        for name in names:
            self.p[name] = filled[name] * rng.uniform(0.9, 1.1, filled[name].shape)
        self.tensors = [
            self.grid.tensor(self.x),
            self.grid.tensor(self.y),
            self.grid.parameters(self.p),
        ]
        self.network = self.grid.network(self.p["network"])


NAMES = ["wscc9 exponential", "first zip", "second", "ieee39 zip"]
CONVERTERS = ["converter zip", "converter-PLL1 zip", "converter-PLL2"]


@pytest.mark.parametrize("name", [*NAMES, *CONVERTERS, "terms zip", "kundur"])
def test_values_are_those_of_numpy(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue("real_data") if name.startswith("ieee39") else None
    s = Setting(system_of(name, tmp_path, data))
    k = s.grid.kernels
    f, g = PowerDAE.f(s.dae, 0.0, s.x, s.y, s.p), PowerDAE.g(s.dae, 0.0, s.x, s.y, s.p)
    ours_f = s.grid.f(*s.tensors).asnumpy()
    ours_g = s.grid.g(*s.tensors, s.network).asnumpy()
    np.testing.assert_allclose(ours_f, f, rtol=1e-12, atol=1e-12 * np.abs(f).max())
    np.testing.assert_allclose(ours_g, g, rtol=1e-12, atol=1e-12 * np.abs(g).max())
    far = s.x + 50.0 * np.random.default_rng(1).standard_normal(s.x.shape)
    held = k.limit(s.grid.tensor(far), s.tensors[2]).asnumpy()
    np.testing.assert_array_equal(held, PowerDAE.limit(s.dae, 0.0, far, s.p))
    compiled = ms.jit(s.grid.f)(*s.tensors).asnumpy()
    np.testing.assert_allclose(compiled, ours_f, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("name", ["first zip", "second", *CONVERTERS, "terms zip"])
def test_jacobians_are_those_of_difference_quotients(name: str, tmp_path: Path) -> None:
    s = Setting(system_of(name, tmp_path, None))
    found = s.grid.kernels.by_xy.at(*s.tensors).asnumpy().copy()
    states = len(s.x)
    found[states:, states:] += s.network.asnumpy()
    expected = s.dae.jacobian(np.zeros(3), s.x, s.y, s.p, central=True).transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    # Machines of one model share a sweep.
    assert s.grid.kernels.by_xy.sweeps < len(found) / 2


PARAMETERS = ["GENROU.M", "GENROU.D", "GENROU.xd", "TWOAXIS.xq1", "TWOAXIS.D3", "alpha", "beta"]
PARAMETERS += ["SEXS.K", "EXST1.KC", "IEEET1.KF", "TGOV1DB.R", "TGOV1DB.dbU", "IEEEG1.T3"]
PARAMETERS += ["IEEEST.KS", "online"]


@pytest.fixture(scope="module", params=["second exponential", "terms"])
def parametric(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    system = system_of(request.param, tmp_path_factory.mktemp("cases"), None)
    return Setting(system, [] if request.param == "terms" else PARAMETERS)


def test_parameters_of_models_are_arguments(parametric: Setting) -> None:
    s = parametric
    f, g = s.dae.f(0.0, s.x, s.y, s.p), s.dae.g(0.0, s.x, s.y, s.p)
    np.testing.assert_allclose(s.grid.f(*s.tensors).asnumpy(), f, rtol=1e-12, atol=1e-10)
    ours = s.grid.g(*s.tensors, s.network).asnumpy()
    np.testing.assert_allclose(ours, g, rtol=1e-12, atol=1e-12)


def test_the_pullback_is_that_of_mindspore_and_of_difference_quotients(
    parametric: Setting,
) -> None:
    s = parametric
    k, rng = s.grid.kernels, np.random.default_rng(2)
    w = rng.standard_normal((len(s.x) + len(s.y), 3))
    ours = k.both_back(*s.tensors, s.grid.tensor(w)).asnumpy()

    def both(p: Any) -> Any:
        x, y, _ = s.tensors
        return (ops.concat((k.f(x, y, p), k.currents(x, y, p)), 0) * s.grid.tensor(w)).sum()

    theirs = ms.grad(both)(s.tensors[2]).asnumpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-9)
    p, step = s.tensors[2].asnumpy(), 1e-6
    along = rng.standard_normal(p.shape) * np.abs(p)

    def value(by: float) -> float:
        moved = {name: p[rows] + by * along[rows] for name, rows in s.grid.rows.items()}
        moved["network"] = s.p["network"]
        found = [s.dae.f(0.0, s.x, s.y, moved), s.dae.g(0.0, s.x, s.y, moved)]
        return float((w * np.concatenate(found)).sum())

    quotient = (value(step) - value(-step)) / (2 * step)
    assert (ours * along).sum() == pytest.approx(quotient, rel=1e-6)


def test_single_precision_is_close(tmp_path: Path) -> None:
    system = system_of("second", tmp_path, None)
    s = Setting(system)
    single = DifferentiableGrid(system, dtype="float32")
    tensors = [single.tensor(s.x), single.tensor(s.y), single.parameters(s.p)]
    found = single.f(*tensors)
    assert found.dtype == ms.float32
    f = s.dae.f(0.0, s.x, s.y, s.p)
    # omega - 1 loses four digits of seven, and 2 pi 60 multiplies what is left.
    np.testing.assert_allclose(found.asnumpy(), f, rtol=1e-4, atol=1e-4 * np.abs(f).max())


def test_derivatives_along_a_direction(parametric: Setting) -> None:
    s = parametric
    rng = np.random.default_rng(3)
    dx, dy = rng.standard_normal(s.x.shape), rng.standard_normal(s.y.shape)
    x, y, p = s.tensors
    _, found = ms.jvp(s.grid.f, (x, y, p), (s.grid.tensor(dx), s.grid.tensor(dy), p * 0.0))
    step = 1e-6
    ahead = s.dae.f(0.0, s.x + step * dx, s.y + step * dy, s.p)
    behind = s.dae.f(0.0, s.x - step * dx, s.y - step * dy, s.p)
    expected = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-6, atol=1e-5)


def test_unknown_names_are_refused() -> None:
    system = PowerSystem.load("wscc9")
    with pytest.raises(InputError, match=r"no parameter 'TGOV1\.R'.*TGOV1DB\.R"):
        DifferentiableGrid(system, ["TGOV1.R"])
    with pytest.raises(InputError, match="name alpha and beta"):
        DifferentiableGrid(system, ["alpha"])
    with pytest.raises(InputError, match="float64 or float32"):
        DifferentiableGrid(system, dtype="float16")


def test_parameters_have_their_rows() -> None:
    system = PowerSystem.load("wscc9")
    grid = DifferentiableGrid(system)
    values = dict(system.scenarios([]).parameters)
    with pytest.raises(InputError, match=r"'p0' has shape \(2, 1\)"):
        grid.parameters(values | {"p0": np.ones((2, 1))})
    values.pop("p0")
    with pytest.raises(InputError, match="'p0' is missing"):
        grid.parameters(values)


def test_two_grids_keep_their_own_numbers() -> None:
    heavy = mixed_case("first")
    for device in heavy.devices:
        if "M" in device.parameters:
            device.parameters["M"] *= 2.0
    light, other = Setting(PowerSystem(mixed_case("first"))), Setting(PowerSystem(heavy))
    rows = light.grid.states("omega")
    once, half = (each.grid.f(*light.tensors).asnumpy()[rows] for each in (light, other))
    np.testing.assert_allclose(half, 0.5 * once, rtol=1e-12)
