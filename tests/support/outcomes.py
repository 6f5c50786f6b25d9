"""Keeps the outcome of the long proofs in ``results/``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scimind.provenance import commit_state, library_versions

RESULTS = Path(__file__).parents[2] / "results"


def keep(path: Path, entry: str, facts: dict[str, Any], *, command: str) -> None:
    """Replaces one entry of a result file, leaving the others.

    Args:
        path: The file, made if it does not exist.
        entry: Its key.
        facts: What was found.
        command: What repeats it.
    """
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    commit, dirty = commit_state() or ("", False)
    content[entry] = {
        **facts,
        "commit": commit,
        "dirty": dirty,
        "versions": library_versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(sorted(content.items())), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
