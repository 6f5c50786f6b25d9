"""Loss terms against their equations in NumPy, and the cell that weighs them."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops
from scipy.spatial.transform import Rotation

from biomol.config.loss import LossConfig
from biomol.losses import (
    METRICS,
    BioMolLoss,
    coordinate_error,
    cross_entropy,
    distance_bins,
    framed_weight,
    prior_error,
    smooth_lddt,
    weighted_mean,
)
from scimind import device
from scimind.config.training import OptimizerConfig
from scimind.train import make_train_step
from small_complexes import batch_of, features_of, hidden, molecule, peptide, small_network

pytestmark = pytest.mark.usefixtures("runtime")
KEY = np.zeros(2, np.int32)


def tensor(array):
    return Tensor(np.asarray(array, np.float32))


def distances(points):
    return np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)


def evaluate(cell, inputs, targets, tracks="structure"):
    arrays = (Tensor(array) for array in (*inputs.arrays(), *targets.arrays()))
    loss, metrics = cell(Tensor(KEY), tracks, *arrays)
    return float(loss.asnumpy()), dict(zip(METRICS, metrics.asnumpy().tolist(), strict=True))


@pytest.fixture(scope="module")
def network():
    return small_network(seed=3)


def noisy_batch(sigma=2.0, identity=False, records=None):
    records = records or [peptide(), peptide("GAVLIPFW", seed=1)]
    features = [features_of(record, 16) for record in records]
    levels = [hidden(f, identity=identity, visible=True, sigma=sigma) for f in features]
    return batch_of(features, levels, seed=1)


def test_cross_entropy_is_the_negative_log_likelihood():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(4, 5, 7)) * 20, rng.integers(0, 7, (4, 5))
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, target[..., None], -1)[..., 0]
    found = cross_entropy(tensor(logits), Tensor(target.astype(np.int32))).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_cross_entropy_has_the_slope_softmax_minus_one_hot():
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(3, 5)), Tensor(np.array([0, 4, 2], np.int32))

    def total(x):
        return cross_entropy(x, target).sum()

    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = softmax - np.eye(5)[[0, 4, 2]]
    np.testing.assert_allclose(ms.grad(total)(tensor(logits)).asnumpy(), expected, atol=1e-5)


def test_distance_bins_are_equal_between_2_and_22_angstrom_and_open_outside():
    edges = np.linspace(2, 22, 31)  # 32 bins: 30 equal ones and two open ones
    values = np.concatenate([[0.0, 1.99], edges[:-1] + 0.01, edges[1:] - 0.01, [22.01, 500.0]])
    expected = np.digitize(values, edges)
    found = distance_bins(tensor(values), 32).asnumpy()
    np.testing.assert_array_equal(found, expected)
    assert found.min() == 0
    assert found.max() == 31


def test_smooth_lddt_of_the_truth_is_the_mean_of_the_four_sigmoids():
    points = np.random.default_rng(2).normal(size=(1, 20, 3)) * 5
    weight = 1.0 - np.eye(20)[None]
    true = tensor(distances(points))
    found = float(smooth_lddt(true, true, tensor(weight)).asnumpy()[0])
    thresholds = np.array([0.5, 1.0, 2.0, 4.0])
    assert found == pytest.approx((1 / (1 + np.exp(-thresholds))).mean(), rel=1e-5)
    turned = Rotation.random(random_state=0).apply(points[0])[None] + 9.0
    again = smooth_lddt(tensor(distances(turned)), true, tensor(weight)).asnumpy()[0]
    assert found == pytest.approx(float(again), abs=1e-5)
    spoilt = points.copy()
    spoilt[0, 0] += 3.0
    worse = smooth_lddt(tensor(distances(spoilt)), true, tensor(weight)).asnumpy()[0]
    assert float(worse) < found - 0.01


def test_smooth_lddt_looks_at_pairs_within_15_angstrom_only():
    points = np.zeros((1, 3, 3))
    points[0, 1, 0], points[0, 2, 0] = 10.0, 100.0
    moved = points.copy()
    moved[0, 2, 0] = 160.0
    weight = tensor(1.0 - np.eye(3)[None])
    true = tensor(distances(points))
    assert smooth_lddt(true, true, weight) == smooth_lddt(tensor(distances(moved)), true, weight)


def test_coordinate_error_is_karras_weighted_mean_square():
    rng = np.random.default_rng(3)
    target, error = rng.normal(size=(2, 2, 5, 24, 3))
    sigma = rng.uniform(0.5, 20.0, (2, 5, 24))
    width = rng.uniform(2.0, 16.0, (2, 5, 24))
    weight = (rng.random((2, 5, 24)) < 0.7).astype(float)
    scale = (sigma**2 + width**2) / (sigma * width) ** 2
    squared = (error**2).mean(-1) * scale * weight
    expected = np.mean([squared[i].sum() / weight[i].sum() for i in range(2)])
    arguments = [tensor(x) for x in (target + error, target, sigma, width, weight)]
    assert float(coordinate_error(*arguments).asnumpy()) == pytest.approx(expected, rel=1e-4)
    # a complex without atoms does not dilute the others
    weight[1] = 0
    arguments[-1] = tensor(weight)
    expected = squared[0].sum() / weight[0].sum()
    assert float(coordinate_error(*arguments).asnumpy()) == pytest.approx(expected, rel=1e-4)


def test_the_prior_answers_for_what_hangs_on_known_frames_only():
    rng = np.random.default_rng(4)
    target, error = rng.normal(size=(2, 1, 3, 24, 3))
    sigma = np.broadcast_to(np.array([0.0, 1.0, 1e6])[None, :, None], (1, 3, 24))
    framed = framed_weight(tensor(sigma), tensor(np.ones((1, 3, 24)))).asnumpy()
    expected = np.broadcast_to(np.array([1.0, 0.5, 0.0])[None, :, None], framed.shape).copy()
    expected[..., 1] = 0.0
    np.testing.assert_allclose(framed, expected, atol=1e-6)
    width = np.full((1, 3, 24), 1.5)
    found = prior_error(tensor(target + error), tensor(target), tensor(width), tensor(framed))
    squares = (error**2).mean(-1) / 1.5**2
    assert float(found.asnumpy()) == pytest.approx(
        (squares * framed).sum() / framed.sum(), rel=1e-4
    )


def test_a_mean_of_nothing_is_zero():
    assert float(weighted_mean(tensor([1.0, 2.0]), tensor([0.0, 0.0])).asnumpy()) == 0.0


def test_terms_without_targets_are_nan_in_the_metrics_and_absent_from_the_loss(network):
    cell = BioMolLoss(network, LossConfig())
    inputs, targets = noisy_batch(sigma=0.0)
    targets = replace(
        targets,
        prop_weight=targets.prop_weight * 0,
        token_label_weight=targets.token_label_weight * 0,
    )
    loss, metrics = evaluate(cell, inputs, targets)
    assert all(np.isnan(value) for value in metrics.values()), metrics
    assert loss == 0.0


def test_the_sequence_track_has_no_coordinate_terms(network):
    cell = BioMolLoss(network, LossConfig())
    inputs, targets = noisy_batch(identity=True)
    loss, metrics = evaluate(cell, inputs, targets, "sequence")
    missing = {name for name, value in metrics.items() if np.isnan(value)}
    assert missing == {"coordinates", "prior", "lddt", "bonds", "distogram"}
    expected = metrics["identity"] + metrics["properties"] + metrics["token_labels"]
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_the_weighted_sum_of_the_metrics(network):
    inputs, targets = noisy_batch(identity=True)
    _, metrics = evaluate(BioMolLoss(network, LossConfig()), inputs, targets)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    names = (
        "identity", "coordinates", "prior", "lddt", "bonds", "distogram", "properties",
        "token_labels",
    )  # fmt: skip
    for name in names:
        only = LossConfig(**{other: 2.0 if other == name else 0.0 for other in names})
        loss, _ = evaluate(BioMolLoss(network, only), inputs, targets)
        value = 1.0 - metrics["lddt"] if name == "lddt" else metrics[name]
        assert loss == pytest.approx(2.0 * value, rel=1e-3), name


def test_binary_properties_are_scored_as_logits(network):
    cell = BioMolLoss(network, LossConfig())
    values, truth = np.array([[0.3, -1.2], [2.0, 3.0]]), np.array([[1.0, 1.0], [0.5, 0.0]])
    weight = np.array([[1.0, 1.0], [0.0, 1.0]])
    probability = 1 / (1 + np.exp(-values[:, 1]))
    entropy = -np.where(truth[:, 1] > 0, np.log(probability), np.log(1 - probability))
    expected = ((values[0, 0] - truth[0, 0]) ** 2 + entropy.sum()) / 3
    found = cell.property_term(tensor(values), tensor(truth), tensor(weight))
    assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_where_nothing_is_given_the_pose_of_the_answer_does_not_matter(network):
    cell = BioMolLoss(network, LossConfig())
    inputs, targets = noisy_batch()
    assert (targets.align == 1).all()
    turn = Rotation.random(random_state=3)
    turned = turn.apply(targets.coords.reshape(-1, 3)).reshape(targets.coords.shape)
    moved = replace(
        targets, coords=(turned * (targets.coord_weight > 0)[..., None]).astype(np.float32)
    )
    first, second = (evaluate(cell, inputs, x)[1] for x in (targets, moved))
    for name in ("coordinates", "lddt", "bonds", "distogram"):
        assert first[name] == pytest.approx(second[name], rel=2e-3), name
    fixed = [replace(x, align=0 * x.align) for x in (targets, moved)]
    first, second = (evaluate(cell, inputs, x)[1]["coordinates"] for x in fixed)
    assert abs(first - second) > 0.01 * first


def test_every_parameter_learns_from_some_track():
    network = small_network(pair_update="full").set_train(True)
    cell = BioMolLoss(network, LossConfig())
    parameters = list(network.trainable_params())
    moved = set()
    features = [features_of(record, 16) for record in (peptide(), molecule())]
    levels = [
        hidden(f, identity=np.arange(16) % 2 == 0, visible=True, sigma=3.0).giving(
            np.array([row == 1, False])
        )
        for row, f in enumerate(features)
    ]
    inputs, targets = batch_of(features, levels)
    arrays = [Tensor(array) for array in (*inputs.arrays(), *targets.arrays())]

    def total(*batch):
        return cell(Tensor(KEY), "structure", *batch)[0]

    slopes = ms.value_and_grad(total, None, parameters)(*arrays)[1]
    for parameter, slope in zip(parameters, slopes, strict=True):
        values = slope.asnumpy()
        assert np.isfinite(values).all(), parameter.name
        if np.abs(values).max() > 0:
            moved.add(parameter.name)
    # the bias of keys' logits is the only thing softmax cannot see, and there is none
    assert {parameter.name for parameter in parameters} == moved


def test_the_slope_of_the_whole_loss_matches_differences():
    network = small_network(seed=5)
    cell = BioMolLoss(network, LossConfig())
    inputs, targets = noisy_batch(identity=True)
    # alignment and argmax are piecewise: fix the pose
    targets = replace(targets, align=0 * targets.align)
    arrays = [Tensor(array) for array in (*inputs.arrays(), *targets.arrays())]
    parameters = list(network.trainable_params())

    def total(*batch):
        return cell(Tensor(KEY), "structure", *batch)[0]

    slopes = ms.value_and_grad(total, None, parameters)(*arrays)[1]
    rng = np.random.default_rng(0)
    start = [parameter.asnumpy().copy() for parameter in parameters]
    directions = [rng.standard_normal(value.shape) for value in start]
    length = np.sqrt(sum((direction**2).sum() for direction in directions))
    expected = (
        sum((s.asnumpy() * d).sum() for s, d in zip(slopes, directions, strict=True)) / length
    )
    step, values = 2e-2, []
    for sign in (1, -1):
        for parameter, value, direction in zip(parameters, start, directions, strict=True):
            shifted = value + sign * step * direction / length
            parameter.set_data(Tensor(shifted.astype(np.float32)))
        values.append(float(total(*arrays).asnumpy()))
    assert expected == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2)


@pytest.mark.slow
def test_one_batch_can_be_learned_by_heart():
    from mindspore import nn

    network = small_network(seed=1, dim_single=32).set_train(True)
    cell = BioMolLoss(network, LossConfig())
    inputs, targets = noisy_batch(identity=np.arange(16) % 3 == 0, records=[peptide(), molecule()])
    arrays = [Tensor(array) for array in (*inputs.arrays(), *targets.arrays())]
    optimizer = nn.Adam(network.trainable_params(), learning_rate=5e-3)

    def total(*batch):
        return cell(Tensor(KEY), "structure", *batch)

    step = ms.value_and_grad(total, None, optimizer.parameters, has_aux=True)

    @ms.jit
    def train(*batch):
        (loss, metrics), slopes = step(*batch)
        return ops.depend(loss, optimizer(slopes)), metrics

    for _ in range(250):
        loss, metrics = train(*arrays)
    found = dict(zip(METRICS, metrics.asnumpy().tolist(), strict=True))
    assert found["identity_accuracy"] == 1.0
    assert found["token_label_accuracy"] == 1.0
    assert found["properties"] < 0.01
    assert found["lddt"] > 0.6
    assert np.isfinite(float(loss.asnumpy()))


@pytest.mark.slow
def test_half_precision_trains_like_single_precision():
    inputs, targets = noisy_batch(identity=np.arange(16) % 3 == 0, records=[peptide(), molecule()])
    batch = ("structure", *inputs.arrays(), *targets.arrays())
    losses = {}
    for precision in ("fp32", "fp16"):
        device.setup("cpu", precision, threads=1)
        try:
            cell = BioMolLoss(small_network(seed=1, dim_single=32), LossConfig())
            step = make_train_step(
                cell, OptimizerConfig(learning_rate=2e-3), loss_scale=precision == "fp16"
            )
            outcomes = [step(KEY, 2e-3, *batch) for _ in range(30)]
        finally:
            device.setup("cpu", threads=1)
        losses[precision] = [float(outcome.loss.asnumpy()) for outcome in outcomes]
        # the first loss scale overflows by design and is halved
        skipped = sum(not bool(outcome.finite.asnumpy()) for outcome in outcomes)
        assert skipped == 0 if precision == "fp32" else skipped < 10
        assert {parameter.dtype for parameter in cell.get_parameters()} == {ms.float32}
    first = [values[0] for values in losses.values()]
    assert first[0] != first[1], "half precision rounds"
    assert first[1] == pytest.approx(first[0], rel=1e-2)
    for values in losses.values():
        assert np.isfinite(values).all()
        assert values[-1] < 0.8 * values[0]
