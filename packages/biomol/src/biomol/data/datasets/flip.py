"""FLIP tasks (Dallago et al., NeurIPS 2021): one value per sequence, or one class per residue.

Two layouts are read: CSV with ``sequence,target,set,validation`` (GB1, AAV, meltome, bind) and
parallel FASTA files, ``sequences.fasta`` with the letters, ``<split>.fasta`` with one class
character per residue and ``SET=``/``VALIDATION=`` in the header, and optionally ``mask.fasta``
with 1 for residues that count (secondary structure, conservation).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from biomol.chem.vocab import MolType
from biomol.data.datasets.dataset import Dataset, TokenLabel, digest_of
from biomol.data.datasets.sequences import SequenceRecords
from biomol.data.datasets.table import load_table
from biomol.data.splits import given_split
from biomol.io.fasta import FastaRecord, clean_sequence, read_records
from biomol.io.rejection import Rejection
from biomol.io.tables import read_table
from scimind.errors import InputError

CLASSES: dict[str, tuple[str, ...]] = {
    "secondary_structure": ("H", "E", "C"),
    "conservation": tuple("123456789"),
    "bind": tuple("01234567"),
}
"""Class characters by task. Bind counts small, nucleic, metal as binary digits 4, 2, 1."""


def load_flip_values(path: str | Path, name: str) -> Dataset:
    """A FLIP table with one value per sequence.

    Args:
        path: ``<split>.csv`` or ``<split>.csv.gz``.
        name: Name of the property, e.g. ``"gb1"``.

    Returns:
        The records with the split of the file.

    Raises:
        InputError: The file cannot be read or a column is missing.
    """
    return load_table(
        path,
        name=f"{name}/{Path(path).name.split('.')[0]}",
        molecule="sequence",
        targets=["target"],
        property_names={"target": name},
        split="given",
    )


def load_flip_residues(
    folder: str | Path, split: str = "sampled", name: str = "secondary_structure"
) -> Dataset:
    """A FLIP task with one class per residue.

    Args:
        folder: Folder of the FASTA files, or of the CSV files of the bind task.
        split: Name of the label file.
        name: Task, one of ``CLASSES``; decides the classes.

    Returns:
        The records with the split of the file; residues that the mask excludes and characters
        that are no class are labelled -1. Records without sequence, of differing lengths or
        without split are in ``rejected``.

    Raises:
        InputError: A file is missing or cannot be read, or the task is unknown.
    """
    if name not in CLASSES:
        raise InputError(
            f"there is no per-residue task {name!r}; known are {', '.join(CLASSES)}",
            rule="flip.task",
        )
    table = _find(folder, split, ".csv", required=False)
    if table is not None:
        return _from_table(table, name)
    sequence_path = _find(folder, "sequences", ".fasta")
    label_path = _find(folder, split, ".fasta")
    mask_path = _find(folder, "mask", ".fasta", required=False)
    assert sequence_path is not None
    assert label_path is not None
    sequences, rejected = read_records(sequence_path)
    labels, bad = read_records(label_path)
    rejected = [*rejected, *bad]
    masks: dict[str, str] = {}
    if mask_path is not None:
        mask_records, bad = read_records(mask_path)
        rejected = [*rejected, *bad]
        masks = {record.name: record.sequence for record in mask_records}
    by_name = {record.name: record for record in sequences}
    kept = _Kept(name)
    for label in labels:
        attributes = dict(word.split("=", 1) for word in label.header.split() if "=" in word)
        problem = None
        record = by_name.get(label.name)
        if record is None:
            problem = ("flip.sequence", f"{label.name} has labels and no sequence")
        elif mask_path is not None and label.name not in masks:
            problem = ("flip.mask", f"{label.name} is missing in {mask_path.name}")
        if record is None or problem:
            assert problem is not None
            rejected.append(Rejection(str(label_path), label.line, *problem))
            continue
        part = _part(attributes.get("SET", ""), attributes.get("VALIDATION", ""))
        error = kept.add(label.name, record.sequence, label.sequence, masks.get(label.name), part)
        if error is not None:
            rejected.append(Rejection(str(label_path), label.line, *error))
    rejected.extend(_unlabelled(sequences, labels, sequence_path))
    paths = [path for path in (sequence_path, label_path, mask_path) if path is not None]
    return kept.dataset(f"{name}/{split}", str(folder), rejected, digest_of(paths))


def _unlabelled(
    sequences: Sequence[FastaRecord], labels: Sequence[FastaRecord], path: Path
) -> list[Rejection]:
    named = {label.name for label in labels}
    return [
        Rejection(str(path), record.line, "flip.labels", f"{record.name} has no labels")
        for record in sequences
        if record.name not in named
    ]


class _Kept:
    """Accepted records of a per-residue task, column by column."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.index = {letter: i for i, letter in enumerate(CLASSES[task])}
        self.names: list[str] = []
        self.sequences: list[str] = []
        self.labels: list[np.ndarray] = []
        self.parts: list[str] = []

    def add(
        self, name: str, letters: str, classes: str, mask: str | None, part: str | None
    ) -> tuple[str, str] | None:
        """Take a record, or say the rule it breaks."""
        lengths = {len(letters), len(classes)} | ({len(mask)} if mask is not None else set())
        if len(lengths) > 1:
            return "flip.length", f"{name} has letters, labels and mask of lengths {lengths}"
        if part is None:
            return "flip.split", f"{name} does not say SET=train or SET=test"
        try:
            cleaned, _, _ = clean_sequence(letters, MolType.PROTEIN)
        except InputError as error:
            return error.rule, f"{name}: {error.message}"
        label = np.array([self.index.get(letter, -1) for letter in classes], np.int8)
        if len(cleaned) != len(label):
            return "flip.length", f"{name} has gaps or a stop in its sequence"
        if mask is not None:
            label[np.frombuffer(mask.encode("latin-1", "replace"), np.uint8) != ord("1")] = -1
        if (label < 0).all():
            return "flip.no_label", f"{name} has no residue with a known class"
        self.names.append(name)
        self.sequences.append(cleaned)
        self.labels.append(label)
        self.parts.append(part)
        return None

    def dataset(
        self, name: str, source: str, rejected: Sequence[Rejection], digest: str
    ) -> Dataset:
        if not self.names:
            raise InputError(
                f"no record can be used; first reason: "
                f"{rejected[0].message if rejected else 'there are no records'}",
                path=source,
                rule="flip.no_records",
            )
        return Dataset(
            name=name,
            records=SequenceRecords(
                sequences=tuple(self.sequences),
                names=tuple(self.names),
                mol_type=MolType.PROTEIN,
                source=source,
                token_labels={self.task: tuple(self.labels)},
            ),
            split=given_split(self.parts),
            labels=(TokenLabel(self.task, CLASSES[self.task]),),
            keys=tuple(self.sequences),
            rejected=tuple(rejected),
            digest=digest,
        )


def _from_table(path: Path, task: str) -> Dataset:
    table = read_table(path, molecule="sequence", targets=[], texts=["target"])
    rejected = list(table.rejected)
    kept = _Kept(task)
    for row in table.rows:
        name = f"{task}:{row.line}"
        error = kept.add(name, row.text, row.texts.get("target", ""), None, row.part)
        if error is not None:
            rejected.append(Rejection(str(path), row.line, *error))
    return kept.dataset(f"{task}/{path.name.split('.')[0]}", str(path), rejected, digest_of([path]))


def _part(part: str, validation: str) -> str | None:
    if part.lower() == "train":
        return "valid" if validation.lower() == "true" else "train"
    return {"test": "test", "valid": "valid", "validation": "valid"}.get(part.lower())


def _find(folder: str | Path, stem: str, suffix: str, *, required: bool = True) -> Path | None:
    for ending in (suffix, f"{suffix}.gz"):
        path = Path(folder) / f"{stem}{ending}"
        if path.is_file():
            return path
    if required:
        raise InputError(
            f"there is no {stem}{suffix} or {stem}{suffix}.gz", path=folder, rule="flip.missing"
        )
    return None
