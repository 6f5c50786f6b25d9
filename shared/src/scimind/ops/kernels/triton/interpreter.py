"""Runs the kernels in Triton's interpreter (3.2), on host memory.

Triton decides when it is imported whether functions are compiled or interpreted, and MindSpore
imports it. So that nothing depends on an environment variable being set before that, the functions
are turned into interpreted ones here, at the first use; the process cannot compile kernels after
that, because the interpreter replaces parts of the language.

Three things about the interpreter are put right while it runs: it multiplies the bits of bfloat16
matrices as if they were integers, it cuts off mantissas where devices round to nearest even, and
it takes maxima element by element, which is most of its time.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Pointer:
    """An array as Triton wants it: an address and the dtype behind it.

    The other methods are those by which the interpreter would copy a tensor to the host and back.
    """

    array: Any
    address: int
    dtype: Any
    device: str = "cpu"

    def data_ptr(self) -> int:
        """The address."""
        return self.address

    def cpu(self) -> Pointer:
        """Itself: the memory is the host's."""
        return self

    def to(self, device: str) -> Pointer:
        """Itself."""
        return self

    @property
    def data(self) -> Pointer:
        """Itself."""
        return self

    def copy_(self, other: Pointer) -> None:
        """Nothing: it is the same memory."""


def pointer(array: Any, address: int, dtype: str) -> Pointer:
    """``array`` as an argument of a kernel."""
    return Pointer(array, address, getattr(importlib.import_module("triton.language"), dtype))


def interpret(
    kernel: Any, programs: int, arguments: Sequence[Any], constants: Mapping[str, Any]
) -> None:
    """Run ``kernel`` for each of ``programs`` in turn; arrays are given as `Pointer`."""
    with _exact():
        _interpreted(kernel)[(programs,)](*arguments, **constants)


@functools.cache
def _interpreted(fn: Any) -> Any:
    """The interpreted twin of a compiled function; its module and the language get theirs, too."""
    interpreter = importlib.import_module("triton.runtime.interpreter")
    compiled = importlib.import_module("triton.runtime.jit").JITFunction
    if not isinstance(fn, compiled):
        return fn
    twin = interpreter.InterpretedFunction(fn.fn)
    package = fn.__module__.rpartition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.startswith(("triton.language", package)):
            for key, value in list(vars(module).items()):
                if isinstance(value, compiled):
                    setattr(module, key, twin if value is fn else _interpreted(value))
    return twin


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Products and conversions of bfloat16 as devices compute them, and fast maxima."""
    interpreter = importlib.import_module("triton.runtime.interpreter")
    language = importlib.import_module("triton.language")
    builder, handle = interpreter.interpreter_builder, interpreter.TensorHandle
    reduction = interpreter.ReduceOps
    multiply, convert, reduce = builder.create_dot, builder.cast_impl, reduction.apply_impl
    # Like the instructions of devices, they pass over NaN.
    fast = {"_elementwise_max_default": np.fmax.reduce, "_elementwise_min": np.fmin.reduce}

    def wide(operand: Any) -> Any:
        if operand.dtype.scalar != language.bfloat16:
            return operand
        return handle(from_bfloat16(operand.data), language.float32)

    def create_dot(a: Any, b: Any, *rest: Any) -> Any:
        return multiply(wide(a), wide(b), *rest)

    def cast_impl(source: Any, target: Any) -> Any:
        if source.dtype.scalar == language.float32 and target.scalar == language.bfloat16:
            return handle(to_bfloat16(source.data), target.scalar)
        return convert(source, target)

    def apply_impl(self: Any, given: Any) -> Any:
        pick = fast.get(self.combine_fn.__name__)
        return reduce(self, given) if pick is None else self.min_max(given[0], pick)

    builder.create_dot, builder.cast_impl = create_dot, cast_impl
    reduction.apply_impl = apply_impl
    try:
        # Rows that see nothing subtract infinities on purpose.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            yield
    finally:
        del builder.create_dot, builder.cast_impl
        reduction.apply_impl = reduce


def to_bfloat16(x: Any) -> Any:
    """The bits of float32 ``x`` rounded to bfloat16, to nearest even, NaN kept."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)


def from_bfloat16(bits: Any) -> Any:
    """The float32 values of bfloat16 ``bits``."""
    return (np.ascontiguousarray(bits, dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)
