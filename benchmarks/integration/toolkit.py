"""What the official versions share: build, checks and the comparison of their tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp", "-fno-math-errno"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "official-operators"
FLOAT, INT = ("Float16", "Float32", "Float64"), ("Int32", "Int64")


def build(source: Path) -> Path | None:
    """The library of a source, from the cache if nothing has changed; None without a compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        warnings.warn("no C++ compiler: plain operators instead of kernels", stacklevel=2)
        return None
    digest = hashlib.sha256(" ".join([compiler, *FLAGS]).encode())
    headers = [*source.parent.glob("*.h"), *source.parent.parent.glob("*.h")]
    for path in [source, *sorted(headers)]:
        digest.update(path.read_bytes())
    library = CACHE / f"{source.parent.name}-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            new = Path(folder) / "new.so"
            command = [compiler, *FLAGS, source, "-o", new]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                warnings.warn(f"plain operators, {source} fails: {done.stderr}", stacklevel=2)
                return None
            new.replace(library)  # other processes see all of it or nothing
    return library


def custom(library: Path | None, symbol: str, *arguments) -> ops.Custom | None:
    """The operator of a symbol; ``arguments`` are its shapes, its dtypes and its gradient."""
    if library is None:
        return None
    return ops.Custom(f"{library}:{symbol}", *arguments[:2], "aot", *arguments[2:])


def bind(op: str, rules: dict[str, tuple[tuple[str, ...], str]], given: tuple) -> dict[str, int]:
    """Sizes of the named axes of a call.

    Args:
        op: Name of the operator.
        rules: Dtypes and axes of each argument; ``...`` in front stands for any axes.
        given: Shape and dtype of each argument.

    Raises:
        TypeError: An argument has another dtype.
        ValueError: An argument has another shape.
    """
    sizes: dict[str, int] = {}
    for (argument, (dtypes, axes)), (shape, dtype) in zip(rules.items(), given, strict=True):
        if str(dtype) not in dtypes:
            raise TypeError(f"{op}: {argument} has dtype {dtype}; it has to be one of {dtypes}")
        names = axes.split()
        open_ended = names[0] == "..."
        names = names[1:] if open_ended else names
        if len(shape) < len(names) or (len(shape) > len(names) and not open_ended):
            raise ValueError(f"{op}: {argument} has shape {shape}; the rule is [{axes}]")
        for name, size in zip(names, shape[len(shape) - len(names) :], strict=True):
            if sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"{op}: {argument} has shape {shape}; the rule is [{axes}] with "
                    f"{name} = {sizes[name]} from the arguments before"
                )
    return sizes


def require_multiple(op: str, sizes: dict[str, int], whole: str, part: str) -> None:
    """Raise a ValueError unless an axis is a multiple of another one, which is not 0."""
    if sizes[part] == 0 or sizes[whole] % sizes[part]:
        raise ValueError(
            f"{op}: {whole} = {sizes[whole]} has to be a multiple of {part} = {sizes[part]}"
        )


def described(*tensors):
    """Shape and dtype of each tensor, also inside graphs."""
    return tuple([(tensor.shape, tensor.dtype) for tensor in tensors])


def runs_kernel(library: Path | None, given: tuple) -> bool:
    """Whether the kernel can do a call: on the CPU, in single precision."""
    single = all(dtype == ms.float32 or str(dtype) in INT for _, dtype in given)
    return library is not None and single and ms.get_context("device_target") == "CPU"


@ops.constexpr
def scalars(*values: float) -> Tensor:
    """Numbers of a call as the input of a kernel."""
    return Tensor(np.array(values), ms.float32)


def compare(
    operator: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    arrays: Sequence[np.ndarray],
    numbers: tuple = (),
    smooth: tuple[int, ...] = (),
) -> None:
    """Check an operator against its plain formulation in float64, eager and compiled.

    Args:
        operator: The operator.
        plain: Its plain formulation.
        arrays: Its tensors.
        numbers: Its further arguments.
        smooth: Positions of the tensors that have a gradient.
    """
    exact = _results(plain, arrays, numbers, smooth, np.float64, False)
    for compiled in (False, True):
        found = _results(operator, arrays, numbers, smooth, np.float32, compiled)
        for got, expected in zip(found, exact, strict=True):
            size = np.abs(expected).max(initial=0.0) + 1e-3
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * size)


def _results(function, arrays, numbers, smooth, dtype, compiled) -> list[np.ndarray]:
    tensors = [Tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    gradient = ops.GradOperation(get_all=True, sens_param=True)

    def forward(*inputs):
        return function(*inputs, *numbers)

    def backward(*inputs):
        return gradient(forward)(*inputs)

    out = (ms.jit(forward) if compiled else forward)(*tensors)
    if not smooth:
        return [out.asnumpy()]
    cotangent = Tensor(np.random.default_rng(0).standard_normal(out.shape).astype(dtype))
    slopes = (ms.jit(backward) if compiled else backward)(*tensors, cotangent)
    return [out.asnumpy(), *(slopes[index].asnumpy() for index in smooth)]
