"""Worker: the same calls in PyTorch, eager."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from operator_workers import torch_calls
from operator_workers.cases import Case
from operator_workers.serve import Prepared, Run, first_line, serve, timed, warm
from operator_workers.values import cotangents, digest, values
from operator_workers.work import checked

Call = Callable[[], Any]


class Preparation:
    """The inputs of a case and the fastest formulation of its calls."""

    def __init__(self, case: Case) -> None:
        self.case, self.prepared = case, Prepared()
        self.inputs: list[dict[str, Any]] = []
        self.weights: list[list[torch.Tensor]] = []
        for index in range(case.calls):
            self.inputs.append(
                {
                    name: None if value is None else _tensor(value)
                    for name, value in values(case, index).items()
                }
            )
            if case.gradient:
                self.weights.append(list(map(_tensor, cotangents(case, index))))

    def formulations(self) -> dict[str, list[Call]]:
        """By name the calls of a run."""
        make = getattr(torch_calls, self.case.operator)
        inputs = self.inputs
        if self.case.operator in torch_calls.TOGETHER:
            inputs = [{name: [given[name] for given in inputs] for name in inputs[0]}]
        found: dict[str, list[Call]] = {}
        for given in inputs:
            made = make(**given, **self.case.options)
            for name, call in (made if isinstance(made, dict) else {"": made}).items():
                found.setdefault(name, []).append(call)
        return found

    # As in a network that is trained, and in a graph, a result is kept until the end of a run: the
    # next call does not find its memory in the cache.
    def forward(self, calls: list[Call]) -> Run:
        def run():
            with torch.no_grad():
                return [call() for call in calls]

        return run

    def forward_backward(self, calls: list[Call]) -> Run:
        arguments = [[given[name] for name in self.case.gradient] for given in self.inputs]

        def run():
            results = []
            for call, tensors, weights in zip(calls, arguments, self.weights, strict=True):
                out = call()
                outs = out if isinstance(out, tuple) else (out,)
                results.append((outs, torch.autograd.grad(outs, tensors, weights)))
            return results

        return run

    def add(self, mode: str) -> None:
        best = math.inf
        name = f"torch {mode}"
        for form, calls in self.formulations().items():
            run = getattr(self, mode)(calls)
            if not self.prepared.digests.get(name):
                self.prepared.digests[name] = self.digest(run())
            warm(run, 3, 0.5)
            took = min(timed(run, 5)["wall_ms"])
            if took < best:
                best, self.prepared.runs[name] = took, run
                self.prepared.notes[name] = form

    def digest(self, results: list[Any]) -> list[list[float]]:
        """Of what the calls to compare return or change."""
        ends, changes = checked(self.case), self.case.changes
        found = []
        if not (self.case.joined and changes):
            found += _flat([results[0 if self.case.joined else place] for place in ends])
        found += [self.inputs[place][name] for place in ends for name in changes]
        return digest([tensor.detach().numpy() for tensor in found])


def _tensor(value: np.ndarray) -> torch.Tensor:
    """In memory of PyTorch, which is aligned as vector instructions want it."""
    return torch.from_numpy(np.array(value)).clone()


def _flat(out: Any) -> Any:
    if isinstance(out, (tuple, list)):
        for part in out:
            yield from _flat(part)
    else:
        yield out


def prepare(case: Case, more: list[str]) -> Prepared:
    preparation = Preparation(case)
    prepared = preparation.prepared
    if case.operator in torch_calls.NOTES:
        prepared.notes["torch"] = torch_calls.NOTES[case.operator]
    try:
        preparation.add("forward")
        if case.gradient:
            for given in preparation.inputs:
                for name in case.gradient:
                    given[name].requires_grad_()
            preparation.add("forward_backward")
    except Exception as error:
        prepared.failed["torch"] = first_line(error)
    return prepared


def ceilings() -> dict[str, Any]:
    """GFLOP/s of large products, and GB/s to memory by the bytes that are read and written.

    The rate is the better one of a copy and of a change in place, which does not read what it
    overwrites.
    """
    products, rates = {}, {}
    for size in (1024, 2048):
        x, y = torch.randn(size, size), torch.randn(size, size)

        def product(x=x, y=y):
            return torch.matmul(x, y)

        warm(product, 3, 1.0)
        products[f"matmul {size}"] = 2e-6 * size**3 / min(timed(product, 10)["wall_ms"])
    for exponent in range(18, 29, 2):
        source = torch.randn(2**exponent // 8)
        target = torch.empty_like(source)
        times = max(1, 2 ** (24 - exponent))

        both = torch.randn(2**exponent // 4)

        def copy(source=source, target=target, times=times):
            for _ in range(times):
                target.copy_(source)

        def change(both=both, times=times):
            for _ in range(times):
                both.mul_(1.0)

        for run, moved in ((copy, 2**exponent), (change, 2 * 2**exponent)):
            warm(run, 3, 1.0)
            rate = times * moved * 1e-6 / min(timed(run, 10)["wall_ms"])
            rates[str(2**exponent)] = max(rate, rates.get(str(2**exponent), 0.0))
    return {"gflops": products, "memory": rates}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"torch": torch.__version__}, prepare, ceilings)
