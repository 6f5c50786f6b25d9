"""Which atom of a model stands for which atom of a reference: chains, residues, atoms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from biomol.chem.vocab import MolType
from biomol.data.complex import Complex
from biomol.metrics.lddt import ca_lddt
from scimind.errors import InputError
from scimind.typing import Bool, Float, Int

MIN_IDENTITY = 0.7
"""Share of aligned residues of the shorter chain that must be equal for two chains to match."""

MAX_ASSIGNMENTS = 1024
"""Above this number of chain assignments, chains are assigned greedily and not exhaustively."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Correspondence:
    """A model laid out like its reference.

    Attributes:
        coords: Position in the model of each atom of the reference, 0 where absent.
        present: The model has the atom.
        chains: Model chain (``chain_id``) of each matched reference chain.
        exhaustive: Every assignment of chains was tried.
    """

    coords: Float[np.ndarray, "token slot 3"]
    present: Bool[np.ndarray, "token slot"]
    chains: dict[int, int]
    exhaustive: bool = True


def match(reference: Complex, model: Complex) -> Correspondence:
    """Lays a model out like its reference, choosing equal chains so that lDDT is highest.

    Polymer chains of the same kind are aligned by sequence; atoms are matched by name. Copies of
    one molecule are interchangeable: the assignment with the highest representative-atom lDDT is
    taken. Ligands are left out.

    Args:
        reference: The structure to compare with.
        model: The prediction.

    Returns:
        The correspondence.

    Raises:
        InputError: No chain of the model fits a chain of the reference.
    """
    candidates = {
        chain: [
            (other, pairs)
            for other in _polymer_chains(model)
            if (pairs := _aligned(reference, chain, model, other)) is not None
        ]
        for chain in _polymer_chains(reference)
    }
    candidates = {chain: found for chain, found in candidates.items() if found}
    if not candidates:
        raise InputError(
            f"no chain of {model.name} has the sequence of a chain of {reference.name}; compare "
            "models of the same molecules",
            rule="match.sequence",
        )
    options = math.prod(len(found) + 1 for found in candidates.values())
    exhaustive = options <= MAX_ASSIGNMENTS
    assignments = _all_assignments(candidates) if exhaustive else [_greedy(candidates)]
    laid_out = (_lay_out(reference, model, candidates, chosen) for chosen in assignments)
    best, best_score = None, -math.inf
    for correspondence in laid_out:
        score = _quality(reference, correspondence)
        if score > best_score:
            best, best_score = correspondence, score
    assert best is not None
    if exhaustive:
        return best
    return Correspondence(
        coords=best.coords, present=best.present, chains=best.chains, exhaustive=False
    )


_Pairs = Int[np.ndarray, "pair 2"]
_Candidates = dict[int, list[tuple[int, _Pairs]]]


def _polymer_chains(record: Complex) -> list[int]:
    return sorted(set(record.chain_id[_is_standard(record)].tolist()))


def _is_standard(record: Complex) -> Bool[np.ndarray, " token"]:
    return np.asarray((record.mol_type != MolType.ATOM) & (record.mol_type != MolType.PAD))


def _aligned(reference: Complex, chain: int, model: Complex, other: int) -> _Pairs | None:
    """Token pairs of two chains, None if they are different molecules."""
    first = np.flatnonzero(reference.chain_id == chain)
    second = np.flatnonzero(model.chain_id == other)
    a, b = reference.restype[first], model.restype[second]
    kinds = [
        set(record.mol_type[tokens].tolist()) - {int(MolType.ATOM)}
        for record, tokens in ((reference, first), (model, second))
    ]
    if kinds[0] != kinds[1]:
        return None
    i = j = np.arange(len(a))
    if not np.array_equal(a, b):
        i, j = _alignment(a, b)
    if np.sum(a[i] == b[j]) < MIN_IDENTITY * min(len(a), len(b)):
        return None
    return np.asarray(np.stack([first[i], second[j]], axis=1))


def _alignment(
    a: Int[np.ndarray, " first"], b: Int[np.ndarray, " second"]
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Global alignment (Needleman-Wunsch, affine gaps) of two identity sequences."""
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(
        mode="global", match_score=1.0, mismatch_score=-1.0, open_gap_score=-2.0,
        extend_gap_score=-0.1, end_gap_score=0.0,
    )  # fmt: skip
    # Private-use characters: identities are indices, not letters.
    text = ["".join(chr(0xE000 + int(token)) for token in tokens) for tokens in (a, b)]
    blocks = aligner.align(*text)[0].aligned
    i = np.concatenate([np.arange(start, stop) for start, stop in blocks[0]] or [np.zeros(0, int)])
    j = np.concatenate([np.arange(start, stop) for start, stop in blocks[1]] or [np.zeros(0, int)])
    return i, j


def _all_assignments(candidates: _Candidates) -> Iterator[dict[int, int]]:
    chains = list(candidates)
    # A chain may stay without partner when the model has fewer copies than the reference.
    options = [[*(other for other, _ in candidates[chain]), None] for chain in chains]
    distinct = [
        {c: o for c, o in zip(chains, chosen, strict=True) if o is not None}
        for chosen in itertools.product(*options)
        if _all_different(chosen)
    ]
    most = max(len(chosen) for chosen in distinct)
    yield from (chosen for chosen in distinct if len(chosen) == most)


def _all_different(chosen: tuple[int | None, ...]) -> bool:
    used = [other for other in chosen if other is not None]
    return len(set(used)) == len(used)


def _greedy(candidates: _Candidates) -> dict[int, int]:
    chosen: dict[int, int] = {}
    for chain, found in candidates.items():
        free = [other for other, _ in found if other not in chosen.values()]
        if free:
            chosen[chain] = free[0]
    return chosen


def _lay_out(
    reference: Complex, model: Complex, candidates: _Candidates, chosen: dict[int, int]
) -> Correspondence:
    coords = np.zeros_like(reference.coords)
    present = np.zeros_like(reference.coord_mask)
    for chain, other in chosen.items():
        pairs = next(pairs for found, pairs in candidates[chain] if found == other)
        # Different residues share the names of their backbone and of their first slots.
        i, j = pairs.T
        equal = (reference.atom_name[i] == model.atom_name[j]) & model.coord_mask[j]
        coords[i] = np.where(equal[..., None], model.coords[j], 0.0)
        present[i] = equal
    return Correspondence(coords=coords, present=present, chains=chosen)


def _quality(reference: Complex, correspondence: Correspondence) -> float:
    points = residue_points(reference) & reference.coord_mask & correspondence.present
    points &= np.isin(reference.chain_id, list(correspondence.chains))[:, None]
    score = ca_lddt(correspondence.coords[points], reference.coords[points])
    return score if math.isfinite(score) else -1.0


def residue_groups(record: Complex) -> Int[np.ndarray, " token"]:
    """Residue (or ligand) of each token, counted from 0; atom tokens of one residue share it."""
    number = np.array(record.residue_numbers or [""] * record.num_tokens)
    starts = _is_standard(record)
    for key in (record.chain_id, record.res_index, number, starts):
        starts = starts | np.append(True, key[1:] != key[:-1])
    return np.asarray(np.cumsum(starts) - 1)


def residue_points(record: Complex, nucleotide_atom: str = "C1'") -> Bool[np.ndarray, "token slot"]:
    """One atom per residue of the polymer chains, modified residues included.

    Args:
        record: The structure.
        nucleotide_atom: Atom that stands for a nucleotide; CA stands for an amino acid.
    """
    in_polymer = np.isin(record.chain_id, _polymer_chains(record))
    named = np.isin(record.atom_name, ("CA", nucleotide_atom))
    return np.asarray(named & in_polymer[:, None] & record.atom_mask)
