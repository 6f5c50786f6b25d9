"""One declaration per operator.

The decorated function is the plain formulation: its name names the operator, its annotations are
the rule of shapes and dtypes (see `scimind.ops.rule`), its body runs on every device and can be
differentiated any number of times. The decorator names the kernels. From that follow the call in
pynative mode and in ``ms.jit``, its checks, the gradient, the entry in the registry, and the rows
of tests, benchmarks and documentation, which go through `OPERATORS`::

    @operator(Cpp("scale.cc", backward="factor dout -> dx"))
    def scale(x: Float[Tensor, "*batch dim"], factor: float = 2.0) -> Float[Tensor, "*batch dim"]:
        \"\"\"``factor x``.\"\"\"
        return x * factor
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, overload

from mindspore import Tensor as MsTensor

from scimind.ops import registry
from scimind.ops.generated import define
from scimind.ops.in_place import owned
from scimind.ops.kernels.cpp import Cpp
from scimind.ops.rule import Rule

__all__ = ["OPERATORS", "Cpp", "Operator", "operator", "plain"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Operator:
    """A declared operator.

    Args:
        rule: What it takes and returns.
        call: The function that users call.
        plain: Its plain formulation.
        kernels: Its compiled kernels.
        sizes: Sizes of the named axes to measure it at, small to large.
        below: Integer arguments whose values are smaller than the size of an axis, with that axis.
        in_place: Arguments that it changes; its result then has to be consumed (``ops.depend``)
            inside a graph, or the change is pruned.
    """

    rule: Rule
    call: Callable[..., Any]
    plain: Callable[..., Any]
    kernels: tuple[Cpp, ...]
    sizes: tuple[Mapping[str, Any], ...] = ()
    below: Mapping[str, str] = field(default_factory=dict)
    in_place: tuple[str, ...] = ()


OPERATORS: dict[str, Operator] = {}
"""All declared operators by name."""


def operator(
    *kernels: Cpp,
    name: str | None = None,
    sizes: tuple[Mapping[str, Any], ...] = (),
    half: tuple[str, ...] = (),
    multiples: Mapping[str, str] | None = None,
    at_least: Mapping[str, int | float] | None = None,
    less_than: Mapping[str, int | float] | None = None,
    derived: Mapping[str, str] | None = None,
    mixed: tuple[str, ...] = (),
    below: Mapping[str, str] | None = None,
    in_place: tuple[str, ...] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the decorated plain formulation as an operator.

    Args:
        kernels: Compiled kernels, one for each dtype.
        name: Name of the operator, when it is not that of the function.
        sizes: Sizes of the named axes to measure it at, small to large.
        half: Tensor arguments that mixed precision turns into the compute dtype; the result is
            turned back into the dtype of the first one.
        multiples: Axes whose size is a multiple of that of another axis, or of a number.
        at_least: Smallest values of scalars.
        less_than: What scalars have to stay below.
        derived: Axes whose size is made of other sizes and integer scalars, such as ``heads*dim``.
        mixed: Float arguments whose dtype may be another than that of the first one.
        below: Integer arguments whose values are smaller than the size of an axis, with that axis.
        in_place: Arguments that it changes, see `Operator`.

    Raises:
        TypeError: The annotations are no complete rule.
        ValueError: There is an operator of that name, or two kernels cannot be told apart.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        rule = Rule.of(function, name, multiples, at_least, derived, less_than, mixed)
        if rule.op in OPERATORS:
            raise ValueError(f"operator {rule.op} is declared already; choose another name")
        if len({kernel.dtype for kernel in kernels}) < len(kernels):
            raise ValueError(f"operator {rule.op} has two kernels of one dtype; see Cpp.dtype")
        if len({str(kernel.source) for kernel in kernels}) < len(kernels):
            raise ValueError(f"operator {rule.op} has two kernels in one source; give each its own")
        registry.register(rule.op, name="plain", rule=rule)(function)
        folder = inspect.getfile(inspect.unwrap(function))
        placed = tuple(kernel.beside(folder) for kernel in kernels)
        for kernel in placed:
            registry.register(
                rule.op,
                name=kernel.name,
                device="cpu",
                dtypes=(kernel.dtype,),
                priority=10,
                ready=kernel.ready,
                when=kernel.when,
                compiled=True,
            )(kernel.implementation(rule, in_place))
        call = _call(function, rule, half, in_place)
        OPERATORS[rule.op] = Operator(
            rule, call, function, placed, sizes, dict(below or {}), in_place
        )
        return call

    return declare


@overload
def plain(call: Callable[P, R]) -> Callable[P, R]: ...
@overload
def plain(call: str) -> Callable[..., Any]: ...
def plain(call: Callable[..., Any] | str) -> Callable[..., Any]:
    """The plain formulation of a declared operator, given by its function or name.

    Raises:
        ValueError: It is not declared.
    """
    return declared(call).plain


def declared(call: Callable[..., Any] | str) -> Operator:
    """The declaration of an operator, given by its function or name.

    Raises:
        ValueError: It is not declared.
    """
    for entry in OPERATORS.values():
        if call in (entry.call, entry.rule.op):
            return entry
    raise ValueError(f"{call} is no declared operator; declared are {', '.join(OPERATORS)}")


def _call(
    function: Callable[..., Any], rule: Rule, half: tuple[str, ...], in_place: tuple[str, ...]
) -> Callable[..., Any]:
    """The public function: checks the call, chooses an implementation and calls it."""
    target = inspect.unwrap(function)
    signature = inspect.signature(target)
    parameters = [
        name if parameter.default is inspect.Parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in signature.parameters.items()
    ]
    names = list(signature.parameters)
    optional = {tensor.name for tensor in rule.tensors if tensor.optional}

    def unless_none(name: str, text: str) -> str:
        return f"None if {name} is None else {text}" if name in optional else text

    lines = [f"def {rule.op}({', '.join(parameters)}):"]
    for tensor in rule.tensors:
        absent = f"{tensor.name} is None or " if tensor.optional else ""
        lines += [f"    if not ({absent}isinstance({tensor.name}, tensor_)):"]
        lines += [f"        refuse_({rule.op!r}, {tensor.name!r}, {tensor.name})"]
    for option in rule.options:  # what is left are scalars of NumPy, and mistakes
        known = f"{option.name} is None or isinstance({option.name}, (bool, int, float, str))"
        lines += [f"    if not ({known}):"]
        lines += [f"        {option.name} = scalar_({rule.op!r}, {option.name!r}, {option.name})"]
    lines += [f"    owned_({rule.op!r}, {name!r}, {name})" for name in in_place]
    if half:
        lines += [f"    wide_ = {half[0]}.dtype", "    half_ = compute_dtype_(wide_)"]
        lines += ["    if half_ != wide_:"]
        lines += [f"        {name} = {unless_none(name, f'{name}.astype(half_)')}" for name in half]
    lines += [f"    index_ = choose_({rule.op!r},"]
    lines += [
        f"        {unless_none(tensor.name, f'({tensor.name}.shape, {tensor.name}.dtype)')},"
        for tensor in rule.tensors
    ]
    lines += [f"        {option.name}," for option in rule.options]
    lines += ["    )", f"    out_ = functions_[{rule.op!r}][index_]({', '.join(names)})"]
    result = "out_ if half_ == wide_ else out_.astype(wide_)" if half else "out_"
    lines += [f"    return {result}"]
    call = define(
        rule.op,
        "\n".join(lines),
        target.__module__,
        choose_=registry.choose_for,
        compute_dtype_=registry.compute_dtype,
        functions_=registry.FUNCTIONS,
        owned_=owned,
        refuse_=registry.refuse,
        scalar_=registry.scalar,
        tensor_=MsTensor,
    )
    call.__doc__, call.__annotations__ = target.__doc__, dict(target.__annotations__)
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call
