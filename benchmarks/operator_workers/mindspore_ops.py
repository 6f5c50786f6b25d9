"""Worker: the declared operators in ``ms.jit``, their plain formulations, and MindSpore's own.

A graph makes all calls of a run, each with its own inputs, and returns the results that are
compared, so that what it costs to enter and to leave a graph is shared by them as in a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor
from mindspore import ops as ms_ops
from mindspore.ops.composite.base import _Grad

from operator_workers.cases import Case
from operator_workers.mindspore_own import NONE, OTHER_RESULT, OWN
from operator_workers.serve import Prepared, Run, first_line, serve, timed, warm
from operator_workers.values import cotangent, digest, value
from operator_workers.work import checked, few_calls
from scimind import device, ops
from scimind.ops.generated import define
from scimind.ops.operator import OPERATORS

# Forward and backward in one graph; without ``get_value`` a forward pass that the gradient does not
# need would be left out, which no training step can do.
_GRADIENT = _Grad(get_by_position=True, sens_param=True, get_value=True)
# A kernel of MindSpore tries sizes of blocks in its first 30 calls, slow ones among them.
SEARCH = 32
# MindSpore takes a function at the address of an earlier one, which is gone, for that one.
_ALIVE: list[Callable[..., Any]] = []


class Inputs:
    """The arguments of the calls of a case, as parameters that a graph closes over.

    An argument of a graph costs 10 us at each entry, which in a network only its inputs do.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shared: dict[str, Parameter] = {}
        self.number = Parameter(Tensor(np.ones(1, np.float32)), name="number", requires_grad=False)

    def closure(self, count: int) -> dict[str, Parameter | None]:
        """By name, for ``count`` calls; those that a call changes are made anew."""
        found = {}
        for index in range(count):
            for name in self.case.tensors:
                make = partial(value, self.case, index, name)
                changed = name in self.case.changes
                found[f"{name}_{index}"] = self._parameter(f"{name}_{index}", make, changed)
        return found

    def weights(self, index: int) -> dict[str, Parameter | None]:
        """The gradients of the results of a call."""
        names = [f"cotangent{place}_{index}" for place in range(len(self.case.results))]
        return {
            name: self._parameter(name, partial(cotangent, self.case, index, place), False)
            for place, name in enumerate(names)
        }

    def _parameter(
        self, name: str, make: Callable[[], np.ndarray | None], changed: bool
    ) -> Parameter | None:
        if name in self.shared:
            return self.shared[name]
        array = make()
        if array is None:
            return None
        parameter = Parameter(Tensor(array), name=name, requires_grad=False)
        if not changed:
            self.shared[name] = parameter
        return parameter


class Graph:
    """The calls of a case with one formulation."""

    def __init__(self, inputs: Inputs, function: Callable[..., Any], count: int) -> None:
        self.inputs, self.case, self.count = inputs, inputs.case, count
        found = inputs.closure(count)
        self.closure: dict[str, Any] = {"function": function} | {
            place: parameter for place, parameter in found.items() if parameter is not None
        }
        # Where each call finds its arguments, None for an absent one.
        self.places = [
            {
                name: f"{name}_{index}" if found[f"{name}_{index}"] is not None else None
                for name in self.case.tensors
            }
            for index in range(count)
        ]

    def _call(self, places: dict[str, str | None]) -> str:
        options = map(repr, self.case.options.values())
        return f"function({', '.join([*map(str, places.values()), *options])})"

    def _compiled(self, lines: list[str], results: list[str]) -> Run:
        ends = [0] if self.case.joined else self._ends()
        text = ["def calls():", *lines, f"    out = ({', '.join(results)},)"]
        kept = "".join(f"out[{place}], " for place in ends)
        text += [f"    return ({kept}), relu(depend(number, out))"]
        closure = {**self.closure, "relu": ms_ops.relu, "depend": ms_ops.depend}
        calls = define("calls", "\n".join(text), __name__, number=self.inputs.number, **closure)
        _ALIVE.append(calls)
        return partial(_fetch, ms.jit(calls))

    def forward(self) -> Run:
        if self.case.joined:
            return self._compiled([], [self._joined()])
        return self._compiled([], [self._call(places) for places in self.places])

    def _joined(self) -> str:
        arguments = []
        for name, tensor in self.case.tensors.items():
            if tensor.shape:
                arguments.append(f"({', '.join(str(p[name]) for p in self.places)},)")
            else:
                arguments.append(str(self.places[0][name]))
        return f"function({', '.join(arguments)}{_joined_options(self.case)})"

    def forward_backward(self) -> Run:
        lines, results = [], []
        self.closure["gradient"] = _GRADIENT
        wanted = self.case.gradient
        for index, places in enumerate(self.places):
            inner = {name: name if name in wanted else place for name, place in places.items()}
            lines += [f"    def call_{index}({', '.join(wanted)}):"]
            lines += [f"        return {self._call(inner)}"]
            weights = self.inputs.weights(index)
            self.closure |= weights
            sens = ", ".join(weights)
            sens = sens if len(weights) == 1 else f"({sens})"
            inputs = ", ".join(str(places[name]) for name in wanted)
            positions = tuple(range(len(wanted)))
            results += [f"gradient(call_{index}, None, {positions})({inputs}, {sens})"]
        return self._compiled(lines, results)

    def digest(self, run: Run) -> list[list[float]]:
        """Of what the calls to compare return or change."""
        out = run()
        found = []
        if not (self.case.joined and self.case.changes):
            found += [*out] * len(self._ends()) if self.case.joined else _flat(out)
        found += [
            self.closure[self.places[place][name]]
            for place in self._ends()
            for name in self.case.changes
        ]
        return digest([part.asnumpy() for part in found])

    def _ends(self) -> list[int]:
        return [place for place in checked(self.case) if place < self.count]


def _joined_options(case: Case) -> str:
    if not case.options:
        return ""
    *options, decay = case.options.values()
    return "".join(f", {option!r}" for option in [*options, (decay,) * case.calls])


def _fetch(run: Callable[[], Any]) -> Any:
    """Run a graph to its end, for which the fetch of a number waits; `synchronize` spins."""
    out, done = run()
    done.asnumpy()
    return out


def _eager(function: Callable[..., Any], *arguments: Any) -> Any:
    out = function(*arguments)
    ms.runtime.synchronize()
    return out


def _flat(out: Any) -> Any:
    if isinstance(out, (tuple, list)):
        for part in out:
            yield from _flat(part)
    else:
        yield out


class Preparation:
    """Compiles the graphs of a case and notes what fails."""

    def __init__(self, case: Case) -> None:
        self.case, self.prepared, self.inputs = case, Prepared(), Inputs(case)

    def add(
        self, column: str, mode: str, function: Callable[..., Any], count: int, search: bool
    ) -> None:
        name = f"{column} {mode}"
        try:
            graph = Graph(self.inputs, function, count)
            run = graph.forward() if mode == "forward" else graph.forward_backward()
            self.prepared.digests[name] = graph.digest(run)
            self.prepared.runs[name] = run
            warm(run, SEARCH if search else 3, 0.6)
        except Exception as error:
            self.prepared.failed[name] = first_line(error)

    def eager(self, function: Callable[..., Any]) -> None:
        """A call outside a graph."""
        arguments = self.inputs.closure(1).values()
        run = partial(_eager, function, *arguments, *self.case.options.values())
        warm(run, 3, 1.0)
        self.prepared.runs["eager forward"] = run


def _chosen(operator: str) -> list[str]:
    return [name for call, name in ops.chosen().items() if call.split()[0] == operator]


def prepare(case: Case, more: list[str]) -> Prepared:
    """The kernel, and ``more`` of plain, mindspore, and single (one call, in a graph and not)."""
    function = getattr(ops, case.operator) if case.joined else OPERATORS[case.operator].call
    preparation = Preparation(case)
    few = few_calls(case)
    for mode in ("forward", "forward_backward") if case.gradient else ("forward",):
        preparation.add("kernel", mode, function, case.calls, False)
        if "cpu/kernel" not in _chosen(case.operator):
            preparation.prepared.failed[f"kernel {mode}"] = "the kernel was not chosen"
        if "plain" in more:
            with ops.plain_formulations():
                preparation.add("plain", mode, function, few, True)
        if "mindspore" in more and case.operator in OWN:
            preparation.add("mindspore", mode, OWN[case.operator][1], case.calls, True)
    if "single" in more and not case.joined:
        preparation.add("single", "forward", function, 1, False)
        preparation.eager(function)
    prepared = preparation.prepared
    if case.operator in OWN:
        note = OTHER_RESULT.get(case.operator)
        prepared.notes["mindspore"] = f"{OWN[case.operator][0]}{f': {note}' if note else ''}"
    else:
        prepared.notes["mindspore"] = NONE[case.operator]
    return prepared


def ceilings() -> dict[str, Any]:
    """GFLOP/s of the largest products, computed by `linear`."""
    found = {}
    for size in (1024, 2048):
        rng = np.random.default_rng(0)
        x, weight = (Tensor(rng.standard_normal((size, size), np.float32)) for _ in range(2))

        def product(x, weight):
            out = ops.linear(x, weight)
            return out, ms_ops.relu(out[0, :1])

        run = partial(_fetch, partial(ms.jit(product), x, weight))
        warm(run, 3, 1.0)
        best = min(timed(run, 10)["wall_ms"])
        found[f"linear {size}"] = 2e-6 * size**3 / best
    return {"gflops": found, "memory": {}}


if __name__ == "__main__":
    device.setup("cpu", threads=int(sys.argv[1]))
    serve({"mindspore": ms.__version__, "numpy": np.__version__}, prepare, ceilings)
