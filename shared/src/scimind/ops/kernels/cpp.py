"""A C++ kernel and its gradient as a MindSpore custom operator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor
from mindspore import dtype as mstype
from mindspore import ops as ms_ops
from mindspore.ops import constexpr

from scimind.device.compiler import digest
from scimind.ops.generated import define
from scimind.ops.kernels import native
from scimind.ops.rule import Rule, RuleError, Scalar, Shape, Tensors, shape_of
from scimind.ops.tracing import TRACE, Trace, Use

ABSENT = Tensor(np.zeros(1, np.int8))
"""Stands for an optional tensor that is None."""

PRIMITIVES: dict[tuple[Any, ...], Any] = {}
"""The custom operators made so far."""

_INT32 = -(2**31), 2**31 - 1
_FLOATS = ("float32", "float64")
_DTYPES = {"int": mstype.int32, "bool": mstype.bool_}


def _settle(argument: Any, slope: Any) -> Any:
    """The gradient of an optional argument, zero when it was None."""
    if argument.dtype == mstype.int8:
        return ms_ops.zeros_like(argument)
    return slope


def as_int32(whole: Any) -> Any:
    """The same numbers; those beyond 32 bits become the largest and smallest that there are."""
    if whole.dtype == mstype.int64:
        whole = ms_ops.clamp(whole, *_INT32)
    return whole.astype(mstype.int32)


@dataclass(frozen=True)
class Cpp:
    """C++ functions for the CPU, see ``kernels/include/scimind/operator.h``.

    The forward function has the name of the operator and gets its tensors, its scalars (if any)
    and its outputs; the backward one is called ``<name>_grad``.

    Args:
        source: The file, relative to the one of the declaration.
        saved: Further outputs that the gradient needs: name and axes.
        backward: What the gradient takes and gives, such as ``"x weight dout -> dx dweight"``; None
            when there is none. It may take arguments, saved outputs, results (``out``, or ``out0``
            and on) and their gradients (``dout``). Arguments without a gradient get zeros.
        dtype: Dtype of its float tensors, ``"float32"`` or ``"float64"``. An operator may have a
            kernel for each, in sources of their own.
        when: Whether the kernel can be used, from the sizes of the named axes and the scalars.

    Raises:
        ValueError: There are no kernels of that dtype.
    """

    source: str | Path
    saved: Mapping[str, str] = field(default_factory=dict)
    backward: str | None = None
    dtype: str = "float32"
    when: Callable[[Mapping[str, Any]], bool] | None = None
    made_of: str = ""

    @property
    def name(self) -> str:
        """Name of the implementation in the registry."""
        return "cpu/kernel" if self.dtype == "float32" else f"cpu/kernel {self.dtype}"

    def __post_init__(self) -> None:
        if self.dtype not in _FLOATS:
            raise ValueError(f"{self.source}: dtype is {self.dtype!r}; use one of {_FLOATS}")

    def beside(self, file: str) -> Cpp:
        """The same with the source found beside ``file``.

        Raises:
            FileNotFoundError: There is no such source.
        """
        path = (Path(file).resolve().parent / self.source).resolve()
        native.announce(path)
        return replace(self, source=path, made_of=digest(path))

    def ready(self) -> bool:
        """Whether the library is there; compiles it if need be."""
        return native.load(Path(self.source)) is not None

    def implementation(self, rule: Rule, in_place: Sequence[str] = ()) -> Callable[..., Any]:
        """The function that calls the kernel, with the arguments of the plain formulation.

        Args:
            rule: That of the operator.
            in_place: Arguments that it changes.

        Raises:
            TypeError: ``backward`` names something that the operator does not have.
        """
        _Plan(self, rule)  # a mistake shows when the operator is declared

        @constexpr  # type: ignore[untyped-decorator]
        def primitive(*scalars: Scalar) -> Any:
            trace = TRACE.get()
            if trace is not None:
                return functools.partial(_Plan(self, rule, in_place).trace, trace, scalars)
            key = (rule.op, self.source, scalars)
            if key not in PRIMITIVES:
                PRIMITIVES[key] = _Plan(self, rule).primitive(scalars)
            return PRIMITIVES[key]

        @constexpr  # type: ignore[untyped-decorator]
        def options(*scalars: Scalar) -> Any:
            return _options(rule, scalars)

        names = [tensor.name for tensor in rule.tensors]
        scalars = ", ".join(option.name for option in rule.options)
        lines = [f"def {rule.op}_kernel({', '.join([*names, *_option_names(rule)])}):"]
        for tensor in rule.tensors:
            if tensor.optional:
                lines += [f"    if {tensor.name} is None:", f"        {tensor.name} = absent"]
            if tensor.family == "int":
                lines += [f"    if {tensor.name}.dtype != int32:"]
                lines += [f"        {tensor.name} = as_int32({tensor.name})"]
        inputs = [*names, f"options({scalars})"] if rule.options else names
        lines += [f"    out = primitive({scalars})({', '.join(inputs)})"]
        if rule.several:
            wanted = ", ".join(f"out[{index}]" for index in range(len(rule.results)))
            lines += [f"    return ({wanted},)"]
        else:
            lines += ["    return out[0]" if self.saved else "    return out"]
        return define(
            f"{rule.op}_kernel",
            "\n".join(lines),
            __name__,
            primitive=primitive,
            options=options,
            absent=ABSENT,
            int32=mstype.int32,
            as_int32=as_int32,
        )


def variadic(source: Path, symbol: str, shape: Shape) -> Any:
    """The primitive ``symbol`` of ``source``, which takes any number of tensors.

    It has no gradient and gives float32 numbers of ``shape``.
    """
    key = (symbol, source, shape)
    if key not in PRIMITIVES:
        PRIMITIVES[key] = with_results(source, symbol, shape, mstype.float32)
    return PRIMITIVES[key]


def with_results(source: Path, symbol: str, shapes: Any, dtypes: Any, bprop: Any = None) -> Any:
    """The primitive ``symbol`` of ``source``, whose results are the same whatever it is given.

    Args:
        source: Where it is.
        symbol: Its name.
        shapes: Of the result, or a tuple of them.
        dtypes: Likewise.
        bprop: Its gradient.
    """

    def shape(*_: Any) -> Any:
        return shapes

    def kind(*_: Any) -> Any:
        return dtypes

    return ms_ops.Custom(f"{native.load(source)}:{symbol}", shape, kind, "aot", bprop)


def refusing(name: str, arguments: Sequence[str], refuse: Callable[[str], None]) -> Any:
    """A ``bprop`` that says that there is none: it calls ``refuse(name)``."""
    text = (
        f"def {name}_bprop({', '.join([*arguments, 'out_', 'dout_'])}):\n"
        f"    refuse({name!r})\n"
        f"    return ({', '.join(f'zeros_like({argument})' for argument in arguments)},)"
    )
    return define(f"{name}_bprop", text, __name__, refuse=refuse, zeros_like=ms_ops.zeros_like)


def _option_names(rule: Rule) -> list[str]:
    return [option.name for option in rule.options]


@functools.lru_cache(maxsize=4096)
def _options(rule: Rule, scalars: tuple[Scalar, ...]) -> Tensor:
    values = [o.number(v) for o, v in zip(rule.options, scalars, strict=True)]
    return Tensor(np.array(values), mindspore.float64)


@constexpr  # type: ignore[untyped-decorator]
def _refuse_gradient(op: str) -> None:
    raise RuleError(
        f"{op} has no gradient; stop that of its result (mindspore.ops.stop_gradient), or "
        f"differentiate its plain formulation, scimind.ops.plain({op!r})"
    )


@constexpr  # type: ignore[untyped-decorator]
def _refuse_second(op: str) -> None:
    raise RuleError(
        f"{op} has no second derivative; differentiate its plain formulation, "
        f"scimind.ops.plain({op!r}), or trace inside scimind.ops.plain_formulations()"
    )


class _Plan:
    """The custom operators of one kernel: what each gets and gives, and with which shapes."""

    def __init__(self, kernel: Cpp, rule: Rule, changed: Sequence[str] = ()) -> None:
        self.kernel, self.rule, self.changed = kernel, rule, changed
        self.arguments = [tensor.name for tensor in rule.tensors]
        self.saved = [
            Tensors(name, "float", tuple(axes.split())) for name, axes in kernel.saved.items()
        ]
        self.outputs = [*rule.results, *self.saved]
        if kernel.backward is None:
            return
        takes, arrow, gives = kernel.backward.partition("->")
        self.takes, self.gives = takes.split(), gives.split()
        known = {tensor.name: tensor for tensor in [*rule.tensors, *self.outputs]}
        known |= {f"d{tensor.name}": tensor for tensor in rule.results}
        unknown = [name for name in self.takes if name not in known]
        unknown += [name for name in self.gives if name[1:] not in self.arguments]
        if unknown or not arrow or not self.gives:
            raise TypeError(
                f"operator {rule.op}: backward is {kernel.backward!r}; it has to be 'inputs -> "
                f"gradients' of {sorted(known)} and {[f'd{name}' for name in self.arguments]}"
            )
        self.taken = tuple(known[name] for name in self.takes)
        self.given = tuple(known[name[1:]] for name in self.gives)

    def primitive(self, scalars: tuple[Scalar, ...]) -> Any:
        """The operator with its gradient, for these scalars."""
        rule, outputs = self.rule, self.outputs
        gradient = None
        if self.kernel.backward is not None:
            gradient = self._bprop(scalars)
        elif any(output.family == "float" for output in outputs):
            # Of integers nobody asks for a gradient, but graphs look at it all the same.
            gradient = self._none(self.arguments, _refuse_gradient)

        def shapes(*given: Sequence[int]) -> Any:
            return one_or_all(self.shapes(scalars, given))

        return self._custom(rule.op, shapes, outputs, gradient, scalars)

    def shapes(self, scalars: tuple[Scalar, ...], given: Sequence[Sequence[int]]) -> list[Shape]:
        """Those of all outputs."""
        sizes = self.rule.bind(_present(self.rule.tensors, given), scalars)
        return [shape_of(output.axes, sizes) for output in self.outputs]

    def trace(self, trace: Trace, scalars: tuple[Scalar, ...], *inputs: Any) -> Any:
        """What the operator gives, when it is called while ``trace`` is made."""
        rule, tensors = self.rule, inputs[: len(self.rule.tensors)]
        uses = [
            Use(None) if given is ABSENT else trace.use(given, f"{tensor.name} of {rule.op}")
            for tensor, given in zip(rule.tensors, tensors, strict=True)
        ]
        shapes = self.shapes(scalars, [tensor.shape for tensor in tensors])
        own = {"float": self.kernel.dtype, "int": "int32", "bool": "bool"}
        dtypes = [own[output.family] for output in self.outputs]
        numbers = [o.number(v) for o, v in zip(rule.options, scalars, strict=True)]
        results = trace.add(
            str(native.load(Path(self.kernel.source))),
            rule.op,
            uses,
            tuple(numbers) if rule.options else None,
            list(zip(shapes, dtypes, strict=True)),
            [index for index, tensor in enumerate(rule.tensors) if tensor.name in self.changed],
        )
        return one_or_all(results)

    def _none(self, arguments: Sequence[str], refuse: Callable[[str], None]) -> Any:
        given = [*arguments, *(["options"] if self.rule.options else [])]
        return refusing(self.rule.op, given, refuse)

    def _bprop(self, scalars: tuple[Scalar, ...]) -> Any:
        """``bprop(*inputs, out, dout)``, which calls the gradient's kernel."""
        op, options = self.rule.op, ["options"] if self.rule.options else []
        several = len(self.outputs) > 1
        source = {name: name for name in self.arguments}
        for index, output in enumerate(self.outputs):
            source[output.name] = f"out[{index}]" if several else "out"
            source[f"d{output.name}"] = f"dout[{index}]" if several else "dout"
        slopes = {
            name: f"slopes[{index}]" if len(self.gives) > 1 else "slopes"
            for index, name in enumerate(self.gives)
        }
        back = []
        for tensor in self.rule.tensors:
            slope = slopes.get(f"d{tensor.name}")
            if slope is None:
                back.append(f"zeros_like({tensor.name})")
            else:
                back.append(f"settle({tensor.name}, {slope})" if tensor.optional else slope)
        back += ["zeros_like(options)"] if options else []
        taken = [source[name] for name in self.takes]
        text = (
            f"def {op}_bprop({', '.join([*self.arguments, *options, 'out', 'dout'])}):\n"
            f"    slopes = gradient({', '.join([*taken, *options])})\n"
            f"    return ({', '.join(back)},)"
        )
        return define(
            f"{op}_bprop",
            text,
            __name__,
            gradient=self._gradient(scalars),
            settle=_settle,
            zeros_like=ms_ops.zeros_like,
        )

    def _gradient(self, scalars: tuple[Scalar, ...]) -> Any:
        taken, given = self.taken, self.given
        rule = replace(self.rule, op=f"{self.rule.op}_grad", tensors=taken)

        def shapes(*found: Sequence[int]) -> Any:
            sizes = rule.bind(_present(taken, found), scalars)
            # An argument that is passed tells the shape, also when it is absent or of size 1.
            passed = {
                tensor.name: tuple(shape) for tensor, shape in zip(taken, found, strict=False)
            }
            return one_or_all(
                [
                    passed[tensor.name] if tensor.name in passed else shape_of(tensor.axes, sizes)
                    for tensor in given
                ]
            )

        none = self._none(self.takes, _refuse_second)
        return self._custom(rule.op, shapes, given, none, scalars)

    def _custom(
        self,
        symbol: str,
        shapes: Any,
        outputs: Sequence[Tensors],
        bprop: Any,
        scalars: tuple[Scalar, ...],
    ) -> Any:
        own = {**_DTYPES, "float": getattr(mstype, self.kernel.dtype)}
        dtypes = one_or_all([own[output.family] for output in outputs])
        known: dict[tuple[Shape, ...], Any] = {}

        def remembered(*given: Sequence[int]) -> Any:
            key = tuple(map(tuple, given))  # asked at every eager call
            if key not in known:
                if len(known) > 1024:
                    known.clear()
                known[key] = shapes(*given)
            return known[key]

        def kinds(*_: Any) -> Any:
            return dtypes

        path = native.load(Path(self.kernel.source))
        custom = ms_ops.Custom(f"{path}:{symbol}", remembered, kinds, "aot", bprop)
        # MindSpore remembers shapes by attributes and inputs, and the shapes may follow a scalar.
        custom.add_prim_attr("scalars", repr(scalars))
        return custom


def _present(
    tensors: Sequence[Tensors], shapes: Sequence[Sequence[int]]
) -> tuple[Shape | None, ...]:
    """The shapes; None for optional tensors that look like `ABSENT`, which decide no size."""
    return tuple(
        None if tensor.optional and tuple(shape) == (1,) else tuple(shape)
        for tensor, shape in zip(tensors, shapes, strict=False)
    )


def one_or_all(values: list[Any]) -> Any:
    """As MindSpore wants the results of an operator: one alone, several as a tuple."""
    return values[0] if len(values) == 1 else tuple(values)
