"""Calls compiled kernels in a process of their own, which a sanitizer may end.

The process needs NumPy only. It reads one JSON request per line: a library, how to call it, and a
list of cases. A case has the values of named tensors (None for an absent one), the scalars, and
steps, each of which calls one symbol with some of the tensors and adds its outputs to them. Tensors
lie in blocks of memory of exactly their size. For each case it answers with one line: a hash of
every tensor that a step gave, or was given, in the order of the steps.

`Process` is the side of the tests.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raw_kernels import ABSENT, Kernels

ODD_FLOATS = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-40, 0.0, -0.0)


@dataclass(frozen=True)
class Settings:
    """How cases are called; the results must not depend on any of it.

    Args:
        threads: Threads of the pool.
        apart: Whether each call has a thread of its own, where the memory that a kernel keeps for
            the next call is new and no larger than it asked for.
        fill: Byte that memory holds before something is written to it.
        shift: Elements by which tensors lie further into their blocks.
        reverse: Whether the last case is called first.
    """

    threads: int = 1
    apart: bool = True
    fill: int = 0xFF
    shift: int = 0
    reverse: bool = False


class DiedError(Exception):
    """The process ended in the middle of a call; the message is what it said last."""


class Process:
    """A process that calls kernels.

    Args:
        settings: How it calls them.
        preload: Libraries of sanitizers.
    """

    def __init__(self, settings: Settings, preload: Sequence[Path] = ()) -> None:
        self.settings = settings
        fill = settings.fill
        asan = f"detect_leaks=0:malloc_fill_byte={fill}:max_malloc_fill_size={1 << 30}"
        own = {
            "LD_PRELOAD": " ".join(map(str, preload)),
            "ASAN_OPTIONS": asan,
            "UBSAN_OPTIONS": "print_stacktrace=1",
            # glibc fills what is allocated with the complement of this byte.
            "MALLOC_PERTURB_": str(0xFF - fill),
            "OMP_NUM_THREADS": "1",
        }
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **own},
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def call(
        self,
        library: Path,
        product: Path,
        cases: Sequence[Mapping[str, Any]],
        keep: Path | None = None,
    ) -> list[dict[str, str]]:
        """Hashes of the tensors of each case, by ``symbol name``.

        Args:
            library: The compiled kernels.
            product: Library with ``dnnl_sgemm``.
            cases: What to call.
            keep: File for the tensors of the last case.

        Raises:
            DiedError: A sanitizer found something, or a kernel failed.
        """
        request = {"library": str(library), "product": str(product), "cases": cases}
        request |= {"settings": asdict(self.settings), "keep": None if keep is None else str(keep)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        found: list[dict[str, str]] = []
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            for _ in cases:
                found.append(json.loads(self._process.stdout.readline()))
        except (OSError, ValueError):
            self._process.wait()
            raise DiedError(self._last_words()) from None
        return found[::-1] if self.settings.reverse else found

    def _last_words(self) -> str:
        self._said.seek(0)
        text = self._said.read().decode(errors="replace")
        return text[text.rfind("calling ") :][:6000]


def main() -> None:
    """Answer requests until there are no more."""
    loaded: dict[str, Kernels] = {}
    for line in sys.stdin:
        request = json.loads(line)
        settings = Settings(**request["settings"])
        library = request["library"]
        if library not in loaded:
            loaded[library] = Kernels(Path(library), Path(request["product"]), settings.threads)
        cases = request["cases"]
        for case in reversed(cases) if settings.reverse else cases:
            tensors = dict(_called(loaded[library], case, settings))
            if request["keep"]:
                np.savez(request["keep"], **tensors)
            hashes = {key: hashlib.sha256(x.tobytes()).hexdigest() for key, x in tensors.items()}
            print(json.dumps(hashes), flush=True)


def _called(
    kernels: Kernels, case: Mapping[str, Any], settings: Settings
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors that each step took and gave, by ``symbol name``, after the step."""
    offset = case["offset"] + settings.shift
    tensors: dict[str, np.ndarray] = {}
    for index, (name, value) in enumerate(case["values"].items()):
        if value is None:
            tensors[name] = ABSENT
            continue
        if "text" in value:  # a program, with @ for the library
            text = value["text"].replace("@", kernels.path).encode()
            tensors[name] = _block((len(text),), "int8", offset, settings.fill)
            tensors[name][...] = np.frombuffer(text, np.int8)
            continue
        tensors[name] = _block(value["shape"], value["dtype"], offset, settings.fill)
        tensors[name][...] = _values(np.random.default_rng((case["seed"], index)), value)
    for step in case["steps"]:
        print("calling", step["symbol"], json.dumps(case), file=sys.stderr, flush=True)
        inputs = [tensors[name] for name in step["takes"]]
        if case["options"] is not None:
            inputs.append(np.array(case["options"], np.float64))
        outputs = {
            name: _block(result["shape"], result["dtype"], offset, settings.fill)
            for name, result in step["gives"].items()
        }
        call = (step["symbol"], inputs, list(outputs.values()))
        if settings.apart:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(kernels.call, *call).result()
        else:
            kernels.call(*call)
        tensors |= outputs
        for name in (*step["takes"], *step["checks"]):
            yield f"{step['symbol']} {name}", tensors[name]


def _block(shape: Sequence[int], dtype: str, offset: int, fill: int) -> np.ndarray:
    """A tensor that starts ``offset`` elements into its memory and ends with it."""
    size = np.dtype(dtype).itemsize
    block = np.full(size * (offset + math.prod(shape)), fill, np.uint8)
    return block[size * offset :].view(dtype).reshape(shape)


def _values(rng: np.random.Generator, value: Mapping[str, Any]) -> np.ndarray:
    shape, odd = value["shape"], value["odd"]
    if value["dtype"] == "bool":
        return rng.random(shape) < 0.7
    if value["dtype"] == "int32":
        low, high = value["low"], value["high"]
        inside = rng.integers(low, max(high, low + 1), shape)
        limits = np.iinfo(np.int32)
        outside = rng.choice((limits.min, low - 1, high, high + 1, limits.max), shape)
        return np.where(rng.random(shape) < odd, outside.clip(limits.min, limits.max), inside)
    normal = rng.standard_normal(shape).astype(np.float32)
    return np.where(rng.random(shape) < odd, rng.choice(ODD_FLOATS, shape), normal)


if __name__ == "__main__":
    main()
