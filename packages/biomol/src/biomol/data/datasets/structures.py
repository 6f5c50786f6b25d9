"""Structure files as a data set, split so that related chains stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from biomol.chem.vocab import (
    DNA_CODES,
    PROTEIN_CODES,
    PROTEIN_LETTERS,
    REPRESENTATIVE_SLOT,
    RNA_CODES,
    TOKENS,
    MolType,
)
from biomol.data.clusters import Groups, cluster_chains
from biomol.data.complex import Complex
from biomol.data.crop import select_tokens
from biomol.data.datasets.dataset import Dataset, digest_of
from biomol.data.packed import pack
from biomol.data.splits import Split, cluster_groups_split
from biomol.io.rejection import Rejection
from biomol.io.structure import read_structure
from scimind.errors import InputError
from scimind.typing import Int

MIN_CLUSTERED_LENGTH = 10
"""Shorter chains say nothing about kinship and do not join clusters."""

_LETTER = {
    **dict(zip(PROTEIN_CODES, PROTEIN_LETTERS, strict=True)),
    **{code: code for code in RNA_CODES},
    **{code: code[1] for code in DNA_CODES},
}
_UNKNOWN = {MolType.PROTEIN: "X", MolType.RNA: "N", MolType.DNA: "N"}


@dataclass(frozen=True)
class Chain:
    """A polymer chain of a record.

    Attributes:
        mol_type: Its type; the most frequent one of its tokens.
        sequence: One letter per token, X or N where unknown; atom tokens of modified residues
            are not part of it.
        tokens: Indices of its tokens, those of modified residues included.
    """

    mol_type: MolType
    sequence: str
    tokens: Int[np.ndarray, " token"]


def polymer_chains(record: Complex) -> list[Chain]:
    """Protein, RNA and DNA chains of a record, in the order of ``chain_id``.

    Args:
        record: The record.
    """
    chains = []
    for chain_id in np.unique(record.chain_id):
        tokens = np.flatnonzero(record.chain_id == chain_id)
        polymer = tokens[record.mol_type[tokens] != MolType.ATOM]
        if len(polymer) == 0:
            continue
        mol_type = MolType(int(np.bincount(record.mol_type[polymer]).argmax()))
        # A modified residue is several atom tokens with one residue number.
        residues = {int(record.res_index[t]): _UNKNOWN[mol_type] for t in tokens}
        for token in polymer:
            code = TOKENS[record.restype[token]]
            residues[int(record.res_index[token])] = _LETTER.get(code, _UNKNOWN[mol_type])
        sequence = "".join(residues[index] for index in sorted(residues))
        chains.append(Chain(mol_type, sequence, tokens))
    return chains


def load_structures(
    paths: Iterable[Path],
    *,
    name: str = "structures",
    unit: Literal["complex", "chain"] = "complex",
    min_length: int = 30,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    rejected: list[Rejection] | None = None,
) -> Dataset:
    """Structure files as records with a cluster split.

    Complexes that share related chains (see ``biomol.data.clusters``) are one group, and groups
    are dealt to train, valid and test. Chains inherit the part of their complex, so both units
    of the same files have the same split and can be trained on together.

    Args:
        paths: Files that ``read_structure`` reads.
        name: Name of the data set.
        unit: ``"complex"``, or ``"chain"``: each distinct protein chain by itself.
        min_length: Resolved residues that a chain must have.
        fractions: Shares of train, valid and test, of complexes.
        seed: Seed of the split.
        rejected: Takes the refusals too, which matters when no file can be used.

    Returns:
        The records; files and chains that cannot be used are in ``rejected``.

    Raises:
        InputError: No file can be used.
    """
    paths = sorted(paths)
    rejected = [] if rejected is None else rejected
    complexes: list[Complex] = []
    used: list[Path] = []
    for path in paths:
        try:
            found = read_structure(path).complexes
        except InputError as error:
            rejected.append(Rejection.from_error(error, path=str(path)))
            continue
        complexes.extend(found)
        used.append(path)
    if not complexes:
        raise InputError(
            f"none of {len(paths)} structure files can be used; first reason: "
            f"{rejected[0].message if rejected else 'there are none'}",
            rule="structures.none",
        )
    chains = [polymer_chains(record) for record in complexes]
    groups = complex_groups(complexes, chains)
    split = cluster_groups_split(groups, fractions, seed)
    records, keys = complexes, ["/".join(chain.sequence for chain in found) for found in chains]
    if unit == "chain":
        records, keys, split = _chains(complexes, chains, split, min_length, rejected)
    return Dataset(
        name=name,
        records=pack(records),
        split=split,
        keys=tuple(keys),
        rejected=tuple(rejected),
        digest=digest_of(used),
    )


def complex_groups(complexes: Sequence[Complex], chains: Sequence[Sequence[Chain]]) -> list[str]:
    """Group of each complex: those with a related chain, directly or through others.

    Args:
        complexes: The records.
        chains: Polymer chains of each.

    Returns:
        Names of the groups; a record without polymer is grouped by its ligands.
    """
    groups = Groups(len(complexes))
    for mol_type in (MolType.PROTEIN, MolType.RNA, MolType.DNA):
        members = [
            (index, chain.sequence)
            for index, found in enumerate(chains)
            for chain in found
            if chain.mol_type is mol_type and len(chain.sequence) >= MIN_CLUSTERED_LENGTH
        ]
        if not members:
            continue
        first: dict[int, int] = {}
        clusters = cluster_chains([sequence for _, sequence in members], mol_type)
        for (index, _), cluster in zip(members, clusters.tolist(), strict=True):
            groups.join(index, first.setdefault(cluster, index))
    ligands: dict[str, int] = {}
    for index, record in enumerate(complexes):
        if not chains[index]:
            key = " ".join(sorted(set(record.residue_names)))
            groups.join(index, ligands.setdefault(key, index))
    return [f"cluster-{number}" for number in groups.numbers()]


def _chains(
    complexes: Sequence[Complex],
    chains: Sequence[Sequence[Chain]],
    split: Split,
    min_length: int,
    rejected: list[Rejection],
) -> tuple[list[Complex], list[str], Split]:
    part_of = {int(i): part for part in ("train", "valid", "test") for i in split[part]}
    records: list[Complex] = []
    keys: list[str] = []
    groups: list[str] = []
    parts: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    seen: set[str] = set()
    for index, (record, found) in enumerate(zip(complexes, chains, strict=True)):
        for chain in found:
            if chain.mol_type is not MolType.PROTEIN or chain.sequence in seen:
                continue
            part = select_tokens(record, chain.tokens)
            resolved = int(part.coord_mask[:, REPRESENTATIVE_SLOT].sum())
            label = record.chain_names[record.chain_id[chain.tokens[0]]]
            if resolved < min_length:
                rejected.append(
                    Rejection(
                        record.source,
                        None,
                        "structures.short_chain",
                        f"chain {label} has {resolved} resolved tokens, {min_length} are needed",
                    )
                )
                continue
            seen.add(chain.sequence)
            parts[part_of[index]].append(len(records))
            records.append(part)
            keys.append(chain.sequence)
            groups.append(split.groups[index])
    if not records:
        raise InputError(
            f"no protein chain has {min_length} resolved residues", rule="structures.none"
        )
    train, valid, test = (np.array(parts[name], np.int64) for name in ("train", "valid", "test"))
    chain_split = Split(
        method=split.method, train=train, valid=valid, test=test, groups=tuple(groups)
    )
    return records, keys, chain_split
