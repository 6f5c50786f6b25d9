"""The shape and dtype rule of an operator, read from the annotations of its plain formulation.

``Float[Tensor, "*batch dim"]`` names axes as jaxtyping does: a name is the same size everywhere, a
``*name`` any number of axes, ``...`` any axes without a name, ``#name`` that size or 1, and
``dim//2`` a size computed from others. Nothing here needs MindSpore.
"""

from __future__ import annotations

import ast
import inspect
import math
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Shape = tuple[int, ...]
Scalar = bool | int | float | str | None
_FAMILIES = {"float": ("float", "bfloat"), "int": ("int",), "bool": ("bool",)}
_LARGEST_WHOLE = 2**53  # the kernel gets scalars as float64
_KINDS = {"bool": "True or False", "int": "an int within ±2^53", "float": "a finite number"}


class RuleError(ValueError):
    """A call breaks the rule of an operator; the message names operator, argument and rule."""


@dataclass(frozen=True)
class Tensors:
    """The rule of one tensor: ``family`` is float, int, bool or any, ``axes`` as written."""

    name: str
    family: str
    axes: tuple[str, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.family}[{' '.join(self.axes)}]"


@dataclass(frozen=True)
class Option:
    """A scalar argument.

    Args:
        name: Its name.
        default: Its default, `inspect.Parameter.empty` without one.
        kind: ``bool``, ``int``, ``float`` or ``Literal``.
        optional: Whether it may be None.
        choices: The strings of a Literal.
    """

    name: str
    default: Any
    kind: str
    optional: bool = False
    choices: tuple[str, ...] = ()

    def checked(self, op: str, value: object) -> Scalar:
        """``value`` as a scalar of Python; those of NumPy count too.

        Raises:
            RuleError: It is not of this kind, or the kernel could not hold it.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None and self.optional:
            return None
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
            raise RuleError(f"{op}: {self.name} is {_shown(value)}; use one of {self.choices}")
        match value:
            case bool() if self.kind == "bool":
                return value
            case bool():
                pass
            case int() if self.kind == "int" and abs(value) <= _LARGEST_WHOLE:
                return value
            case int() | float() if self.kind == "float" and abs(value) <= sys.float_info.max:
                return value
        rule = _KINDS[self.kind] + (" or None" if self.optional else "")
        raise RuleError(f"{op}: {self.name} is {_shown(value)}; it has to be {rule}")

    def number(self, scalar: Scalar) -> float:
        """What the kernel gets: NaN for None, the index of a choice."""
        if scalar is None:
            return math.nan
        return float(self.choices.index(scalar) if isinstance(scalar, str) else scalar)


@dataclass(frozen=True)
class Rule:
    """What an operator takes and returns.

    Args:
        op: Name of the operator.
        tensors: Its tensor arguments, in order.
        options: Its scalar arguments, in order; they follow the tensors.
        results: What it returns.
        several: Whether it returns a tuple, be it of one.
        multiples: Pairs of an axis and a size (another axis or a number) that divides it.
        at_least: Pairs of a scalar and its smallest value.
        derived: Pairs of an axis and what its size has to be, made of other sizes and scalars.
        less_than: Pairs of a scalar and what it has to stay below.
        mixed: Float tensors whose dtype may be another than that of the first one.
    """

    op: str
    tensors: tuple[Tensors, ...]
    options: tuple[Option, ...]
    results: tuple[Tensors, ...]
    several: bool
    multiples: tuple[tuple[str, str], ...] = ()
    at_least: tuple[tuple[str, int | float], ...] = ()
    derived: tuple[tuple[str, str], ...] = ()
    less_than: tuple[tuple[str, int | float], ...] = ()
    mixed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        name: str | None = None,
        multiples: Mapping[str, str] | None = None,
        at_least: Mapping[str, int | float] | None = None,
        derived: Mapping[str, str] | None = None,
        less_than: Mapping[str, int | float] | None = None,
        mixed: tuple[str, ...] = (),
    ) -> Rule:
        """Read the rule of operator ``name`` from a signature.

        Raises:
            TypeError: An annotation is missing, or a tensor follows a scalar.
        """
        plain = inspect.unwrap(function)
        hints = typing.get_type_hints(plain)
        op = name or plain.__name__
        tensors: list[Tensors] = []
        options: list[Option] = []
        for argument, parameter in inspect.signature(plain).parameters.items():
            if argument not in hints:
                raise TypeError(f"operator {op}: argument {argument} has no annotation")
            annotation, optional = _without_none(hints[argument])
            if not hasattr(annotation, "dim_str"):
                options.append(_option(op, argument, parameter.default, annotation, optional))
            elif options:
                raise TypeError(f"operator {op}: tensor {argument} has to come before the scalars")
            else:
                tensors.append(_tensors(argument, annotation, optional))
        returned = hints.get("return")
        several = typing.get_origin(returned) is tuple
        parts = typing.get_args(returned) if several else (returned,)
        if not all(hasattr(part, "dim_str") for part in parts):
            raise TypeError(f"operator {op}: the result has no shape annotation")
        names = [f"out{index}" for index in range(len(parts))] if several else ["out"]
        results = [_tensors(name, part, False) for name, part in zip(names, parts, strict=True)]
        return cls(
            op,
            tuple(tensors),
            tuple(options),
            tuple(results),
            several,
            tuple((multiples or {}).items()),
            tuple((at_least or {}).items()),
            tuple((derived or {}).items()),
            tuple((less_than or {}).items()),
            mixed,
        )

    def check(
        self,
        given: tuple[tuple[Shape, str] | None, ...],
        options: tuple[Scalar, ...],
    ) -> dict[str, Any]:
        """Sizes of the named axes of a call.

        Args:
            given: Shape and dtype of each tensor argument, None for an absent one.
            options: The scalars.

        Raises:
            RuleError: The call breaks the rule.
        """
        first: tuple[str, str] | None = None
        for tensor, entry in zip(self.tensors, given, strict=True):
            if entry is None:
                if not tensor.optional:
                    raise self.no_tensor(tensor.name, None)
                continue
            dtype = entry[1]
            allowed = _FAMILIES.get(tensor.family)
            if allowed and not dtype.startswith(allowed):
                raise RuleError(f"{self.op}: {tensor.name} has dtype {dtype}; the rule is {tensor}")
            if tensor.family != "float" or tensor.name in self.mixed:
                continue
            first = first or (tensor.name, dtype)
            if dtype != first[1]:
                raise RuleError(
                    f"{self.op}: {tensor.name} has dtype {dtype}; the rule is {tensor} with the "
                    f"dtype of {first[0]}, {first[1]}; cast one of them"
                )
        found = dict(zip((option.name for option in self.options), options, strict=True))
        for option in self.options:
            option.checked(self.op, found[option.name])
        for name, least in self.at_least:
            self._within(name, found[name], least, math.inf, f"at least {least}")
        for name, limit in self.less_than:
            self._within(name, found[name], -math.inf, limit, f"less than {limit}")
        return self.bind(tuple(None if entry is None else entry[0] for entry in given), options)

    def _within(
        self, name: str, value: Any, least: int | float, limit: int | float, rule: str
    ) -> None:
        if value is not None and not least <= value < limit:
            raise RuleError(f"{self.op}: {name} is {value}; it has to be {rule}")

    def no_tensor(self, name: str, value: object) -> RuleError:
        """The error for an argument that is no tensor."""
        found = "None" if value is None else f"of type {type(value).__name__}"
        rule = next(tensor for tensor in self.tensors if tensor.name == name)
        way = "; None leaves it out" if rule.optional else ""
        return RuleError(f"{self.op}: {name} is {found}; it has to be a Tensor, {rule}{way}")

    def bind(
        self, shapes: tuple[Shape | None, ...], options: tuple[Scalar, ...] = ()
    ) -> dict[str, Any]:
        """Sizes of the named axes (a tuple for ``*name``) and the integer scalars, by name.

        Raises:
            RuleError: A shape breaks the rule.
        """
        sizes: dict[str, Any] = {
            option.name: value
            for option, value in zip(self.options, options, strict=False)
            if isinstance(value, int) and not isinstance(value, bool)
        }
        origin: dict[str, str] = dict.fromkeys(sizes, "the call")
        loose: dict[str, str] = {}
        later: list[tuple[Tensors, Shape, str, int]] = []
        for tensor, shape in zip(self.tensors, shapes, strict=True):
            if shape is None:
                continue
            for axis, size in _matched(self.op, tensor, shape):
                name = axis.lstrip("#*")
                if axis == "..." or (axis.startswith("#") and size == 1):
                    if axis != "...":
                        loose.setdefault(name, tensor.name)
                elif not name.isidentifier():
                    later.append((tensor, shape, axis, typing.cast(int, size)))
                elif name not in sizes:
                    sizes[name], origin[name] = size, tensor.name
                elif sizes[name] != size:
                    raise self._broken(tensor, shape, name, sizes[name], origin[name])
        for name in loose:
            sizes.setdefault(name, 1)
        for name, expected in self.derive(sizes).items():
            if sizes.setdefault(name, expected) != expected:
                raise RuleError(
                    f"{self.op}: {name} = {sizes[name]} from {origin[name]} has to be "
                    f"{dict(self.derived)[name]} = {expected}"
                )
        for tensor, shape, axis, size in later:
            expected = evaluate(axis, sizes)
            if expected != size:
                raise self._broken(tensor, shape, axis, expected, "the other sizes")
        for whole, part in self.multiples:
            divisor = evaluate(part, sizes)
            if sizes[whole] % divisor if divisor else sizes[whole]:
                raise RuleError(
                    f"{self.op}: {whole} = {sizes[whole]} from {origin[whole]} has to be a "
                    f"multiple of {part}" + ("" if part.isdigit() else f" = {divisor}")
                )
        return sizes

    def derive(self, sizes: Mapping[str, Any]) -> dict[str, int]:
        """Sizes that are made of these."""
        return {name: evaluate(text, sizes) for name, text in self.derived}

    def _broken(
        self, tensor: Tensors, shape: Shape, axis: str, expected: object, source: str
    ) -> RuleError:
        return RuleError(
            f"{self.op}: {tensor.name} has shape {shape}; the rule is {tensor} with "
            f"{axis} = {expected} from {source}"
        )

    def __str__(self) -> str:
        arguments = [f"{t.name}{'?' if t.optional else ''}: {t}" for t in self.tensors]
        arguments += [option.name for option in self.options]
        return f"{self.op}({', '.join(arguments)}) -> {', '.join(map(str, self.results))}"


def shape_of(axes: tuple[str, ...], sizes: Mapping[str, Any]) -> Shape:
    """The shape of ``axes`` when the named ones have ``sizes``."""
    shape: list[int] = []
    for axis in axes:
        if axis.startswith("*"):
            shape.extend(sizes[axis[1:]])
        else:
            shape.append(evaluate(axis.lstrip("#"), sizes))
    return tuple(shape)


def evaluate(text: str, sizes: Mapping[str, Any]) -> int:
    """Value of an arithmetic expression of sizes, such as ``dim//2``."""
    if text in sizes:  # also what Python would read as a word of its own, such as ``in``
        return int(sizes[text])
    return _value(ast.parse(text, mode="eval").body, sizes)


def _value(node: ast.AST, sizes: Mapping[str, Any]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return int(sizes[name])
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, sizes) + _value(right, sizes)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left, sizes) - _value(right, sizes)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left, sizes) * _value(right, sizes)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return _value(left, sizes) // _value(right, sizes)
    raise TypeError(f"a size has to be a sum, product or quotient of sizes, not {ast.dump(node)}")


def _matched(op: str, tensor: Tensors, shape: Shape) -> list[tuple[str, int | Shape]]:
    """Pairs of axis and size; of axis and sizes for the variadic one."""
    axes = tensor.axes
    variadic = [index for index, axis in enumerate(axes) if axis == "..." or axis.startswith("*")]
    if not variadic:
        if len(shape) != len(axes):
            raise RuleError(f"{op}: {tensor.name} has shape {shape}; the rule is {tensor}")
        return list(zip(axes, shape, strict=True))
    split = variadic[0]
    after = len(axes) - split - 1
    if len(shape) < split + after:
        raise RuleError(f"{op}: {tensor.name} has shape {shape}; the rule is {tensor}")
    end = len(shape) - after
    return [
        *zip(axes[:split], shape[:split], strict=True),
        (axes[split], shape[split:end]),
        *zip(axes[split + 1 :], shape[end:], strict=True),
    ]


def _shown(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float, str)):
        return reprlib.repr(value)
    return f"of type {type(value).__name__}"


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    return (parts[0], True) if len(parts) == 1 else (annotation, True)


def _option(op: str, name: str, default: Any, annotation: Any, optional: bool) -> Option:
    if typing.get_origin(annotation) is Literal:
        return Option(name, default, "Literal", optional, typing.get_args(annotation))
    if annotation not in (bool, int, float):
        raise TypeError(
            f"operator {op}: argument {name} is annotated {annotation}; it has to be a tensor with "
            "a shape, bool, int, float or Literal"
        )
    return Option(name, default, annotation.__name__, optional)


def _tensors(name: str, annotation: Any, optional: bool) -> Tensors:
    dtypes = annotation.dtypes
    family = "any"
    if isinstance(dtypes, (list, tuple)):
        known = {"float32": "float", "int32": "int", "bool": "bool", "bool_": "bool"}
        family = next((known[dtype] for dtype in dtypes if dtype in known), "any")
    return Tensors(name, family, tuple(annotation.dim_str.split()), optional)
