"""Score an operator on benchmarks: ``python -m dae_solver.evaluate operator=… task=unseen_lines``.

Writes one result file per task, a report, and the table it prints into the output folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dae_solver.config.evaluate import EvaluateConfig
from scimind.cli import command

if TYPE_CHECKING:
    from dae_solver.tasks.transients import Settings, TransientTask
    from scimind.eval import Result
    from scimind.eval.runner import Evaluation

_ALL = "all"


def evaluate(config: EvaluateConfig) -> int:
    """Scores an operator on one or several benchmarks.

    Every score comes with a bootstrap confidence interval and beside the baselines of its task,
    which are computed on the same scenarios. A task that cannot be run is named, and the exit code
    is then 2.

    Args:
        config: The settings.

    Returns:
        The exit code.

    Raises:
        ConfigError: A task does not exist.
        InputError: There is no operator, or none of the tasks could be run.
    """
    from dae_solver.tasks.transients import Settings
    from dae_solver.trained import Trained
    from scimind.eval.several import score_tasks

    settings = Settings(
        trained=Trained.load(config.operator),
        scenarios=config.scenarios,
        seed=config.seed,
        certify=config.certify,
        nearest=config.nearest,
    )
    root = config.data.root or os.environ.get("SCIMIND_DATA", "")
    _, code = score_tasks(
        _tasks(config, settings, stored=bool(root)),
        lambda task: _run(task, settings, Path(root), config),
        Path(config.output),
        title=f"Evaluation on {settings.trained.grid.case.name}",
        foreign="evaluate.grid",
        table=table,
    )
    return code


def _tasks(
    config: EvaluateConfig, settings: Settings, *, stored: bool
) -> list[tuple[TransientTask, bool]]:
    """Tasks to run; of ``all``, those of another grid may be skipped."""
    from dae_solver.tasks.catalogue import DRAWN, STORED, make_task

    names = config.task if isinstance(config.task, list) else config.task.split(",")
    every = [*DRAWN, *(STORED if stored else ())]
    return [
        (make_task(one, settings), name == _ALL)
        for name in names
        for one in (every if name == _ALL else [name.strip()])
    ]


def _run(task: TransientTask, settings: Settings, root: Path, config: EvaluateConfig) -> Evaluation:
    from dae_solver.tasks.solvers import Hybrid
    from scimind.eval import ModelFacts, run
    from scimind.provenance import config_hash

    trained = settings.trained
    solver = Hybrid(grid=trained.grid, operator=trained.operator, certify=settings.certify)
    return run(
        task,
        solver,
        root,
        ModelFacts(
            model=f"{trained.operator.config.name}, within {settings.certify:g} deg",
            parameters=trained.parameters,
            checkpoint_hash=trained.digest,
            config_hash=config_hash(trained.known_settings()),
            seed=trained.known_settings().seed,
            command=" ".join(["python -m dae_solver.evaluate", *sys.argv[1:]]),
        ),
        resamples=config.resamples,
        limit=config.limit or None,
    )


def table(result: Result) -> str:
    """The scores of a result and its baselines as plain text, with what was left out.

    Args:
        result: The result.
    """
    from scimind.eval.table import text_table

    excluded = len(result.rejected) + result.excluded
    return f"{text_table(result, items='scenarios')}{excluded} scenarios excluded\n"


main = command(
    evaluate,
    schema=EvaluateConfig,
    config_package="dae_solver.configs",
    config_name="evaluate",
    prog="python -m dae_solver.evaluate",
    examples=(
        ("operator=outputs/run", "all tasks"),
        ("operator=outputs/run task=unseen_lines certify=0.1", "one task, tighter"),
        ("operator=outputs/run task=stored_wscc9 data.root=data", "stored trajectories"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
