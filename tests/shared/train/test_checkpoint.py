"""What goes into a checkpoint comes out; what does not fit is refused by name."""

import json

import numpy as np
import pytest
import safetensors.numpy
from mindspore import Tensor

from scimind.errors import CheckpointError
from scimind.train import checkpoint, history, storage
from scimind.train.checkpoint import load_network
from scimind.train.parameters import snapshot
from training_job import JobConfig, Network, make_network, make_step


def filled_step(config, value=0.5):
    """A step whose every array holds its own numbers."""
    step = make_step(config)
    parts = {**step.named_parameters(), **checkpoint._training_parameters(step)}
    for index, parameter in enumerate(parts.values()):
        array = np.full(parameter.shape, value + index)
        parameter.set_data(Tensor(array.astype(parameter.asnumpy().dtype)))
    if step.average is not None:
        for parameter in step.average.state().values():
            parameter.set_data(Tensor(np.full(parameter.shape, -1.0, np.float32)))
    return step


def everything(step):
    arrays = {
        **snapshot(step.named_parameters()),
        **snapshot(checkpoint._training_parameters(step)),
    }
    return {**arrays, **{f"average/{n}": v for n, v in snapshot(step.average.state()).items()}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "step-0000003"
    step = filled_step(JobConfig(fp16=True))
    checkpoint.save(folder, step, {"step": 3, "note": 0.1})
    return folder, everything(step)


def rewrite(source, target, name, content):
    """The same checkpoint with one file replaced, and a manifest that vouches for it."""
    manifest = storage.read_manifest(source)
    files = {n: storage.read_file(source, n, manifest) for n in manifest}
    storage.write_folder(target, {**files, name: content}.items())
    return target


def test_every_array_comes_back(saved):
    folder, arrays = saved
    other = make_step(JobConfig(fp16=True))
    found = checkpoint.load(folder)
    checkpoint.restore(other, found)
    assert found.step == 3
    assert found.state["note"] == 0.1
    for name, value in everything(other).items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)
        assert value.dtype == arrays[name].dtype
        assert value.shape == arrays[name].shape


def test_a_snapshot_does_not_change_with_the_parameter():
    network = make_network(JobConfig())
    before = snapshot(dict(network.parameters_and_names()))
    for parameter in network.get_parameters():
        parameter.asnumpy()[...] = 7.0
    assert not any((value == 7.0).any() for value in before.values())


def test_the_network_takes_averages_or_raw_parameters(saved):
    folder, arrays = saved
    network = Network(16)
    load_network(network, folder)
    assert all((p.asnumpy() == -1.0).all() for p in network.get_parameters())
    load_network(network, folder, use_ema=False)
    for name, parameter in network.parameters_and_names():
        np.testing.assert_array_equal(parameter.asnumpy(), arrays[name])


def test_another_width_is_refused_by_name_and_shape_and_nothing_is_loaded(saved):
    network = Network(8)
    before = snapshot(dict(network.parameters_and_names()))
    with pytest.raises(CheckpointError, match=r"shape: inner\.weight \(16, 6\) for \(8, 6\)"):
        load_network(network, saved[0])
    for name, parameter in network.parameters_and_names():
        np.testing.assert_array_equal(parameter.asnumpy(), before[name])


def test_missing_and_unexpected_parameters_are_listed(saved):
    network = Network(16)
    network.extra = network.inner
    del network.outer
    with pytest.raises(CheckpointError, match=r"not expected: .*outer\.bias, outer\.weight"):
        load_network(network, saved[0])
    renamed = Network(16)
    renamed.final = renamed.outer
    del renamed.outer
    with pytest.raises(CheckpointError, match=r"missing: final\.weight, .*not expected: outer"):
        load_network(renamed, saved[0])


def test_another_type_is_refused(saved):
    network = Network(16)
    network.inner.weight.set_dtype(Tensor(np.zeros(1, np.float16)).dtype)
    with pytest.raises(CheckpointError, match=r"type: inner\.weight float32 for float16"):
        load_network(network, saved[0])


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (JobConfig(), r"training\.safetensors.*not expected: loss_scale/"),
        (JobConfig(fp16=True, optimizer={"ema": 0.0}), r"average\.safetensors.*not expected"),
        (JobConfig(fp16=True, optimizer={"name": "sgd", "ema": 0.9}), "not expected: .*second/"),
    ],
)
def test_other_training_settings_are_refused_and_nothing_is_loaded(saved, config, found):
    if isinstance(config.optimizer, dict):
        config.optimizer = checkpoint_optimizer(config.optimizer)
    step = make_step(config)
    before = snapshot(step.named_parameters())
    with pytest.raises(CheckpointError, match=found):
        checkpoint.restore(step, checkpoint.load(saved[0]))
    for name, value in snapshot(step.named_parameters()).items():
        np.testing.assert_array_equal(value, before[name])


def checkpoint_optimizer(values):
    from scimind.config.training import OptimizerConfig

    return OptimizerConfig(**values)


def lying_headers():
    good = safetensors.numpy.save({"a": np.zeros(4, np.float32)})
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])

    def with_header(**changes):
        text = json.dumps({"a": {**header["a"], **changes}}).encode()
        return len(text).to_bytes(8, "little") + text + bytes(16)

    return {
        "length beyond the file": (2**40).to_bytes(8, "little") + good[8:],
        "length of all ones": b"\xff" * 8 + good[8:],
        "no header": b"",
        "not JSON": (8).to_bytes(8, "little") + b"no json!" + bytes(16),
        "shape larger than the data": with_header(shape=[10**9]),
        "offsets beyond the data": with_header(data_offsets=[0, 10**6], shape=[250000]),
        "negative offsets": with_header(data_offsets=[-16, 0]),
        "overflowing shape": with_header(shape=[2**32, 2**32]),
        "unknown type": with_header(dtype="F99"),
        "executable": b"\x80\x04\x95" + bytes(40),
    }


@pytest.mark.parametrize("lie", lying_headers())
def test_a_lying_safetensors_header_is_refused(saved, tmp_path, lie):
    content = lying_headers()[lie]
    forged = rewrite(saved[0], tmp_path / "step-0000003", checkpoint.MODEL, content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a safetensors file"):
        checkpoint.load(forged)


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        (b"{}", "tells no step"),
        (b"[1]", "tells no step"),
        (b"{", "not JSON"),
        (b"[" * 200000, "not JSON"),
        (b'{"step": 3, "format": 99}', "has format 99; this version reads 1"),
    ],
)
def test_another_state_is_refused(saved, tmp_path, state, rule):
    forged = rewrite(saved[0], tmp_path / "step-0000003", checkpoint.STATE, state)
    with pytest.raises(CheckpointError, match=rule):
        checkpoint.load(forged)


def test_the_newest_intact_checkpoint_is_taken_and_said(saved, tmp_path, caplog):
    for step in (1, 2, 3):
        storage.write_folder(
            history.step_folder(tmp_path, step),
            [(n, storage.read_file(saved[0], n, storage.read_manifest(saved[0]))) for n in FILES],
        )
    damaged = history.step_folder(tmp_path, 3) / checkpoint.MODEL
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (history.step_folder(tmp_path, 2) / checkpoint.TRAINING).unlink()
    found = history.newest_intact(tmp_path)
    assert found.path == history.step_folder(tmp_path, 1)
    assert "step-0000003/model.safetensors is truncated" in caplog.text
    assert "step-0000002/training.safetensors is missing" in caplog.text
    assert "going back to the newest intact checkpoint" in caplog.text
    with pytest.raises(CheckpointError, match=r"the newest intact one beside it is .*step-0000001"):
        history.load_or_offer(history.step_folder(tmp_path, 3))
    history.set_aside_newer(tmp_path, 1)
    assert history.list_steps(tmp_path) == [1]
    assert (tmp_path / "damaged-step-0000003").exists()
    (history.step_folder(tmp_path, 1) / checkpoint.STATE).unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact"):
        history.newest_intact(tmp_path)


FILES = (checkpoint.MODEL, checkpoint.AVERAGE, checkpoint.TRAINING, checkpoint.STATE)


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    for step in range(1, 7):
        history.step_folder(tmp_path, step).mkdir()
    (tmp_path / "notes").mkdir()
    history.prune(tmp_path, keep=2, best_step=3)
    assert history.list_steps(tmp_path) == [3, 5, 6]
    assert (tmp_path / "notes").exists()


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert history.newest_intact(tmp_path) is None
    assert history.newest_intact(tmp_path / "absent") is None
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        history.find(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "step-0000003"
    checkpoint.save(folder, filled_step(JobConfig(width=2)), {"step": 3})
    return folder


def count_unnoticed(folder, flips):
    """Bit flips, as (file, position), after which the checkpoint still loads."""
    unnoticed = 0
    for name, position in flips:
        path = folder / name
        content = path.read_bytes()
        changed = bytearray(content)
        changed[position // 8] ^= 1 << (position % 8)
        path.write_bytes(changed)
        try:
            checkpoint.load(folder)
            unnoticed += 1
        except CheckpointError:
            pass
        path.write_bytes(content)
    return unnoticed


def all_bits(folder):
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return [(name, bit) for name, size in sizes.items() for bit in range(8 * size)]


def test_a_thousand_random_bit_flips_of_a_checkpoint_are_noticed(tiny):
    bits = all_bits(tiny)
    chosen = np.random.default_rng(0).choice(len(bits), 1000, replace=False)
    assert count_unnoticed(tiny, [bits[index] for index in chosen]) == 0
    assert checkpoint.load(tiny).step == 3


@pytest.mark.nightly
def test_every_single_bit_flip_of_a_checkpoint_is_noticed(tiny):
    bits = all_bits(tiny)
    assert len({name for name, _ in bits}) == 5
    assert count_unnoticed(tiny, bits) == 0
