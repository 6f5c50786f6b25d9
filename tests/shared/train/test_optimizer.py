"""The optimizers against float64 NumPy, and against PyTorch where it is installed."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from scimind.config.training import OptimizerConfig
from scimind.errors import ConfigError
from scimind.train.optimizer import make_optimizer

SHAPES = {"table.embedding": (7, 3), "dense.weight": (5, 4), "dense.bias": (5,), "scale": ()}


class Compiled(nn.Cell):
    def __init__(self, optimizer):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    @ms.jit
    def construct(self, learning_rate, factor, *gradients):
        return self.optimizer(learning_rate, factor, *gradients)


def initial():
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def gradients(step):
    generator = np.random.default_rng(100 + step)
    size = 10.0 ** generator.uniform(-4, 2)
    return {
        name: (size * generator.normal(size=shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def rate(step):
    return 1e-2 * (1 + step % 3)


def run(config, steps=25, factor=0.5):
    named = [(name, Parameter(Tensor(value), name)) for name, value in initial().items()]
    optimizer = make_optimizer(named, config)
    compiled = Compiled(optimizer)
    for step in range(steps):
        values = [Tensor(value) for value in gradients(step).values()]
        compiled(Tensor(rate(step), ms.float32), Tensor(factor, ms.float32), *values)
    assert int(optimizer.updates.asnumpy()) == steps
    return {name: value.asnumpy() for name, value in named}, optimizer


def decays(name, config):
    if name == "table.embedding" and config.no_decay:
        return False
    return config.decay_vectors or len(SHAPES[name]) >= 2


def reference(config, steps=25, factor=0.5):
    b1, b2 = config.beta1, config.beta2
    theta = {name: value.astype(np.float64) for name, value in initial().items()}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(steps):
        eta, t = rate(step), step + 1
        for name, value in gradients(step).items():
            g = factor * value.astype(np.float64)
            if decays(name, config):
                theta[name] -= eta * config.weight_decay * theta[name]
            if config.name == "sgd":
                m[name] = b1 * m[name] + g
                theta[name] -= eta * m[name]
                continue
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g * g
            corrected = m[name] / (1 - b1**t), v[name] / (1 - b2**t)
            theta[name] -= eta * corrected[0] / (np.sqrt(corrected[1]) + config.epsilon)
    return theta


CONFIGS = [
    OptimizerConfig(weight_decay=0.1),
    OptimizerConfig(weight_decay=0.1, beta1=0.8, beta2=0.95, epsilon=1e-3),
    OptimizerConfig(weight_decay=0.3, no_decay=("*embedding*",)),
    OptimizerConfig(weight_decay=0.3, decay_vectors=True),
    OptimizerConfig(weight_decay=0.0, beta1=0.0),
    OptimizerConfig(name="sgd", weight_decay=0.1, beta1=0.9, learning_rate=1e-3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_updates_follow_the_published_algorithm(config):
    found, _ = run(config)
    expected = reference(config)
    for name, value in expected.items():
        # 25 float32 updates of a few times 1e-2 around values of order one.
        np.testing.assert_allclose(found[name], value, rtol=3e-5, atol=3e-6, err_msg=name)


def test_the_first_update_is_exact_although_beta2_is_not_a_float32():
    # One step moves every weight by the learning rate times the sign of its gradient: an
    # inconsistent bias correction for the rounded beta2 = 0.999 would be 3e-5 off.
    config = OptimizerConfig(weight_decay=0.0, epsilon=1e-30)
    found, _ = run(config, steps=1)
    for name, value in gradients(0).items():
        expected = initial()[name].astype(np.float64) - rate(0) * np.sign(value)
        np.testing.assert_allclose(found[name], expected, atol=3e-7)


def test_adamw_equals_pytorch():
    torch = pytest.importorskip("torch")
    config = OptimizerConfig(weight_decay=0.1, decay_vectors=True)
    values = {n: torch.nn.Parameter(torch.tensor(v)) for n, v in initial().items()}
    optimizer = torch.optim.AdamW(values.values(), weight_decay=0.1)
    for step in range(25):
        for name, gradient in gradients(step).items():
            values[name].grad = torch.tensor(0.5 * gradient)
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.step()
    found, _ = run(config)
    for name, value in values.items():
        np.testing.assert_allclose(found[name], value.detach().numpy(), rtol=3e-5, atol=3e-6)


def test_the_state_names_every_array_that_a_checkpoint_needs():
    _, optimizer = run(OptimizerConfig(), steps=1)
    expected = {"updates"} | {f"{m}/{name}" for m in ("first", "second") for name in SHAPES}
    assert set(optimizer.state()) == expected


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"\*emb_ding\*.*fits no parameter.*table\.embedding"):
        run(OptimizerConfig(no_decay=("*emb_ding*",)), steps=1)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ConfigError, match="nothing to train"):
        make_optimizer([], OptimizerConfig())
