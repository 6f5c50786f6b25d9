"""Predict for files, folders or SMILES: ``python -m biomol.predict checkpoint=… input=…``.

The output folder holds ``status.jsonl`` (one line per input, written as soon as it is done),
``predictions.csv``, ``designs.fasta`` and ``structures/*.cif``.
"""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomol.config.predict import PredictConfig
from scimind.cli import command
from scimind.errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_OK, InputError, ScimindError

if TYPE_CHECKING:
    from biomol.tasks.engine import Engine
    from biomol.tasks.jobs import Job

log = logging.getLogger(__name__)

STATUS_FILE = "status.jsonl"
_INTERNAL = "internal"


def predict(config: PredictConfig) -> int:
    """Predicts properties, secondary structure, sequences and structures for a batch of inputs.

    One bad input never stops the batch: it is recorded with its reason in status.jsonl, and the
    exit code is then 2.

    Args:
        config: The settings.

    Returns:
        The exit code.
    """
    from biomol.sampling import load_engine

    engine: Engine = load_engine(
        config.checkpoint, device=config.device, precision=config.precision
    )
    return predict_with(engine, config)


def predict_with(engine: Engine, config: PredictConfig) -> int:
    """Predicts with an engine and writes the output folder.

    Args:
        engine: The model.
        config: The settings; ``checkpoint`` is not read.

    Returns:
        0, 2 if an input failed, or 1 if one failed by a fault of ours.

    Raises:
        InputError: A property is unknown to the model, or there is no input.
    """
    from biomol.tasks.jobs import collect

    unknown = [name for name in config.properties if name not in engine.property_names]
    if unknown:
        raise InputError(
            f"the model does not know the property {unknown[0]!r}; it knows "
            f"{', '.join(engine.property_names) or 'none'}",
            rule="predict.property",
        )
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    status_path = output / STATUS_FILE
    settings = _settings(engine, config)
    earlier = _done_before(status_path, settings) if config.resume else {}
    inputs = config.input if isinstance(config.input, list) else [config.input]
    jobs = collect(inputs)
    rows: list[dict[str, Any]] = []
    with status_path.open("w", encoding="utf-8") as file:
        for number, job in enumerate(jobs, start=1):
            row = earlier.get((job.name, job.source, job.digest))
            if row is None:
                row = {**_run(engine, job, config, output), "settings": settings}
                log.info("%d/%d %s: %s", number, len(jobs), job.name, row["status"])
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            rows.append(row)
    _write_csv(output / "predictions.csv", rows)
    _write_designs(output / "designs.fasta", rows)
    failed = [row for row in rows if row["status"] == "failed"]
    log.info("%d of %d inputs predicted; see %s", len(rows) - len(failed), len(rows), output)
    for row in failed:
        log.error("%s (%s): %s [%s]", row["name"], row["source"], row["reason"], row["rule"])
    if any(row["rule"] == _INTERNAL for row in failed):
        return EXIT_INTERNAL
    return EXIT_INPUT if failed else EXIT_OK


def _settings(engine: Engine, config: PredictConfig) -> dict[str, Any]:
    """What an earlier prediction must agree in to be taken over."""
    names = (
        "task properties temperature num_designs design_steps num_samples num_steps noise seed "
        "precision"
    )
    facts = engine.describe()
    return {
        **{name: getattr(config, name) for name in names.split()},
        "model": facts["model"],
        "checkpoint_hash": facts.get("checkpoint_hash", ""),
    }


def _done_before(
    path: Path, settings: dict[str, Any]
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Lines of an earlier run with the same settings whose structure files are still there."""
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            usable = row["status"] == "done" and row["settings"] == settings
            usable = usable and all((path.parent / name).is_file() for name in row["files"])
            key = (row["name"], row["source"], row["digest"])
        except (json.JSONDecodeError, KeyError, TypeError):
            # A run that was killed leaves half a line: that input is simply done again.
            log.warning("%s:%d is incomplete; its input is predicted again", path, number)
            continue
        if usable:
            found[key] = row
    return found


def _run(engine: Engine, job: Job, config: PredictConfig, output: Path) -> dict[str, Any]:
    """The status line of one job."""
    from biomol.tasks.applications import APPLICATIONS, Prediction, applicable, sequence_of

    row: dict[str, Any] = {
        "name": job.name,
        "source": job.source,
        "digest": job.digest,
        "status": "failed",
        "tokens": 0,
        "sequence": "",
        "tasks": [],
        "reason": "",
        "rule": "",
    }
    prediction = Prediction()
    if job.rejection is not None:
        where = "" if job.rejection.line is None else f"line {job.rejection.line}: "
        row |= {"reason": where + job.rejection.message, "rule": job.rejection.rule}
        return row | asdict(prediction)
    record = job.record
    assert record is not None
    row |= {"tokens": record.num_tokens, "sequence": sequence_of(record)}
    asked = config.task if isinstance(config.task, list) else [config.task]
    names = applicable(engine, record) if "all" in asked else [str(name) for name in asked]
    try:
        for name in names:
            APPLICATIONS[name](engine, record, job.name, config, output, prediction)
            row["tasks"].append(name)
    except ScimindError as error:
        # Anything but a fault of this input ends the batch.
        if not isinstance(error, InputError):
            raise
        row |= {"reason": error.message, "rule": error.rule}
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        log.exception("%s failed", job.name)
        row |= {"reason": f"{type(error).__name__}: {error}", "rule": _INTERNAL}
    else:
        row["status"] = "done"
    return row | asdict(prediction)


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    done = [row for row in rows if row["status"] == "done"]
    properties = list(dict.fromkeys(name for row in done for name in row["properties"]))
    labels = list(dict.fromkeys(name for row in done for name in row["labels"]))
    head = ["name", "source", "tokens", "sequence", *properties, *labels, "designs", "files"]
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in done:
            writer.writerow(
                [
                    row["name"],
                    row["source"],
                    row["tokens"],
                    row["sequence"],
                    *(_number(row["properties"].get(name)) for name in properties),
                    *(row["labels"].get(name, "") for name in labels),
                    " ".join(row["designs"]),
                    " ".join(row["files"]),
                ]
            )
    partial.replace(path)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write_designs(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = []
    for row in rows:
        for index, (letters, same) in enumerate(zip(row["designs"], row["recovery"], strict=True)):
            share = "" if same is None else f" recovery={same:.3f}"
            lines.append(f">{row['name']}-{index}{share}\n{letters}\n")
    if lines:
        path.write_text("".join(lines), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


main = command(
    predict,
    schema=PredictConfig,
    config_package="biomol.configs",
    config_name="predict",
    prog="python -m biomol.predict",
    examples=(
        (
            "checkpoint=outputs/run \"input='CC(=O)O'\" task=property",
            "properties of a SMILES; its brackets need both kinds of quotes",
        ),
        ("checkpoint=outputs/run input=structures task=side_chains", "a folder of structures"),
        ("checkpoint=outputs/run input=[a.cif,b.fasta] resume=true", "go on where it stopped"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
