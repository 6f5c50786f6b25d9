"""What a graph of a cell depends on, as one hash.

The graph compiler reads the sources of ``construct`` and of what it calls, and takes every
attribute, global and argument that is not a tensor or a parameter as a constant. So the key holds
the values of all attributes below the cell; the functions that its methods may call, the constants
that these refer to as they are now, and the sources of all their modules; the versions of what is
installed; the settings of the device; the libraries of kernels, or that there are none; shapes and
dtypes of the inputs. An attribute of a kind that is not known here, or a global of such a kind that
the code refers to, makes the graph unkeyable.
"""

from __future__ import annotations

import argparse
import enum
import functools
import hashlib
import importlib.metadata
import inspect
import logging
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    WrapperDescriptorType,
)
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.ops import Primitive

from scimind.device import capabilities, target
from scimind.ops import registry
from scimind.ops.fused import NUMBERS, PLANS
from scimind.ops.kernels import cpp, native
from scimind.ops.tracing import TRACE

# Names, times and bookkeeping of a cell that no graph depends on.
_BOOKKEEPING = frozenset(
    [
        "__parse_method__",
        "_auto_prefix",
        "_compile_cache",
        "_compile_phase",
        "_compiled",
        "_create_time",
        "_exist_names",
        "_exist_objs",
        "_has_mutable_args_list",
        "_id",
        "_init_flag",
        "_is_check_and_refresh",
        "_jit_graph_name",
        "_lazy_construct_sig",
        "_lazy_user_parameters",
        "_mutable_flags",
        "_param_prefix",
        "_params_list",
        "_phase",
        "_phase_cache",
        "_scope",
        "arguments_key",
        "is_top_cell",
    ]
)
_GRADIENT_OPTIONS = (
    "get_all",
    "get_by_list",
    "get_by_position",
    "get_value",
    "has_aux",
    "merge_forward",
    "return_ids",
    "sens_param",
)
_NAMED = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType, logging.Logger)
_REMEMBERED = (
    *(registry._choices, registry._announced, cpp.PRIMITIVES, native.STATE),
    *(PLANS, NUMBERS, TRACE),
)
"""What the operators have met so far; what is chosen follows from the rest of the key."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), PurePath)


class Unkeyable(Exception):
    """A graph depends on something whose value cannot be told; the message says on what."""


def signature(method: str, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Which graph a call needs: arrays and tensors by shape and dtype, others by value."""
    return (
        method,
        *(
            ("tensor", tuple(value.shape), str(value.dtype))
            if isinstance(value, (np.ndarray, Tensor))
            else value
            for value in inputs
        ),
    )


def graph_key(cell: nn.Cell, method: str, inputs: Sequence[Any]) -> str:
    """Hash of everything that the graph of ``cell.method(*inputs)`` depends on, 32 hex digits.

    Raises:
        Unkeyable: Something has a value of an unknown kind, or the graph would use a parameter that
            the cell does not list, which MindSpore cannot restore.
    """
    digest = _Digest()
    digest.add(_surroundings())
    digest.add(signature(method, inputs))
    digest.add(cell)
    own = list(cell.get_parameters())
    names = {parameter.name for parameter in own}
    if len(names) < len(own):  # MindSpore restores them by name
        raise Unkeyable("parameters of which two have one name")
    listed = {id(parameter) for parameter in own}
    for parameter in digest.parameters:
        if id(parameter) not in listed:
            raise Unkeyable(f"parameter {parameter.name} is not one of the cell's own")
    return digest.hexdigest()


@functools.cache
def _installed() -> tuple[str, ...]:
    found = (f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions())
    return tuple(sorted(set(found)))


def _surroundings() -> tuple[Any, ...]:
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("MS_") and "COMPILER_CACHE" not in name
    }
    return (
        sys.version,
        platform.machine(),
        _installed(),
        target(),
        tuple(sorted(capabilities())),
        native.libraries_used(),
        mindspore.get_context("mode"),
        tuple(sorted(variables.items())),
    )


_STANDARD = tuple(
    str(Path(sysconfig.get_path(name)).resolve())
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class _Digest:
    """A hash that values are added to; each object once, later by its number."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        self._hash = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is only unique while its object lives
        self._packages: set[str] = set()
        self._modules: set[str] = set()
        self._attributes: set[tuple[str, str]] = set()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()[:32]

    def _write(self, *parts: object) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            self._hash.update(len(data).to_bytes(8, "little") + data)

    def add(self, value: Any) -> None:
        """Add a value and everything below it.

        Raises:
            Unkeyable: Its kind is unknown.
        """
        if isinstance(value, _PLAIN):
            self._write(type(value).__name__, repr(value))
        elif self._is_new(value):
            self._write(type(value).__qualname__)
            self._add_object(value)

    def _is_new(self, value: Any) -> bool:
        number = self._numbers.get(id(value))
        if number is not None:
            self._write("again", number)
            return False
        self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        return True

    def _add_object(self, value: Any) -> None:
        if isinstance(value, Parameter):
            self.parameters.append(value)
            self._write(value.name, tuple(value.shape), value.dtype, value.requires_grad)
        elif isinstance(value, (np.ndarray, np.generic, Tensor)):
            array = value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)
            if array.dtype.hasobject:
                raise Unkeyable("an array of Python objects")
            self._write(array.shape, array.dtype.str, array.tobytes())
        elif isinstance(value, enum.Enum):
            self._write(type(value).__module__, type(value).__qualname__, value.name)
        elif isinstance(value, dict):
            for key, item in value.items():
                self.add(key)
                self.add(item)
            self._write("end")
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.add(item)
            self._write("end")
        elif isinstance(value, (set, frozenset)):
            self._write(*sorted(map(repr, value)), "end")
        elif isinstance(value, nn.Cell):
            self._add_cell(value)
        elif isinstance(value, Primitive):
            self._add_primitive(value)
        elif isinstance(value, mindspore.Type):
            self._write(value)
        elif isinstance(value, MethodType):
            self.add(value.__self__)
            self._add_code(value.__func__)
        elif isinstance(value, FunctionType):
            self._add_code(value)
            self.add(value.__defaults__)
        elif isinstance(value, functools.partial):
            self.add((value.func, value.args, value.keywords))
        elif isinstance(value, (argparse.Namespace, SimpleNamespace)):
            self.add(vars(value))
        elif is_dataclass(value) and not isinstance(value, type):
            self._add_class(type(value))
            for field in fields(value):
                self.add(getattr(value, field.name))
        elif isinstance(value, type):
            self._add_class(value)
        elif type(value).__module__ == "mindspore.ops.composite.base":
            self._write(*(getattr(value, name, None) for name in _GRADIENT_OPTIONS))
        else:
            raise Unkeyable(f"a value of type {type(value).__module__}.{type(value).__qualname__}")

    def _add_cell(self, cell: nn.Cell) -> None:
        self._packages.add(type(cell).__module__.partition(".")[0])
        self._add_class(type(cell))
        for name, value in sorted(vars(cell).items()):
            if name not in _BOOKKEEPING and not _is_empty_slot(name, value):
                self._write(name)
                self.add(value)

    def _add_class(self, cls: type) -> None:
        for base in cls.__mro__:
            self._write(base.__module__, base.__qualname__)
            if not self._is_ours(base.__module__) or not self._is_new(base):
                continue
            self._add_source(base.__module__)
            for name, member in sorted(vars(base).items()):
                if isinstance(member, property):
                    member = member.fget
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__
                if callable(member):
                    self._write(name)
                    self._add_global(member, frozenset())
                elif isinstance(member, _PLAIN) and not name.startswith("__"):
                    self._write(name, repr(member))

    def _add_code(self, function: Callable[..., Any]) -> None:
        """A function by its name, the source of its module and the globals that it refers to."""
        function = inspect.unwrap(function)
        module = getattr(function, "__module__", None) or ""
        self._write(module, getattr(function, "__qualname__", ""))
        if not isinstance(function, FunctionType) or not self._is_ours(module):
            return
        names = frozenset(_names(function.__code__))
        for held in function.__closure__ or ():
            self._add_global(held.cell_contents, names)
        if self._is_new(function.__code__):
            self._add_source(module)
            for name in sorted(names & function.__globals__.keys()):
                self._write(name)
                self._add_global(function.__globals__[name], names)

    def _add_primitive(self, primitive: Primitive) -> None:
        self._write(primitive.name)
        for name, value in sorted(primitive.attrs.items()):
            self._write(name, repr(value) if isinstance(value, _PLAIN) else type(value).__name__)
        executed = getattr(primitive, "fn", None)  # of ``constexpr``: run by the compiler
        if isinstance(executed, FunctionType):
            self._add_code(executed)

    def _add_global(self, value: Any, names: frozenset[str]) -> None:
        """A global by what it is now; of a module, what code that uses these names could reach."""
        if any(value is state for state in _REMEMBERED):
            return
        if isinstance(value, ModuleType):
            if self._is_ours(value.__name__):
                for name in sorted(names & vars(value).keys()):
                    if (value.__name__, name) not in self._attributes:
                        self._attributes.add((value.__name__, name))
                        self._write(value.__name__, name)
                        self._add_global(vars(value)[name], names)
        elif isinstance(value, Primitive):
            self._add_primitive(value)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
            self._add_code(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._add_global(part, names)
        elif isinstance(value, (dict, list, tuple, set, frozenset)):
            if self._is_new(value):
                self._write(type(value).__qualname__, len(value))
                for item in value.items() if isinstance(value, dict) else value:
                    self._add_global(item, names)
        elif isinstance(value, _NAMED) or type(value).__module__ in ("typing", "dataclasses"):
            self._write(type(value).__qualname__, getattr(value, "__qualname__", ""))
        elif is_dataclass(value):
            self._add_class(type(value))
            for field in fields(value):
                self._add_global(getattr(value, field.name), names)
        else:
            self.add(value)

    def _is_ours(self, module: str) -> bool:
        """Not of the standard library, nor installed: of those the versions are known."""
        package = module.partition(".")[0]
        if package == "mindspore" or package in sys.stdlib_module_names:
            return False
        if package in self._packages:
            return True
        file = getattr(sys.modules.get(module), "__file__", None)
        return bool(file) and not str(Path(str(file)).resolve()).startswith(_STANDARD)

    def _add_source(self, module: str) -> None:
        if module not in self._modules:
            self._modules.add(module)
            file = getattr(sys.modules.get(module), "__file__", None)
            if file is None or not Path(file).is_file():
                raise Unkeyable(f"module {module}, which has no source file")
            self._write(module, Path(file).read_bytes())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_empty_slot(name: str, value: Any) -> bool:
    """Whether this is one of MindSpore's own containers before or after its creation, empty."""
    return name.startswith("_") and (
        value is None or (isinstance(value, (dict, set)) and not value)
    )
