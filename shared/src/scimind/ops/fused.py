"""A cell as one operator."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore import dtype as mstype
from mindspore.ops import constexpr

from scimind.device import active_precision, target
from scimind.ops import registry
from scimind.ops.generated import define
from scimind.ops.in_place import owned
from scimind.ops.kernels import native
from scimind.ops.kernels.cpp import as_int32, one_or_all, refusing, with_results
from scimind.ops.rule import RuleError
from scimind.ops.tracing import ALIGNED, TRACE, Trace, Untraceable, kind

_log = logging.getLogger("scimind.ops")
_SOURCE = Path(__file__).resolve().parent / "kernels" / "cpu" / "fused.cc"
native.announce(_SOURCE)
_MOST_PLANS = 256
NUMBERS = itertools.count()


@dataclass(frozen=True)
class _Plan:
    """How calls of one signature run: as one operator if it fits, else one by one."""

    fits: bool = False
    changed: tuple[int, ...] = ()
    primitive: Any = None
    program: Any = None
    alone: bool = True


@dataclass(frozen=True)
class _Weights:
    """The parameters of a cell.

    Args:
        own: Those that are passed.
        frozen: The others, and the byte at which each begins in ``joined``.
        joined: Their copy, side by side; alone in a tuple, which is empty when nothing is frozen.
    """

    own: tuple[Parameter, ...]
    frozen: tuple[tuple[Parameter, int], ...] = ()
    joined: tuple[Parameter, ...] = ()

    @classmethod
    def of(cls, cell: nn.Cell, chosen: Sequence[Parameter]) -> _Weights:
        """Those of ``cell``, of which some are to be frozen.

        Raises:
            RuleError: One of these is not one of the cell.
        """
        known = list(cell.get_parameters())
        if unknown := [p.name for p in chosen if all(p is not own for own in known)]:
            raise RuleError(f"fused: frozen has {unknown[0]}, which is no parameter of the cell")
        names = {id(p) for p in chosen if p.dtype == mstype.float32}
        own = tuple(p for p in known if id(p) not in names)
        frozen = [p for p in known if id(p) in names]
        if not frozen:
            return cls(own)
        parts = [np.pad(p.asnumpy().ravel(), (0, -p.size % (ALIGNED // 4))) for p in frozen]
        begins = np.cumsum([0, *(part.nbytes for part in parts[:-1])]).tolist()
        joined = Tensor(np.concatenate(parts))
        name = f"fused.frozen.{next(NUMBERS)}"
        kept = Parameter(joined, name, requires_grad=False)
        return cls(own, tuple(zip(frozen, begins, strict=True)), (kept,))

    @property
    def passed(self) -> tuple[Parameter, ...]:
        """What the operator gets."""
        return (*self.own, *self.joined)


PLANS: WeakKeyDictionary[nn.Cell, dict[Any, _Plan]] = WeakKeyDictionary()
"""Of every cell those made so far; what they are follows from the cell."""

_TEXT = """
def fused(*inputs):
    signature = [(x.shape, x.dtype) for x in inputs]
    if not fits(signature):
        return cell(*inputs)
    for index in changed(signature):
        owned("fused", "an input", inputs[index])
    whole = [as_int32(x) if narrowed(x.dtype) else x for x in inputs]
    out = primitive(signature)(program(signature), *whole, *parameters)
    if alone(signature) or isinstance(out, tuple):
        return out
    return (out,)
"""


def fused(cell: nn.Cell, frozen: Sequence[Parameter] = ()) -> Callable[..., Any]:
    """``cell`` as one operator: what every call of an operator costs is then paid once.

    That is most of the time of small steps, such as one more token of one sequence. The operators
    run in the same order by the same kernels, so the results have the same bits. Called with
    tensors; inside and outside of graphs. It is for inference: there is no gradient, and a cell in
    training (``cell.training``) runs as it is. So it does, with a line in the log, where one of its
    operators has no kernel on this device for these dtypes.

    Args:
        cell: Uses declared operators, ``reshape``, ``expand_dims`` and sums of equal shapes only;
            all tensors but its parameters are inputs. Its result is a tensor or a tuple of them.
            It gets no further parameters after this call.
        frozen: Parameters that stay as they are: a copy of all of them in one tensor is used, as
            each tensor that a graph refers to takes time. Changes to
            them have no effect; those that are not float32 are used as they are.

    Raises:
        RuleError: At the first call: the cell uses something else; the message says what.

    Example:
        >>> block = nn.TransformerBlock(64, 4, rng=np.random.default_rng(0)).set_train(False)
        >>> fast = ops.fused(block)
        >>> y = fast(x)
    """
    weights = _Weights.of(cell, frozen)

    def part(name: str) -> Any:
        @constexpr  # type: ignore[untyped-decorator]
        def value(signature: Any) -> Any:
            return getattr(_plan(cell, weights, signature), name)

        return value

    parts = ("fits", "changed", "primitive", "program", "alone")
    return define(
        "fused",
        _TEXT,
        __name__,
        cell=cell,
        parameters=weights.passed,
        owned=owned,
        as_int32=as_int32,
        narrowed=_narrowed,
        **{name: part(name) for name in parts},
    )


@constexpr  # type: ignore[untyped-decorator]
def _narrowed(dtype: Any) -> bool:
    """Whether it is one of whole numbers which kernels do not take."""
    return kind(dtype) == "int32" and dtype != mstype.int32


def _plan(cell: nn.Cell, weights: _Weights, signature: Any) -> _Plan:
    given = tuple((tuple(shape), kind(dtype)) for shape, dtype in signature)
    plans = PLANS.setdefault(cell, {})
    frozen = tuple(id(parameter) for parameter, _ in weights.frozen)
    precision = active_precision().name
    key = given, frozen, target(), cell.training, registry.plain_only(), precision
    if key not in plans:
        if len(plans) >= _MOST_PLANS:
            plans.clear()
        plans[key] = _Plan() if cell.training else _planned(cell, weights, given)
    return plans[key]


def _planned(cell: nn.Cell, weights: _Weights, given: tuple[Any, ...]) -> _Plan:
    name = type(cell).__name__
    try:
        trace = Trace(_library(), given, weights.own, weights.frozen)
        results = _traced(cell, trace)
        alone = not isinstance(results, tuple)
        outputs = (results,) if alone else results
        text = trace.program(outputs)
    except Untraceable as reason:
        registry.announce({"fused float32": "plain"})
        _log.info("scimind.ops: fused %s: its operators run one by one, as %s", name, reason)
        return _Plan()
    except Exception as error:
        raise RuleError(f"fused: {name} cannot be one operator: {error}") from error
    registry.announce({"fused float32": "cpu/kernel"})
    results = [(tuple(output.shape), output.dtype) for output in outputs]
    return _Plan(
        True,
        tuple(sorted(slot for slot in trace.changed if slot < len(given))),
        _primitive(name, results, 1 + len(given) + len(weights.passed)),
        Tensor(np.frombuffer(text.encode(), np.int8)),
        alone,
    )


def _library() -> str:
    """File of the kernel that runs the others.

    Raises:
        Untraceable: There is none here.
    """
    if target() != "cpu":
        raise Untraceable(f"{target()} has no kernel for that")
    if active_precision().compute != "float32":
        raise Untraceable(f"the precision is {active_precision().name}")
    if mindspore.get_context("mode") != mindspore.PYNATIVE_MODE:
        raise Untraceable("cells are compiled one by one in MindSpore's graph mode; use ms.jit")
    library = native.load(_SOURCE)
    if library is None:
        raise Untraceable("there are no compiled kernels")
    return str(library)


def _traced(cell: nn.Cell, trace: Trace) -> Any:
    token = TRACE.set(trace)
    try:
        return cell(*trace.inputs)
    finally:
        TRACE.reset(token)


@constexpr  # type: ignore[untyped-decorator]
def _refuse_gradient(name: str) -> None:
    raise RuleError(
        f"fused: {name} has no gradient as one operator; in training (set_train()) it runs as it "
        "is and has one"
    )


def _primitive(name: str, results: list[Any], count: int) -> Any:
    """The custom operator with these results, of ``count`` arguments."""
    shapes, dtypes = (one_or_all(list(part)) for part in zip(*results, strict=True))
    bprop = refusing(name, [f"x{index}" for index in range(count)], _refuse_gradient)
    custom = with_results(_SOURCE, "fused", shapes, dtypes, bprop)
    # MindSpore remembers shapes by attributes and inputs.
    custom.add_prim_attr("results", repr(results))
    return custom


def _ready() -> bool:
    return native.load(_SOURCE) is not None


for _name, _device, _asked in (("plain", "any", None), ("cpu/kernel", "cpu", _ready)):
    registry.register("fused", name=_name, device=_device, ready=_asked)(fused)
