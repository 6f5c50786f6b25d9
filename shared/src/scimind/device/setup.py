"""Configure MindSpore once per process: target, threads, synchronous dispatch, determinism."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from scimind.device.capabilities import reset_capabilities
from scimind.device.compile_cache import cache_root, switch_off_graph_cache
from scimind.device.huge_pages import use_huge_pages
from scimind.device.precision import Precision, precision_policy
from scimind.errors import ConfigError, EnvironmentProblem

_log = logging.getLogger("scimind.device")

DEVICES = ("cpu", "ascend")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What `setup` configured.

    Args:
        device: ``"cpu"`` or ``"ascend"``.
        precision: Dtypes of parameters, computation and reductions.
        deterministic: Whether operators are restricted to reproducible algorithms.
        threads: Threads that one operator may use on the CPU.
        cache: Folder of compiled kernels.
    """

    device: str
    precision: Precision
    deterministic: bool
    threads: int
    cache: str

    def describe(self) -> dict[str, Any]:
        """The settings as JSON-able values, for run provenance and result files."""
        return asdict(self)


_runtime: Runtime | None = None
_listeners: list[Callable[[Runtime], None]] = []


def on_setup(listener: Callable[[Runtime], None]) -> None:
    """Call ``listener`` after each `setup`, and now when there was one already."""
    _listeners.append(listener)
    if _runtime is not None:
        listener(_runtime)


def target() -> str:
    """The device that operators run on: that of `setup`, else the one MindSpore is set to."""
    if _runtime is not None:
        return _runtime.device
    import mindspore

    return str(mindspore.get_context("device_target")).lower()


def active_precision() -> Precision:
    """The policy of `setup`; single precision before it."""
    return Precision(name="fp32") if _runtime is None else _runtime.precision


def _already_deterministic() -> bool:
    return _runtime is not None and _runtime.deterministic  # MindSpore refuses a second call


def setup(
    device: str = "cpu",
    precision: str = "fp32",
    *,
    deterministic: bool = True,
    threads: int = 0,
) -> Runtime:
    """Configure this process; call it before the first tensor is made.

    Args:
        device: ``"cpu"`` or ``"ascend"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``, see `Precision`.
        deterministic: Restrict the device to operators that give the same bits each time.
        threads: CPU threads per operator; 0 takes the cores this process may use.

    Raises:
        ConfigError: Unknown device or precision, or a negative number of threads.
        EnvironmentProblem: The device is not there or has no matrix product in this precision.
    """
    global _runtime
    if device not in DEVICES:
        raise ConfigError(f"device={device!r} is unknown; choose one of {', '.join(DEVICES)}")
    if threads < 0:
        raise ConfigError(f"threads={threads} is negative; use 0 for all cores or a positive count")
    threads = threads or len(os.sched_getaffinity(0))
    # Read when the libraries start: OpenMP by our kernels, GLOG by MindSpore's C++ log.
    os.environ.setdefault("GLOG_v", "3")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if device == "cpu":
        # Read at the first operator. Without it the caller hands graphs and operators to a thread
        # and waits for them in a loop without pause, on a core that the kernels need.
        os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    switch_off_graph_cache()

    import mindspore

    try:
        mindspore.set_device("CPU" if device == "cpu" else "Ascend")
    except (RuntimeError, ValueError, TypeError) as error:
        raise EnvironmentProblem(
            f"device={device} is not usable here: {str(error).strip().splitlines()[0]}; "
            "install CANN and its driver, or run with device=cpu"
        ) from error
    if device == "cpu":
        # Asynchronous dispatch spins threads that cost more than the small operators they feed,
        # and reports an error at a later operator than the one that failed.
        mindspore.runtime.launch_blocking()
        if threads == 1 and _runtime is None:  # MindSpore fixes the number at the first call
            # Five dispatch threads by default: on one core they spin against the one that works.
            mindspore.runtime.dispatch_threads_num(1)
    if deterministic and not _already_deterministic():
        mindspore.set_deterministic(True)
    if device == "cpu":
        mindspore.Tensor([0.0]).abs()  # MindSpore takes memory with the first operator
        use_huge_pages()
    reset_capabilities()
    _runtime = Runtime(
        device=device,
        precision=precision_policy(precision, device),
        deterministic=deterministic,
        threads=threads,
        cache=str(cache_root()),
    )
    for listener in _listeners:
        listener(_runtime)
    _log.info("device %s, %s, %d threads", device, precision, threads)
    return _runtime
