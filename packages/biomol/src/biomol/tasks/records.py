"""Evaluated records that are built only when a model asks for them, and never with their label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from biomol.data.complex import Complex
from biomol.io.rejection import Rejection
from scimind.errors import InputError
from scimind.eval import Failure

T = TypeVar("T")

CHUNK_RECORDS = 256


@dataclass(frozen=True, eq=False)
class RecordHandle:
    """One record of a data set.

    Attributes:
        records: The data set's records.
        index: Which one.
        key: SMILES or letters, for baselines that need no record.
    """

    records: Sequence[Complex]
    index: int
    key: str

    def load(self) -> Complex:
        """The record without its labels."""
        return replace(self.records[self.index], properties={}, token_labels={})


def data_folder(root: Path) -> Path:
    """The folder with ``structures`` and ``property``: the data folder itself or ``biomol`` in it.

    Args:
        root: Folder that the user named.

    Raises:
        InputError: There is no such folder.
    """
    if not root.is_dir():
        raise InputError(
            "there is no such folder; set data.root to the folder of the benchmark data",
            path=root,
            rule="data.root",
        )
    return root / "biomol" if (root / "biomol").is_dir() else root


def failures(rejections: Iterable[Rejection]) -> tuple[Failure, ...]:
    """Refused records in the form of result files, without the folder of the user's machine."""
    return tuple(
        Failure(
            item=Path(rejection.path).name + (f":{rejection.line}" if rejection.line else ""),
            reason=rejection.message,
            rule=rejection.rule,
        )
        for rejection in rejections
    )


def answers(
    inputs: Sequence[T],
    ask: Callable[[Sequence[T]], Iterable[Any]],
    *,
    chunk: int = CHUNK_RECORDS,
) -> Iterator[Any]:
    """Answers of a model, in chunks; a refused record becomes a ``Failure`` and the rest goes on.

    Args:
        inputs: What the model is asked about.
        ask: Gives one answer per input; may raise ``InputError`` because of any of them.
        chunk: Inputs per call.

    Yields:
        The answer or a ``Failure`` for each input, in order.
    """
    for start in range(0, len(inputs), chunk):
        part = inputs[start : start + chunk]
        try:
            yield from list(ask(part))
        except InputError:
            for item in part:
                try:
                    yield from list(ask([item]))
                except InputError as error:
                    yield Failure(item="", reason=error.message, rule=error.rule)
