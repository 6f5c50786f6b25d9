"""Which records train, validate and test, and on what grounds two records must not be parted.

A split is written to JSON with the group of every record (scaffold, sequence cluster), so that
anyone can recompute the groups from the records and check that none spans two parts.
"""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rdkit.Chem.Scaffolds import MurckoScaffold

from biomol.io.ligand import parse_smiles
from scimind.errors import InputError
from scimind.seeding import numpy_generator
from scimind.typing import Int

_log = logging.getLogger(__name__)

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Record indices of each part.

    Attributes:
        method: How it was made, e.g. ``"scaffold"``.
        train: Indices to train on.
        valid: Indices to select on.
        test: Indices to report on.
        groups: Group of each record, or empty when records were split one by one.
    """

    method: str
    train: Int[np.ndarray, " train"]
    valid: Int[np.ndarray, " valid"]
    test: Int[np.ndarray, " test"]
    groups: tuple[str, ...] = ()

    def __getitem__(self, part: str) -> Int[np.ndarray, " record"]:
        """Indices of ``"train"``, ``"valid"`` or ``"test"``."""
        if part not in PARTS:
            raise InputError(
                f"there is no part {part!r}; use {', '.join(PARTS)}", rule="split.part"
            )
        return {"train": self.train, "valid": self.valid, "test": self.test}[part]

    def leaking_groups(self) -> set[str]:
        """Groups with records in more than one part; empty for a sound split."""
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for part in PARTS:
            for index in self[part]:
                if self.groups:
                    parts[self.groups[index]].add(part)
        return {group for group, members in parts.items() if len(members) > 1}


def murcko_scaffold(smiles: str) -> str:
    """Canonical SMILES of the Bemis-Murcko scaffold without stereochemistry, "" if acyclic.

    Args:
        smiles: The molecule.

    Returns:
        The scaffold.

    Raises:
        InputError: The SMILES is no molecule.

    Source: Bemis and Murcko, J. Med. Chem. 39 (1996) 2887.
    """
    return scaffold_of(parse_smiles(smiles))


def scaffold_of(mol: Any) -> str:
    """``murcko_scaffold`` of an RDKit molecule."""
    scaffold: str = MurckoScaffold.MurckoScaffoldSmiles(mol=mol, includeChirality=False)  # type: ignore[no-untyped-call]
    return scaffold


def scaffold_split(
    smiles: Sequence[str], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> Split:
    """Split by scaffold, the most frequent ones to the training part.

    Args:
        smiles: One molecule per record.
        fractions: Shares of train, valid and test.

    Returns:
        A split that depends on nothing but the records and their order.

    Source: Wu et al., MoleculeNet, Chem. Sci. 9 (2018) 513; ties by first record, descending.
    """
    return scaffold_groups_split([murcko_scaffold(text) for text in smiles], fractions)


def scaffold_groups_split(
    scaffolds: Sequence[str], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> Split:
    """``scaffold_split`` given the scaffold of each record.

    Where one scaffold (or none, of acyclic molecules) fills the data set, no part of it could be
    trained on: then the records are split at random, and the log and ``method`` say so.
    """
    split = _grouped("scaffold", scaffolds, fractions)
    if len(split.train) == 0 and len(scaffolds) > 1:
        _log.warning(
            "%d molecules share too few scaffolds for a scaffold split: they are split at random",
            len(scaffolds),
        )
        return random_split(len(scaffolds), fractions)
    return split


def cluster_groups_split(
    clusters: Sequence[str], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Split:
    """Split by cluster in random order.

    Whole clusters are dealt out to the part that lacks most of its share, the largest first,
    ties in random order, so that small sets get close to the wanted fractions.

    Args:
        clusters: Cluster of each record.
        fractions: Shares of train, valid and test.
        seed: Seed of the order.

    Returns:
        The split; no cluster is in two parts.
    """
    members = _members(clusters)
    rng = numpy_generator(seed, "split", "cluster")
    names = list(members)
    order = [names[index] for index in rng.permutation(len(names))]
    order.sort(key=lambda name: -len(members[name]))
    wanted = np.asarray(fractions) / sum(fractions) * len(clusters)
    parts: list[list[int]] = [[], [], []]
    for name in order:
        lacking = wanted - np.array([len(part) for part in parts])
        parts[int(np.argmax(lacking))].extend(members[name])
    return _split("cluster", parts, clusters)


def random_split(
    num_records: int, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Split:
    """Split record by record.

    Args:
        num_records: Number of records.
        fractions: Shares of train, valid and test.
        seed: Seed of the permutation.
    """
    order = numpy_generator(seed, "split", "random").permutation(num_records)
    shares = np.cumsum(fractions) / sum(fractions)
    first, second = (round(share * num_records) for share in shares[:2])
    return _split("random", [list(order[:first]), list(order[first:second]), list(order[second:])])


def given_split(
    parts: Sequence[str | None], *, valid_fraction: float = 0.1, seed: int = 0
) -> Split:
    """Split that the source of the data gives.

    Args:
        parts: ``"train"``, ``"valid"`` or ``"test"`` of each record.
        valid_fraction: Share of the training records taken for validation when the source names
            none.
        seed: Seed of that choice.

    Returns:
        The split; a record without part is an error.

    Raises:
        InputError: A record has no part.
    """
    unknown = [index for index, part in enumerate(parts) if part not in PARTS]
    if unknown:
        raise InputError(
            f"record {unknown[0]} has part {parts[unknown[0]]!r}; "
            "a given split names train, valid or test for every record",
            rule="split.given",
        )
    chosen = {name: [i for i, part in enumerate(parts) if part == name] for name in PARTS}
    if not chosen["valid"]:
        order = numpy_generator(seed, "split", "valid").permutation(chosen["train"])
        count = round(valid_fraction * len(order))
        chosen["valid"], chosen["train"] = sorted(order[:count]), sorted(order[count:])
    return _split("given", [chosen[name] for name in PARTS])


def write_split(path: Path, split: Split, records: Mapping[str, Sequence[str]]) -> None:
    """Write a split with what is needed to check it.

    Args:
        path: The JSON file, replaced in one step.
        split: The split.
        records: Columns that describe each record, such as ``name`` and ``smiles``.
    """
    part_of = {int(index): part for part in PARTS for index in split[part]}
    rows = []
    for index in sorted(part_of):
        row = {key: values[index] for key, values in records.items()}
        row["part"] = part_of[index]
        if split.groups:
            row["group"] = split.groups[index]
        rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(
        json.dumps({"method": split.method, "records": rows}, ensure_ascii=False, indent=0),
        encoding="utf-8",
    )
    temporary.replace(path)


def _members(groups: Sequence[str]) -> dict[str, list[int]]:
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    return members


def _grouped(method: str, groups: Sequence[str], fractions: tuple[float, float, float]) -> Split:
    total = len(groups)
    train_limit = fractions[0] * total
    valid_limit = (fractions[0] + fractions[1]) * total
    parts: list[list[int]] = [[], [], []]
    train, valid, test = parts
    by_size = sorted(_members(groups).values(), key=lambda m: (len(m), m[0]), reverse=True)
    for members in by_size:
        if len(train) + len(members) <= train_limit:
            train.extend(members)
        elif len(train) + len(valid) + len(members) <= valid_limit:
            valid.extend(members)
        else:
            test.extend(members)
    return _split(method, parts, groups)


def _split(method: str, parts: Sequence[Sequence[Hashable]], groups: Sequence[str] = ()) -> Split:
    train, valid, test = (np.array(sorted(part), np.int64) for part in parts)  # type: ignore[type-var]
    return Split(method=method, train=train, valid=valid, test=test, groups=tuple(groups))
