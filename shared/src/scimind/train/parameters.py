"""Reading and writing parameters outside the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mindspore import Parameter, Tensor, ops

Arrays = dict[str, np.ndarray]


def snapshot(parameters: Mapping[str, Parameter]) -> Arrays:
    """Copies of parameters; ``asnumpy`` alone is a view that changes with the next step."""
    return {name: value.asnumpy().copy() for name, value in parameters.items()}


def overwrite(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays into the memory of the parameters of the same names.

    Not with ``set_data``: after a graph was compiled, MindSpore 2.10 gives the parameter other
    memory than the graph, which trains on while ``asnumpy`` returns what was set.
    """
    for name, parameter in parameters.items():
        ops.assign(parameter, Tensor(arrays[name]))
