"""Several tasks, one after the other: results, tables and a report in one folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from scimind.errors import EXIT_INPUT, EXIT_OK, InputError
from scimind.eval.result import Result
from scimind.eval.result_report import write_report
from scimind.eval.runner import Evaluation
from scimind.eval.table import text_table
from scimind.eval.task import Task

log = logging.getLogger(__name__)

TaskT = TypeVar("TaskT", bound=Task)


def score_tasks(
    tasks: Iterable[tuple[TaskT, bool]],
    score: Callable[[TaskT], Evaluation],
    output: Path,
    *,
    title: str,
    foreign: str,
    table: Callable[[Result], str] = text_table,
) -> tuple[list[Evaluation], int]:
    """Score tasks, print their tables, and write ``results/``, ``report.html``, ``table.txt``.

    A task that cannot be run is named, and the others go on.

    Args:
        tasks: Each with whether it may be skipped where it is not for this model.
        score: Runs one.
        output: The folder.
        title: Of the report.
        foreign: Rule of the `InputError` that says so.
        table: A result as text.

    Returns:
        What was evaluated, and the exit code: 2 where a task could not be run.

    Raises:
        InputError: None could be run.
    """
    done: list[Evaluation] = []
    failed: list[str] = []
    for task, optional in tasks:
        try:
            evaluation = score(task)
        except InputError as error:
            if optional and error.rule == foreign:
                log.info("%s: skipped, %s", task.name, error.message)
            else:
                log.error("%s: %s", task.name, error)
                failed.append(task.name)
            continue
        evaluation.result.save(output / "results" / f"{task.name}.json")
        print(table(evaluation.result), flush=True)
        done.append(evaluation)
    if not done:
        raise InputError(
            "none of the tasks could be run, see the messages above", rule="evaluate.none"
        )
    write_report(done, output / "report.html", title=title)
    (output / "table.txt").write_text(
        "\n".join(table(evaluation.result) for evaluation in done), encoding="utf-8"
    )
    log.info("results and report.html are in %s", output)
    if failed:
        log.error("not scored: %s", ", ".join(failed))
    return done, EXIT_INPUT if failed else EXIT_OK
