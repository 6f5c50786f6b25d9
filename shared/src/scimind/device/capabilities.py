"""What the device can run, found by running it once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def _matmul(dtype: str) -> None:
    import mindspore
    from mindspore import ops

    x = mindspore.Tensor(np.ones((2, 2), np.float32)).astype(getattr(mindspore, dtype))
    ops.MatMul()(x, x).astype(mindspore.float32).asnumpy()


_PROBES: dict[str, Callable[[], Any]] = {
    f"matmul.{dtype}": functools.partial(_matmul, dtype)
    for dtype in ("float32", "float16", "bfloat16", "float64")
}
_DEVICES: dict[str, str] = {}  # of capabilities that only one kind of device can have
_found: dict[str, bool] = {}


def add_probe(name: str, attempt: Callable[[], Any], device: str | None = None) -> None:
    """Define a capability: present when ``attempt`` returns without an exception.

    Args:
        name: Of the capability.
        attempt: Uses it.
        device: The only kind of device on which it is tried; None for every one.
    """
    _PROBES[name] = attempt
    if device is not None:
        _DEVICES[name] = device
    _found.pop(name, None)


def _device() -> str:
    import mindspore

    return str(mindspore.get_context("device_target")).lower()


def probe(name: str) -> bool:
    """Whether capability ``name`` is present; tried once per process."""
    if name in _DEVICES and _DEVICES[name] != _device():
        return False
    if name not in _found:
        try:
            _PROBES[name]()
            _found[name] = True
        except Exception:
            # Every backend has its own exception for a missing kernel.
            _found[name] = False
    return _found[name]


def capabilities() -> frozenset[str]:
    """The names of all capabilities that are present on the current device."""
    return frozenset(name for name in _PROBES if probe(name))


def reset_capabilities() -> None:
    """Forget what was found; called when the device changes."""
    _found.clear()
