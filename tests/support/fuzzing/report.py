"""Keeps the outcome of the nightly campaigns in ``results/fuzz.json``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from fuzzing.campaign import Outcome
from scimind.provenance import commit_state, library_versions

RESULTS = Path(__file__).parents[3] / "results" / "fuzz.json"


def record(kind: str, outcome: Outcome, *, seed: int, path: Path = RESULTS) -> None:
    """Replaces the entry of this format, leaving the others."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    commit, dirty = commit_state() or ("", False)
    content[kind] = {
        **outcome.summary(),
        "seed": seed,
        "commit": commit,
        "dirty": dirty,
        "versions": library_versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m pytest -m nightly tests -k two_thousand_mutants",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(sorted(content.items())), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
