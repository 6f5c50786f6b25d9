"""The checkpoints of one run: the newest intact one, the best one, and which are kept."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from scimind.errors import CheckpointError
from scimind.train import checkpoint as format_
from scimind.train.storage import remove_folder

_log = logging.getLogger(__name__)

FOLDER = "checkpoints"
_STEP = re.compile(r"step-(\d{7,})")


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:07d}"


def list_steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints, oldest first; damaged ones may be among them."""
    if not folder.is_dir():
        return []
    found = (_STEP.fullmatch(item.name) for item in folder.iterdir() if item.is_dir())
    return sorted(int(match.group(1)) for match in found if match)


def newest_intact(folder: Path) -> format_.Checkpoint | None:
    """The newest checkpoint whose every byte is as written; None for an empty folder.

    Falling back past a damaged one is said as an error in the log.

    Raises:
        CheckpointError: There are checkpoints, but not one is intact.
    """
    steps = list_steps(folder)
    faults: list[str] = []
    for step in reversed(steps):
        try:
            checkpoint = format_.load(step_folder(folder, step))
        except CheckpointError as error:
            _log.error("%s", error)
            faults.append(str(error))
            continue
        if faults:
            _log.error("going back to the newest intact checkpoint, %s", checkpoint.path)
        return checkpoint
    if faults:
        raise CheckpointError(
            f"no checkpoint in {folder} is intact: {faults[0]}; restore one from a copy, or set "
            "checkpoint.resume=never and output= to a new folder"
        )
    return None


def load_or_offer(folder: Path) -> format_.Checkpoint:
    """Load one checkpoint; where it is damaged, the message offers the last good one beside it.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
    """
    try:
        return format_.load(folder)
    except CheckpointError as error:
        for step in reversed(list_steps(folder.parent)):
            other = step_folder(folder.parent, step)
            if other.resolve() == folder.resolve():
                continue
            try:
                format_.load(other)
            except CheckpointError:
                continue
            raise CheckpointError(f"{error}; the newest intact one beside it is {other}") from error
        raise


def find(path: str | Path, which: str = "best") -> Path:
    """The checkpoint folder that a path means.

    Args:
        path: A checkpoint folder, or the folder of a run.
        which: In a run, ``best`` on the validation monitor or ``last``.

    Raises:
        CheckpointError: There is none.
    """
    path = Path(path)
    if _STEP.fullmatch(path.name) or (path / format_.STATE).exists():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    for step in reversed(list_steps(folder)):
        chosen = step_folder(folder, step)
        try:
            state = format_.read_state(chosen)
        except CheckpointError as error:
            _log.error("%s", error)
            continue
        best = state.get("progress", {}).get("best_step")
        return step_folder(folder, best) if which == "best" and best is not None else chosen
    raise CheckpointError(f"{path} holds no checkpoint; give a run folder or a step-… folder in it")


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename the checkpoints after ``step``: damaged ones, whose steps the run will reach again."""
    for newer in list_steps(folder):
        if newer > step:
            damaged = step_folder(folder, newer)
            target = damaged.with_name(f"damaged-{damaged.name}")
            number = 1
            while target.exists():
                number += 1
                target = damaged.with_name(f"damaged-{damaged.name}-{number}")
            damaged.rename(target)
            _log.error("the damaged checkpoint is kept as %s", target)


def prune(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` checkpoints and the best one."""
    for step in list_steps(folder)[:-keep]:
        if step != best_step:
            remove_folder(step_folder(folder, step))
