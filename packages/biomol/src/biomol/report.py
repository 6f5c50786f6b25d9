"""The report at the end of a training run: losses, scores, predictions, structures."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biomol.data.complex import Complex
from biomol.io.write import write_mmcif
from biomol.tasks.read_back import ReadBack, read_back
from scimind.errors import InputError

if TYPE_CHECKING:
    from scimind.eval.runner import Evaluation

METRICS_FILE = "metrics.jsonl"
REPORT_FILE = "report.html"


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """A predicted structure.

    Attributes:
        record: The molecule.
        coords: Predicted position of each atom slot, angstrom.
    """

    record: Complex
    coords: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What was written.

    Attributes:
        path: The HTML page.
        structures: What came back from each structure file.
        counts: Sums over the structure files.
    """

    path: Path
    structures: tuple[ReadBack, ...]
    counts: dict[str, int]


def write_report(
    run_dir: Path,
    results: Sequence[Evaluation],
    predictions: Sequence[Mapping[str, Any]],
    structures: Sequence[Structure],
    *,
    title: str = "Training run",
) -> RunReport:
    """Writes ``report.html``, ``results/``, ``predictions.csv`` and ``structures/`` of a run.

    Args:
        run_dir: Run folder; its ``metrics.jsonl`` gives the curves.
        results: Held-out evaluations, each with its baselines.
        predictions: Rows of predictions.csv, such as name, property, target and prediction.
        structures: Predicted structures; each is written as mmCIF, read again and checked.
        title: Heading.

    Returns:
        Where the report is and what was found in the structure files.
    """
    from scimind.eval.result_report import write_report as write_evaluations

    run_dir.mkdir(parents=True, exist_ok=True)
    for evaluation in results:
        result = evaluation.result
        result.save(run_dir / "results" / f"{result.task}.json")
    downloads = []
    if predictions:
        downloads.append(_write_predictions(run_dir / "predictions.csv", predictions))
    checks = tuple(_check(run_dir / "structures", number, s) for number, s in enumerate(structures))
    counts = count(checks)
    page = write_evaluations(
        results,
        run_dir / REPORT_FILE,
        title=title,
        metrics_log=run_dir / METRICS_FILE,
        downloads=downloads,
    )
    if checks:
        summary = {"counts": counts, "structures": [asdict(check) for check in checks]}
        _replace(run_dir / "structures.json", json.dumps(summary, indent=1) + "\n")
        _add_structures(page, checks, counts)
        page.write(run_dir / REPORT_FILE)
    return RunReport(path=run_dir / REPORT_FILE, structures=checks, counts=counts)


def count(checks: Sequence[ReadBack]) -> dict[str, int]:
    """Sums over structure files.

    Args:
        checks: What came back from each.

    Returns:
        Number of ``files``, of ``readable`` and of fully ``valid`` ones, and wanted and found
        atoms, bonds, stereocentres, bond lengths and angles.
    """
    judged = [check.geometry for check in checks if check.geometry is not None]
    return {
        "files": len(checks),
        "readable": sum(check.readable for check in checks),
        "valid": sum(geometry.valid for geometry in judged),
        "atoms": sum(check.atoms for check in checks),
        "found_atoms": sum(check.found_atoms for check in checks),
        "bonds": sum(check.bonds for check in checks),
        "found_bonds": sum(check.found_bonds for check in checks),
        "centres": sum(check.centres for check in checks),
        "found_centres": sum(check.found_centres for check in checks),
        "lengths": sum(geometry.bonds for geometry in judged),
        "good_lengths": sum(geometry.good_bonds for geometry in judged),
        "angles": sum(geometry.angles for geometry in judged),
        "good_angles": sum(geometry.good_angles for geometry in judged),
        "clashes": sum(geometry.clashes for geometry in judged),
    }


def _check(folder: Path, number: int, structure: Structure) -> ReadBack:
    record = structure.record
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in record.name)[:60]
    path = folder / f"{number:03d}-{safe}.cif"
    try:
        write_mmcif(record, structure.coords, path)
    except InputError as error:
        # A diverged model gives positions that are not finite: that is a finding of the report.
        atoms = int(record.atom_mask.sum())
        return ReadBack(
            name=record.name, readable=False, atoms=atoms, found_atoms=0, bonds=len(record.bonds),
            found_bonds=0, centres=0, found_centres=0, geometry=None, problem=error.message,
        )  # fmt: skip
    return read_back(path, record)


def _write_predictions(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
    return path


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _add_structures(page: Any, checks: Sequence[ReadBack], counts: Mapping[str, int]) -> None:
    section = "Predicted structures"
    page.add_text(
        section,
        f"{counts['files']} structures written as mmCIF and read again: {counts['readable']} "
        f"readable, {counts['valid']} without any fault of geometry.",
    )
    rows = [
        ["atoms", counts["atoms"], counts["found_atoms"]],
        ["ligand bonds of the right order", counts["bonds"], counts["found_bonds"]],
        ["ligand stereocentres of the right hand", counts["centres"], counts["found_centres"]],
        ["bond lengths within 25 %", counts["lengths"], counts["good_lengths"]],
        ["1-3 distances within 25 %", counts["angles"], counts["good_angles"]],
    ]
    page.add_table(section, ["what", "checked", "right"], rows)
    columns = ["structure", "atoms", "bonds", "stereocentres", "lengths", "clashes", "problem"]
    page.add_table(section, columns, [_row(check) for check in checks], limit=50)


def _row(check: ReadBack) -> list[Any]:
    geometry = check.geometry
    return [
        check.name,
        f"{check.found_atoms}/{check.atoms}",
        f"{check.found_bonds}/{check.bonds}",
        f"{check.found_centres}/{check.centres}",
        "–" if geometry is None else f"{geometry.good_bonds}/{geometry.bonds}",
        None if geometry is None else geometry.clashes,
        check.problem,
    ]
