"""Writing results and reports: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from scimind.errors import EnvironmentProblem


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8 text, under its final name only once it is complete.

    A symbolic link at ``path`` is replaced, not followed.

    Raises:
        EnvironmentProblem: The folder cannot be made or written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"{path} cannot be written ({error.strerror or error}); choose a folder that is "
            "writable and has free space"
        ) from error
