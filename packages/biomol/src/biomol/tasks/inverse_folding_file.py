"""Inverse folding on the field's own files: TS50, TS500 and CATH 4.2 as JSON or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biomol.chem.vocab import MolType
from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence
from biomol.tasks.baselines.sequence import background, local_geometry
from biomol.tasks.chains import NUM_BACKBONE, backbone_only, protein_chains
from biomol.tasks.inverse_folding import predict_identities, sequence_metrics
from scimind.errors import InputError
from scimind.eval import Baseline, Failure, Item, Metric, Task, TaskData, file_digest
from scimind.reading import read_text

_BACKBONE = ("N", "CA", "C", "O")


class InverseFoldingFile(Task):
    """Native sequence recovery on a file of ``{"name", "seq", "coords"}`` entries.

    ``coords`` holds N, CA, C and O of each residue, as a list ``[residue][atom][xyz]`` (TS50) or
    as one list per atom name (CATH); NaN or null marks what is missing. Baselines are fitted on
    the chains of the data folder that do not occur in the file.

    Args:
        path: ``.json`` (a list) or ``.jsonl`` (one entry per line).
        splits: ``chain_set_splits.json``; its ``"test"`` names are scored. All by default.
    """

    name, version, primary = "inverse_folding_file", "1.0", "recovery"
    split = "all entries"
    description = "Native sequence recovery on the backbones of one file."

    def __init__(self, path: Path, splits: Path | None = None) -> None:
        self.path, self.splits = path, splits
        self.name = f"inverse_folding-{path.name.split('.')[0]}"  # type: ignore[misc]
        if splits is not None:
            self.split = f"test entries of {splits.name}"  # type: ignore[misc]

    def load(self, data_root: Path) -> TaskData:
        """See the base class; the data folder is read for the baselines only."""
        items, rejected = read_backbones(self.path)
        if self.splits is not None:
            wanted = _test_names(self.splits)
            items = [item for item in items if item.name in wanted]
        known = {tuple(item.target.restype.tolist()) for item in items}
        dataset = protein_chains(data_root)
        training = []
        for index in dataset.split.train:
            record = dataset.records[int(index)]
            if tuple(record.restype.tolist()) not in known:
                training.append(Item(name=f"{index}:{record.name}", inputs=None, target=record))
        return TaskData(
            items=tuple(items),
            training=tuple(training),
            digest=file_digest([self.path], self.path.parent),
            rejected=tuple(rejected),
        )

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return sequence_metrics()

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (background(), local_geometry())

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""
        return predict_identities(model, items)


def read_backbones(path: Path) -> tuple[list[Item], list[Failure]]:
    """Entries of a file as items, and those that break the format.

    Args:
        path: The JSON or JSON lines file.

    Raises:
        InputError: The file is no JSON, or has no usable entry.
    """
    items: list[Item] = []
    rejected: list[Failure] = []
    names: set[str] = set()
    for number, entry in enumerate(_entries(path), start=1):
        name = str(entry.get("name", "")) if isinstance(entry, dict) else ""
        try:
            if not name or name in names:
                raise InputError(
                    f"entry {number} has the name {name!r}; names must be there and unique",
                    rule="backbones.name",
                )
            record = _record(entry, name, path)
        except InputError as error:
            rejected.append(
                Failure(item=name or f"entry {number}", reason=error.message, rule=error.rule)
            )
            continue
        names.add(name)
        items.append(Item(name=name, inputs=backbone_only(record), target=record))
    if not items:
        raise InputError(
            "no entry can be used; first reason: "
            f"{rejected[0].reason if rejected else 'the file has no entries'}",
            path=path,
            rule="backbones.none",
        )
    return items, rejected


def _entries(path: Path) -> list[Any]:
    text = read_text(path)
    try:
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(
            f"the file is no JSON ({error}); give a list of {{name, seq, coords}}",
            path=path,
            rule="backbones.json",
        ) from error
    return content if isinstance(content, list) else [content]


def _record(entry: dict[str, Any], name: str, path: Path) -> Complex:
    letters, coords = entry.get("seq"), entry.get("coords")
    if not isinstance(letters, str) or coords is None:
        raise InputError(
            f"entry {name!r} lacks seq or coords; both are needed", rule="backbones.fields"
        )
    if isinstance(coords, dict):
        missing = [atom for atom in _BACKBONE if atom not in coords]
        if missing:
            raise InputError(
                f"entry {name!r} has no coordinates of {missing[0]}; N, CA, C and O are needed",
                rule="backbones.atoms",
            )
        coords = [list(atoms) for atoms in zip(*(coords[atom] for atom in _BACKBONE), strict=True)]
    try:
        positions = np.array(coords, dtype=np.float64)
    except (TypeError, ValueError):
        positions = np.zeros(0)
    if positions.shape != (len(letters), NUM_BACKBONE, 3):
        raise InputError(
            f"entry {name!r} has {len(letters)} letters and coordinates of shape "
            f"{positions.shape}; {(len(letters), NUM_BACKBONE, 3)} is needed",
            rule="backbones.shape",
        )
    record = complex_from_sequence(letters, MolType.PROTEIN, name, source=str(path))
    known = np.isfinite(positions).all(axis=-1)
    full, mask = np.zeros_like(record.coords), np.zeros_like(record.coord_mask)
    full[:, :NUM_BACKBONE] = np.where(known[..., None], positions, 0.0)
    mask[:, :NUM_BACKBONE] = known
    return replace(record, coords=full, coord_mask=mask)


def _test_names(path: Path) -> set[str]:
    content = _entries(path)[0]
    if not isinstance(content, dict) or not isinstance(content.get("test"), list):
        raise InputError(
            'the split file has no list "test"; give chain_set_splits.json',
            path=path,
            rule="backbones.splits",
        )
    return {str(name) for name in content["test"]}
