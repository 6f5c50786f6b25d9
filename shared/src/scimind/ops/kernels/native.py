"""The compiled kernels in this process: loaded, started with oneDNN, told how many threads."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

from scimind.device import on_setup, target
from scimind.device.compiler import BuildError, enabled, libraries

_log = logging.getLogger("scimind.ops")


class State:
    """What this process has met so far; no result depends on it.

    Args:
        sources: What may be needed.
        loaded: Source to library, None where there is none.
        warned: What was said.
        threads: Threads asked for by `set_threads`; 0 before that.
    """

    def __init__(self) -> None:
        self.sources: list[Path] = []
        self.loaded: dict[Path, Path | None] = {}
        self.warned: set[str] = set()
        self.threads = 0


STATE = State()


def announce(source: Path) -> None:
    """Say that ``source`` may be needed, so that it is compiled together with the others."""
    if source not in STATE.sources:
        STATE.sources.append(source)


def load(source: Path) -> Path | None:
    """The started library of ``source``; None, with the reason in the log, when there is none."""
    if source not in STATE.loaded:
        beside = [other for other in STATE.sources if other.parent == source.parent]
        STATE.loaded[source] = _load(source, beside if source in beside else [source])
    return STATE.loaded[source]


def libraries_used() -> tuple[tuple[str, str], ...]:
    """Of every source that may be needed its name and the library in use, empty without one.

    Compiles what is not compiled yet. On other devices than the CPU none is in use.
    """
    if target() != "cpu":
        return ()
    return tuple(sorted((source.name, str(load(source) or "")) for source in STATE.sources))


def set_threads(count: int) -> None:
    """Let each kernel use ``count`` threads; the results have the same bits with any number."""
    STATE.threads = count
    for path in STATE.loaded.values():
        if path is not None:
            ctypes.CDLL(str(path)).scimind_threads(count)


def _load(source: Path, beside: list[Path]) -> Path | None:
    if not enabled():
        _warn(logging.INFO, "CPU kernels are switched off by SCIMIND_KERNELS=plain")
        return None
    try:
        path = _built(source, beside)
        status = ctypes.CDLL(str(path)).scimind_start(_onednn().encode(), _threads())
        if status != 0:
            reason = {1: "it does not load", 2: "it has no dnnl_sgemm"}.get(status, "it errs")
            raise BuildError(f"the oneDNN library of MindSpore cannot be used: {reason}")
    except (BuildError, OSError, AttributeError) as error:
        _warn(logging.WARNING, f"plain operators instead of CPU kernels, 2x slower: {error}")
        return None
    return path


def _built(source: Path, beside: list[Path]) -> Path:
    try:
        return dict(zip(beside, libraries(beside), strict=True))[source]
    except BuildError:
        if beside == [source]:
            raise
    return libraries([source])[0]  # another one of the folder may be the one that fails


def _warn(level: int, message: str) -> None:
    if message not in STATE.warned:
        STATE.warned.add(message)
        _log.log(level, "scimind.ops: %s", message)


def _onednn() -> str:
    import mindspore

    return str(Path(mindspore.__file__).parent / "lib" / "libdnnl.so.3")


def _threads() -> int:
    if STATE.threads:
        return STATE.threads
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and asked != "0" else len(os.sched_getaffinity(0))


on_setup(lambda runtime: set_threads(runtime.threads))
enabled()  # a wrong setting shows when the operators are imported
