"""Compile the kernels on first use and keep the library, by what it was made of.

The name of a library contains a hash of the sources, the compiler, its flags and the instruction
set, so a changed source or another machine never meets a stale one. Two processes may build at
once: each compiles to its own temporary name, and the rename is atomic.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from scimind.device.compile_cache import cache_root

_log = logging.getLogger("scimind.ops")

_FOLDER = Path(__file__).resolve().parent
# No -ffast-math: NaN and infinity have to reach the finite check of the training step.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
)
# Feature levels of the x86-64 psABI, each with one flag that /proc/cpuinfo shows only from there.
_LEVELS = (
    (("avx512f", "avx512bw", "avx512vl", "avx512dq"), "x86-64-v4"),
    (("avx2", "fma", "bmi2"), "x86-64-v3"),
)


class BuildError(Exception):
    """The kernels could not be compiled; the message says why."""


@functools.cache
def instruction_set() -> tuple[str, ...]:
    """Compiler flags for the best instruction set that this processor has."""
    if platform.machine() != "x86_64":
        return ()
    flags: set[str] = set()
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    for needed, level in _LEVELS:
        if flags.issuperset(needed):
            wide = ("-mprefer-vector-width=512",) if level == "x86-64-v4" else ()
            return (f"-march={level}", *wide)
    return ()


def library() -> Path:
    """The path of the compiled library, built if it is not there.

    Raises:
        BuildError: No compiler, a compiler error, or no folder that can be written.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise BuildError("no C++ compiler (g++) is installed")
    sources = sorted(_FOLDER.glob("*.cc"))
    command = [compiler, *_FLAGS, *instruction_set()]
    target = cache_root() / "kernels" / f"cpu-{_digest(sources, command)}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _compile([*command, *map(str, sources)], target)
    except OSError as error:
        raise BuildError(f"{error.strerror}: {error.filename}") from error
    return target


def _digest(sources: list[Path], command: list[str]) -> str:
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    digest = hashlib.sha256()
    for part in (*command, version.stdout, platform.machine()):
        digest.update(part.encode() + b"\0")
    for path in (*sources, *sorted(_FOLDER.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(command: list[str], target: Path) -> None:
    started = time.perf_counter()
    handle, temporary = tempfile.mkstemp(suffix=".so", prefix=".building-", dir=target.parent)
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, "-o", temporary, "-ldl"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BuildError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
        Path(temporary).chmod(0o755)
        os.replace(temporary, target)  # noqa: PTH105 - the atomic rename is the point
    finally:
        Path(temporary).unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    _log.info("scimind.ops: compiled the CPU kernels in %.0f s to %s", seconds, target)
