"""Mutated configuration, table and array files: the content, or a typed error."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fuzzing.campaign import Reader, run_campaign
from fuzzing.mutate import COARSE, LOCAL, mutate
from outcomes import RESULTS, keep
from scimind.config import save_resolved

COMMAND = "python -m pytest -m nightly tests -k two_thousand_mutants"
CHECKS = Path(__file__).with_name("checks.py")
FORMATS = ("yaml", "json", "csv", "npy", "npz")


def checks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_fuzz_checks", CHECKS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared_fuzz_checks"] = module
    spec.loader.exec_module(module)
    return module


def original(kind: str, folder: Path) -> Path:
    path = folder / f"original.{kind}"
    if kind == "yaml":
        save_resolved(checks().TrainingConfig(), path)
    elif kind == "json":
        content = {"name": "分子", "values": [1, 2.5e-3, None, True], "nested": {"a": [{"b": "c"}]}}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    elif kind == "csv":
        rows = "\n".join(f'{k},"a, ""{k}""\nline",{k / 7:.3f}' for k in range(12))
        path.write_text(f"id,text,value\n{rows}\n", encoding="utf-8")
    elif kind == "npy":
        np.save(path, np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    else:
        np.savez_compressed(path, a=np.arange(60), b=np.array(["x", "yz"]), c=np.eye(9, dtype="f2"))
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_the_undamaged_file_is_read(kind: str, tmp_path: Path) -> None:
    path = original(kind, tmp_path)
    with Reader(f"{CHECKS}:check_{kind}", path) as reader:
        assert reader.verdict(path)["outcome"] == "read"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_hundred_mutants_are_read_right_or_refused(kind: str, tmp_path: Path) -> None:
    outcome = run_campaign(
        f"{CHECKS}:check_{kind}", [original(kind, tmp_path)], 100, tmp_path, seed=2
    )
    assert outcome.faults == []
    assert outcome.damaged > 80
    assert outcome.counts["refused"] > 5
    assert outcome.counts["read"] > 0


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FORMATS)
def test_two_thousand_mutants_are_read_right_or_refused(kind: str, tmp_path: Path) -> None:
    outcome = run_campaign(
        f"{CHECKS}:check_{kind}", [original(kind, tmp_path)], 2000, tmp_path, seed=1
    )
    keep(RESULTS / "fuzz.json", f"shared/{kind}", {**outcome.summary(), "seed": 1}, command=COMMAND)
    assert outcome.faults == []


BROKEN = """
import os, sys, time
from outcomes import RESULTS, keep
def crash(path):
    if path.stat().st_size: os.abort()
def spin(path):
    if b"spin" in path.read_bytes():
        while True: pass
    return {"outcome": "read"}
def allocate(path): return {"outcome": "read", "detail": len(bytearray(path.stat().st_size << 32))}
def chatter(path):
    os.write(1, b"{}\\n"); print("noise"); return {"outcome": "read"}
"""


@pytest.mark.parametrize(
    ("function", "outcome"),
    [("crash", "crash"), ("allocate", "traceback"), ("chatter", "read"), ("spin", "read")],
)
def test_the_harness_sees_crashes_memory_and_noise(
    function: str, outcome: str, tmp_path: Path
) -> None:
    code = tmp_path / "broken.py"
    code.write_text(BROKEN, encoding="utf-8")
    file = tmp_path / "file.txt"
    file.write_text("x", encoding="utf-8")
    with Reader(f"{code}:chatter", file) as reader:
        assert reader.verdict(file)["outcome"] == "read"
    empty = tmp_path / "empty.txt"  # warms the worker up without doing harm
    empty.touch()
    with Reader(f"{code}:{function}", empty) as reader:
        assert reader.verdict(file)["outcome"] == outcome
        assert reader.verdict(file)["outcome"] == outcome


def test_the_harness_ends_a_reader_that_spins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "broken.py"
    code.write_text(BROKEN, encoding="utf-8")
    calm, file = tmp_path / "calm.txt", tmp_path / "file.txt"
    calm.write_text("calm", encoding="utf-8")
    file.write_text("spin", encoding="utf-8")
    monkeypatch.setenv("FUZZ_SECONDS", "0.5")
    with Reader(f"{code}:spin", calm) as reader:
        assert reader.verdict(file)["outcome"] == "hang"
        assert reader.verdict(calm)["outcome"] == "read"


def test_mutants_are_the_same_for_the_same_seed_and_every_edit_is_drawn() -> None:
    data = b"line one 1.0\nline two 2.0\n" * 20
    assert mutate(data, 3, 7) == mutate(data, 3, 7)
    drawn = {name for k in range(600) for name in mutate(data, 0, k)[1]}
    assert drawn == {edit.__name__ for edit in (*LOCAL, *COARSE)}
    changed = sum(mutate(data, 0, k)[0] != data for k in range(200))
    assert changed > 180
    assert all(len(mutate(b"", 0, k)[0]) < 2 << 20 for k in range(100))
