"""Training as a process: kills, signals, a full disk, two runs in one folder."""

import json
import resource
import signal
import subprocess
import sys
import time

import pytest

from kill_proof import JOB, fingerprint, kill_until_done, record, start, wait_for_steps
from outcomes import RESULTS
from scimind.provenance import commit_state
from scimind.train import find, load, read_metrics
from scimind.train.history import list_steps

LONG = ("steps=100000", "lengths=[8]", "evaluate_every=0", "checkpoint.every=0", "slow_s=0.01")


def log_of(folder):
    return folder.with_suffix(".log").read_text()


@pytest.fixture
def running(tmp_path):
    """A job that has made its first steps; ended by the test or after it."""
    folder = tmp_path / "run"
    job = start(folder, *LONG)
    assert wait_for_steps(folder, job, 0, 120), log_of(folder)
    yield folder, job
    job.kill()
    job.wait()


def steps_made(folder):
    return read_metrics(folder / "metrics.jsonl", "train")[-1]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_saves_the_last_step_and_ends(running, number):
    folder, job = running
    job.send_signal(number)
    assert job.wait(60) == 143, log_of(folder)
    saved = load(find(folder, "last"))
    assert saved.step == steps_made(folder)
    assert f"stopped by a signal after step {saved.step}" in log_of(folder)
    assert "Traceback" not in log_of(folder)


@pytest.mark.slow
def test_a_second_stop_signal_ends_at_once(tmp_path):
    folder = tmp_path / "run"
    job = start(folder, *LONG[:-1], "slow_s=30")
    while not (folder / "metrics.jsonl").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    job.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert job.poll() is None, "the first signal waits for the step"
    job.send_signal(signal.SIGTERM)
    assert job.wait(3) == -signal.SIGTERM
    assert "the same signal again ends at once" in log_of(folder)


@pytest.mark.slow
def test_sigusr1_saves_and_training_goes_on(running):
    folder, job = running
    job.send_signal(signal.SIGUSR1)
    end = time.monotonic() + 60
    while not list_steps(folder / "checkpoints"):
        assert time.monotonic() < end
        time.sleep(0.01)
    (saved,) = list_steps(folder / "checkpoints")
    assert wait_for_steps(folder, job, (folder / "metrics.jsonl").stat().st_size, 60)
    assert load(find(folder, "last")).step == saved < steps_made(folder)
    assert job.poll() is None


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_and_names_the_first(running):
    folder, job = running
    second = subprocess.run(
        [sys.executable, str(JOB), str(folder), *LONG], capture_output=True, text=True, timeout=120
    )
    assert second.returncode == 2
    assert f"is in use by process {job.pid} on " in second.stderr
    assert job.poll() is None
    job.kill()
    job.wait()
    third = start(folder, "steps=3", "lengths=[8]")
    assert third.wait(120) == 0, log_of(folder)
    assert f"was left locked by process {job.pid}" in log_of(folder)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    folder = tmp_path / "run"
    assert start(folder, "steps=7", "lengths=[8]").wait(120) == 0, log_of(folder)
    before = list_steps(folder / "checkpoints")
    # The largest file of a checkpoint no longer fits, by one byte.
    largest = max(p.stat().st_size for p in find(folder, "last").iterdir())
    limited = subprocess.run(
        [sys.executable, str(JOB), str(folder), "steps=12", "lengths=[8]"],
        capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1)),
    )  # fmt: skip
    assert limited.returncode == 4, limited.stderr
    assert "free space, or set output= to another disk, then resume" in limited.stderr
    assert list_steps(folder / "checkpoints") == before
    assert not list((folder / "checkpoints").glob(".tmp-*"))
    assert start(folder, "steps=12", "lengths=[8]").wait(120) == 0, log_of(folder)
    assert load(find(folder, "last")).step == 12


@pytest.mark.slow
def test_five_kills_leave_the_losses_as_they_would_have_been(tmp_path):
    settings = ("steps=400", "lengths=[8]", "slow_s=0.005", "evaluate_every=50")
    whole = start(tmp_path / "whole", *settings)
    assert whole.wait(300) == 0, log_of(tmp_path / "whole")
    counts = kill_until_done(tmp_path / "killed", 5, 0, *settings)
    assert counts["kills"] == counts["intact_after_kill"] == 5
    assert counts["during_write"] >= 1
    assert record(tmp_path / "killed") == record(tmp_path / "whole")
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_a_hundred_kills_leave_the_losses_as_they_would_have_been(tmp_path):
    code = JOB.with_name("kill_proof.py")
    done = subprocess.run(
        [sys.executable, str(code), "--kills", "100", "--folder", str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    commit, dirty = commit_state() or ("", False)  # as it was before results were written
    result |= {"commit": commit, "dirty": dirty}
    text = json.dumps(result, indent=2) + "\n"
    (RESULTS / "reliability_kill.json").write_text(text, encoding="utf-8")
    assert done.returncode == 0, result
