"""From facts to findings: each check is a pure function, and each finding says how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scimind.doctor.facts import Facts

# The versions that the wheel of MindSpore 2.10.0 accepts (run_check/_check_version.py).
CANN_VERSIONS = ("8.2", "8.3", "8.5", "9.0", "9.1")
PYTHON_VERSIONS = ((3, 11), (3, 12))
# How MindSpore's builds for other devices are called; they install the same files.
MINDSPORE_BUILDS = ("mindspore", "mindspore-ascend", "mindspore-gpu", "mindspore-dev")

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong or doubtful.

    Attributes:
        severity: ``"error"`` stops runs, ``"warning"`` may.
        topic: Stable identifier, such as ``"numpy"``.
        found: What was found, and the rule it breaks.
        fix: The line that mends it.
    """

    severity: Literal["error", "warning"]
    topic: str
    found: str
    fix: str


Findings: TypeAlias = Iterator[Finding]


def error(topic: str, found: str, fix: str) -> Finding:
    """A finding that stops runs."""
    return Finding(severity="error", topic=topic, found=found, fix=fix)


def warning(topic: str, found: str, fix: str) -> Finding:
    """A finding that may spoil a run."""
    return Finding(severity="warning", topic=topic, found=found, fix=fix)


def examine(facts: Facts) -> list[Finding]:
    """All findings, errors first."""
    findings = [finding for check in CHECKS for finding in check(facts)]
    return sorted(findings, key=lambda finding: finding.severity)


def check_python(facts: Facts) -> Findings:
    """MindSpore 2.10 has wheels for few Python versions."""
    if facts.python[:2] not in PYTHON_VERSIONS:
        allowed = " or ".join(".".join(map(str, version)) for version in PYTHON_VERSIONS)
        yield error(
            "python",
            f"Python {'.'.join(map(str, facts.python))}; scimind on MindSpore 2.10 needs {allowed}",
            "uv python install 3.11 && uv venv --python 3.11 && uv sync",
        )


def check_platform(facts: Facts) -> Findings:
    """The lock file is for Linux on x86_64; aarch64 has a mislabelled wheel."""
    if facts.system != "Linux":
        yield error(
            "platform",
            f"{facts.system}; scimind runs on Linux (msrun, file locks)",
            "use Linux, WSL 2 or a Linux container",
        )
    elif facts.machine == "aarch64":
        yield warning(
            "platform",
            "aarch64; the lock file resolves for x86_64 only",
            "add aarch64 to [tool.uv] environments in pyproject.toml and run uv lock",
        )
    elif facts.machine != "x86_64":
        yield error(
            "platform",
            f"{facts.machine}; MindSpore has wheels for x86_64 and aarch64",
            "use another machine",
        )


def check_numpy(facts: Facts) -> Findings:
    """NumPy 2 breaks MindSpore's tensors in ways that show late."""
    version = facts.packages.get("numpy")
    if version is None:
        yield error("numpy", "numpy is not installed", 'uv pip install "numpy>=1.26,<2"')
    elif not (1, 26) <= _numbers(version)[:2] < (2, 0):
        yield error(
            "numpy",
            f"numpy {version}; MindSpore 2.10 needs >=1.26,<2 (with 2, Tensor * np.float32 fails)",
            'uv pip install "numpy>=1.26,<2"',
        )


def check_protobuf(facts: Facts) -> Findings:
    """An older protobuf aborts the import of MindSpore."""
    version = facts.packages.get("protobuf")
    if version is None or _numbers(version) < (7, 34, 1):
        yield error(
            "protobuf",
            f"protobuf {version or 'is missing'}; importing MindSpore 2.10 aborts below 7.34.1",
            'uv pip install "protobuf>=7.34.1"',
        )


def check_mindspore(facts: Facts) -> Findings:
    """MindSpore is there once, in the version that was tested."""
    installed = [name for name in MINDSPORE_BUILDS if name in facts.packages]
    if not installed:
        yield error(
            "mindspore",
            "MindSpore is not installed",
            'uv pip install "mindspore>=2.10,<2.11"',
        )
    elif len(installed) > 1:
        yield error(
            "mindspore",
            f"{' and '.join(installed)} are installed over each other",
            f"uv pip uninstall {' '.join(installed)} && uv pip install mindspore==2.10.0",
        )
    elif _numbers(facts.packages[installed[0]])[:2] != (2, 10):
        yield error(
            "mindspore",
            f"{installed[0]} {facts.packages[installed[0]]}; scimind is tested with 2.10",
            'uv pip install "mindspore>=2.10,<2.11"',
        )


def check_imports(facts: Facts) -> Findings:
    """The packages not only lie there: they load and compute."""
    for name, outcome in facts.imports.items():
        if not outcome.ok and name in facts.packages:
            yield error(
                f"import.{name}",
                f"{name} {facts.packages[name]} is installed but does not work: {outcome.message}",
                f"uv pip install --reinstall {name}=={facts.packages[name]}, after mending the "
                "errors above",
            )
        elif outcome.seconds > 30:
            yield warning(
                f"import.{name}",
                f"importing {name} took {outcome.seconds:.0f} s",
                "install the environment on a local disk, not a network file system",
            )


def check_requirements(facts: Facts) -> Findings:
    """What scimind's packages and MindSpore declare holds."""
    for name, requirement, found in facts.unmet:
        if requirement.startswith(("numpy", "protobuf", "mindspore")):
            continue  # Judged above, with the reason.
        yield error(
            f"requirement.{re.split('[<>=!~]', requirement)[0].lower()}",
            f"{name} needs {requirement}, {'found ' + found if found else 'which is missing'}",
            f'uv pip install "{requirement}"',
        )


def check_ascend(facts: Facts) -> Findings:
    """Where there is an NPU, its software fits MindSpore."""
    ascend = facts.ascend
    if ascend is None:
        return
    source = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
    if ascend.cann is None:
        yield error(
            "cann",
            "there is an NPU or a driver, but no CANN toolkit; device=ascend cannot start",
            f"install CANN {CANN_VERSIONS[-1]} and {source}",
        )
    else:
        if ".".join(ascend.cann.split(".")[:2]) not in CANN_VERSIONS:
            yield error(
                "cann",
                f"CANN {ascend.cann}; MindSpore 2.10 accepts {', '.join(CANN_VERSIONS)}",
                f"install CANN {CANN_VERSIONS[-1]}",
            )
        if not ascend.environment_set:
            yield error(
                "cann.environment", "CANN is installed, but ASCEND_HOME_PATH is not set", source
            )
    if ascend.driver is None:
        yield warning(
            "ascend.driver",
            "no Ascend driver in /usr/local/Ascend/driver; only device=cpu will work",
            "install the driver, or mount /usr/local/Ascend/driver into the container",
        )
    elif not ascend.devices:
        yield warning(
            "ascend.device",
            "the Ascend driver is there, but no /dev/davinci* device",
            "start the container with --device /dev/davinci0 --device /dev/davinci_manager "
            "--device /dev/devmm_svm --device /dev/hisi_hdc",
        )
    if ascend.unreadable:
        yield error(
            "ascend.permission",
            f"this user may not open {', '.join(ascend.unreadable)}",
            "sudo usermod -aG HwHiAiUser $USER, then log in again",
        )


def check_compiler(facts: Facts) -> Findings:
    """Compiled CPU kernels are built at first use."""
    if facts.compiler is None:
        yield warning(
            "compiler",
            "no g++; the compiled CPU kernels are replaced by slower plain formulations",
            "apt-get install g++",
        )


def check_folders(facts: Facts) -> Findings:
    """Runs write below the current folder, downloads and compiled graphs into the cache."""
    if not facts.work.writable:
        yield error(
            "folder.work",
            f"the current folder {facts.work.path} cannot be written",
            "cd to a writable folder, or give output=<writable folder>",
        )
    if facts.cache is None:
        yield error(
            "folder.cache",
            "no home folder, so there is nowhere to cache",
            "export SCIMIND_CACHE=/…",
        )
    elif not facts.cache.writable:
        yield error(
            "folder.cache",
            f"the cache {facts.cache.path} cannot be written",
            "export SCIMIND_CACHE=<writable folder>",
        )
    for topic, folder in (("disk.work", facts.work), ("disk.cache", facts.cache)):
        if folder is None or folder.free_bytes is None:
            continue
        if folder.free_bytes < _GIB:
            yield error(
                topic,
                f"{folder.free_bytes / _GIB:.2f} GiB free at {folder.path}; a run needs 1 GiB",
                "free space, or use another disk (output=, SCIMIND_CACHE)",
            )
        elif folder.free_bytes < 5 * _GIB:
            yield warning(
                topic,
                f"{folder.free_bytes / _GIB:.1f} GiB free at {folder.path}",
                "free space before long runs, or use another disk (output=, SCIMIND_CACHE)",
            )


def check_home(facts: Facts) -> Findings:
    """Libraries keep settings in the home folder."""
    if facts.home is None:
        yield warning("home", "HOME is not set", "export HOME=<writable folder>")


def check_memory(facts: Facts) -> Findings:
    """A training process takes gigabytes; msrun workers talk through shared memory."""
    if facts.memory_bytes is not None and facts.memory_bytes < 4 * _GIB:
        report = error if facts.memory_bytes < 2 * _GIB else warning
        yield report(
            "memory",
            f"{facts.memory_bytes / _GIB:.1f} GiB of memory available; training needs 4 GiB",
            "end other programs, or use model=tiny and a smaller batch",
        )
    if facts.shared_memory_bytes is not None and facts.shared_memory_bytes < 64 << 20:
        yield warning(
            "shared_memory",
            f"{facts.shared_memory_bytes >> 20} MiB free in /dev/shm; data workers need 64 MiB",
            "start the container with --shm-size=1g",
        )


def check_locale(facts: Facts) -> Findings:
    """Names of files and molecules are not ASCII."""
    if facts.encoding.lower().replace("-", "") != "utf8":
        yield warning(
            "locale", f"the file encoding is {facts.encoding}, not UTF-8", "export PYTHONUTF8=1"
        )


def check_threads(facts: Facts) -> Findings:
    """Thread counts are numbers, and not above the cores."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        value = facts.environment.get(name)
        if value is None:
            continue
        if not re.fullmatch(r"[1-9]\d*", value):
            yield error("threads", f"{name}={value!r} is not a positive number", f"unset {name}")
        elif int(value) > facts.cores:
            yield warning(
                "threads",
                f"{name}={value} on {facts.cores} cores: threads wait for each other",
                f"export {name}={facts.cores}",
            )


def check_msrun(facts: Facts) -> Findings:
    """Parallel runs start through MindSpore's launcher."""
    if facts.msrun is None and any(name in facts.packages for name in MINDSPORE_BUILDS):
        yield error(
            "msrun",
            "msrun, MindSpore's launcher, is missing; parallel.workers>1 cannot start",
            "uv pip install --reinstall mindspore==2.10.0",
        )


def check_environment(facts: Facts) -> Findings:
    """Variables that change what MindSpore does, left over from other jobs."""
    variables = facts.environment
    for name, effect in (
        ("MS_ROLE", "every program waits for a scheduler"),
        ("RANK_TABLE_FILE", "devices are taken from that table"),
        ("MS_SIMULATION_LEVEL", "MindSpore computes nothing and returns made-up values"),
    ):
        if variables.get(name):
            yield error(
                f"environment.{name}", f"{name}={variables[name]} is set: {effect}", f"unset {name}"
            )
    if variables.get("GLOG_v", "2") not in {"0", "1", "2", "3", "4"}:
        yield warning(
            "environment.GLOG_v",
            f"GLOG_v={variables['GLOG_v']!r} is no log level (0 debug … 4 critical)",
            "export GLOG_v=2",
        )
    if variables.get("SCIMIND_COMPILE_CACHE", "1") == "0":
        yield warning(
            "environment.SCIMIND_COMPILE_CACHE",
            "SCIMIND_COMPILE_CACHE=0 is set: every run compiles its graphs anew",
            "unset SCIMIND_COMPILE_CACHE",
        )


def check_shadowing(facts: Facts) -> Findings:
    """``python -m`` looks into the current folder first."""
    for path in facts.shadowing:
        yield error(
            "shadowing",
            f"{path} in {facts.work.path} hides the installed package of that name",
            f"rename {path}, or start from another folder",
        )


def check_clock(facts: Facts) -> Findings:
    """A clock in the past makes every https certificate invalid."""
    if facts.time < 1_735_689_600:
        yield warning(
            "clock",
            "the system date is before 2025; downloads over https will fail",
            "set the date, for instance with sudo timedatectl set-ntp true",
        )


CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    check_python,
    check_platform,
    check_numpy,
    check_protobuf,
    check_mindspore,
    check_imports,
    check_requirements,
    check_ascend,
    check_compiler,
    check_folders,
    check_home,
    check_memory,
    check_locale,
    check_threads,
    check_msrun,
    check_environment,
    check_shadowing,
    check_clock,
)


def _numbers(version: str) -> tuple[int, ...]:
    """``1.26.4.post1`` to (1, 26, 4)."""
    numbers = []
    for part in version.split("."):
        match = re.match(r"\d+", part)
        if match is None:
            break
        numbers.append(int(match.group()))
    return tuple(numbers)
