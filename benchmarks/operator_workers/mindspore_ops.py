"""Worker: the declared operators in ``ms.jit``, their plain formulations, and MindSpore's own.

A graph makes all calls of a run, each with its own inputs, and returns all results, so that what
it costs to enter a graph is shared by them as in a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from cases import Case, checked, cotangents, digest, few_calls, values
from serve import Prepared, Run, first_line, serve, timed, warm

from scimind import device, ops
from scimind.ops.generated import define
from scimind.ops.operator import OPERATORS

device.setup("cpu", threads=int(sys.argv[1]))

import mindspore as ms  # noqa: E402 - after the setup
from mindspore import Parameter, Tensor  # noqa: E402
from mindspore import ops as ms_ops  # noqa: E402
from mindspore.ops.composite.base import _Grad  # noqa: E402

# Forward and backward in one graph; without ``get_value`` a forward pass that the gradient does not
# need would be left out, which no training step can do.
_GRADIENT = _Grad(get_by_position=True, sens_param=True, get_value=True)
# A kernel of MindSpore tries sizes of blocks in its first 30 calls, slow ones among them.
SEARCH = 32
# MindSpore takes a function at the address of an earlier one, which is gone, for that one.
_ALIVE: list[Callable[..., Any]] = []

# MindSpore's own operators, with the arguments of ours.


def gelu(x, approximate):
    return ms_ops.gelu(x, approximate=approximate)


def silu(x):
    return ms_ops.silu(x)


def swiglu(gate, up):
    return ms_ops.swiglu(ms_ops.cat((gate, up), -1), -1)


def softmax(x):
    return ms_ops.softmax(x, -1)


def layer_norm(x, weight, bias, eps):
    return ms_ops.LayerNorm(-1, -1, eps)(x, weight, bias)[0]


def rms_norm(x, weight, eps):
    return ms_ops.rms_norm(x, weight, eps)[0]


def add_layer_norm(x, residual, weight, bias, eps):
    total = x + residual
    return ms_ops.LayerNorm(-1, -1, eps)(total, weight, bias)[0], total


def add_rms_norm(x, residual, weight, eps):
    out = ms_ops.add_rms_norm(x, residual, weight, eps)
    return out[0], out[2]


def linear(x, weight, bias):
    return ms_ops.BiasAdd()(ms_ops.MatMul(transpose_b=True)(x, weight), bias)


def linear_activation(x, weight, bias, activation):
    return ms_ops.gelu(linear(x, weight, bias), approximate="tanh")


def matmul(left, right):
    return ms_ops.BatchMatMul()(left, right)


def embedding(indices, table):
    return ms_ops.gather(table, indices, 0)


def cross_entropy(logits, labels, ignore_index, label_smoothing):
    rows = logits.reshape((-1, logits.shape[-1]))
    loss = ms_ops.cross_entropy(
        rows, labels.reshape((-1,)), None, ignore_index, "none", label_smoothing
    )
    return loss.reshape(labels.shape)


def attention(query, key, value, mask, bias, causal, window, scale):
    return ms_ops.flash_attention_score(
        query, key, value, query.shape[1], scalar_value=query.shape[3] ** -0.5, input_layout="BNSD"
    )


def decode_attention(query, key_cache, value_cache, length, window, scale):
    return ms_ops.incre_flash_attention(
        query, [key_cache], [value_cache], None, num_heads=query.shape[1], input_layout="BNSD"
    )


def cache_update(cache, new, start):
    return ms_ops.auto_generate.KVCacheScatterUpdate()(cache, start, new, 2, "update")


def paged_attention(query, key_cache, value_cache, block_table, length, scale):
    paged = ms_ops.auto_generate.PagedAttention(query.shape[1], 0.1, key_cache.shape[2])
    return paged(
        query.reshape((query.shape[0], 1, -1)), key_cache, value_cache, block_table, length
    )


def compressed_attention(query, key, value, length, stride, scale, start):
    return ms_ops.nsa_compress_attention(
        query, key, value, 0.1, query.shape[1], length, stride, 64, 4
    )


def selected_attention(query, key, value, blocks, block_size, scale):
    return ms_ops.nsa_select_attention(
        query, key, value, blocks, 0.1, query.shape[1], block_size, blocks.shape[3]
    )


def rope(x, cos, sin, interleaved):
    wide = ms_ops.cat((cos, cos), -1), ms_ops.cat((sin, sin), -1)
    return ms_ops.rotary_position_embedding(x, wide[0], wide[1])


def triangle_outgoing(left, right):
    return ms_ops.einsum("bikc,bjkc->bijc", left, right)


def triangle_incoming(left, right):
    return ms_ops.einsum("bkic,bkjc->bijc", left, right)


def random_bits(key, stream, count):
    low, high = Tensor(0, ms.int32), Tensor(2**31 - 1, ms.int32)
    return ms_ops.UniformInt()((count,), low, high)


def adamw(
    parameter, first, second, gradient, learning_rate, power1, power2, beta1, beta2, eps, decay
):
    return ms_ops.Adam()(
        parameter, first, second, power1, power2, learning_rate, beta1, beta2, eps, gradient
    )


OWN: dict[str, tuple[str, Callable[..., Any]]] = {
    "adamw": ("ops.Adam", adamw),
    "add_layer_norm": ("ops.LayerNorm of the sum", add_layer_norm),
    "add_rms_norm": ("ops.add_rms_norm", add_rms_norm),
    "attention": ("ops.flash_attention_score", attention),
    "cache_update": ("KVCacheScatterUpdate", cache_update),
    "compressed_attention": ("ops.nsa_compress_attention", compressed_attention),
    "cross_entropy": ("ops.cross_entropy", cross_entropy),
    "decode_attention": ("ops.incre_flash_attention", decode_attention),
    "embedding": ("ops.gather", embedding),
    "gelu": ("ops.gelu", gelu),
    "layer_norm": ("ops.LayerNorm", layer_norm),
    "linear": ("MatMul and BiasAdd", linear),
    "linear_activation": ("MatMul, BiasAdd and ops.gelu", linear_activation),
    "matmul": ("BatchMatMul", matmul),
    "paged_attention": ("PagedAttention", paged_attention),
    "random_bits": ("UniformInt", random_bits),
    "rms_norm": ("ops.rms_norm", rms_norm),
    "rope": ("ops.rotary_position_embedding", rope),
    "selected_attention": ("ops.nsa_select_attention", selected_attention),
    "silu": ("ops.silu", silu),
    "softmax": ("ops.softmax", softmax),
    "swiglu": ("ops.swiglu", swiglu),
    "triangle_incoming": ("ops.einsum", triangle_incoming),
    "triangle_outgoing": ("ops.einsum", triangle_outgoing),
}
NONE = {
    "adamw_all": "no operator over several parameters",
    "gated": "no fused operator",
    "latent_attention": "no operator in float32",
    "select_blocks": "a second result of ops.nsa_compress_attention, for Ascend only",
    "square_sum": "no operator over several tensors",
}
"""Operators for which MindSpore has none of its own, with the reason."""
OTHER_RESULT = {
    "adamw": "adds eps before the bias correction and has no decoupled decay",
    "random_bits": "another generator, with a hidden state",
}
"""Own operators that compute something else."""


class Inputs:
    """The arguments of the calls of a case, as parameters that a graph closes over.

    An argument of a graph costs 10 us at each entry, which in a network only its inputs do.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shared: dict[str, Parameter] = {}
        self.number = Parameter(Tensor(np.ones(1, np.float32)), name="number", requires_grad=False)

    def closure(self, count: int) -> dict[str, Parameter | None]:
        """By name, for ``count`` calls; those that are changed anew each time."""
        found: dict[str, Parameter | None] = {}
        for index in range(count):
            for name, value in values(self.case, index).items():
                found[f"{name}_{index}"] = self._parameter(name, index, value)
        return found

    def weights(self, index: int) -> dict[str, Parameter]:
        """The gradients of the results of a call."""
        found = {}
        for place, value in enumerate(cotangents(self.case, index)):
            name = f"cotangent{place}"
            found[f"{name}_{index}"] = self._parameter(name, index, value)
        return found

    def _parameter(self, name: str, index: int, value: np.ndarray | None) -> Parameter | None:
        if value is None:
            return None
        place = f"{name}_{index}"
        if place in self.shared:
            return self.shared[place]
        parameter = Parameter(Tensor(value), name=place, requires_grad=False)
        if name not in self.case.changes:
            self.shared[place] = parameter
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
        # The last result is the number that is fetched.
        text = ["def calls():", *lines, f"    return ({', '.join(results)}, relu(number))"]
        closure = {**self.closure, "relu": ms_ops.relu, "number": self.inputs.number}
        calls = define("calls", "\n".join(text), __name__, **closure)
        _ALIVE.append(calls)
        return partial(_wait, ms.jit(calls))

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
        ends = [place for place in checked(self.case) if place < self.count]
        if self.case.changes:
            names = [self.places[place][name] for place in ends for name in self.case.changes]
            return digest([self.closure[name].asnumpy() for name in names])
        results = [out[0 if self.case.joined else place] for place in ends]
        return digest([part.asnumpy() for part in _flat(results)])


def _joined_options(case: Case) -> str:
    if not case.options:
        return ""
    *options, decay = case.options.values()
    return "".join(f", {option!r}" for option in [*options, (decay,) * case.calls])


def _wait(run: Callable[[], Any]) -> Any:
    """Run a graph to its end; the fetch of a number waits asleep, `synchronize` in a loop."""
    out = run()
    out[-1].asnumpy()
    ms.runtime.synchronize()
    return out


def _wait_eager(run: Callable[..., Any], *inputs: Any) -> Any:
    out = run(*inputs)
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
            warm(run, SEARCH if search else 3, 1.0)
        except Exception as error:
            self.prepared.failed[name] = first_line(error)

    def eager(self, function: Callable[..., Any]) -> None:
        """A call outside a graph."""
        arguments = self.inputs.closure(1).values()
        run = partial(_wait_eager, function, *arguments, *self.case.options.values())
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
            preparation.add("mindspore", mode, OWN[case.operator][1], few, True)
    if "single" in more and not case.joined:
        preparation.add("single", "forward", function, 1, False)
        preparation.eager(function)
    prepared = preparation.prepared
    prepared.notes["plain calls"] = str(few)
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
            return ops.linear(x, weight), ms_ops.relu(x[0, :1])

        run = partial(_wait, partial(ms.jit(product), x, weight))
        warm(run, 3, 1.0)
        best = min(timed(run, 10)["wall_ms"])
        found[f"linear {size}"] = 2e-6 * size**3 / best
    return {"gflops": found, "memory": {}}


if __name__ == "__main__":
    serve({"mindspore": ms.__version__, "numpy": np.__version__}, prepare, ceilings)
