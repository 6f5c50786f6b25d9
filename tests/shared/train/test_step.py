"""The compiled step: accumulation, clipping, averages, loss scale, NaN, proof of training."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from scimind.config.training import OptimizerConfig
from scimind.errors import NumericsError
from scimind.nn import Dropout
from scimind.seeding import step_key
from scimind.train.clip import clip_factor, global_norm
from scimind.train.loss_scale import LossScale
from scimind.train.parameters import snapshot
from scimind.train.step import make_train_step

KEY = step_key(0, "test")


class Linear(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.linspace(-1, 1, 6).reshape(2, 3).astype(np.float32)))
        self.frozen = Parameter(Tensor(np.ones(3, np.float32)), requires_grad=False)

    def construct(self, x):
        return ops.matmul(x, self.weight.T) * self.frozen[0]


class Loss(nn.Cell):
    metric_names = ("error",)

    def __init__(self, network):
        super().__init__()
        self.network = network

    def construct(self, key, mode, x, y):
        error = self.network(x) - y
        loss = ops.abs(error).mean() if mode == "absolute" else ops.square(error).mean()
        return loss, error.mean().reshape(1)


def batch(size=8, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 3)).astype(np.float32)
    return x, generator.normal(size=(size, 2)).astype(np.float32)


def gradient(weight, x, y):
    error = x.astype(np.float64) @ weight.astype(np.float64).T - y
    return 2 * error.T @ x / error.size


SGD = {"name": "sgd", "beta1": 0.0, "weight_decay": 0.0}


def test_the_step_reports_loss_metrics_and_norm_before_the_update():
    step = make_train_step(Loss(Linear()), OptimizerConfig(**SGD, clip_norm=0.0))
    x, y = batch()
    weight = step.network.weight.asnumpy().copy()
    loss, metrics, norm, finite = step(KEY, 0.1, "squared", x, y)
    error = x @ weight.T - y
    expected = gradient(weight, x, y)
    assert float(loss) == pytest.approx(np.square(error).mean(), rel=1e-5)
    assert float(metrics[0]) == pytest.approx(error.mean(), rel=1e-4)
    assert float(norm) == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    assert bool(finite)
    np.testing.assert_allclose(step.network.weight.asnumpy(), weight - 0.1 * expected, atol=1e-6)
    np.testing.assert_array_equal(step.network.frozen.asnumpy(), np.ones(3))


def test_accumulated_batches_make_the_update_of_one_large_batch():
    x, y = batch(12)
    large = make_train_step(Loss(Linear()), OptimizerConfig(ema=0.9))
    small = make_train_step(Loss(Linear()), OptimizerConfig(ema=0.9), accumulate=3)
    for number in range(4):
        outcome = large(KEY, 0.01, "squared", x, y)
        small.add(KEY, "squared", x[:4], y[:4])
        small.add(KEY, "squared", x[4:8], y[4:8])
        norm = small(KEY, 0.01, "squared", x[8:], y[8:]).grad_norm
        assert float(norm) == pytest.approx(float(outcome.grad_norm), rel=1e-5), number
    one, other = snapshot(large.named_parameters()), snapshot(small.named_parameters())
    np.testing.assert_allclose(one["weight"], other["weight"], atol=1e-5)


def test_long_gradients_are_shortened_to_the_clip_norm():
    x, y = batch()
    step = make_train_step(Loss(Linear()), OptimizerConfig(**SGD, clip_norm=0.01))
    weight = step.network.weight.asnumpy().copy()
    step(KEY, 1.0, "squared", x, y)
    moved = step.network.weight.asnumpy() - weight
    assert np.linalg.norm(moved) == pytest.approx(0.01, rel=1e-4)
    expected = gradient(weight, x, y)
    np.testing.assert_allclose(moved, -0.01 * expected / np.linalg.norm(expected), atol=1e-6)


def test_norm_and_clip_factor_of_large_and_empty_gradients():
    values = [np.full((3, 5), 1e6, np.float32), np.zeros(4, np.float32), np.float32(2.0)]
    norm = global_norm(tuple(Tensor(value) for value in values))
    assert float(norm) == pytest.approx(np.sqrt(15e12 + 4), rel=1e-6)
    assert float(clip_factor(Tensor(0.0, ms.float32), 1.0)) == 1.0
    assert float(clip_factor(Tensor(4.0, ms.float32), 1.0)) == 0.25
    assert float(clip_factor(Tensor(4.0, ms.float32), 0.0)) == 1.0


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_changes_no_bit(accumulate, bad):
    step = make_train_step(Loss(Linear()), OptimizerConfig(ema=0.9), accumulate=accumulate)
    x, y = batch()

    def one(x_first, x_last):
        if accumulate == 2:
            step.add(KEY, "squared", x_first, y)
        return step(KEY, 0.1, "squared", x_last, y)

    one(x, x)
    parts = (step.named_parameters(), step.optimizer.state(), step.average.state())
    before = [snapshot(part) for part in parts]
    poisoned = x.copy()
    poisoned[3, 1] = bad
    outcome = one(poisoned, x) if accumulate == 2 else one(x, poisoned)
    assert not bool(outcome.finite)
    for part, kept in zip(parts, before, strict=True):
        for name, value in snapshot(part).items():
            np.testing.assert_array_equal(value, kept[name], err_msg=name)
    assert bool(one(x, x).finite), "the NaN must not stay in the accumulation buffers"
    assert int(step.optimizer.updates.asnumpy()) == 2


def test_the_moving_average_follows_its_recursion():
    step = make_train_step(Loss(Linear()), OptimizerConfig(ema=0.8))
    expected = step.network.weight.asnumpy().astype(np.float64)
    x, y = batch()
    for t in range(1, 12):
        step(KEY, 0.05, "squared", x, y)
        decay = min(0.8, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * step.network.weight.asnumpy()
    np.testing.assert_allclose(step.average.state()["weight"].asnumpy(), expected, atol=1e-6)
    raw = step.network.weight.asnumpy().copy()
    with step.evaluating():
        np.testing.assert_allclose(step.network.weight.asnumpy(), expected, atol=1e-6)
        assert not step.network.training
    np.testing.assert_array_equal(step.network.weight.asnumpy(), raw)
    assert step.network.training


def test_training_goes_on_from_the_raw_parameters_after_an_evaluation():
    def run(evaluate):
        step = make_train_step(Loss(Linear()), OptimizerConfig(ema=0.8))
        for number in range(6):
            step(KEY, 0.05, "squared", *batch(seed=number))
            if evaluate:
                with step.evaluating():
                    pass
        return step.network.weight.asnumpy()

    np.testing.assert_array_equal(run(True), run(False))


def test_the_loss_scale_does_not_change_the_update():
    x, y = batch()
    plain = make_train_step(Loss(Linear()), OptimizerConfig())
    scaled = make_train_step(Loss(Linear()), OptimizerConfig(), loss_scale=True)
    for _ in range(3):
        expected = plain(KEY, 0.01, "squared", x, y)
        found = scaled(KEY, 0.01, "squared", x, y)
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-6)
    assert float(found.grad_norm) == pytest.approx(float(expected.grad_norm), rel=1e-5)
    one, other = snapshot(plain.named_parameters()), snapshot(scaled.named_parameters())
    np.testing.assert_allclose(one["weight"], other["weight"], atol=1e-6)


def test_the_loss_scale_halves_after_an_overflow_and_doubles_after_calm_steps():
    scale = LossScale(initial=8.0, interval=3)
    found = [float(scale(Tensor(finite))) for finite in [True] * 3 + [False] + [True] * 3]
    assert found == [8, 8, 16, 8, 8, 8, 16]
    for _ in range(10):
        scale(Tensor(False))
    assert scale.exhausted
    assert float(scale.scale.asnumpy()) == 1.0


class Tripled(nn.Cell):
    def construct(self, values):
        return tuple(3.0 * value for value in values)


def test_the_reduction_sees_gradients_and_loss():
    x, y = batch()
    step = make_train_step(
        Loss(Linear()), OptimizerConfig(**SGD, clip_norm=0.0), reduce_gradients=Tripled()
    )
    weight = step.network.weight.asnumpy().copy()
    outcome = step(KEY, 0.1, "squared", x, y)
    expected = 3 * gradient(weight, x, y)
    assert float(outcome.loss) == pytest.approx(3 * np.square(x @ weight.T - y).mean(), rel=1e-5)
    np.testing.assert_allclose(step.network.weight.asnumpy(), weight - 0.1 * expected, atol=1e-5)


def test_shapes_and_constants_are_counted_once_each(caplog):
    step = make_train_step(Loss(Linear()), OptimizerConfig())
    caplog.set_level("INFO", "scimind")
    for size, mode in ((4, "squared"), (8, "squared"), (4, "squared"), (4, "absolute")):
        x, y = batch(size)
        loss = step(KEY, 1e-9, mode, x, y).loss
        error = x @ step.network.weight.asnumpy().T - y
        wanted = np.abs(error).mean() if mode == "absolute" else np.square(error).mean()
        assert float(loss) == pytest.approx(wanted, rel=1e-4)
    assert len(step.signatures) == 3
    assert "graph 3 of the training step" in caplog.text


def test_a_graph_that_trains_nothing_is_refused():
    # What a graph captured by tracing does: it answers, but its parameters are constants.
    step = make_train_step(Loss(Linear()), OptimizerConfig())
    zero = Tensor(0.0, ms.float32)
    step._graph.update = lambda *inputs: (zero, zero.reshape(1), zero, Tensor(True))
    with pytest.raises(NumericsError, match="does not change parameters"):
        step(KEY, 0.1, "squared", *batch())


def test_parameters_are_named_by_their_path_in_the_network():
    class Weighted(Loss):
        def __init__(self, network):
            super().__init__(network)
            self.balance = Parameter(Tensor(np.zeros(2, np.float32)))

    step = make_train_step(Weighted(Linear()), OptimizerConfig())
    assert list(step.named_parameters()) == ["weight", "frozen", "loss:balance"]


class Dropping(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.ones(256, np.float32)))
        self.drop = Dropout(0.5)

    def construct(self, key, x):
        return self.drop(self.weight * x, key)


class DroppingLoss(nn.Cell):
    metric_names = ("kept",)

    def __init__(self, network):
        super().__init__()
        self.network = network

    def construct(self, key, x):
        out = self.network(key, x)
        return out.mean(), (out != 0).astype(ms.float32).mean().reshape(1)


def test_a_step_trains_in_training_mode_whatever_happened_to_the_network_before():
    network = Dropping()
    step = make_train_step(DroppingLoss(network), OptimizerConfig(**SGD))
    network.set_train(False)  # as whoever evaluates it in between may leave it
    x = np.ones(256, np.float32)
    kept = [float(step(KEY, 0.0, x).metrics.asnumpy()[0])]
    with step.evaluating():
        assert (network(Tensor(KEY), Tensor(x)).asnumpy() == 1).all()
    kept.append(float(step(KEY, 0.0, x).metrics.asnumpy()[0]))
    kept.append(float(step(KEY, 0.0, x[:1]).metrics.asnumpy()[0]))  # compiled anew
    assert 0.3 < kept[0] < 0.7
    assert kept == [kept[0]] * 3
