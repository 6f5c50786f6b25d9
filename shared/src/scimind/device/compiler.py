"""Compile C++ kernels on first use and keep each library, by what it was made of.

The name of a library contains a hash of its source, what that includes, the compiler, its flags
and the instruction set, so a changed source or another machine never meets a stale one. Several
processes may build at once: each compiles to a temporary name of its own, and the rename is atomic.
A wheel may bring libraries of operators along (folder ``ops/kernels/prebuilt``), under a hash
without the compiler; the hook that builds it loads this file alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_log = logging.getLogger(__name__)

_KERNELS = Path(__file__).resolve().parents[1] / "ops" / "kernels"
INCLUDE = _KERNELS / "include"
PREBUILT = _KERNELS / "prebuilt"
# No -ffast-math: NaN and infinity have to reach the finite check of the training step.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
)
# Feature levels of the x86-64 psABI, each with flags that /proc/cpuinfo shows only from there.
LEVELS = {
    "x86-64-v4": ("avx512f", "avx512bw", "avx512vl", "avx512dq"),
    "x86-64-v3": ("avx2", "fma", "bmi2"),
}
# Also of ``__has_include``, whose answer changes when the file appears.
_INCLUDED = rb"""\b(?:__has_)?include\b[\s(]*["<]([^">\n]+)[">]"""
_BUILDING = ".building-"
_DAY_S = 24 * 3600.0


class BuildError(Exception):
    """The kernels could not be compiled; the message says why."""


def enabled() -> bool:
    """False when ``SCIMIND_KERNELS=plain`` switches compiled kernels off.

    Raises:
        EnvironmentProblem: The variable has another value than ``auto`` and ``plain``.
    """
    mode = os.environ.get("SCIMIND_KERNELS", "auto")
    if mode in ("auto", "plain"):
        return mode == "auto"
    from scimind.errors import EnvironmentProblem

    raise EnvironmentProblem(f"SCIMIND_KERNELS={mode!r} is unknown; use auto or plain")


@functools.cache
def instruction_set() -> str | None:
    """The highest of `LEVELS` that this processor has."""
    if platform.machine() != "x86_64":
        return None
    flags: set[str] = set()
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    return next((level for level, needed in LEVELS.items() if flags.issuperset(needed)), None)


def flags(level: str | None) -> list[str]:
    """Compiler flags for one of `LEVELS`, or for any processor of this kind."""
    wide = ["-mprefer-vector-width=512"] if level == "x86-64-v4" else []
    return [*FLAGS, f"-I{INCLUDE}", *([f"-march={level}"] if level else []), *wide]


@functools.cache
def digest(source: Path) -> str:
    """Hash of a source file and of all that it includes, 16 hex digits.

    Includes are followed from the folder of the file that has them, and from ours; those of the
    system and those whose name is a macro are not.
    """
    total = hashlib.sha256()
    seen: set[Path] = set()
    waiting = [(source.name.encode(), source)]
    while waiting:
        name, path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        text = path.read_bytes()
        total.update(b"%b\0%d\0%b" % (name, len(text), text))
        for name in re.findall(_INCLUDED, text):
            places = (folder / os.fsdecode(name) for folder in (path.parent, INCLUDE))
            found = next((place.resolve() for place in places if place.is_file()), None)
            if found is not None:
                waiting.append((name, found))
    return total.hexdigest()[:16]


def prebuilt(source: Path, level: str | None) -> Path:
    """Where a wheel keeps the library of ``source``."""
    return PREBUILT / f"{source.stem}-{level or platform.machine()}-{digest(source)}.so"


def libraries(sources: Iterable[Path], options: Sequence[str] | None = None) -> list[Path]:
    """The libraries of ``sources``; those that are missing are compiled, side by side.

    Args:
        sources: The files.
        options: Compiler flags; None for those of this processor, where prebuilt ones serve too.

    Raises:
        BuildError: No compiler, a compiler error, or no folder that can be written.
    """
    from scimind.device.compile_cache import cache_root

    listed = list(sources)
    found: dict[Path, Path] = {}
    if options is None:
        level = instruction_set()
        options = flags(level)
        ready = {source: prebuilt(source, level) for source in listed}
        found = {source: path for source, path in ready.items() if path.exists()}
    absent = [source for source in listed if source not in found]
    if absent:
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            raise BuildError("no C++ compiler (g++) is installed")
        command = [compiler, *options]
        made = _identity(tuple(command))
        folder = cache_root() / "kernels"
        for source in absent:
            found[source] = folder / f"{source.stem}-{digest(source)}-{made}.so"
        missing = [source for source in absent if not found[source].exists()]
        if missing:
            _compile_all(command, {source: found[source] for source in missing})
    return [found[source] for source in listed]


@functools.cache
def _identity(command: tuple[str, ...]) -> str:
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    parts = (*command[1:], version.stdout, platform.machine())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _compile_all(command: list[str], targets: dict[Path, Path]) -> None:
    started = time.perf_counter()
    try:
        for folder in {target.parent for target in targets.values()}:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_left_over(folder)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            jobs = [pool.submit(compile_one, command, *pair) for pair in targets.items()]
            for job in jobs:
                job.result()
    except OSError as error:
        raise BuildError(f"{error.strerror}: {error.filename}") from error
    seconds = time.perf_counter() - started
    names = ", ".join(sorted(source.stem for source in targets))
    folder = next(iter(targets.values())).parent
    _log.info("compiled %s in %.0f s to %s", names, seconds, folder)


def _remove_left_over(folder: Path) -> None:
    """What builds that were killed more than a day ago left behind."""
    for path in folder.glob(f"{_BUILDING}*"):
        with contextlib.suppress(FileNotFoundError):  # another process may remove it too
            if path.stat().st_mtime < time.time() - _DAY_S:
                path.unlink()


def compile_one(command: list[str], source: Path, target: Path) -> None:
    """Compile ``source`` to ``target``, which appears whole or not at all.

    Raises:
        BuildError: The compiler refuses it.
    """
    handle, temporary = tempfile.mkstemp(suffix=".so", prefix=_BUILDING, dir=target.parent)
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, str(source), "-o", temporary, "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"{command[0]} failed on {source}: {done.stderr.strip()[-2000:]}")
        Path(temporary).chmod(0o755)
        os.replace(temporary, target)  # noqa: PTH105 - the atomic rename is the point
    finally:
        Path(temporary).unlink(missing_ok=True)
