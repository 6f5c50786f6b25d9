"""Clusters of similar chains, so that a test chain has no relative in the training part.

Two chains are related if their best local alignment (BLOSUM62, gap 11 + 1 per residue; match 2,
mismatch -3, gap 5 + 2 for nucleic acids) fulfils one of

* identical pairs >= threshold * length of the shorter chain, counted as 50 at least (25 for
  nucleic acids), since a short peptide matches any protein that well by chance, or
* identical pairs / aligned pairs >= threshold over at least 50 aligned pairs that cover at least
  half of the shorter chain (a shared domain).

The threshold is 0.3 for proteins and 0.8 for nucleic acids. Clusters are the connected components
of that relation, so nothing in one cluster is related to anything in another.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from Bio import Align
from Bio.Align import substitution_matrices

from biomol.chem.vocab import MolType
from scimind.typing import Bool, Int

log = logging.getLogger(__name__)

THRESHOLDS = {MolType.PROTEIN: 0.3, MolType.RNA: 0.8, MolType.DNA: 0.8}
MIN_LENGTH = {MolType.PROTEIN: 50, MolType.RNA: 25, MolType.DNA: 25}
MIN_DOMAIN = 50
MIN_COVERAGE = 0.5
ALL_PAIRS_LIMIT = 1500
"""Up to this many distinct chains every pair is aligned; above, only pairs that share a 4-mer."""

_KMER = 4
# A local alignment that fulfils either rule scores more than this per residue of the shorter chain.
_MIN_SCORE = 0.35


@lru_cache(maxsize=2)
def _aligner(protein: bool) -> Any:
    if protein:
        matrix = substitution_matrices.load("BLOSUM62")
        return Align.PairwiseAligner(
            mode="local", substitution_matrix=matrix, open_gap_score=-12, extend_gap_score=-1
        )
    return Align.PairwiseAligner(
        mode="local", match_score=2, mismatch_score=-3, open_gap_score=-7, extend_gap_score=-2
    )


def related(first: str, second: str, mol_type: MolType = MolType.PROTEIN) -> bool:
    """Whether two chains belong into one cluster, by the rule of this module.

    Args:
        first: Letters of a chain.
        second: Letters of another chain of the same type.
        mol_type: Type of both.
    """
    if first == second:
        return True
    protein = mol_type is MolType.PROTEIN
    threshold = THRESHOLDS[mol_type]
    letters = "ARNDCQEGHILKMFPSTWYVX" if protein else "ACGTN"
    first, second = (_spell(chain, letters) for chain in (first, second))
    shorter = min(len(first), len(second))
    aligner = _aligner(protein)
    if aligner.score(first, second) < _MIN_SCORE * shorter:
        return False
    alignments = aligner.align(first, second)
    if len(alignments) == 0:
        return False
    pairs = [
        (first[a0 + step], second[b0 + step])
        for (a0, a1), (b0, _) in zip(*alignments[0].aligned, strict=True)
        for step in range(a1 - a0)
    ]
    same = sum(a == b != letters[-1] for a, b in pairs)
    if same >= threshold * max(shorter, MIN_LENGTH[mol_type]):
        return True
    covered = len(pairs) >= max(MIN_DOMAIN, MIN_COVERAGE * shorter)
    return covered and same >= threshold * len(pairs)


def cluster_chains(
    sequences: Sequence[str], mol_type: MolType = MolType.PROTEIN
) -> Int[np.ndarray, " chain"]:
    """Cluster of each chain.

    Args:
        sequences: Letters of each chain.
        mol_type: Type of all of them.

    Returns:
        Cluster numbers from 0, in the order of the first member.
    """
    distinct = list(dict.fromkeys(sequences))
    groups = Groups(len(distinct))
    for i, j in _candidates(distinct):
        if groups.find(i) != groups.find(j) and related(distinct[i], distinct[j], mol_type):
            groups.join(i, j)
    place = {sequence: index for index, sequence in enumerate(distinct)}
    return groups.numbers()[[place[sequence] for sequence in sequences]]


def related_to_any(
    sequences: Sequence[str], held_out: Sequence[str], mol_type: MolType = MolType.PROTEIN
) -> Bool[np.ndarray, " sequence"]:
    """Which chains have a relative among held-out chains and must not be trained on.

    Data sets come with splits of their own; a chain of the training part of one may be a relative
    of a test chain of another.

    Args:
        sequences: Chains that may be trained on.
        held_out: Chains of validation and test parts.
        mol_type: Type of all of them.

    Returns:
        True for each chain to leave out. Only pairs that share a run of 4 residues are aligned,
        which few pairs of relatives do not.
    """
    holders: defaultdict[str, set[int]] = defaultdict(set)
    for index, sequence in enumerate(held_out):
        for kmer in _kmers(sequence):
            holders[kmer].add(index)
    found: dict[str, bool] = {}
    for sequence in sequences:
        if sequence not in found:
            near = set().union(*(holders[k] for k in _kmers(sequence) if k in holders))
            found[sequence] = any(related(sequence, held_out[i], mol_type) for i in sorted(near))
    return np.array([found[sequence] for sequence in sequences], np.bool_)


class Groups:
    """Disjoint sets of ``0 ... n-1`` that can be joined (union-find)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """Representative of the set of an item."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Unite the sets of two items; the smaller representative stays."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low

    def numbers(self) -> Int[np.ndarray, " item"]:
        """Number of the set of each item, from 0 in the order of the first member."""
        roots = [self.find(item) for item in range(len(self._parent))]
        order = {root: number for number, root in enumerate(dict.fromkeys(roots))}
        return np.array([order[root] for root in roots], np.int64)


def _candidates(sequences: Sequence[str]) -> list[tuple[int, int]]:
    if len(sequences) <= ALL_PAIRS_LIMIT:
        return [(i, j) for j in range(len(sequences)) for i in range(j)]
    log.warning(
        "%d distinct chains: only pairs that share %d consecutive residues are aligned, so a few "
        "remote relatives may stay in different clusters",
        len(sequences),
        _KMER,
    )
    holders: defaultdict[str, list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for index, sequence in enumerate(sequences):
        for kmer in _kmers(sequence):
            pairs.update((other, index) for other in holders[kmer])
            holders[kmer].append(index)
    return sorted(pairs)


def _kmers(sequence: str) -> set[str]:
    return {sequence[k : k + _KMER] for k in range(len(sequence) - _KMER + 1)}


def _spell(sequence: str, letters: str) -> str:
    unknown = letters[-1]
    upper = sequence.upper().replace("U", "T" if "T" in letters and "R" not in letters else "C")
    return "".join(letter if letter in letters else unknown for letter in upper)
