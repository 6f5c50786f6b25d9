"""What the machine and the installation look like, gathered with the standard library alone.

Nothing here imports NumPy or MindSpore: a broken one may abort the process. They are imported in
subprocesses, which report back.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

_VARIABLES = (
    "ASCEND_HOME_PATH",
    "ASCEND_OPP_PATH",
    "GLOG_v",
    "LD_LIBRARY_PATH",
    "MS_DEV_HOST_BLOCKING_RUN",
    "MS_ROLE",
    "MS_SIMULATION_LEVEL",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RANK_TABLE_FILE",
    "SCIMIND_CACHE",
    "SCIMIND_COMPILE_CACHE",
    "SCIMIND_OFFLINE",
    "XDG_CACHE_HOME",
)
_ASCEND_FOLDERS = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann")

PROBES = {
    "numpy": "import numpy; numpy.ones(3) @ numpy.ones(3)",
    "mindspore": (
        "import numpy as np, mindspore as ms; from mindspore import ops; "
        "x = ms.Tensor(np.ones((2, 3), np.float32)); "
        "assert float(ops.matmul(x, x.T).sum().asnumpy()) == 12.0"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """A package used in a process of its own.

    Attributes:
        ok: It was imported and computed a known product.
        seconds: Time that took, start of the interpreter included.
        message: Last line of the error, or how the process died.
    """

    ok: bool
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that a run writes to; ``free_bytes`` is None where it cannot be asked."""

    path: str
    writable: bool
    free_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Ascend:
    """What of an Ascend installation is there.

    Attributes:
        cann: Version of the toolkit, None without one.
        environment_set: ``set_env.sh`` was sourced in this shell.
        driver: Version of the driver, None without one.
        devices: Device files of the NPUs.
        unreadable: Those that this user may not open.
    """

    cann: str | None = None
    environment_set: bool = False
    driver: str | None = None
    devices: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The description of an environment that the checks judge.

    Attributes:
        python: Version of the interpreter.
        system: ``platform.system()``.
        machine: ``platform.machine()``.
        packages: Version of every installed distribution, by normalised name.
        unmet: ``(distribution, requirement, version found or "")`` that do not hold.
        imports: Outcome of using a package, by name.
        msrun: Path of MindSpore's launcher.
        compiler: First line of ``g++ --version``.
        ascend: The Ascend installation, None without any trace of one.
        work: The current folder.
        cache: The folder for downloads and compiled graphs; None if there is nowhere to put it.
        shadowing: Files of the current folder that hide an installed package.
        home: ``HOME``.
        encoding: Encoding of file names and text files.
        cores: Processors this process may use.
        memory_bytes: Memory that is available.
        shared_memory_bytes: Free bytes of ``/dev/shm``.
        environment: The variables that matter, where set.
        time: Seconds since 1970.
    """

    python: tuple[int, int, int]
    system: str = "Linux"
    machine: str = "x86_64"
    packages: Mapping[str, str] = field(default_factory=dict)
    unmet: tuple[tuple[str, str, str], ...] = ()
    imports: Mapping[str, Import] = field(default_factory=dict)
    msrun: str | None = None
    compiler: str | None = None
    ascend: Ascend | None = None
    work: Folder
    cache: Folder | None
    shadowing: tuple[str, ...] = ()
    home: str | None = None
    encoding: str = "utf-8"
    cores: int = 1
    memory_bytes: int | None = None
    shared_memory_bytes: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    time: float = 0.0


def gather(*, probe_imports: bool = True, probe_timeout_s: float = 60.0) -> Facts:
    """Looks at this machine.

    Args:
        probe_imports: Use NumPy and MindSpore in subprocesses, which takes seconds.
        probe_timeout_s: Longest time for one of them.
    """
    started = _start_probes() if probe_imports else {}
    packages = _packages()
    return Facts(
        python=sys.version_info[:3],
        system=platform.system(),
        machine=platform.machine(),
        packages=packages,
        unmet=_unmet(packages),
        msrun=_msrun(),
        compiler=_first_line("g++", "--version"),
        ascend=_ascend(),
        work=_folder(Path.cwd()),
        cache=_cache(),
        shadowing=_shadowing(),
        home=os.environ.get("HOME"),
        encoding=sys.getfilesystemencoding(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        memory_bytes=_available_memory(),
        shared_memory_bytes=_free(Path("/dev/shm")),
        environment={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        time=time.time(),
        imports={name: _outcome(*probe, probe_timeout_s) for name, probe in started.items()},
    )


def _start_probes() -> dict[str, tuple[subprocess.Popen[str], float]]:
    # "-P" keeps the current folder off the path: its files are judged by _shadowing.
    return {
        name: (
            subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ),
            time.monotonic(),
        )
        for name, code in PROBES.items()
    }


def _outcome(process: subprocess.Popen[str], started: float, timeout_s: float) -> Import:
    try:
        _, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Import(ok=False, seconds=timeout_s, message=f"no answer within {timeout_s:g} s")
    seconds = time.monotonic() - started
    if process.returncode == 0:
        return Import(ok=True, seconds=seconds)
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line]
    last = (telling or lines or [""])[-1]
    died = f"killed by signal {-process.returncode}" if process.returncode < 0 else ""
    return Import(ok=False, seconds=seconds, message="; ".join(filter(None, (died, last))))


def _packages() -> dict[str, str]:
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(_normalised(name), distribution.version)
    return packages


def _unmet(packages: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return (("mindspore", "packaging>=20.0", ""),)
    unmet = []
    for name in packages:
        if not (name.startswith(("scimind", "mindspore"))):
            continue
        for text in metadata.requires(name) or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            found = packages.get(_normalised(requirement.name), "")
            if not found or not requirement.specifier.contains(found, prereleases=True):
                unmet.append((name, f"{requirement.name}{requirement.specifier}", found))
    return tuple(unmet)


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _msrun() -> str | None:
    beside = Path(sys.executable).parent / "msrun"
    return str(beside) if beside.exists() else shutil.which("msrun")


def _first_line(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.partition("\n")[0] if done.returncode == 0 else None


def _ascend() -> Ascend | None:
    home = os.environ.get("ASCEND_HOME_PATH")
    toolkit = next((p for p in (home, *_ASCEND_FOLDERS) if p and Path(p).exists()), None)
    devices = tuple(str(path) for path in sorted(Path("/dev").glob("davinci[0-9]*")))
    driver = _field(Path("/usr/local/Ascend/driver/version.info"))
    if not (home or toolkit or devices or driver):
        return None
    return Ascend(
        cann=_field(Path(toolkit) / "compiler" / "version.info") if toolkit else None,
        environment_set=bool(home),
        driver=driver,
        devices=devices,
        unreadable=tuple(d for d in devices if not os.access(d, os.R_OK | os.W_OK)),
    )


def _field(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    values = [
        line.partition("=")[2].strip() for line in lines if line.lower().startswith("version=")
    ]
    return values[0] if values else None


def _folder(path: Path) -> Folder:
    return Folder(path=str(path), writable=_is_writable(path), free_bytes=_free(path))


def _is_writable(path: Path) -> bool:
    # Tried, not asked: on a read-only or full file system access() says yes.
    probe = path / f".scimind-doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError:
        return False
    return True


def _cache() -> Folder | None:
    # The rule of scimind.data.cache, which cannot be imported without NumPy.
    if configured := os.environ.get("SCIMIND_CACHE"):
        path = Path(configured)
    elif base := os.environ.get("XDG_CACHE_HOME"):
        path = Path(base) / "scimind"
    elif home := _home():
        path = Path(home) / ".cache" / "scimind"
    else:
        return None
    existing = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    found = _folder(existing)
    return Folder(path=str(path), writable=found.writable, free_bytes=found.free_bytes)


def _home() -> str | None:
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def _shadowing() -> tuple[str, ...]:
    names = ("mindspore", "numpy", "scipy", "hydra", "scimind", "biomol")
    found = []
    for name in names:
        for path in (Path(f"{name}.py"), Path(name) / "__init__.py"):
            if path.exists():
                found.append(str(path))
    return tuple(found)


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _available_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None
