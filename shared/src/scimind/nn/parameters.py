"""Write parameters that compiled graphs already use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn
from mindspore import ops as ms_ops
from numpy.typing import NDArray


class _Write(nn.Cell):
    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__()
        self.targets = ParameterTuple(parameters)

    def construct(self, *values: Any) -> Any:
        done = values[0]
        for index in range(len(self.targets)):
            done = ms_ops.depend(done, ms_ops.assign(self.targets[index], values[index]))
        return done


def parameter_writer(
    parameters: Sequence[Parameter],
) -> Callable[[Sequence[NDArray[Any]]], None]:
    """A function that writes values where compiled graphs read them.

    On MindSpore 2.10, ``Parameter.set_data``, ``ops.assign`` outside a graph and
    ``load_param_into_net`` have no effect on a graph of ``ms.jit`` that already ran: it keeps its
    own memory, silently, and two graphs may from then on disagree about a parameter. A write from
    inside a graph reaches them all. Build the writer before any ``set_data`` on these parameters
    and then use nothing else; a write before the first compilation is safe either way.

    Args:
        parameters: What to write, in the order of the values.

    Returns:
        A function of one array per parameter, of equal shape; raises ValueError otherwise.
    """
    cell = _Write(parameters)

    @ms.jit  # type: ignore[untyped-decorator]
    def write(*values: Any) -> Any:
        return cell(*values)

    def write_arrays(values: Sequence[NDArray[Any]]) -> None:
        if len(values) != len(parameters):
            raise ValueError(f"{len(values)} values for {len(parameters)} parameters")
        for parameter, value in zip(parameters, values, strict=True):
            if tuple(value.shape) != tuple(parameter.shape):
                raise ValueError(
                    f"value of shape {tuple(value.shape)} for parameter {parameter.name} of "
                    f"shape {tuple(parameter.shape)}"
                )
        tensors = [
            Tensor(np.ascontiguousarray(value), parameter.dtype)
            for parameter, value in zip(parameters, values, strict=True)
        ]
        write(*tensors).asnumpy()

    return write_arrays
