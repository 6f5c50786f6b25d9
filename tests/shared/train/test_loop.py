"""The loop in one process: exact resume, NaN policies, budgets, early stop, logs."""

import errno
import json
import os
import signal
import time

import numpy as np
import pytest

import training_job
from scimind.config import LogConfig
from scimind.config.training import CheckpointConfig, OptimizerConfig, ScheduleConfig
from scimind.errors import CheckpointError, ConfigError, NumericsError
from scimind.train import (
    Hooks,
    RunFolder,
    Terminated,
    find,
    fit,
    history,
    load,
    load_network,
    read_metrics,
)
from scimind.train.parameters import snapshot
from training_job import JobConfig, make_step, make_stream, train

TIMES = (
    "steps_per_s", "examples_per_s", "data_wait_share", "compiling_s", "graphs", "peak_rss_mib",
    "evaluation_s",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _plots(request, monkeypatch):
    """Drawing takes longer than training; only the tests that look at plots do it."""
    if "plots" not in request.node.name and "logger" not in request.node.name:
        monkeypatch.setattr("scimind.train.loop.plot_metrics", lambda metrics, folder: [])


class Interrupted(Exception):
    pass


class Breaking:
    """A stream that fails after some batches, as a killed process would."""

    def __init__(self, stream, batches):
        self.stream, self.left = stream, batches

    def __iter__(self):
        for batch in self.stream:
            if self.left == 0:
                raise Interrupted
            self.left -= 1
            yield batch

    def state(self):
        return self.stream.state()

    def restore(self, state):
        self.stream.restore(state)


def train_until(config, folder, batches):
    stream = Breaking(make_stream(config), batches)
    hooks = Hooks(evaluate=training_job.Validation(config))
    with RunFolder(folder) as run, pytest.raises(Interrupted):
        fit(make_step(config), stream, config, run, hooks)


def told(folder):
    """Everything in the metrics file that is not a measurement of time."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def arrays(path):
    found = load(path)
    return {
        **found.model,
        **found.training,
        **{f"average/{n}": v for n, v in found.average.items()},
    }


def assert_same_run(one, other):
    assert told(one) == told(other)
    first, second = arrays(find(one, "last")), arrays(find(other, "last"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


RESUMED = {
    # Batches before each interruption: within an epoch (about 6 batches), off the interval of log
    # lines, evaluations and checkpoints.
    "plain": (JobConfig(steps=24, lengths=(8,)), (13, 8)),
    "buckets, interval means": (
        JobConfig(steps=24, log=LogConfig(every=7, tensorboard=False)),
        (12, 9),
    ),
    "accumulation, loss scale, skipped updates": (
        JobConfig(steps=14, lengths=(8,), accumulate=3, fp16=True, poison=(10, 19, 20), patience=9),
        (23, 7),
    ),
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_interrupted_twice_equals_the_uninterrupted_one_bit_for_bit(case, tmp_path):
    config, interruptions = RESUMED[case]
    train(config, tmp_path / "whole")
    for batches in interruptions:
        train_until(config, tmp_path / "parts", batches)
    report = train(config, tmp_path / "parts")
    assert report.reason == "steps"
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    losses = [line["loss"] for line in told(tmp_path / "whole") if "loss" in line]
    assert losses[-1] < losses[0], "the job must learn, or equal losses say little"


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(JobConfig(steps=8, lengths=(8,), seed=seed), tmp_path / name)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert told(tmp_path / "a") != told(tmp_path / "c")


def test_a_finished_run_is_not_trained_again_but_longer_when_asked(tmp_path):
    config = JobConfig(steps=6, lengths=(8,), schedule=ScheduleConfig(name="constant"))
    first = train(config, tmp_path)
    lines = told(tmp_path)
    again = train(config, tmp_path)
    assert again.progress.step == first.progress.step == 6
    assert again.evaluation == first.evaluation
    assert told(tmp_path) == lines
    config.steps = 9
    assert train(config, tmp_path).progress.step == 9


def test_a_stop_in_the_middle_of_an_evaluation_does_not_wait_for_it(tmp_path):
    config = JobConfig(steps=6, lengths=(8,), evaluate_every=4)
    train(config, tmp_path / "whole")

    def endless(network):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)

    with RunFolder(tmp_path / "part") as run, pytest.raises(Terminated) as error:
        fit(make_step(config), make_stream(config), config, run, Hooks(evaluate=endless))
    assert error.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    saved = load(find(tmp_path / "part", "last"))
    assert (saved.step, saved.state["progress"]["evaluated_step"]) == (4, -1)
    train(config, tmp_path / "part")
    assert_same_run(tmp_path / "whole", tmp_path / "part")


def test_the_best_checkpoint_is_the_best_on_validation_and_is_kept(tmp_path):
    scores = iter([5.0, 2.0, float("nan"), 3.0, 4.0, 6.0])
    config = JobConfig(
        steps=12, lengths=(8,), evaluate_every=2, checkpoint=CheckpointConfig(every=1, keep=1)
    )
    with RunFolder(tmp_path) as run:
        hooks = Hooks(evaluate=lambda network: {"loss": next(scores), "other": 0.0})
        report = fit(make_step(config), make_stream(config), config, run, hooks)
    assert report.best == find(tmp_path) == tmp_path / "checkpoints" / "step-0000004"
    assert report.last == find(tmp_path, "last") == tmp_path / "checkpoints" / "step-0000012"
    assert history.list_steps(tmp_path / "checkpoints") == [4, 12]
    assert report.progress.best_score == 2.0
    load_network(training_job.Network(16), report.best)


def test_the_score_of_an_evaluation_is_that_of_the_averaged_parameters(tmp_path):
    config = JobConfig(steps=5, lengths=(8,))
    report = train(config, tmp_path)
    network = training_job.Network(16)
    network.set_train(False)
    load_network(network, report.best)
    assert training_job.Validation(config)(network) == report.evaluation


def test_training_stops_when_patience_is_used_up(tmp_path):
    scores = iter([3.0, 1.0, 2.0, 2.0])
    config = JobConfig(steps=100, lengths=(8,), evaluate_every=2, patience=2)
    with RunFolder(tmp_path) as run:
        hooks = Hooks(evaluate=lambda network: {"loss": next(scores)})
        report = fit(make_step(config), make_stream(config), config, run, hooks)
    assert (report.reason, report.progress.step) == ("patience", 8)
    assert report.best.name == "step-0000004"


def test_a_large_score_can_be_the_good_one(tmp_path):
    scores = iter([1.0, 3.0, 2.0])
    config = JobConfig(
        steps=6, lengths=(8,), evaluate_every=2, monitor="accuracy", monitor_mode="max"
    )
    with RunFolder(tmp_path) as run:
        hooks = Hooks(evaluate=lambda network: {"accuracy": next(scores)})
        report = fit(make_step(config), make_stream(config), config, run, hooks)
    assert report.best.name == "step-0000004"


def test_a_monitor_that_is_not_measured_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"monitor=lddt is not among .* choose one of loss"):
        train(JobConfig(steps=2, lengths=(8,), monitor="lddt"), tmp_path)


@pytest.mark.parametrize("budget", ["max_minutes", "max_cpu_minutes"])
def test_a_time_budget_counts_earlier_sessions_and_ends_with_a_checkpoint(budget, tmp_path, caplog):
    config = JobConfig(steps=100_000, lengths=(8,), evaluate_every=0, **{budget: 0.02})
    config.log.every = 1000
    config.checkpoint = CheckpointConfig(every=0)
    report = train(config, tmp_path)
    assert report.reason == budget
    assert history.list_steps(tmp_path / "checkpoints") == [report.progress.step]
    assert report.progress.evaluated_step == report.progress.step
    assert "set steps=" in caplog.text
    used = report.progress.wall_s if budget == "max_minutes" else report.progress.cpu_s
    assert used >= 1.2
    again = train(config, tmp_path)
    assert again.progress.step == report.progress.step


def test_skipped_updates_are_counted_and_their_batches_saved(tmp_path, caplog):
    config = JobConfig(steps=8, lengths=(8,), poison=(3, 5))
    with RunFolder(tmp_path) as run:
        hooks = Hooks(names=lambda batch: ["1abc", "2xyz"])
        report = fit(make_step(config), make_stream(config), config, run, hooks)
    assert (report.progress.skipped, report.progress.skipped_in_row) == (2, 0)
    lines = read_metrics(tmp_path / "metrics.jsonl", "skipped")
    assert [line["batches"] for line in lines] == [[3, 3], [5, 5]]
    assert lines[0]["examples"] == ["1abc", "2xyz"]
    assert "already the input is not: batch 0 argument 0: 1 of 384 values" in caplog.text
    with np.load(tmp_path / "nonfinite" / "step-0000003.npz") as dump:
        assert np.isnan(dump["batch0_argument0"]).sum() == 1
    assert int(load(report.last).training["optimizer/updates"]) == 6


def test_the_policy_stop_ends_at_the_first_one(tmp_path):
    config = JobConfig(steps=8, lengths=(8,), poison=(6,), nan_policy="stop")
    with pytest.raises(NumericsError, match=r"loss of step 6, batches 6 to 6.*nan_policy=skip"):
        train(config, tmp_path)
    assert load(find(tmp_path)).step == 5


def test_too_many_skipped_updates_in_a_row_end_the_run(tmp_path):
    config = JobConfig(steps=20, lengths=(8,), poison=(2, 5, 6, 7, 8), max_skipped=3)
    with pytest.raises(NumericsError, match=r"step 7, .*It is update 3 in a row") as error:
        train(config, tmp_path)
    assert error.value.exit_code == 3


def test_diverging_training_is_told_from_bad_input(tmp_path):
    config = JobConfig(
        steps=50, lengths=(8,), max_skipped=2, evaluate_every=0,
        optimizer=OptimizerConfig(name="sgd", learning_rate=1e30, clip_norm=0.0),
    )  # fmt: skip
    with pytest.raises(NumericsError, match=r"is not finite; the batches are in") as error:
        train(config, tmp_path)
    assert "already the input" not in str(error.value)


def test_an_overflow_of_the_loss_scale_is_not_an_error(tmp_path):
    config = JobConfig(steps=6, lengths=(8,), fp16=True, max_skipped=1, evaluate_every=0)
    step = make_step(config)
    step.loss_scale.scale.set_data(step.loss_scale.scale * float("inf"))
    step.loss_scale.scale.set_data(step.loss_scale.scale * 0 + 2.0**127)
    with RunFolder(tmp_path) as run:
        report = fit(step, make_stream(config), config, run)
    assert report.progress.skipped == 0
    assert float(step.loss_scale.scale.asnumpy()) < 2.0**127


def test_metrics_unknown_in_a_batch_do_not_spoil_the_mean(tmp_path):
    config = JobConfig(steps=12, log=LogConfig(every=12, tensorboard=False))
    train(config, tmp_path)
    (line,) = read_metrics(tmp_path / "metrics.jsonl", "train")
    assert np.isfinite(line["long_only"])
    assert line["long_only"] != line["absolute_error"]


def test_parameters_are_current_after_a_resumed_run_was_evaluated(tmp_path):
    # Parameter.set_data after compiling leaves asnumpy with what was set, not what was trained.
    config = JobConfig(steps=8, lengths=(8,), evaluate_every=2)
    train_until(config, tmp_path, 6)
    step = make_step(config)
    with RunFolder(tmp_path) as run:
        hooks = Hooks(evaluate=training_job.Validation(config))
        fit(step, make_stream(config), config, run, hooks)
    before = snapshot(step.named_parameters())
    step(np.zeros(2, np.int32), 0.5, *next(iter(make_stream(config))).values())
    after = snapshot(step.named_parameters())
    assert all((before[name] != after[name]).any() for name in before)


def test_metrics_are_what_was_configured_and_plots_and_events_exist(tmp_path):
    config = JobConfig(steps=6, lengths=(8,), log=LogConfig(every=3, tensorboard=True))
    train(config, tmp_path)
    lines = read_metrics(tmp_path / "metrics.jsonl", "train")
    assert [line["step"] for line in lines] == [3, 6]
    expected = {"loss", "grad_norm", "learning_rate", "absolute_error", "peak_rss_mib", *TIMES}
    assert expected - {"evaluation_s"} <= set(lines[0])
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
    assert b"evaluation/loss" in events.read_bytes()
    for name in ("loss", "learning_rate", "absolute_error"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_failing_logger_never_stops_training(tmp_path, monkeypatch, caplog):
    from scimind.train import metrics_log, plots

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(metrics_log.json, "dumps", lambda *a, **k: json.JSONEncoder().encode(*a))
    monkeypatch.setattr(metrics_log.os, "fsync", full)
    monkeypatch.setattr(plots, "_draw", full)
    monkeypatch.setattr("tensorboardX.SummaryWriter.add_scalar", full)
    config = JobConfig(
        steps=4, lengths=(8,), log=LogConfig(every=1), checkpoint=CheckpointConfig(every=0)
    )
    with RunFolder(tmp_path) as run:
        monkeypatch.setattr("scimind.train.saving.Saver.save", lambda self, position: None)
        report = fit(make_step(config), make_stream(config), config, run)
    assert report.progress.step == 4
    assert "metrics are no longer written" in caplog.text
    assert "no plots of" in caplog.text


def test_another_model_in_the_folder_is_refused(tmp_path):
    train(JobConfig(steps=3, lengths=(8,)), tmp_path)
    with pytest.raises(CheckpointError, match=r"shape: inner\.weight \(16, 6\) for \(12, 6\)"):
        train(JobConfig(steps=5, lengths=(8,), width=12), tmp_path)


def test_changed_settings_are_told_when_a_run_goes_on(tmp_path, caplog):
    train(JobConfig(steps=3, lengths=(8,)), tmp_path)
    config = JobConfig(steps=4, lengths=(8,), optimizer=OptimizerConfig(beta1=0.8, ema=0.95))
    train(config, tmp_path)
    assert "other than in the checkpoint: optimizer.beta1=0.8 instead of 0.9" in caplog.text
    assert "other than in the checkpoint: steps=4 instead of 3" in caplog.text


def test_a_folder_with_checkpoints_is_refused_when_resuming_is_off(tmp_path):
    config = JobConfig(steps=3, lengths=(8,), checkpoint=CheckpointConfig(resume="never"))
    train(config, tmp_path)
    with pytest.raises(ConfigError, match="already holds checkpoints"):
        train(config, tmp_path)


def test_a_run_can_go_on_from_a_checkpoint_of_another_folder(tmp_path):
    config = JobConfig(steps=8, lengths=(8,))
    train(config, tmp_path / "whole")
    train_until(config, tmp_path / "part", 7)
    start = find(tmp_path / "part", "last")
    config.checkpoint = CheckpointConfig(every=5, resume=str(start))
    train(config, tmp_path / "rest")
    whole = arrays(find(tmp_path / "whole", "last"))
    for name, value in arrays(find(tmp_path / "rest", "last")).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
    assert told(tmp_path / "rest") == told(tmp_path / "whole")[5:]


def test_a_damaged_newest_checkpoint_costs_steps_but_not_the_run(tmp_path, caplog):
    config = JobConfig(steps=13, lengths=(8,))
    train(config, tmp_path / "whole")
    train_until(config, tmp_path / "part", 12)
    newest = find(tmp_path / "part", "last") / "training.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    train(config, tmp_path / "part")
    assert "is damaged: its SHA-256" in caplog.text
    assert "going back to the newest intact checkpoint" in caplog.text
    assert_same_run(tmp_path / "whole", tmp_path / "part")


def test_a_finite_stream_ends_the_run(tmp_path):
    config = JobConfig(steps=100, lengths=(8,), accumulate=2, evaluate_every=0)

    class Short(Breaking):
        def __iter__(self):
            yield from (batch for batch, _ in zip(self.stream, range(5), strict=False))

    with RunFolder(tmp_path) as run:
        report = fit(make_step(config), Short(make_stream(config), 0), config, run)
    assert (report.reason, report.progress.step) == ("data", 2)
    assert load(report.last).step == 2


def test_the_step_and_the_loop_must_agree_on_accumulation(tmp_path):
    config = JobConfig(steps=3)
    step = make_step(config)
    config.accumulate = 2
    with RunFolder(tmp_path) as run, pytest.raises(ConfigError, match="made for 1"):
        fit(step, make_stream(config), config, run)


def test_loading_for_evaluation_does_not_touch_the_run(tmp_path):
    config = JobConfig(steps=3, lengths=(8,))
    step = make_step(config)
    with RunFolder(tmp_path) as run:
        fit(step, make_stream(config), config, run)
    before = snapshot(step.named_parameters())
    load_network(step.network, find(tmp_path))
    load_network(step.network, find(tmp_path), use_ema=False)
    for name, value in snapshot(step.named_parameters()).items():
        np.testing.assert_array_equal(value, before[name])
