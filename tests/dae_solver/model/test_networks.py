"""The networks of the operator: MindSpore and NumPy give the same values."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from dae_solver.config.model import ModelConfig
from dae_solver.fitting import weights_of
from dae_solver.model import host
from dae_solver.model.modes import Modes
from dae_solver.model.network import OperatorNetwork
from dae_solver.model.operator import Scaling, TrajectoryOperator
from dae_solver.physics import PowerSystem
from scimind.errors import InputError

CONFIG = ModelConfig(name="test", nodes=5, modes=7, width=16, depth=3, experts=2)
FEATURES = 11


def inputs(batch: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = [(batch, FEATURES), (batch, 7), (batch, 7), (batch, 1)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("mode", ["pynative", "jit"])
@pytest.mark.parametrize("batch", [1, 33])
def test_host_equals_mindspore(mode: str, batch: int) -> None:
    network = OperatorNetwork(FEATURES, CONFIG, seed=3)
    weights = weights_of(network)
    features, iterate, residual, size = inputs(batch)
    if mode == "jit":
        network.construct = ms.jit(network.construct, capture_mode="ast")
    predicted, changed = network(*(ms.Tensor(a) for a in (features, iterate, residual, size)))
    ours = host.predict(weights, features.T)
    np.testing.assert_allclose(ours.T, predicted.asnumpy(), atol=2e-5)
    ours = host.correct(weights, features.T, iterate.T, residual.T, size.T)
    np.testing.assert_allclose(ours.T, changed.asnumpy(), atol=2e-5)


def operator(grid: PowerSystem) -> TrajectoryOperator:
    """An operator with weights as they are at the start of a training."""
    rng = np.random.default_rng(5)
    states = len(grid.dae.states)
    modes = Modes.fit(grid.dae, rng.normal(size=(states, 5, 60)), 7)
    ones = np.ones(7, np.float32)
    scaling = Scaling(
        center=np.zeros(FEATURES, np.float32),
        spread=np.ones(FEATURES, np.float32),
        reach=np.full(FEATURES, np.inf, np.float32),
        residual=ones,
        change=ones,
    )
    weights = weights_of(OperatorNetwork(FEATURES, CONFIG, seed=3))
    return TrajectoryOperator(
        states=grid.dae.states,
        config=CONFIG,
        modes=modes,
        scaling=scaling,
        weights=weights,
        facts={"case": grid.case.name},
    )


def test_correction_scales_with_the_residual_where_its_size_is_not_told() -> None:
    """A unit residual has mean square 1, and its size goes back into the change."""
    grid = PowerSystem.load("wscc9")
    made = operator(grid)
    residual = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    unit, size = made.scaling.unit(residual)
    np.testing.assert_allclose((unit**2).mean(0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(unit * size, residual, rtol=1e-5)
    tiny, small = made.scaling.unit(1e-4 * residual)
    np.testing.assert_allclose(tiny, unit, rtol=1e-4)
    np.testing.assert_allclose(small, 1e-4 * size, rtol=1e-4)


def test_saved_operator_is_the_same(tmp_path: Path) -> None:
    grid = PowerSystem.load("wscc9")
    made = operator(grid)
    made.save(tmp_path / "operator.safetensors")
    again = TrajectoryOperator.load(tmp_path)
    features = np.random.default_rng(2).normal(size=(FEATURES, 6)).astype(np.float32)
    np.testing.assert_array_equal(made.predict(features), again.predict(features))
    assert again.states == made.states
    assert again.config == made.config
    assert again.facts == made.facts
    again.check(grid.dae)


def test_other_files_and_grids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no operator at .*dae_solver\.train makes one"):
        TrajectoryOperator.load(tmp_path)
    (tmp_path / "operator.safetensors").write_bytes(b"not one")
    with pytest.raises(InputError, match="is not an operator"):
        TrajectoryOperator.load(tmp_path)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(InputError, match=r"another file.*not dae_solver\.operator/2"):
        TrajectoryOperator.load(tmp_path / "other.safetensors")
    made = operator(PowerSystem.load("wscc9"))
    other = PowerSystem.load("wscc9")
    other.dae.states = other.dae.states[:-1]
    with pytest.raises(InputError, match=r"30 states; .* has 29: train one"):
        made.check(other.dae)
