"""Our kernels for the CPU: C++, compiled on first use, loaded as MindSpore custom operators.

They hold for float32 and static shapes, and have no second derivative and no ``vmap``: use
`scimind.ops.plain` or `scimind.ops.plain_formulations` there. ``SCIMIND_KERNELS=plain`` switches
them off.
"""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

from scimind.device import on_setup
from scimind.errors import EnvironmentProblem
from scimind.ops.kernels.cpu.build import BuildError, library

_log = logging.getLogger("scimind.ops")

_loaded: Path | None = None
_attempted = False


def load() -> Path | None:
    """The library, compiled and started; None, with the reason in the log, when it cannot be."""
    global _loaded, _attempted
    if _attempted:
        return _loaded
    _attempted = True
    mode = os.environ.get("SCIMIND_KERNELS", "auto")
    if mode not in ("auto", "plain"):
        raise EnvironmentProblem(f"SCIMIND_KERNELS={mode!r} is unknown; use auto or plain")
    if mode == "plain":
        _log.info("scimind.ops: CPU kernels are switched off by SCIMIND_KERNELS=plain")
        return None
    try:
        path = library()
        status = ctypes.CDLL(str(path)).scimind_start(_onednn().encode(), _threads())
        if status != 0:
            reason = {1: "it does not load", 2: "it has no dnnl_sgemm"}.get(status, "it errs")
            raise BuildError(f"the oneDNN library of MindSpore cannot be used: {reason}")
    except (BuildError, OSError) as error:
        _log.warning("scimind.ops: plain operators instead of CPU kernels, 2x slower: %s", error)
        return None
    _loaded = path
    on_setup(lambda runtime: set_threads(runtime.threads))
    return path


def set_threads(count: int) -> None:
    """Let each kernel use ``count`` threads; the results have the same bits with any number."""
    if _loaded is not None:
        ctypes.CDLL(str(_loaded)).scimind_threads(count)


def _onednn() -> str:
    import mindspore

    return str(Path(mindspore.__file__).parent / "lib" / "libdnnl.so.3")


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and asked != "0" else len(os.sched_getaffinity(0))
