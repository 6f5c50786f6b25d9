"""Which operators a cell calls on which tensors, found by calling it with tensors without numbers.

A trace is a program for ``kernels/cpu/fused.cc``: kernels in order, each with where its arguments
lie. What lies between them shares one piece of memory; two tensors have the same place when one is
no longer needed before the other is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor

from scimind.ops.rule import RuleError, Shape

ALIGNED = 64
BYTES = {"float32": 4, "float64": 8, "int32": 4, "bool": 1}
_ALLOWED = "declared operators, reshape, expand_dims and sums of equal shapes"

TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace that is being made, if any: kernels then add themselves to it instead of running."""


class Untraceable(Exception):
    """A cell cannot be one operator, and can run all the same; the message says why."""


class Traced(Tensor):
    """A tensor that stands for one of a later call.

    Args:
        trace: It belongs to this one.
        slot: Its number there; several have the same where they are views.
        shape: Its shape.
        dtype: Name of its dtype.
    """

    def __init__(self, trace: Trace, slot: int, shape: Shape, dtype: str) -> None:
        super().__init__(np.zeros(1, np.bool_ if dtype == "bool" else dtype))
        self.trace, self.slot, self.sizes, self.kind = trace, slot, shape, dtype

    @property
    def shape(self) -> Shape:
        """Sizes of the axes."""
        return self.sizes

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.sizes)

    def reshape(self, *shape: Any) -> Traced:
        """The same numbers in another shape."""
        wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        known = math.prod(size for size in wanted if size != -1)
        if -1 in wanted and known:
            wanted = tuple(self.size // known if size == -1 else size for size in wanted)
        if math.prod(wanted) != self.size:
            raise RuleError(f"reshape of {self.sizes} to {wanted}: their sizes are not the same")
        return Traced(self.trace, self.slot, wanted, self.kind)

    view = reshape

    def expand_dims(self, axis: int) -> Traced:
        """The same numbers with an axis of size 1."""
        place = axis if axis >= 0 else self.ndim + 1 + axis
        return self.reshape((*self.sizes[:place], 1, *self.sizes[place:]))

    def __add__(self, other: Any) -> Traced:
        """The sum with a tensor of the same shape."""
        return self.trace.sum(self, other)

    __radd__ = __add__


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuleError(f"{name} of a tensor; what is fused may use {_ALLOWED}")

    return refuse


_OPERATORS = (
    *("sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "neg", "abs", "invert"),
    *("rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul", "iadd", "isub", "imul"),
    *("eq", "ne", "lt", "le", "gt", "ge", "bool", "float", "int", "len", "getitem", "setitem"),
)
_METHODS = (
    *("asnumpy", "sum", "mean", "max", "min", "transpose", "permute", "swapaxes", "split"),
    *("astype", "to", "squeeze"),
)
for _name in [*(f"__{name}__" for name in _OPERATORS), *_METHODS]:
    setattr(Traced, _name, _refused(_name))
Traced.__hash__ = Tensor.__hash__  # type: ignore[method-assign]


@dataclass(frozen=True)
class Use:
    """A tensor as an argument: its slot (None for an absent one) and the shape it has there."""

    slot: int | None
    shape: Shape = ()


@dataclass(frozen=True)
class Step:
    """One kernel: its library and name, what it takes and gives, and its scalars."""

    library: str
    symbol: str
    takes: tuple[Use, ...]
    scalars: tuple[float, ...] | None
    gives: tuple[Use, ...]


class Trace:
    """What a cell calls.

    Args:
        library: That of ``fused.cc``, which has sums and copies.
        inputs: Shape and dtype of each input.
        parameters: The cell's parameters; they follow the inputs.
        frozen: Further ones, and the byte at which each begins in the argument that follows.
    """

    def __init__(
        self,
        library: str,
        inputs: Sequence[tuple[Shape, str]],
        parameters: Sequence[Parameter],
        frozen: Sequence[tuple[Parameter, int]] = (),
    ) -> None:
        self.library = library
        self.dtypes: list[str] = []
        self.steps: list[Step] = []
        self.changed: set[int] = set()
        self.inputs = [self._new(shape, dtype) for shape, dtype in inputs]
        self._slots = {id(p): self._new(p.shape, kind(p.dtype)).slot for p in parameters}
        self._passed = len(self.dtypes)
        self._begins = [begin for _, begin in frozen]
        self._slots |= {id(p): self._new(p.shape, "float32").slot for p, _ in frozen}
        self._given = len(self.dtypes)

    def _new(self, shape: Sequence[int], dtype: str) -> Traced:
        if dtype not in BYTES:
            raise Untraceable(f"a tensor has dtype {dtype}")
        self.dtypes.append(dtype)
        return Traced(self, len(self.dtypes) - 1, tuple(shape), dtype)

    def use(self, tensor: Any, what: str) -> Use:
        """``tensor`` as an argument.

        Raises:
            RuleError: The trace does not know where it comes from.
        """
        if isinstance(tensor, Traced) and tensor.trace is self:
            return Use(tensor.slot, tensor.sizes)
        slot = self._slots.get(id(tensor))
        if slot is None:
            raise RuleError(
                f"{what} is neither an input, nor a parameter of the cell, nor made by a declared "
                f"operator; what is fused may use {_ALLOWED}"
            )
        return Use(slot, tuple(tensor.shape))

    def add(
        self,
        library: str,
        symbol: str,
        takes: Sequence[Use],
        scalars: tuple[float, ...] | None,
        gives: Sequence[tuple[Shape, str]],
        changed: Sequence[int] = (),
    ) -> list[Traced]:
        """Add a kernel; the results.

        Args:
            library: Where it is.
            symbol: Its name.
            takes: Its arguments.
            scalars: Its scalars, None for a kernel without any.
            gives: Shape and dtype of each result.
            changed: Numbers of the arguments that it changes.
        """
        results = [self._new(shape, dtype) for shape, dtype in gives]
        uses = tuple(Use(result.slot, result.sizes) for result in results)
        self.steps.append(Step(library, symbol, tuple(takes), scalars, uses))
        for index in changed:
            slot = takes[index].slot
            if slot is not None and self._passed <= slot < self._given:
                raise RuleError(f"{symbol} changes a parameter that is frozen")
            if slot is not None and slot < self._passed:
                self.changed.add(slot)
        return results

    def sum(self, a: Any, b: Any) -> Traced:
        """``a + b``."""
        takes = [self.use(each, f"{name} of a sum") for name, each in (("a", a), ("b", b))]
        shapes = [each.shape for each in takes]
        dtypes = [self.dtypes[each.slot or 0] for each in takes]
        if shapes[0] != shapes[1] or dtypes != ["float32"] * 2:
            raise RuleError(
                f"a sum of {dtypes[0]} {shapes[0]} and {dtypes[1]} {shapes[1]}; "
                "both have to be float32 of one shape"
            )
        return self.add(self.library, "fused_sum", takes, None, [(shapes[0], dtypes[0])])[0]

    def program(self, results: Sequence[Any]) -> str:
        """The program whose results these are, see ``kernels/cpu/fused.cc``.

        Raises:
            RuleError: A result is no tensor of this trace.
        """
        outputs: dict[int, int] = {}
        for index, result in enumerate(results):
            use = self.use(result, f"result {index}")
            slot = use.slot or 0
            if slot < self._given or slot in outputs:  # handed on, which takes a copy
                given = [(use.shape, self.dtypes[slot])]
                slot = self.add(self.library, "fused_copy", [use], None, given)[0].slot
            outputs[slot] = index
        between, size = self._placed(outputs)

        def place(slot: int) -> str:
            if slot < self._passed:
                return f"p{1 + slot}"
            if slot < self._given:
                return f"p{1 + self._passed}+{self._begins[slot - self._passed]}"
            if slot in outputs:
                return f"p{1 + self._passed + bool(self._begins) + outputs[slot]}"
            return f"a{between[slot]}"

        count = 1 + self._passed + bool(self._begins) + len(results)
        lines = [f"{size} {len(self.steps)} {count}"]
        for step in self.steps:
            lines += [step.library, step.symbol]
            lines += [str(len(step.takes) + (step.scalars is not None) + len(step.gives))]
            lines += [self._argument(use, place) for use in step.takes]
            if step.scalars is not None:
                numbers = " ".join(repr(float(value)) for value in step.scalars)
                lines += [f"float64 s {len(step.scalars)} {numbers}"]
            lines += [self._argument(use, place) for use in step.gives]
        return "\n".join(lines) + "\n"

    def _argument(self, use: Use, place: Callable[[int], str]) -> str:
        if use.slot is None:
            return "int8 - 1 1"
        shape = " ".join(map(str, (len(use.shape), *use.shape)))
        return f"{self.dtypes[use.slot]} {place(use.slot)} {shape}"

    def _placed(self, outputs: dict[int, int]) -> tuple[dict[int, int], int]:
        """Byte at which each tensor between begins, the first gap that fits, and all there are."""
        last = {
            use.slot: number
            for number, step in enumerate(self.steps)
            for use in (*step.takes, *step.gives)
        }
        places: dict[int, int] = {}
        alive: list[tuple[int, int, int]] = []  # begin, end and last step
        size = 0
        for number, step in enumerate(self.steps):
            alive = [entry for entry in alive if entry[2] >= number]
            for use in step.gives:
                if use.slot is None or use.slot in outputs:
                    continue
                wanted = math.prod(use.shape) * BYTES[self.dtypes[use.slot]]
                wanted = -(-wanted // ALIGNED) * ALIGNED
                begin = 0
                for start, end, _ in sorted(alive):
                    if begin + wanted <= start:
                        break
                    begin = max(begin, end)
                places[use.slot] = begin
                alive.append((begin, begin + wanted, last[use.slot]))
                size = max(size, begin + wanted)
        return places, size


def kind(dtype: Any) -> str:
    """Name of a dtype of MindSpore, ``int32`` for any of whole numbers."""
    name = str(dtype).lower()
    return "int32" if name.startswith(("int", "uint")) else name
