"""What a training run leaves behind: scores, predictions, structures, and a report to look at."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from biomol.config.train import TrainConfig
from biomol.data.preparation import Prepared
from biomol.io.rejection import count_by_rule
from biomol.io.write import write_mmcif
from biomol.sampling.engine import BioMolEngine
from biomol.tasks.read_back import ReadBack, read_back
from biomol.validation import Score, evaluate_part
from scimind.errors import InputError
from scimind.eval.report import Report
from scimind.eval.result_report import add_curves
from scimind.eval.writing import write_whole
from scimind.provenance import cpu_seconds, hardware
from scimind.train import FitReport, RunFolder

_log = logging.getLogger(__name__)


def finish(
    config: TrainConfig,
    prepared: Prepared,
    engine: BioMolEngine,
    run: RunFolder,
    fitted: FitReport,
) -> list[Score]:
    """Score the best checkpoint and write results, predictions, structures and the report.

    Args:
        config: Settings of the run.
        prepared: Its data.
        engine: The network with the parameters of the best checkpoint.
        run: The run folder.
        fitted: How the training ended.

    Returns:
        The scores of the test part (of the validation part with ``report.test=false``).
    """
    part = "test" if config.report.test else "valid"
    _log.info("scoring the %s part", part)
    scores = evaluate_part(engine, prepared, part, num_steps=config.report.num_steps)
    rows = predictions(engine, prepared, part)
    _write_csv(run.path / "predictions.csv", rows)
    structures = write_structures(config, prepared, engine, run.path / "structures", part)
    results = {
        "part": part,
        "scores": [asdict(score) for score in scores],
        "structures": [asdict(structure) for structure in structures],
        "refused": count_by_rule(prepared.rejected),
        "data": prepared.digests,
        "model": {key: value for key, value in engine.describe().items() if key != "settings"},
        "ended": fitted.reason,
        "hardware": hardware(),
        "cpu_seconds": round(cpu_seconds(), 1),
    }
    write_whole(run.path / "results.json", json.dumps(results, indent=2, default=str) + "\n")
    _report(config, prepared, scores, rows, structures, run, results).write(
        run.path / "report.html"
    )
    for score in scores:
        _log.info(
            "%s %s %.4g (trivial %.4g, n=%d)", part, score.name, score.value, score.trivial,
            score.count,
        )  # fmt: skip
    _log.info("report: %s", run.path / "report.html")
    return scores


def predictions(engine: BioMolEngine, prepared: Prepared, part: str) -> list[dict[str, Any]]:
    """One row per record and known property: data set, record, truth, prediction."""
    rows: list[dict[str, Any]] = []
    for dataset in prepared.datasets.values():
        if not dataset.properties:
            continue
        names = [found.name for found in dataset.properties]
        indices = [int(index) for index in dataset.split[part]]
        records = [dataset.records[index] for index in indices]
        predicted = engine.properties(records, names)
        for index, record, values in zip(indices, records, predicted, strict=True):
            for name, value in zip(names, values, strict=True):
                truth = record.properties.get(name, np.nan)
                if np.isfinite(truth):
                    rows.append(
                        {
                            "dataset": dataset.name,
                            "record": record.name,
                            "key": dataset.keys[index] if dataset.keys else "",
                            "property": name,
                            "truth": truth,
                            "predicted": float(value),
                        }
                    )
    return rows


def write_structures(
    config: TrainConfig, prepared: Prepared, engine: BioMolEngine, folder: Path, part: str
) -> list[ReadBack]:
    """Generate structures of held-out complexes from identity alone and read the files back."""
    dataset = prepared.datasets.get("components") or prepared.datasets.get("chains")
    if dataset is None or config.report.structures == 0:
        return []
    chosen = [
        dataset.records[int(index)] for index in dataset.split[part][: config.report.structures]
    ]
    given = [np.zeros(record.coord_mask.shape, bool) for record in chosen]
    samples = engine.structures(chosen, given, seed=config.seed, num_steps=config.report.num_steps)
    written = []
    for record, sample in zip(chosen, samples, strict=True):
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in record.name)
        path = folder / f"{name}.cif"
        try:
            write_mmcif(record, sample[0], path)
            written.append(read_back(path, record))
        except InputError as error:
            _log.warning("%s: %s", record.name, error)
    return written


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = ["dataset", "record", "key", "property", "truth", "predicted"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _report(
    config: TrainConfig,
    prepared: Prepared,
    scores: Sequence[Score],
    rows: Sequence[dict[str, Any]],
    structures: Sequence[ReadBack],
    run: RunFolder,
    results: dict[str, Any],
) -> Report:
    report = Report(
        "Training report",
        subtitle=f"{config.model.name}, {results['model']['parameters']:,} parameters, "
        f"step {results['model']['step']}, {results['part']} part",
    )
    report.add_table(
        "Scores",
        ["score", "model", "trivial predictor", "skill", "items"],
        [[s.name, s.value, s.trivial, s.skill, s.count] for s in scores],
        caption="Skill: 0 for the trivial predictor (mean or majority), 1 for perfection. "
        "Benchmarks with intervals and classical baselines: python -m biomol.evaluate.",
    )
    figure, alt = _skill_bars(scores)
    report.add_figure("Scores", figure, alt=alt)
    shown = [name for name in prepared.scale.names if name not in prepared.scale.binary]
    if shown and rows:
        figure, alt = _scatter_panel(shown, rows)
        report.add_figure("Predictions", figure, alt=alt)
    if structures:
        report.add_table(
            "Structures",
            ["", "right", "of"],
            _structure_counts(structures),
            caption=f"{len(structures)} structures generated from identity alone, written as "
            "mmCIF and read back with gemmi and RDKit.",
        )
        report.add_table(
            "Structures",
            ["record", "readable", "atoms", "found", "bonds", "found", "centres", "right", "note"],
            [
                [s.name, s.readable, s.atoms, s.found_atoms, s.bonds, s.found_bonds, s.centres,
                 s.found_centres, s.problem]
                for s in structures
            ],
        )  # fmt: skip
    add_curves(report, run.metrics)
    if prepared.rejected:
        report.add_table(
            "Refused input",
            ["rule", "count"],
            [[rule, count] for rule, count in results["refused"].items()],
            caption="Every refused file and record with its reason is in rejected.jsonl.",
        )
    report.add_downloads("Files", [run.path / "predictions.csv", run.path / "config.yaml"])
    report.add_facts(
        "Provenance",
        {
            **{k: v for k, v in results["model"].items() if k != "ops"},
            "ended": results["ended"],
            "process CPU seconds": results["cpu_seconds"],
            "hardware": results["hardware"],
            "operators": results["model"]["ops"],
            "data": results["data"],
        },
    )
    return report


def _structure_counts(structures: Sequence[ReadBack]) -> list[list[Any]]:
    """Rows of (what, right, of) over all structures."""
    shapes = [item.geometry for item in structures if item.geometry is not None]
    return [
        ["files read by gemmi and RDKit", sum(s.readable for s in structures), len(structures)],
        ["atoms", sum(s.found_atoms for s in structures), sum(s.atoms for s in structures)],
        ["bonds with their order", sum(s.found_bonds for s in structures),
         sum(s.bonds for s in structures)],
        ["stereocentres of the right hand (CIP, RDKit)",
         sum(s.found_centres for s in structures), sum(s.centres for s in structures)],
        ["bonds of plausible length", sum(g.good_bonds for g in shapes),
         sum(g.bonds for g in shapes)],
        ["plausible angles", sum(g.good_angles for g in shapes), sum(g.angles for g in shapes)],
        ["clashing pairs", sum(g.clashes for g in shapes), None],
    ]  # fmt: skip


def _skill_bars(scores: Sequence[Score]) -> tuple[Any, str]:
    from matplotlib.figure import Figure

    shown = [score for score in scores if np.isfinite(score.skill)]
    figure = Figure(figsize=(7, 0.28 * len(shown) + 1))
    axes = figure.subplots()
    axes.barh([s.name for s in shown], [s.skill for s in shown], color="#3b6ea5")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("skill over the trivial predictor")
    figure.tight_layout()
    text = ", ".join(f"{s.name} {s.skill:.2f}" for s in shown)
    return figure, f"Bars of the skill of each score: {text}"


def _scatter_panel(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> tuple[Any, str]:
    from matplotlib.figure import Figure

    columns = 3
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(9, 3 * lines))
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        chosen = [row for row in rows if row["property"] == name]
        if not chosen:
            continue
        truth = np.array([row["truth"] for row in chosen])
        predicted = np.array([row["predicted"] for row in chosen])
        axes.plot(truth, predicted, ".", markersize=3, alpha=0.5)
        ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set_title(f"{name} (n={len(chosen)})", fontsize=9)
        axes.set_xlabel("measured", fontsize=8)
        axes.set_ylabel("predicted", fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in list(grid.flat)[len(names) :]:
        axes.axis("off")
    figure.tight_layout()
    return figure, f"Predicted against measured values of {', '.join(names)}, one panel each"
