"""Runs a command on several local workers, and ends the whole job when one of them fails.

``python -m scimind.parallel.launch --workers 2 -m biomol.train experiment=smoke``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from scimind.config import ParallelConfig
from scimind.errors import (
    EXIT_INPUT,
    EXIT_INTERNAL,
    EXIT_OK,
    EXIT_TERMINATED,
    ConfigError,
    EnvironmentProblem,
    ScimindError,
)
from scimind.parallel.job import Job, WorkerEnd
from scimind.parallel.ranks import world
from scimind.parallel.worker import die_with_parent

_POLL_S = 0.1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True)
class LaunchPolicy:
    """Patience of the launcher, in seconds.

    Attributes:
        start_s: Longest time until every worker has joined the cluster.
        kill_grace_s: Between SIGTERM and SIGKILL when the job is ended because a worker failed.
        terminate_grace_s: The same when the launcher itself is told to end: workers save first.
        finish_s: Longest time between the first worker's success and the last one's.
        bind_cores: Pin workers to cores; for Ascend hosts.
    """

    start_s: float = 120.0
    kill_grace_s: float = 3.0
    terminate_grace_s: float = 120.0
    finish_s: float = 600.0
    bind_cores: bool = False


def launch(
    command: Sequence[str],
    *,
    workers: int,
    log_dir: Path,
    policy: LaunchPolicy = LaunchPolicy(),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs ``python <command>`` on local workers through msrun and waits for them.

    Rank 0's output is shown; every rank's goes to ``<log_dir>/worker_<rank>.log``. When a worker
    fails, its rank, exit code or signal and the end of its log are printed on standard error, and
    the others are ended.

    Args:
        command: What follows ``python``: a script or ``-m module``, and its arguments.
        workers: Number of processes.
        log_dir: Folder for the logs; made if needed.
        policy: Timeouts.
        environment: Variables for the workers on top of this process's.

    Returns:
        0 if every worker succeeded, otherwise the exit code of the one that failed first
        (128 + signal number for a killed one), or 143 after SIGTERM.

    Raises:
        ConfigError: No command, or fewer than one worker.
        EnvironmentProblem: This process is itself a worker, or MindSpore's launcher is missing.
    """
    if workers < 1 or not command:
        raise ConfigError(f"launch needs a command and workers >= 1, not {workers} and {command}")
    if world() > 1:
        raise EnvironmentProblem("a worker of a job cannot launch another job; launch it outside")
    log_dir = log_dir.absolute()
    state = log_dir / ".workers"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    for old in log_dir.glob("worker_*.log"):
        old.unlink()
    with (log_dir / "msrun.log").open("wb") as log:
        job = Job(workers, state, _start(command, workers, log_dir, policy, environment, log))
        with _ending_on_signals(job):
            try:
                return _watch(job, log_dir, policy)
            finally:
                job.kill()
                job.msrun.wait()
                shutil.rmtree(state, ignore_errors=True)


def relaunch(
    config: ParallelConfig,
    *,
    log_dir: Path,
    arguments: Sequence[str] = (),
    bind_cores: bool = False,
) -> int | None:
    """Runs this process's own command line on workers, if it asks for some and is not one itself.

    Args:
        config: The number of workers, and how long they may take to join.
        log_dir: Folder for the workers' logs.
        arguments: Added to the command line, such as the output folder that was already chosen.
        bind_cores: Pin workers to cores; for Ascend hosts.

    Returns:
        The exit code of the job, or None if this process is to do the work.

    Raises:
        ConfigError: This process is a worker of a job of another size.
    """
    workers = config.workers
    if world() > 1 and workers not in {1, world()}:
        raise ConfigError(
            f"parallel.workers={workers}, but the job was launched with {world()} workers; leave "
            "one of the two out"
        )
    if workers == 1 or world() > 1:
        return None
    return launch(
        [*sys.orig_argv[1:], *arguments],
        workers=workers,
        log_dir=log_dir,
        policy=LaunchPolicy(start_s=config.start_s, bind_cores=bind_cores),
    )


def _start(
    command: Sequence[str],
    workers: int,
    log_dir: Path,
    policy: LaunchPolicy,
    environment: Mapping[str, str] | None,
    log: IO[bytes],
) -> subprocess.Popen[bytes]:
    variables = {**os.environ, **(environment or {})}
    # Joining a cluster writes a page of warnings about reconnecting.
    variables.setdefault("GLOG_v", "3")
    for name in _THREAD_VARIABLES:
        # Several OpenMP runtimes on the same cores spin against each other.
        variables.setdefault(name, "1")
    # msrun starts whatever "python" is first on the path: make it this one.
    here = str(Path(sys.executable).parent)
    variables["PATH"] = os.pathsep.join([here, variables.get("PATH", os.defpath)])
    arguments = {
        "worker_num": workers,
        "local_worker_num": workers,
        "master_addr": "127.0.0.1",
        "master_port": _free_port(),
        "log_dir": log_dir,
        "join": True,
        "cluster_time_out": max(1, round(policy.start_s)),
        "bind_core": policy.bind_cores,
        # No rank has this number: this launcher shows rank 0 itself.
        "tail_worker_log": workers,
    }
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from mindspore.parallel.cluster.run import main; main()",
            *(f"--{name}={value}" for name, value in arguments.items()),
            "python",
            *("-m", "scimind.parallel.worker", str(log_dir / ".workers")),
            *(sys.executable, *command),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=variables,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def _watch(job: Job, log_dir: Path, policy: LaunchPolicy) -> int:
    shown = _Follower(log_dir / "worker_0.log")
    first_success: float | None = None
    terminated_at: float | None = None
    while True:
        shown.show()
        ends = job.ends()
        failed = [end for end in ends if end.code != 0]
        if job.terminated and terminated_at is None:
            job.terminate()
            terminated_at = time.monotonic()
        if failed and not job.terminated:
            _end_others(job, policy)
            shown.show()
            _report(failed[0], job.workers, log_dir)
            return failed[0].code if failed[0].code > 0 else 128 - failed[0].code
        if len(ends) == job.workers:
            shown.show()
            return EXIT_TERMINATED if job.terminated else EXIT_OK
        if terminated_at is not None and time.monotonic() - terminated_at > (
            policy.terminate_grace_s
        ):
            _complain(f"workers did not end within {policy.terminate_grace_s:g} s of SIGTERM")
            return EXIT_TERMINATED
        if ends and first_success is None:
            first_success = time.monotonic()
        if first_success is not None and time.monotonic() - first_success > policy.finish_s:
            missing = sorted(set(range(job.workers)) - {end.rank for end in ends})
            _complain(
                f"worker {ends[0].rank} finished {policy.finish_s:g} s ago, but workers {missing} "
                f"did not; their logs are in {log_dir}"
            )
            return EXIT_INTERNAL
        if job.msrun.poll() is not None and not any(job.folder.glob("*.pid.json")):
            _complain(
                f"msrun ended with exit code {job.msrun.returncode} before it started a worker; "
                f"its log: {log_dir / 'msrun.log'}\n{_tail(log_dir / 'msrun.log')}"
            )
            return EXIT_INTERNAL
        time.sleep(_POLL_S)


def _end_others(job: Job, policy: LaunchPolicy) -> None:
    job.terminate()
    deadline = time.monotonic() + policy.kill_grace_s
    while time.monotonic() < deadline and len(job.ends()) < job.workers:
        time.sleep(_POLL_S)


def _report(end: WorkerEnd, workers: int, log_dir: Path) -> None:
    log = log_dir / f"worker_{end.rank}.log"
    _complain(
        f"{end} ({workers} workers in all); the others were ended. Its log: {log}\n{_tail(log)}"
    )


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)


def _tail(path: Path) -> str:
    if not path.exists():
        return "  (no log was written)"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(f"  | {line}" for line in lines)


class _Follower:
    """Shows what is added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def show(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        if new:
            sys.stdout.write(new.decode("utf-8", errors="replace"))
            sys.stdout.flush()


@contextlib.contextmanager
def _ending_on_signals(job: Job) -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> None:
        if job.terminated:
            job.kill()
        job.terminated = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:
        # Not in the main thread: whoever owns it deals with signals.
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the launcher."""
    parser = argparse.ArgumentParser(prog="python -m scimind.parallel.launch", description=__doc__)
    parser.add_argument("--workers", type=int, required=True, help="number of processes")
    parser.add_argument("--log-dir", type=Path, default=Path("outputs/workers"), help="log folder")
    parser.add_argument("--bind-cores", action="store_true", help="pin workers to cores (Ascend)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="script or -m module, arguments")
    arguments = parser.parse_args(argv)
    try:
        return launch(
            arguments.command,
            workers=arguments.workers,
            log_dir=arguments.log_dir,
            policy=LaunchPolicy(bind_cores=arguments.bind_cores),
        )
    except ScimindError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error}; choose another --log-dir")
        return EXIT_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
