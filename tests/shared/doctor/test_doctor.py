"""Each seeded misconfiguration is found, with its remedy; a sound environment is silent."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from scimind.doctor import Facts, examine
from scimind.doctor.facts import Ascend, Folder, Import

GIB = 1 << 30
HEALTHY = Facts(
    python=(3, 11, 7),
    packages={"scimind": "0.1.0", "numpy": "1.26.4", "protobuf": "7.36.2", "mindspore": "2.10.0"},
    imports={"numpy": Import(ok=True, seconds=0.2), "mindspore": Import(ok=True, seconds=4.0)},
    msrun="/venv/bin/msrun",
    compiler="g++ 12.2.0",
    work=Folder(path="/run", writable=True, free_bytes=100 * GIB),
    cache=Folder(path="/home/u/.cache/scimind", writable=True, free_bytes=100 * GIB),
    home="/home/u",
    cores=8,
    memory_bytes=16 * GIB,
    shared_memory_bytes=8 * GIB,
    environment={"OMP_NUM_THREADS": "8", "GLOG_v": "3"},
    time=1_790_000_000.0,
)
NPU = Ascend(
    cann="9.1.0", environment_set=True, driver="26.0.RC1", devices=("/dev/davinci0",)
)  # fmt: skip


def with_package(**versions):
    packages = {**HEALTHY.packages, **{k.replace("_", "-"): v for k, v in versions.items()}}
    return replace(HEALTHY, packages={k: v for k, v in packages.items() if v})


def with_variable(**variables):
    return replace(HEALTHY, environment=variables)


def with_ascend(**changes):
    return replace(HEALTHY, ascend=replace(NPU, **changes))


MISCONFIGURED = {
    "python too old": (replace(HEALTHY, python=(3, 9, 18)), "python", "error", "uv python install"),
    "python too new": (replace(HEALTHY, python=(3, 13, 0)), "python", "error", "uv python install"),
    "mac": (replace(HEALTHY, system="Darwin"), "platform", "error", "Linux"),
    "aarch64": (replace(HEALTHY, machine="aarch64"), "platform", "warning", "environments"),
    "riscv": (replace(HEALTHY, machine="riscv64"), "platform", "error", "machine"),
    "numpy 2": (with_package(numpy="2.4.6"), "numpy", "error", '"numpy>=1.26,<2"'),
    "numpy old": (with_package(numpy="1.24.0"), "numpy", "error", '"numpy>=1.26,<2"'),
    "numpy missing": (with_package(numpy=""), "numpy", "error", '"numpy>=1.26,<2"'),
    "protobuf 6": (with_package(protobuf="6.33.6"), "protobuf", "error", '"protobuf>=7.34.1"'),
    "protobuf 7.34.0": (with_package(protobuf="7.34.0"), "protobuf", "error", "7.34.1"),
    "mindspore missing": (with_package(mindspore=""), "mindspore", "error", "mindspore>=2.10"),
    "mindspore 2.9": (with_package(mindspore="2.9.0"), "mindspore", "error", "mindspore>=2.10"),
    "two mindspores": (
        with_package(mindspore_gpu="2.10.0"), "mindspore", "error", "uninstall mindspore "
    ),
    "import aborts": (
        replace(HEALTHY, imports={"mindspore": Import(ok=False, message="killed by signal 6")}),
        "import.mindspore", "error", "--reinstall mindspore==2.10.0",
    ),
    "import slow": (
        replace(HEALTHY, imports={"mindspore": Import(ok=True, seconds=45.0)}),
        "import.mindspore", "warning", "local disk",
    ),
    "requirement": (
        replace(HEALTHY, unmet=(("scimind-biomol", "gemmi>=0.7", "0.6.0"),)),
        "requirement.gemmi", "error", 'uv pip install "gemmi>=0.7"',
    ),
    "requirement missing": (
        replace(HEALTHY, unmet=(("scimind", "safetensors>=0.4.5", ""),)),
        "requirement.safetensors", "error", "safetensors>=0.4.5",
    ),
    "CANN too old": (with_ascend(cann="8.0.RC3"), "cann", "error", "install CANN 9.1"),
    "CANN missing": (with_ascend(cann=None), "cann", "error", "install CANN 9.1"),
    "CANN not sourced": (
        with_ascend(environment_set=False), "cann.environment", "error", "set_env.sh"
    ),
    "no driver": (with_ascend(driver=None), "ascend.driver", "warning", "driver"),
    "no device": (with_ascend(devices=()), "ascend.device", "warning", "--device /dev/davinci0"),
    "device permission": (
        with_ascend(unreadable=("/dev/davinci0",)), "ascend.permission", "error", "HwHiAiUser"
    ),
    "no compiler": (replace(HEALTHY, compiler=None), "compiler", "warning", "install g++"),
    "read-only folder": (
        replace(HEALTHY, work=replace(HEALTHY.work, writable=False)), "folder.work", "error", "cd "
    ),
    "read-only cache": (
        replace(HEALTHY, cache=replace(HEALTHY.cache, writable=False)),
        "folder.cache", "error", "SCIMIND_CACHE",
    ),
    "no cache": (replace(HEALTHY, cache=None), "folder.cache", "error", "SCIMIND_CACHE"),
    "disk full": (
        replace(HEALTHY, work=replace(HEALTHY.work, free_bytes=GIB // 2)),
        "disk.work", "error", "free space",
    ),
    "disk nearly full": (
        replace(HEALTHY, cache=replace(HEALTHY.cache, free_bytes=3 * GIB)),
        "disk.cache", "warning", "free space",
    ),
    "no home": (replace(HEALTHY, home=None), "home", "warning", "export HOME"),
    "little memory": (replace(HEALTHY, memory_bytes=3 * GIB), "memory", "warning", "model=tiny"),
    "no memory": (replace(HEALTHY, memory_bytes=GIB), "memory", "error", "model=tiny"),
    "small shm": (
        replace(HEALTHY, shared_memory_bytes=1 << 20), "shared_memory", "warning", "--shm-size"
    ),
    "ascii": (replace(HEALTHY, encoding="ascii"), "locale", "warning", "PYTHONUTF8=1"),
    "threads over cores": (
        with_variable(OMP_NUM_THREADS="64"), "threads", "warning", "export OMP_NUM_THREADS=8"
    ),
    "threads no number": (
        with_variable(OMP_NUM_THREADS="auto"), "threads", "error", "unset OMP_NUM_THREADS"
    ),
    "no msrun": (replace(HEALTHY, msrun=None), "msrun", "error", "--reinstall mindspore"),
    "role left over": (
        with_variable(MS_ROLE="MS_WORKER"), "environment.MS_ROLE", "error", "unset MS_ROLE"
    ),
    "simulation": (
        with_variable(MS_SIMULATION_LEVEL="1"), "environment.MS_SIMULATION_LEVEL", "error", "unset"
    ),
    "log level": (with_variable(GLOG_v="info"), "environment.GLOG_v", "warning", "GLOG_v=2"),
    "graphs not kept": (
        with_variable(SCIMIND_COMPILE_CACHE="0"), "environment.SCIMIND_COMPILE_CACHE", "warning",
        "unset",
    ),
    "shadowed": (
        replace(HEALTHY, shadowing=("numpy.py",)), "shadowing", "error", "rename numpy.py"
    ),
    "clock": (replace(HEALTHY, time=0.0), "clock", "warning", "date"),
}  # fmt: skip


def test_a_sound_environment_gives_no_finding():
    assert examine(HEALTHY) == []
    assert examine(replace(HEALTHY, ascend=NPU, python=(3, 12, 4))) == []
    for version in ("8.2.RC1", "8.3.RC1.alpha002", "8.5.0", "9.0.0"):
        assert examine(with_ascend(cann=version)) == []


@pytest.mark.parametrize("case", MISCONFIGURED)
def test_a_misconfiguration_is_found_once_with_its_remedy(case):
    facts, topic, severity, remedy = MISCONFIGURED[case]
    findings = examine(facts)
    assert [(finding.topic, finding.severity) for finding in findings] == [(topic, severity)]
    assert remedy in findings[0].fix


def test_several_problems_are_all_found_errors_first():
    facts = replace(HEALTHY, python=(3, 8, 0), compiler=None, home=None, msrun=None)
    findings = examine(facts)
    assert [finding.severity for finding in findings] == ["error", "error", "warning", "warning"]


def doctor(*arguments, folder, **variables):
    environment = {**os.environ, **variables}
    environment = {key: value for key, value in environment.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-m", "scimind.doctor", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=120,
    )  # fmt: skip


def test_the_command_tells_about_this_machine_in_seconds(tmp_path):
    started = time.monotonic()
    done = doctor("--json", folder=tmp_path, OMP_NUM_THREADS="1", SCIMIND_CACHE=str(tmp_path))
    assert time.monotonic() - started < 60
    report = json.loads(done.stdout)
    topics = {f["topic"] for f in report["findings"] if f["severity"] == "error"}
    # This environment runs the other tests, so at most its resources may be short.
    assert topics <= {"memory", "disk.work", "disk.cache"}, done.stdout
    assert done.returncode == (4 if topics else 0)
    assert report["ok"] == (not topics)
    assert report["facts"]["imports"]["mindspore"]["ok"]
    assert report["facts"]["packages"]["numpy"].startswith("1.26")


def test_a_broken_environment_is_described_and_ends_with_4(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('not the real one')")
    (tmp_path / "rich.py").write_text("raise RuntimeError('broken too')")
    done = doctor("--quick", folder=tmp_path, OMP_NUM_THREADS="many", MS_ROLE="MS_WORKER")
    assert done.returncode == 4, done.stderr
    assert done.stderr == ""
    assert "error: shadowing: numpy.py" in done.stdout
    assert "mend: unset OMP_NUM_THREADS" in done.stdout
    assert "mend: unset MS_ROLE" in done.stdout


def test_a_library_that_does_not_load_is_told_with_its_reason(tmp_path):
    broken = tmp_path / "path"
    (broken / "numpy").mkdir(parents=True)
    (broken / "numpy" / "__init__.py").write_text("import os\nos.abort()\n")
    done = doctor("--json", folder=tmp_path, PYTHONPATH=str(broken), OMP_NUM_THREADS="1")
    assert done.returncode == 4
    found = {f["topic"]: f["found"] for f in json.loads(done.stdout)["findings"]}
    assert "killed by signal 6" in found["import.numpy"]
    assert "import.mindspore" in found


def test_it_runs_without_home_and_in_an_ascii_locale(tmp_path):
    done = doctor("--quick", folder=tmp_path, HOME=None, LC_ALL="C", PYTHONUTF8="0",
                  PYTHONCOERCECLOCALE="0", OMP_NUM_THREADS="99")  # fmt: skip
    assert done.returncode in {0, 4}, done.stderr
    assert "Traceback" not in done.stderr
    assert "HOME is not set" in done.stdout
    assert "OMP_NUM_THREADS=99" in done.stdout


def test_the_doctor_needs_neither_numpy_nor_mindspore():
    code = (
        "import sys, scimind.doctor.__main__\n"
        "loaded = {'numpy', 'mindspore', 'rich', 'hydra'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
