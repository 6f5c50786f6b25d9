"""The head of every result file of a benchmark made from now on, and its writing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from scimind.provenance import commit_state, hardware, library_versions


def report(script: str, what: str, findings: dict[str, Any], output: Path | None) -> None:
    """Print findings with what they were made by and on, and keep them if there is a path."""
    commit, dirty = commit_state() or (None, None)
    path = Path(script).resolve().relative_to(Path(__file__).resolve().parents[1])
    head = {
        "what": what,
        "command": " ".join(["python", str(path), *_hidden(sys.argv[1:])]),
        "commit": commit,
        "dirty": dirty,
        "hardware": hardware(),
        "versions": library_versions(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    text = json.dumps({**head, **findings}, indent=1)
    print(text)
    if output is not None:
        output.write_text(text + "\n")


def _hidden(arguments: list[str]) -> list[str]:
    """Without the places of files and other environments, which are others for everybody."""
    environments = {
        "--torch-python": "TORCH_ENV/bin/python",
        "--andes-python": "ANDES_ENV/bin/python",
    }
    return [
        environments.get(before, Path(argument).name if Path(argument).is_absolute() else argument)
        for before, argument in zip(["", *arguments], arguments, strict=False)
    ]
