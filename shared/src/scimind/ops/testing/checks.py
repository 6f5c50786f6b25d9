"""The kernel of an operator compared with its plain formulation in float64."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import mindspore as ms
import numpy as np

from scimind.device import compiler, target
from scimind.errors import EnvironmentProblem
from scimind.ops import registry
from scimind.ops.operator import Cpp, Operator, declared
from scimind.ops.testing.calls import Call, Values, draw_call
from scimind.ops.testing.outcomes import Arrays, Way, cotangents, gradients, values

Found = Mapping[str, np.ndarray]
MODES: dict[Way, str] = {"pynative": "pynative mode", "jit": "ms.jit"}
# Small axes; empty ones; the ends of vectors of 16 numbers, few of them since elements multiply.
SIZES = (tuple(range(1, 8)), (0, 1, 2, 3), tuple(range(1, 8)), (1, 2, 3, 17, 33))
LARGEST = 1 << 16
_DTYPES = {"int": "int32", "bool": "bool"}
_log = logging.getLogger("scimind.ops")


def check(
    operator: Callable[..., Any] | str,
    *,
    calls: int = 20,
    seed: int = 0,
    tolerance: float = 2e-5,
    given: Mapping[str, Values] | None = None,
) -> None:
    """Compare the kernel of a declared operator with its plain formulation, on random calls.

    The calls follow from the rule, with axes of size 0 and 1 and odd ones. Results, and arguments
    that an in-place operator changes, are compared with the plain formulation in float64 in
    pynative mode and in ``ms.jit``; gradients likewise, and with finite differences. Memory is
    filled before, so that what a kernel leaves unwritten differs. Where an axis is 0, MindSpore
    cannot compute some plain formulations: then only the two modes are compared, and the log says
    so. Gradients of a result without axes are compared in pynative mode only.

    Args:
        operator: Function or name of the operator.
        calls: How many calls.
        seed: Decides the calls.
        tolerance: Of float results, relative to the largest element; five times that for gradients.
        given: Arguments that cannot have any value, by name: the scalars to choose from, or a
            function that fills a tensor from a generator and a shape. Without it tensors are
            standard normal, or whole numbers from 0 to what ``below`` says, or to 99.

    Raises:
        AssertionError: They differ; it names operator, call, quantity and difference.
        EnvironmentProblem: The kernel cannot be used here.
        ValueError: The operator is not declared, has no kernel or no argument of a name in
            ``given``.
    """
    entry = declared(operator)
    for dtype in [kernel.dtype for kernel in entry.kernels] or ["float32"]:
        for call in drawn(entry, calls, seed, given, dtype):
            compare_values(entry, call, tolerance)
            compare_gradients(entry, call, 5 * tolerance)


def drawn(
    entry: Operator,
    count: int,
    seed: int = 0,
    given: Mapping[str, Values] | None = None,
    dtype: str = "float32",
) -> list[Call]:
    """Calls that the kernel of ``dtype`` takes, small to large: the first to fail is a simple one.

    Raises:
        EnvironmentProblem: The kernel cannot be used here, or for too few of many calls.
        ValueError: The operator has no kernel, or no argument of a name in ``given``.
    """
    rule, random = entry.rule, Random(seed)
    names = [tensor.name for tensor in rule.tensors] + [option.name for option in rule.options]
    if unknown := set(given or {}) - set(names):
        raise ValueError(f"operator {rule.op} has no {sorted(unknown)}; its arguments are {names}")
    kernel = _kernel(entry, dtype)
    found: list[Call] = []
    others: set[str] = set()
    for _ in range(50 * count):
        call = draw_call(entry, random, SIZES[len(found) % len(SIZES)], given, dtype)
        if call.size > LARGEST:
            continue
        chosen = _implementation(entry, call)
        if chosen == kernel.name:
            found.append(call)
        else:
            others.add(chosen)
        if len(found) == count:
            break
    if len(found) < count:
        raise EnvironmentProblem(
            f"operator {rule.op}: its kernel takes {len(found)} of {50 * count} random calls, the "
            f"others go to {sorted(others)}; {count} are needed, see `when` of the kernel"
        )
    return sorted(found, key=lambda call: call.size)


def _kernel(entry: Operator, dtype: str) -> Cpp:
    op = entry.rule.op
    kernel = next((kernel for kernel in entry.kernels if kernel.dtype == dtype), None)
    if kernel is None:
        raise ValueError(f"operator {op} has no compiled kernel of {dtype} that could be checked")
    reason = ""
    if target() != "cpu":
        reason = f"the device is {target()}, and the kernel is for the CPU"
    elif registry.compute_dtype(ms.float32) != ms.float32:
        reason = "device.setup chose mixed precision, and it is compared in single precision"
    elif not kernel.ready():
        reason = _reason(Path(kernel.source))
    if reason:
        raise EnvironmentProblem(f"operator {op}: its kernel cannot be checked here: {reason}")
    return kernel


def _reason(source: Path) -> str:
    """Why there is no library of ``source``."""
    if not compiler.enabled():
        return "SCIMIND_KERNELS=plain switches the kernels off"
    try:
        compiler.libraries([source])
    except compiler.BuildError as error:
        return str(error)
    return f"the library of {source.name} does not start, the log of scimind.ops says why"


def _implementation(entry: Operator, call: Call) -> str:
    """What the registry chooses."""
    tensors = zip(entry.rule.tensors, call.shapes, strict=True)
    given = [
        None if shape is None else (shape, _DTYPES.get(tensor.family, call.dtype))
        for tensor, shape in tensors
    ]
    index: int = registry.choose_for(entry.rule.op, *given, *call.options)
    return registry.implementations(entry.rule.op)[index].name


def _backward(entry: Operator, call: Call) -> str | None:
    return next(kernel.backward for kernel in entry.kernels if kernel.dtype == call.dtype)


def compare_values(
    entry: Operator, call: Call, tolerance: float = 2e-5, modes: Iterable[Way] = MODES
) -> None:
    """Compare results, and arguments afterwards.

    Raises:
        AssertionError: They differ.
    """
    arrays = call.arrays(entry)
    _compare(values, entry, call, arrays, tolerance, modes)


def compare_gradients(
    entry: Operator, call: Call, tolerance: float = 1e-4, modes: Iterable[Way] = MODES
) -> None:
    """Compare the kernel's gradients, if it has any, also with finite differences.

    Raises:
        AssertionError: They differ.
    """
    if _backward(entry, call) is None or entry.in_place:
        return
    arrays = call.arrays(entry)
    # MindSpore cannot compile the gradient of a custom operator whose result has no axes.
    if any(weight.ndim == 0 for weight in cotangents(entry, call).values()):
        modes = [mode for mode in modes if mode != "jit"]
    slopes = _compare(gradients, entry, call, arrays, tolerance, modes)
    if not call.empty:
        _compare_differences(entry, call, arrays, slopes)


def _compare(
    quantity: Callable[..., dict[str, np.ndarray]],
    entry: Operator,
    call: Call,
    arrays: Arrays,
    tolerance: float,
    modes: Iterable[Way],
) -> dict[str, np.ndarray]:
    """Compare, and return what the plain formulation gives."""
    reference = _reference(quantity, entry, call, arrays)
    # Where the exact result is 0, terms cancel that are of size 1 or larger.
    least = 0.1 if quantity is gradients else 0.01
    first: dict[str, np.ndarray] = {}
    for mode in modes:
        where = f"{call.describe(entry.rule)}, in {MODES[mode]}"
        try:
            found = quantity(entry, call, arrays, mode)
        except Exception as error:
            raise AssertionError(f"{where}: the call raises {_line(error)}") from error
        for name, got in found.items():
            known = name in reference
            expected = reference[name] if known else first.setdefault(name, got)
            if fault := _fault(got, expected, tolerance, least):
                source = "the plain formulation in float64" if known else "pynative mode"
                raise AssertionError(f"{where}: {name} is not that of {source}: {fault}")
    return reference


def _reference(
    quantity: Callable[..., dict[str, np.ndarray]], entry: Operator, call: Call, arrays: Arrays
) -> dict[str, np.ndarray]:
    """What the plain formulation gives.

    Where an axis is 0, MindSpore refuses some operators and leaves what others give unwritten: what
    is not the same in another dtype and on other memory is left out.
    """
    if not call.empty:
        try:
            return quantity(entry, call, arrays, "float64")
        except Exception as error:
            error.add_note(f"in the plain formulation of {call.describe(entry.rule)}")
            raise
    try:
        one = quantity(entry, call, arrays, "float64")
        other = quantity(entry, call, arrays, "float32")
    except Exception as error:
        _log.warning("%s: not compared, MindSpore: %s", call.describe(entry.rule), _line(error))
        return {}
    same = {n: a for n, a in one.items() if np.allclose(a, other[n], 1e-4, 1e-4, equal_nan=True)}
    if left := one.keys() - same.keys():
        text = "%s: not compared, unwritten in MindSpore: %s"
        _log.warning(text, call.describe(entry.rule), ", ".join(sorted(left)))
    return same


def _line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _fault(got: np.ndarray, expected: np.ndarray, tolerance: float, least: float) -> str:
    """What is wrong with a result, whose size counts as ``least`` at least; nothing if right."""
    if got.shape != expected.shape:
        return f"its shape is {got.shape}, not {expected.shape}"
    if got.dtype.kind != "f":
        tolerance = 0.0
    a, b = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    difference = np.where(np.isnan(difference), np.inf, difference)
    difference /= np.abs(b[np.isfinite(b)]).max(initial=0.0) + least
    if not difference.size or difference.max() <= tolerance:
        return ""
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    place = [int(index) for index in worst]
    return (
        f"worst relative difference {difference.max():.2g}, tolerance {tolerance:.2g}, at {place}: "
        f"{got[worst]} instead of {expected[worst]}"
    )


def _compare_differences(entry: Operator, call: Call, arrays: Arrays, slopes: Found) -> None:
    """Compare gradients of the plain formulation with its finite differences."""
    smooth = str(_backward(entry, call)).partition("->")[2].split()
    weights = cotangents(entry, call)
    rng = np.random.default_rng(call.seed + 2)

    def total(moved: Arrays) -> float:
        found = values(entry, call, moved, "float64")
        return float(sum((found[name] * weight).sum() for name, weight in weights.items()))

    for tensor in entry.rule.tensors:
        name, value = tensor.name, arrays[tensor.name]
        if tensor.family != "float" or value is None:
            continue
        where, slope = call.describe(entry.rule), slopes[f"gradient of {name}"]
        if f"d{name}" not in smooth:
            if (slope != 0).any():
                raise AssertionError(f"{where}: {name} has a gradient, `backward` has no d{name}")
            continue
        direction = rng.standard_normal(slope.shape)
        scale = np.linalg.norm(slope * direction) + 1e-2
        errors = []
        for step in (1e-5, 1e-6):  # the second where the first crosses a kink
            ends = [
                total({**arrays, name: np.asarray(value + shift * direction)})
                for shift in (step, -step)
            ]
            finite = (ends[0] - ends[1]) / (2 * step)
            errors.append(abs((slope * direction).sum() - finite) / scale)
            if errors[-1] < 1e-5:
                break
        else:
            raise AssertionError(
                f"{where}: gradient of {name} of the plain formulation is not that of finite "
                f"differences: worst relative difference {min(errors):.2g}, tolerance 1e-05"
            )
