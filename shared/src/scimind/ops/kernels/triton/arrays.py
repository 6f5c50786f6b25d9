"""The array libraries that the kernels run on, and how a kernel is started on their memory.

NumPy arrays run in Triton's interpreter, which checks the kernels without a device. MindSpore
tensors run there too when the device is the CPU, and through `driver` on Ascend. Another library
is added to `LIBRARIES`. Nothing here imports ``triton`` or an array library before it is needed.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

SIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "int32": 4}
"""Bytes of an element."""

BFLOAT16 = np.dtype("uint16", metadata={"holds": "bfloat16"})
"""For the bits of bfloat16 in NumPy, which has no such dtype."""


@runtime_checkable
class Arrays(Protocol):
    """What the launch functions need to know of an array library.

    Args:
        views: Whether kernels can read arrays that are not in row-major order.
    """

    views: bool

    def owns(self, value: Any) -> bool:
        """Whether ``value`` is an array of this library."""

    def dtype(self, array: Any) -> str:
        """Name of the dtype, such as ``"float32"``."""

    def strides(self, array: Any) -> tuple[int, ...]:
        """Elements from one index to the next, for each axis."""

    def contiguous(self, array: Any) -> Any:
        """The same values in row-major order."""

    def empty(self, like: Any, shape: Sequence[int], dtype: str) -> Any:
        """Uninitialised memory where ``like`` is."""

    def arange(self, like: Any, count: int) -> Any:
        """The int32 numbers from 0 on."""

    def integers(self, mask: Any) -> Any:
        """Int32 1 where the mask is true, else 0."""

    def order(self, keys: Any) -> Any:
        """The int32 permutation that sorts integer ``keys``, the first of equal ones first."""

    def search(self, increasing: Any, values: Any) -> Any:
        """How many of ``increasing`` integers are smaller than each of ``values``, int32."""

    def processors(self) -> int:
        """Cores of the device that run at the same time."""

    def start(self, kernel: Any, tasks: int, arguments: Sequence[Any], constants: Any) -> None:
        """Start ``kernel`` on enough programs for ``tasks``."""


class NumPy:
    """NumPy arrays, in the interpreter only; bfloat16 is `BFLOAT16` or a dtype of that name."""

    views = True

    def owns(self, value: Any) -> bool:
        """Whether ``value`` is an array."""
        return isinstance(value, np.ndarray)

    def dtype(self, array: Any) -> str:
        """Name of the dtype."""
        return str((array.dtype.metadata or {}).get("holds", array.dtype.name))

    def strides(self, array: Any) -> tuple[int, ...]:
        """Elements from one index to the next."""
        return tuple(stride // array.itemsize for stride in array.strides)

    def contiguous(self, array: Any) -> Any:
        """Row-major order."""
        return np.ascontiguousarray(array)

    def empty(self, like: Any, shape: Sequence[int], dtype: str) -> Any:
        """Uninitialised memory."""
        return np.empty(shape, like.dtype if dtype == self.dtype(like) else dtype)

    def arange(self, like: Any, count: int) -> Any:
        """Numbers from 0 on."""
        return np.arange(count, dtype=np.int32)

    def integers(self, mask: Any) -> Any:
        """1 and 0."""
        return mask.astype(np.int32)

    def order(self, keys: Any) -> Any:
        """The sorting permutation."""
        return np.argsort(keys, kind="stable").astype(np.int32)

    def search(self, increasing: Any, values: Any) -> Any:
        """Positions of ``values``."""
        return np.searchsorted(increasing, values).astype(np.int32)

    def processors(self) -> int:
        """A few, so that small arrays are split as well."""
        return 4

    def start(self, kernel: Any, tasks: int, arguments: Sequence[Any], constants: Any) -> None:
        """Interpret the kernel on fewer programs than tasks, so that the loop over them runs."""
        from scimind.ops.kernels.triton.interpreter import interpret, pointer

        given = [
            pointer(value, value.ctypes.data, self.dtype(value)) if self.owns(value) else value
            for value in arguments
        ]
        interpret(kernel, min(tasks, 3), given, constants)


class MindSpore:
    """MindSpore tensors: interpreted on the CPU, through the driver on Ascend (unverified)."""

    views = False

    def owns(self, value: Any) -> bool:
        """Whether ``value`` is a tensor."""
        mindspore = sys.modules.get("mindspore")
        return mindspore is not None and isinstance(value, mindspore.Tensor)

    def dtype(self, array: Any) -> str:
        """Name of the dtype."""
        return str(array.dtype).lower()

    def strides(self, array: Any) -> tuple[int, ...]:
        """Elements from one index to the next."""
        return tuple(array.stride())

    def contiguous(self, array: Any) -> Any:
        """Row-major order."""
        return array.contiguous()

    def empty(self, like: Any, shape: Sequence[int], dtype: str) -> Any:
        """Uninitialised memory on the device."""
        import mindspore
        from mindspore import mint

        return mint.empty(tuple(shape), dtype=getattr(mindspore, dtype))

    def arange(self, like: Any, count: int) -> Any:
        """Numbers from 0 on."""
        from mindspore import Tensor

        return Tensor(np.arange(count, dtype=np.int32))

    def integers(self, mask: Any) -> Any:
        """1 and 0."""
        import mindspore

        return mask.astype(mindspore.int32)

    def order(self, keys: Any) -> Any:
        """The sorting permutation; MindSpore's stable sort has no kernel on the CPU."""
        import mindspore
        from mindspore import mint, ops

        if _on_ascend():
            return mint.argsort(keys, stable=True).astype(mindspore.int32)
        return ops.sort(keys)[1]

    def search(self, increasing: Any, values: Any) -> Any:
        """Positions of ``values``."""
        import mindspore
        from mindspore import ops

        return ops.searchsorted(increasing, values).astype(mindspore.int32)

    def processors(self) -> int:
        """Cores of the device."""
        if not _on_ascend():
            return NumPy().processors()
        from scimind.ops.kernels.triton.driver import MindSporeDriver

        return MindSporeDriver.active().processors()

    def start(self, kernel: Any, tasks: int, arguments: Sequence[Any], constants: Any) -> None:
        """Interpret the kernel on views of the memory, or queue it on the device."""
        if not _on_ascend():
            views = [value.asnumpy() if self.owns(value) else value for value in arguments]
            NumPy().start(kernel, tasks, views, constants)
            return
        from scimind.ops.kernels.triton.driver import MindSporeDriver
        from scimind.ops.kernels.triton.interpreter import pointer

        given = [
            pointer(value, value.data_ptr(), self.dtype(value)) if self.owns(value) else value
            for value in arguments
        ]
        kernel[(min(tasks, MindSporeDriver.active().processors()),)](*given, **constants)


def _on_ascend() -> bool:
    import mindspore

    return str(mindspore.get_context("device_target")) == "Ascend"


LIBRARIES: list[Arrays] = [NumPy(), MindSpore()]
"""Array libraries, asked in turn."""


def arrays_of(op: str, name: str, value: Any) -> Arrays:
    """The library of ``value``.

    Raises:
        TypeError: It is of none of `LIBRARIES`.
    """
    for library in LIBRARIES:
        if library.owns(value):
            return library
    raise TypeError(f"{op}: {name} is a {type(value).__name__}; it has to be an array")


@dataclass(frozen=True)
class Launch:
    """One start of a kernel, as `recorded` keeps it.

    Args:
        kernel: Module and function, such as ``"decoding.combine"``.
        types: Triton types of the arguments that are no constants, by name.
        numbers: Those of them that are no arrays.
        constants: Compile-time constants by name.
    """

    kernel: str
    types: Mapping[str, str]
    numbers: Mapping[str, int | float]
    constants: Mapping[str, Any]


_TYPES = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16", "int32": "*i32"}


@dataclass
class _Recorder:
    launches: list[Launch] | None = field(default=None)


_recorder = _Recorder()


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Keep the launches of the block instead of running them; results are uninitialised."""
    before, _recorder.launches = _recorder.launches, []
    try:
        yield _recorder.launches
    finally:
        _recorder.launches = before


def function(kernel: str) -> Any:
    """The kernel of that module and name; imports ``triton``."""
    module, _, name = kernel.partition(".")
    return getattr(importlib.import_module(f".kernels.{module}", __package__), name)


def launch(
    arrays: Arrays, kernel: str, tasks: int, arguments: Mapping[str, Any], constants: Any
) -> None:
    """Start a kernel for ``tasks`` independent tasks; with none, nothing happens.

    Args:
        arrays: The library of the arrays.
        kernel: Module and function, such as ``"decoding.combine"``.
        tasks: How often its outer loop runs in all programs together.
        arguments: Arrays and numbers by name, ``tasks`` excluded.
        constants: Compile-time constants by name.
    """
    if tasks == 0:
        return
    fn = function(kernel)
    named = {**arguments, "tasks": tasks}
    order = [name for name in fn.arg_names if name not in constants]
    if _recorder.launches is not None:
        types = {name: _type(arrays, named[name]) for name in order}
        numbers = {name: named[name] for name in order if not arrays.owns(named[name])}
        _recorder.launches.append(Launch(kernel, types, numbers, dict(constants)))
        return
    arrays.start(fn, tasks, [named[name] for name in order], constants)


def _type(arrays: Arrays, value: Any) -> str:
    if arrays.owns(value):
        return _TYPES[arrays.dtype(value)]
    return "fp32" if isinstance(value, float) else "i32"


def tile(size: int, most: int) -> int:
    """The power of two that holds ``size`` elements, at least 16 (matrix units need it)."""
    return min(most, max(16, 1 << max(size - 1, 0).bit_length()))


def tokens(dtype: str, size: int, widest: int, most: int = 32768) -> int:
    """Rows of a tile of ``widest`` columns for ``size`` rows: at most 64, and ``most`` bytes."""
    return tile(size, max(16, min(64, most // (widest * SIZE[dtype]))))
