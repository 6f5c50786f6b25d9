"""What a call of an operator gives: results, changed arguments and gradients, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore import ops as ms_ops
from mindspore.common.api import _pynative_executor

from scimind.ops.operator import Operator
from scimind.ops.rule import shape_of
from scimind.ops.testing.calls import Call

Arrays = Mapping[str, np.ndarray | None]
Way = Literal["pynative", "jit", "float64", "float32"]


class _Call(nn.Cell):
    """An operator as a function of its tensors.

    ``places`` says for each argument which tensor it is, or -1 for one of ``constants``; ``kept``
    which results are returned.
    """

    def __init__(
        self,
        function: Any,
        constants: tuple[Any, ...],
        places: tuple[int, ...],
        kept: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.function, self.constants, self.places, self.kept = function, constants, places, kept

    def construct(self, *tensors: Any) -> Any:
        arguments: tuple[Any, ...] = ()
        for index in range(len(self.places)):
            if self.places[index] >= 0:
                arguments = (*arguments, tensors[self.places[index]])
            else:
                arguments = (*arguments, self.constants[index])
        out = self.function(*arguments)
        out = out if isinstance(out, tuple) else (out,)
        results: tuple[Any, ...] = ()
        for index in self.kept:
            results = (*results, out[index])
        return results


class _Slopes(nn.Cell):
    """Gradients of a call with ``count`` tensors, which are followed by the cotangents."""

    def __init__(self, call: _Call, count: int) -> None:
        super().__init__()
        self.call, self.count = call, count
        self.gradient = ms_ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *given: Any) -> Any:
        return self.gradient(self.call)(*given[: self.count], given[self.count :])


class _Graph(nn.Cell):
    """The same in ``ms.jit``."""

    def __init__(self, cell: nn.Cell) -> None:
        super().__init__()
        self.cell = cell

    @ms.jit(capture_mode="ast")  # type: ignore[untyped-decorator]
    def construct(self, *given: Any) -> Any:
        return self.cell(*given)


def values(
    entry: Operator, call: Call, arrays: Arrays, way: Way = "pynative"
) -> dict[str, np.ndarray]:
    """Results of a call, and its arguments afterwards.

    Args:
        entry: The operator.
        call: The call.
        arrays: Values of the tensors.
        way: Mode in which the operator is called, in the dtype of the call, or dtype of the plain
            formulation.
    """
    results = entry.rule.results
    cell, tensors = _prepared(entry, call, arrays, way, tuple(range(len(results))))
    outs = _run(cell, tuple(tensors.values()), way)
    found = {result.name: out for result, out in zip(results, outs, strict=True)}
    return found | {f"{name} afterwards": _array(value) for name, value in tensors.items()}


def gradients(
    entry: Operator, call: Call, arrays: Arrays, way: Way = "pynative"
) -> dict[str, np.ndarray]:
    """Gradients of the float arguments of a call, see `values` and `cotangents`."""
    sens = cotangents(entry, call)
    kept = tuple(index for index, result in enumerate(entry.rule.results) if result.name in sens)
    cell, tensors = _prepared(entry, call, arrays, way, kept)
    weights = (Tensor(value.astype(_dtype(call, way))) for value in sens.values())
    given = (*tensors.values(), *weights)
    slopes = dict(zip(tensors, _run(_Slopes(cell, len(tensors)), given, way), strict=True))
    return {
        f"gradient of {tensor.name}": slopes[tensor.name]
        for tensor in entry.rule.tensors
        if tensor.family == "float" and tensor.name in slopes
    }


def cotangents(entry: Operator, call: Call) -> dict[str, np.ndarray]:
    """Random gradients of the float results, by name, in float32."""
    rng = np.random.default_rng(call.seed + 1)
    sizes = {**call.sizes, **entry.rule.bind(call.shapes, call.options)}
    return {
        result.name: rng.standard_normal(shape_of(result.axes, sizes)).astype(np.float32)
        for result in entry.rule.results
        if result.family == "float"
    }


def _prepared(
    entry: Operator, call: Call, arrays: Arrays, way: Way, kept: tuple[int, ...]
) -> tuple[_Call, dict[str, Tensor]]:
    """The call as a cell, and its tensors."""
    tensors: dict[str, Tensor] = {}
    places = []
    for name, value in arrays.items():
        places.append(-1 if value is None else len(tensors))
        if value is not None:
            dtype = _dtype(call, way) if value.dtype == np.float64 else value.dtype
            tensors[name] = Tensor(value.astype(dtype))
    constants = (*[None] * len(places), *call.options)
    places += [-1] * len(call.options)
    function = entry.plain if way in ("float64", "float32") else entry.call
    return _Call(function, constants, tuple(places), kept), tensors


def _dtype(call: Call, way: Way) -> np.dtype:
    return np.dtype(way if way in ("float64", "float32") else call.dtype)


def _run(cell: nn.Cell, given: tuple[Any, ...], way: Way) -> list[np.ndarray]:
    _soil(-1.5 if way in ("jit", "float32") else 1.5)
    try:
        outs = (_Graph(cell) if way == "jit" else cell)(*given)
    except Exception:
        _pynative_executor.clear_res()  # after an error in a gradient the next call may crash
        raise
    return [_array(out) for out in (outs if isinstance(outs, tuple) else (outs,))]


def _soil(value: float) -> None:
    """Fill memory that MindSpore hands out next, so that what nobody writes is seen."""
    for elements in (32, 128, 512, 2048, 8192):
        for filled in [ms_ops.fill(ms.float32, (elements,), value) for _ in range(8)]:
            filled.asnumpy()


def _array(out: Any) -> np.ndarray:
    """A copy; a graph gives a custom operator's result without axes as a number."""
    return out.asnumpy().copy() if isinstance(out, Tensor) else np.asarray(out, np.float32)
