"""The wheels stand alone: built, installed in a fresh environment, run in another folder."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outcomes import RESULTS, keep
from product import SOURCES
from scimind.device import compiler

COMMAND = "python -m pytest -m nightly tests/project/test_wheels.py"
MINUTES = 60
# Where `pip install` may find a package of this checkout without the wheels that were built.
LEAKS = ("PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME", "SCIMIND_DATA")
# What README.md promises of the folder of a run.
RUN_FILES = (
    *("config.yaml", "provenance.json", "rejected.jsonl", "log.txt", "metrics.jsonl", "plots"),
    *("tensorboard", "checkpoints", "results.json", "predictions.csv", "structures", "report.html"),
)


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in LEAKS}


def run(command: list[str | Path], folder: Path, minutes: float = 10) -> str:
    answer = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=minutes * MINUTES,
        check=False,
    )
    assert answer.returncode == 0, (
        f"{command} ended with {answer.returncode}\n{answer.stderr[-4000:]}"
    )
    return answer.stdout


@pytest.fixture(scope="module")
def uv(root: Path) -> str:
    found = shutil.which("uv") or shutil.which("uv", path=str(root / ".tools" / "bin"))
    assert found, "uv builds the wheels; scripts/setup installs it"
    return found


@pytest.fixture(scope="module")
def dist(root: Path, uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distributions and wheels of all members."""
    folder = tmp_path_factory.mktemp("dist")
    run([uv, "build", "--all-packages", "--no-sources", "--out-dir", folder], root)
    return folder


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """An empty folder outside the checkout; an environment takes gigabytes, so it is removed."""
    with tempfile.TemporaryDirectory(prefix="wheels-") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_wheels_hold_the_configurations_and_nothing_from_outside_their_package(dist: Path) -> None:
    wheels = sorted(dist.glob("*.whl"))
    assert len(wheels) == len(SOURCES)
    for wheel in wheels:
        package = wheel.name.removeprefix("scimind_").partition("-")[0]
        names = zipfile.ZipFile(wheel).namelist()
        assert f"{package}/configs/__init__.py" in names
        assert any(
            name.startswith(f"{package}/configs/") and name.endswith(".yaml") for name in names
        )
        kernels = [name for name in names if name.endswith(".cc")]
        assert bool(kernels) == (package == "scimind"), "the sources of the CPU kernels"
        tops = {name.partition("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == {package}
        assert any(name.endswith("licenses/LICENSE") for name in names)


KERNELS = """
import logging, sys
import mindspore, numpy
logging.basicConfig(level="INFO")
from scimind import ops
from scimind.device import compiler
compiler.instruction_set = lambda: sys.argv[1]
missing = [name for name, entry in ops.OPERATORS.items() for k in entry.kernels if not k.ready()]
ops.gelu(mindspore.Tensor(numpy.ones(3, numpy.float32)))
print(compiler.__file__, missing, ops.chosen()["gelu float32"], sep="\\n")
"""
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or platform.machine() != "x86_64",
    reason="the kernels of a wheel are compiled by g++ for x86-64",
)


def unpacked(dist: Path, folder: Path) -> Path:
    """The wheel of scimind, unpacked; its tag names the machines that can load its kernels."""
    (wheel,) = dist.glob("scimind-*.whl")
    assert re.fullmatch(r"scimind-.*-py3-none-manylinux_2_\d+_x86_64\.whl", wheel.name)
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "scimind" / "ops" / "kernels"


def loaded(folder: Path, level: str) -> tuple[list[str], str]:
    """What the kernels of an unpacked wheel say without a compiler, and the log."""
    own = {"PYTHONPATH": str(folder), "CXX": "no-such-compiler", "SCIMIND_CACHE": str(folder / "c")}
    answer = subprocess.run(
        [sys.executable, "-c", KERNELS, level],
        cwd=folder,
        env={**environment(), **own},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.splitlines(), answer.stderr


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("level", compiler.LEVELS)
def test_kernels_of_a_wheel_need_no_compiler(dist: Path, level: str, tmp_path: Path) -> None:
    kernels = unpacked(dist, tmp_path)
    sources = sorted(path.stem for path in kernels.glob("cpu/*.cc"))
    libraries = sorted(path.name for path in kernels.glob(f"prebuilt/*-{level}-*.so"))
    assert [name.partition(f"-{level}-")[0] for name in libraries] == sources
    needed = subprocess.run(
        ["objdump", "-p", *kernels.glob("prebuilt/*.so")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "libstdc++" not in needed.stdout
    levels = (*compiler.LEVELS, None)
    if levels.index(level) < levels.index(compiler.instruction_set()):
        pytest.skip(f"this processor is no {level}")
    (file, missing, choice), log = loaded(tmp_path, level)
    assert Path(file).is_relative_to(tmp_path)
    assert missing == "[]", log
    assert choice == "cpu/kernel"
    assert "compiled" not in log


@needs_compiler
@pytest.mark.slow
def test_a_changed_header_is_not_answered_with_a_prebuilt_kernel(
    dist: Path, tmp_path: Path
) -> None:
    kernels = unpacked(dist, tmp_path)
    header = kernels / "include" / "scimind" / "arithmetic.h"
    header.write_text(header.read_text() + "// changed\n")
    (_, missing, choice), log = loaded(tmp_path, "x86-64-v3")
    assert "'gelu'" in missing
    assert choice == "plain"
    assert "no C++ compiler" in log


def install_by_pip(python: str, dist: Path, folder: Path) -> None:
    run([python, "-m", "venv", folder / "venv"], folder)
    inside = folder / "venv" / "bin" / "python"
    pip = [inside, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]
    run([*pip, *dist.glob("*.whl")], folder, minutes=20)


def install_by_uv(uv: str, dist: Path, folder: Path) -> None:
    """In seconds: the dependencies come from uv's cache."""
    run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
    inside = folder / "venv" / "bin" / "python"
    pip = [uv, "pip", "install", "--quiet", "--python", inside]
    run([*pip, *dist.glob("*.whl")], folder, minutes=20)


def train(folder: Path) -> None:
    inside = folder / "venv" / "bin" / "python"
    for package in SOURCES:
        place = run([inside, "-c", f"import {package}; print({package}.__file__)"], folder)
        assert Path(place.strip()).is_relative_to(folder / "venv")
    work = folder / "work"
    work.mkdir()
    event = "event=fault bus 7 t 0.1 clear 0.05"
    run([inside, "-m", "dae_solver.simulate", event, "t_end=0.5", "output=grid"], work)
    equations = "compiled" if shutil.which("g++") else "NumPy"
    assert equations in (work / "grid" / "report.html").read_text()
    run([inside, "-m", "biomol.train", "experiment=smoke", "output=run"], work, minutes=10)
    for name in RUN_FILES:
        assert (work / "run" / name).exists(), name


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_an_installed_wheel_trains_outside_the_checkout(
    dist: Path, uv: str, elsewhere: Path
) -> None:
    install_by_uv(uv, dist, elsewhere)
    train(elsewhere)


def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or one that pyenv holds; none is downloaded."""
    held = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *held.glob(f"{version}.*/bin/python")):
        if candidate is None:
            continue
        # pyenv puts a stand-in on the path for versions that are not switched on
        question = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(question, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return str(candidate)
    return None


@pytest.mark.nightly
@pytest.mark.timeout(60 * MINUTES)
@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_wheels_install_and_train_on_every_python(
    version: str, dist: Path, elsewhere: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    install_by_pip(python, dist, elsewhere)
    train(elsewhere)
    wheels = sorted(path.name for path in dist.glob("*.whl"))
    keep(RESULTS / "wheels.json", version, {"installed_and_trained": wheels}, command=COMMAND)
