"""Mutated molecule files end in records or in a typed error, never in a crash or silent loss."""

import os
from pathlib import Path

import pytest

from fuzzing import molecules
from fuzzing.campaign import Reader, run_campaign
from outcomes import RESULTS, keep

COMMAND = "python -m pytest -m nightly tests -k two_thousand_mutants"
CHECKS = Path(__file__).with_name("checks.py")
REAL = {
    "mmcif": ("altloc.cif", "TYR.cif"),
    "pdb": ("hetatm.pdb", "1aki.pdb"),
    "sdf": ("03F.sdf", "03F.v3000.sdf"),
    "fasta": ("specs/protenix/dimer.fasta",),
    "csv": (),
    "bcif": ("1aki.bcif",),
}
FORMATS = sorted(REAL)


def originals(kind: str, folder: Path) -> list[Path]:
    """Generated files, and real ones where the data folder is known."""
    found = getattr(molecules, f"write_{kind}")(folder)
    if root := os.environ.get("SCIMIND_DATA"):
        real = [Path(root) / "biomol" / "formats" / name for name in REAL[kind]]
        found += [path for path in real if path.is_file()]
    return found


@pytest.mark.parametrize("kind", FORMATS)
def test_the_undamaged_files_are_read_without_loss(kind: str, tmp_path: Path) -> None:
    paths = originals(kind, tmp_path)
    with Reader(f"{CHECKS}:check_{kind}", paths[0]) as reader:
        verdicts = {path.name: reader.verdict(path) for path in paths}
    assert {name: v for name, v in verdicts.items() if v["outcome"] != "read"} == {}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_hundred_mutants_lose_nothing_silently(kind: str, tmp_path: Path) -> None:
    outcome = run_campaign(
        f"{CHECKS}:check_{kind}", originals(kind, tmp_path), 100, tmp_path, seed=2
    )
    assert outcome.faults == []
    assert outcome.damaged > 80
    assert outcome.counts["refused"] > 5
    # Damage of a binary file shows nearly always: its sizes have to agree.
    assert outcome.counts["read"] > (0 if kind == "bcif" else 5)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FORMATS)
def test_two_thousand_mutants_lose_nothing_silently(kind: str, tmp_path: Path) -> None:
    outcome = run_campaign(
        f"{CHECKS}:check_{kind}", originals(kind, tmp_path), 2000, tmp_path, seed=1
    )
    keep(RESULTS / "fuzz.json", kind, {**outcome.summary(), "seed": 1}, command=COMMAND)
    assert outcome.faults == []
