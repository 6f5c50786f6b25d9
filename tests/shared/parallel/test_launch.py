"""Workers: same training as one process, and an end that is quick and tells who failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scimind.config import ParallelConfig
from scimind.errors import ConfigError, EnvironmentProblem
from scimind.parallel import is_main, rank, world
from scimind.parallel.job import WorkerEnd
from scimind.parallel.launch import launch, relaunch

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch):
    for name in ("MS_ROLE", "RANK_ID", "MS_WORKER_NUM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(folder, workers, *command):
    return subprocess.Popen(
        [sys.executable, "-m", "scimind.parallel.launch", "--workers", str(workers),
         "--log-dir", str(folder / "logs"), *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip


def script(folder, text):
    path = folder / "script.py"
    path.write_text("import os, signal, sys, time\n" + text)
    return path


def processes_with(text):
    """Command lines of the running processes that name ``text``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


def test_rank_and_world_come_from_the_environment(monkeypatch):
    assert (rank(), world(), is_main()) == (0, 1, True)
    # msrun gives its scheduler a rank too, which is none.
    for name, value in (("MS_ROLE", "MS_SCHED"), ("RANK_ID", "0"), ("MS_WORKER_NUM", "4")):
        monkeypatch.setenv(name, value)
    assert world() == 1
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("RANK_ID", "3")
    assert (rank(), world(), is_main()) == (3, 4, False)
    monkeypatch.setenv("RANK_ID", "4")
    with pytest.raises(EnvironmentProblem, match="names no rank"):
        rank()


def test_one_worker_is_this_process(tmp_path, monkeypatch):
    assert relaunch(ParallelConfig(workers=1), log_dir=tmp_path) is None
    for name, value in (("MS_ROLE", "MS_WORKER"), ("RANK_ID", "1"), ("MS_WORKER_NUM", "2")):
        monkeypatch.setenv(name, value)
    assert relaunch(ParallelConfig(workers=2), log_dir=tmp_path) is None
    with pytest.raises(ConfigError, match=r"parallel\.workers=3"):
        relaunch(ParallelConfig(workers=3), log_dir=tmp_path)
    with pytest.raises(EnvironmentProblem, match="cannot launch another"):
        launch(["x.py"], workers=2, log_dir=tmp_path)


@pytest.mark.parametrize(("workers", "command"), [(0, ["x.py"]), (2, [])])
def test_an_impossible_job_is_refused(tmp_path, workers, command):
    with pytest.raises(ConfigError, match="launch needs"):
        launch(command, workers=workers, log_dir=tmp_path)
    with pytest.raises(ValueError, match="at least 1 process"):
        ParallelConfig(workers=0)


def test_an_end_is_told_in_words():
    assert str(WorkerEnd(2, 4)) == "worker 2 ended with exit code 4"
    assert str(WorkerEnd(0, -9)) == "worker 0 was killed by signal 9 (SIGKILL)"


@pytest.mark.slow
def test_collectives_equal_numpy_on_two_workers(tmp_path):
    job = start(tmp_path, 2, HERE / "collective_checks.py")
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "rank 0 of 2: all checks passed" in output
    assert "rank 1 of 2: all checks passed" in (tmp_path / "logs" / "worker_1.log").read_text()
    assert (output + errors).count("has no all-to-all: composed from all-gather") == 1


@pytest.mark.slow
def test_two_workers_train_like_one_process_with_twice_the_batch(tmp_path):
    program = HERE / "linear_regression.py"
    job = start(tmp_path, 2, program, 8, 30, tmp_path / "two.json")
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    subprocess.run([sys.executable, program, "16", "30", tmp_path / "one.json"], check=True,
                   cwd=tmp_path)  # fmt: skip
    two, one = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("two", "one"))
    assert len(one) == 30
    assert one[-1] < 0.5 * one[0]
    # The mean of 16 float32 terms in another order: units in the last place, 1.2e-7, per step. The
    # largest difference measured over the 30 steps is 2.8e-7; 13 of them are equal in every bit.
    np.testing.assert_allclose(two, one, rtol=2e-6)
    # And they are the same training, not nearly: another order of examples is far away.
    assert np.abs(np.diff(one)).min() > 1e-5


@pytest.mark.slow
def test_a_killed_worker_ends_the_job_and_is_named(tmp_path):
    ready = str(tmp_path / "ready-{rank}")
    job = start(tmp_path, 2, HERE / "linear_regression.py", 8, 4, tmp_path / "losses.json", ready)
    deadline = time.monotonic() + 120
    waiting = Path(ready.format(rank=1))
    while not (waiting.exists() and waiting.read_text()):
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)  # Rank 0 now waits for rank 1 in an all-reduce.
    killed = time.monotonic()
    os.kill(int(waiting.read_text()), signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert job.returncode == 128 + 9
    assert "worker 1 was killed by signal 9 (SIGKILL)" in errors
    assert str(tmp_path / "logs" / "worker_1.log") in errors
    assert not (tmp_path / "losses.json").exists()
    assert processes_with(str(tmp_path)) == []


@pytest.mark.slow
def test_the_first_failure_decides_the_exit_code_and_its_log_is_shown(tmp_path):
    program = script(tmp_path, """
from pathlib import Path
rank = os.environ["RANK_ID"]
print(f"rank {rank} argument {sys.argv[1]} {os.environ['OMP_NUM_THREADS']}", flush=True)
other = Path(__file__).parent / "logs" / "worker_0.log"
while rank == "1":  # fails once the other has said something
    if "argument" in other.read_text():
        sys.exit("the reason, told by rank 1")
    time.sleep(0.05)
time.sleep(300)
""")  # fmt: skip
    started = time.monotonic()
    job = start(tmp_path, 2, program, "a b")
    output, errors = job.communicate(timeout=60)
    assert "Warning" not in errors
    assert time.monotonic() - started < 50
    assert job.returncode == 1
    assert "rank 0 argument a b 1" in (tmp_path / "logs" / "worker_0.log").read_text()
    assert "rank 1" not in output
    assert "worker 1 ended with exit code 1" in errors
    assert "the reason, told by rank 1" in errors
    assert processes_with(str(tmp_path)) == []


@pytest.mark.slow
def test_a_program_relaunches_itself_with_its_own_arguments(tmp_path):
    program = script(tmp_path, """
from pathlib import Path
from scimind.config import ParallelConfig
from scimind.parallel import rank, world
from scimind.parallel.launch import relaunch
code = relaunch(ParallelConfig(workers=2), log_dir=Path("logs"), arguments=["output=x"])
if code is not None:
    sys.exit(code)
Path(f"rank-{rank()}").write_text(f"{world()} {sys.argv[1:]} {sys.flags.dev_mode}")
sys.exit(3 if sys.argv[1] == "fail" else 0)
""")  # fmt: skip
    for argument, code in (("fail", 3), ("a b", 0)):
        done = subprocess.run([sys.executable, "-X", "dev", program, argument], cwd=tmp_path,
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        assert done.returncode == code, done.stderr
    for number in range(2):
        found = (tmp_path / f"rank-{number}").read_text()
        assert found == "2 ['a b', 'output=x'] True"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ending_the_launcher_ends_the_workers(tmp_path, number):
    program = script(tmp_path, """
def save(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(300)
""")  # fmt: skip
    job = start(tmp_path, 2, program)
    logs = [tmp_path / "logs" / f"worker_{r}.log" for r in range(2)]
    deadline = time.monotonic() + 60
    while not all(log.exists() and "ready" in log.read_text() for log in logs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    job.send_signal(number)
    job.communicate(timeout=30)
    if number == signal.SIGTERM:
        assert job.returncode == 143
        assert all("saved" in log.read_text() for log in logs)
    deadline = time.monotonic() + 10
    while processes_with(str(tmp_path)):
        assert time.monotonic() < deadline, processes_with(str(tmp_path))
        time.sleep(0.1)
