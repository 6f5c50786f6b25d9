"""The two trainings that the README and the results speak of, from start to end. Hours: nightly."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from biomol.io.structure import read_structure
from outcomes import RESULTS, keep
from scimind.provenance import cpu_seconds, hardware

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(6 * 3600)]

MULTITASK = (
    *("experiment=multitask", "seed=0", "threads=1"),
    *("data.overfit=[1pga,6mrr]", "checkpoint.every=650"),
)
TASKS = "[side_chains,inverse_folding,esol,flip_gb1,flip_secondary_structure]"
GATES = {
    ("esol", "rmse"): ("at most", 1.25),
    ("inverse_folding", "recovery"): ("at least", 0.18),
    ("flip_gb1", "spearman"): ("at least", 0.55),
    ("flip_secondary_structure", "q3"): ("at least", 0.62),
    ("structure_overfit", "ca_lddt"): ("at least", 0.85),
    ("side_chains", "side_chain_rmsd"): ("at most", 1.75),
}
"""Test scores of one multi-task checkpoint; side chains against 1.849 of the mean side chain."""


def _run(module: str, *settings: str, **variables: str) -> tuple[float, int]:
    """Run a verb to its end; process CPU seconds, and the memory of the largest child, MiB."""
    before = cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", module, *settings, "log.progress=false"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return cpu_seconds() - before, memory  # this process only waits


def test_the_default_run_fits_its_budget_and_beats_what_needs_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    nowhere = "http://127.0.0.1:9"  # a proxy that refuses: the run needs no network
    fresh = str(tmp_path / "cache")  # kernels, graphs and data are made as on a fresh machine
    cpu, memory = _run(
        "biomol.train", "threads=1", f"output={folder}",
        SCIMIND_CACHE=fresh, http_proxy=nowhere, https_proxy=nowhere,
    )  # fmt: skip
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    scores = {score["name"]: score for score in results["scores"]}
    structures = summary(results["structures"])
    keep(
        RESULTS / "default_run.json",
        "default_run",
        {
            "cpu_seconds": round(cpu, 1),
            "peak_rss_mib": memory,
            "scores": results["scores"],
            "structures": structures,
            "hardware": hardware(),
            "seed": 0,
        },
        command="python -m biomol.train threads=1",
    )
    assert cpu <= 20 * 60
    assert all(score["skill"] > 0.2 for score in scores.values()), scores
    assert structures["readable"] == structures["generated"] > 0
    assert structures["found_atoms"] == structures["atoms"]
    assert structures["found_bonds"] >= 0.9 * structures["bonds"]
    assert structures["found_centres"] > 0.6 * structures["centres"]
    assert (folder / "report.html").is_file()
    assert (folder / "predictions.csv").is_file()
    files = sorted((folder / "structures").glob("*.cif"))
    assert len(files) >= structures["generated"]
    assert read_structure(files[0]).complexes


def summary(structures: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the generated structures as gemmi and rdkit read them back."""
    counts = ("atoms", "found_atoms", "bonds", "found_bonds", "centres", "found_centres")
    totals: dict[str, Any] = {name: sum(s[name] for s in structures) for name in counts}
    totals["generated"] = len(structures)
    totals["readable"] = sum(s["readable"] for s in structures)
    kinds = structures[0]["geometry"]
    totals["geometry"] = {kind: sum(s["geometry"][kind] for s in structures) for kind in kinds}
    return totals


def test_one_multitask_run_passes_every_gate(tmp_path: Path, real_data: Path) -> None:
    folder = tmp_path / "run"
    root = f"data.root={real_data / 'biomol'}"
    cpu, memory = _run("biomol.train", *MULTITASK, root, f"output={folder}")
    scores = scores_of(folder, tmp_path)
    keep(
        RESULTS / "multitask_nightly.json",
        "multitask",
        {
            "cpu_seconds": round(cpu, 1),
            "peak_rss_mib": memory,
            "scores": {f"{task}/{metric}": scores[task][metric] for task, metric in GATES},
            "hardware": hardware(),
            "seed": 0,
        },
        command=" ".join(["python -m biomol.train", *MULTITASK, "data.root=DATA"]),
    )
    assert cpu <= 60 * 60
    check_gates(scores)


def scores_of(run: Path, scratch: Path) -> dict[str, dict[str, float]]:
    """Test scores of a run by task and metric."""
    checkpoint = f"checkpoint={run}"
    _run("biomol.evaluate", checkpoint, f"task={TASKS}", f"output={scratch / 'tasks'}")
    _run(
        "biomol.evaluate", checkpoint, "task=structure", "data.chains=[1pga,6mrr]",
        f"output={scratch / 'overfit'}",
    )  # fmt: skip
    found = {}
    for path in scratch.glob("*/results/*.json"):
        result = json.loads(path.read_text())
        metrics = result["metrics"].items()
        found[result["task"]] = {name: metric["value"] for name, metric in metrics}
    return found


def check_gates(scores: dict[str, dict[str, float]]) -> None:
    """Every gate, all misses at once."""
    missed = []
    for (task, metric), (direction, bound) in GATES.items():
        value = scores[task][metric]
        if value > bound if direction == "at most" else value < bound:
            missed.append(f"{task} {metric}: {value:.4f}, {direction} {bound}")
    assert not missed, missed
