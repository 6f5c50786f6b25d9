"""What was refused and why: one line per file, record or table row that could not be used."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from scimind.errors import InputError


@dataclass(frozen=True)
class Rejection:
    """One refused file, record or row.

    Attributes:
        path: The file (or the name of the data set).
        line: One-based line or record number, None when it concerns the whole file.
        rule: Short stable identifier such as ``"smiles.valence"``.
        message: The value found, the rule and the way out.
    """

    path: str
    line: int | None
    rule: str
    message: str

    @classmethod
    def from_error(cls, error: InputError, *, path: str = "", line: int | None = None) -> Rejection:
        """The rejection that an error stands for.

        Args:
            error: The error; its own path and line win over the arguments.
            path: File to name when the error names none.
            line: Line to name when the error names none.
        """
        return cls(
            path=error.path or path,
            line=line if error.line is None else error.line,
            rule=error.rule,
            message=error.message,
        )


def write_rejected(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write one JSON object per rejection, replacing the file in one step.

    Args:
        path: The ``rejected.jsonl`` to write.
        rejections: What to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        for rejection in rejections:
            file.write(json.dumps(asdict(rejection), ensure_ascii=False) + "\n")
    temporary.replace(path)


def count_by_rule(rejections: Iterable[Rejection]) -> dict[str, int]:
    """Number of rejections by rule, most frequent first."""
    return dict(Counter(rejection.rule for rejection in rejections).most_common())
