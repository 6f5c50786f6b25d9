"""Score a checkpoint on benchmarks: ``python -m biomol.evaluate checkpoint=… task=esol``.

Writes one result file per task, a report, and the table it prints into the output folder.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from biomol.config.evaluate import EvaluateConfig
from scimind.cli import command
from scimind.errors import ConfigError, InputError

if TYPE_CHECKING:
    from biomol.tasks.engine import Engine
    from scimind.eval import Task
    from scimind.eval.runner import Evaluation

log = logging.getLogger(__name__)

_ALL = "all"


def evaluate(config: EvaluateConfig) -> int:
    """Scores a checkpoint on one or several benchmarks.

    Every score comes with a bootstrap confidence interval and beside the baselines of its task,
    which are computed on the same items. A task that cannot be run (its data are missing, the
    model lacks its output) is named, and the exit code is then 2.

    Args:
        config: The settings.

    Returns:
        The exit code.
    """
    from biomol.sampling import load_engine

    engine: Engine = load_engine(
        config.checkpoint, device=config.device, precision=config.precision
    )
    _, code = evaluate_engine(engine, config)
    return code


def evaluate_engine(engine: Engine, config: EvaluateConfig) -> tuple[list[Evaluation], int]:
    """Scores an engine, writes the output folder and prints the table.

    Args:
        engine: The model.
        config: The settings; ``checkpoint`` is not read.

    Returns:
        What was evaluated, and the exit code.

    Raises:
        ConfigError: A task does not exist or lacks its settings.
        InputError: None of the tasks could be run.
    """
    from scimind.eval.several import score_tasks

    root = data_root(config)
    return score_tasks(
        _tasks(config),
        lambda task: _run(task, engine, root, config),
        Path(config.output),
        title="Evaluation",
        foreign=_MISSING_OUTPUT,
    )


_MISSING_OUTPUT = "evaluate.missing_output"


def data_root(config: EvaluateConfig) -> Path:
    """The data folder: ``data.root``, or ``$SCIMIND_DATA``.

    Raises:
        ConfigError: Neither is set.
    """
    root = config.data.root or os.environ.get("SCIMIND_DATA", "")
    if not root and config.task != "table":
        raise ConfigError("data.root is empty and SCIMIND_DATA is unset; name the data folder")
    return Path(root)


def _tasks(config: EvaluateConfig) -> list[tuple[Task, bool]]:
    """Tasks to run; those of ``all`` may be skipped when the model lacks their output."""
    from biomol.tasks.catalogue import FIXED, make_task

    names = config.task if isinstance(config.task, list) else config.task.split(",")
    found = []
    for name in names:
        for one in FIXED if name == _ALL else (name.strip(),):
            task = make_task(
                one,
                path=Path(config.data.path) if config.data.path else None,
                splits=Path(config.data.splits) if config.data.splits else None,
                chains=tuple(config.data.chains),
                variant=config.data.variant,
                num_steps=config.num_steps,
                noise=config.noise,
                seed=config.seed,
            )
            found.append((task, name == _ALL))
    return found


def _run(task: Task, engine: Engine, root: Path, config: EvaluateConfig) -> Evaluation:
    from biomol.tasks.baselines.forest import MISSING_NOTE, is_available
    from biomol.tasks.catalogue import missing_outputs
    from biomol.tasks.property_task import PropertyTask
    from scimind.eval import ModelFacts, run

    missing = missing_outputs(task, engine)
    if missing:
        known = ", ".join([*engine.property_names, *engine.token_label_names]) or "nothing"
        raise InputError(
            f"the model has no output for {', '.join(missing)}; it knows {known}",
            rule=_MISSING_OUTPUT,
        )
    facts = engine.describe()
    notes = [str(note) for note in facts.get("notes", ())]
    notes += [f"{name}: {choice}" for name, choice in facts.get("ops", {}).items()]
    if isinstance(task, PropertyTask) and not is_available():
        log.warning("%s: %s", task.name, MISSING_NOTE)
        notes.append(MISSING_NOTE)
    return run(
        task,
        engine,
        root,
        ModelFacts(
            model=str(facts["model"]),
            parameters=int(facts["parameters"]),
            checkpoint_hash=str(facts.get("checkpoint_hash", "")),
            config_hash=str(facts.get("config_hash", "")),
            precision=str(facts.get("precision", "fp32")),
            seed=int(facts.get("seed", config.seed)),
            command=" ".join(["python -m biomol.evaluate", *sys.argv[1:]]),
            notes=notes,
        ),
        resamples=config.resamples,
        limit=config.limit or None,
    )


main = command(
    evaluate,
    schema=EvaluateConfig,
    config_package="biomol.configs",
    config_name="evaluate",
    prog="python -m biomol.evaluate",
    examples=(
        ("checkpoint=outputs/run task=esol data.root=data", "one benchmark"),
        ("checkpoint=outputs/run task=all data.root=data", "all that the checkpoint can do"),
        ("checkpoint=outputs/run task=table data.path=mine.csv", "a table of your own"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
