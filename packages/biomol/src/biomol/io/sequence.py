"""Where each resolved residue stands in the full sequence of its chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import gemmi
import numpy as np

from biomol.chem.standard import nucleotide_code, protein_code
from biomol.io.records import AtomTable
from biomol.io.residues import Residue, is_chain_bond

MIN_IDENTITY = 0.5
"""Share of resolved residues that must agree with the declared sequence to trust it."""


@dataclass(frozen=True)
class Position:
    """One place of the full sequence.

    Attributes:
        comp: Component name, of the resolved residue if there is one.
        index: Position along the full sequence, from 0.
        residue: Resolved residue, None where the structure has none.
    """

    comp: str
    index: int
    residue: Residue | None


def place_residues(
    atoms: AtomTable, residues: Sequence[Residue], sequence: Sequence[str]
) -> tuple[list[Position], str]:
    """Positions of a chain, unresolved residues included where the sequence is known.

    Args:
        atoms: Atom records, for chain breaks.
        residues: Resolved residues in file order.
        sequence: Full sequence as component names, empty if unknown.

    Returns:
        The positions in order, and a remark ("" if all is plain).
    """
    if all(r.seq > 0 for r in residues):
        found = _by_label(residues, sequence)
        if found is not None:
            return found, ""
        return _by_number(atoms, residues), "label_seq_id contradicts the declared sequence"
    if sequence:
        found = _by_alignment(atoms, residues, sequence)
        if found is not None:
            return found, ""
        return _by_number(atoms, residues), "declared sequence does not fit the residues"
    return _by_number(atoms, residues), ""


def _by_label(residues: Sequence[Residue], sequence: Sequence[str]) -> list[Position] | None:
    if len({r.seq for r in residues}) < len(residues):
        return None
    resolved = {r.seq - 1: r for r in residues}
    if not sequence:
        return [Position(resolved[i].comp, i, resolved[i]) for i in sorted(resolved)]
    if max(resolved) >= len(sequence):
        return None
    return _fill(sequence, resolved)


def _fill(sequence: Sequence[str], resolved: dict[int, Residue]) -> list[Position]:
    return [
        Position(resolved[i].comp if i in resolved else name, i, resolved.get(i))
        for i, name in enumerate(sequence)
    ]


def _by_alignment(
    atoms: AtomTable, residues: Sequence[Residue], sequence: Sequence[str]
) -> list[Position] | None:
    # Names of one residue in different conventions must match: HID is HIS, ADE is A is DA.
    query = [_canonical(name) for name in sequence]
    target = [_canonical(r.comp) for r in residues]
    if query == target:
        return _fill(sequence, dict(enumerate(residues)))
    numbered = _by_offset(residues, query, target)
    if numbered is not None:
        return _fill(sequence, numbered)
    # A gap in the model is free where the chain is broken and dear where it is bonded.
    opening = [0] + [-10 if is_chain_bond(atoms, a, b) else -1 for a, b in pairwise(residues)] + [0]
    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch = 1, -1
    scoring.gapo, scoring.gape = -10, -1
    scoring.good_gapo, scoring.bad_gapo = 0, -10
    aligned = gemmi.align_string_sequences(query, target, opening, scoring)
    resolved: dict[int, Residue] = {}
    i = j = 0
    for count, operation in _operations(aligned.cigar_str()):
        for _ in range(count):
            if operation == "M":
                resolved[i] = residues[j]
                i, j = i + 1, j + 1
            elif operation == "I":
                i += 1
            else:
                return None  # a resolved residue that the sequence does not have
    matches = sum(query[i] == _canonical(r.comp) for i, r in resolved.items())
    if matches < MIN_IDENTITY * len(residues):
        return None
    return _fill(sequence, resolved)


def _by_offset(
    residues: Sequence[Residue], query: list[str], target: list[str]
) -> dict[int, Residue] | None:
    """Numbering that fits the sequence at one offset settles where a gap in repeats lies."""
    steps = [r.number - residues[0].number for r in residues]
    if any(b <= a for a, b in pairwise(steps)):
        return None
    for start in range(len(query) - steps[-1]):
        if all(query[start + step] == name for step, name in zip(steps, target, strict=True)):
            return {start + step: r for step, r in zip(steps, residues, strict=True)}
    return None


def _canonical(name: str) -> str:
    code = protein_code(name) or nucleotide_code(name, deoxy=False)
    return code.removeprefix("D") if code and len(code) == 2 else code or name


def _operations(cigar: str) -> list[tuple[int, str]]:
    out, digits = [], ""
    for character in cigar:
        if character.isdigit():
            digits += character
        else:
            out.append((int(digits), character))
            digits = ""
    return out


def _by_number(atoms: AtomTable, residues: Sequence[Residue]) -> list[Position]:
    """Without a sequence a jump in numbering is a gap only where the chain is broken."""
    index = np.zeros(len(residues), np.int64)
    for i, (before, after) in enumerate(pairwise(residues), start=1):
        jump = after.number - before.number
        missing = jump > 1 and not is_chain_bond(atoms, before, after)
        index[i] = index[i - 1] + (jump if missing else 1)
    return [Position(r.comp, int(i), r) for r, i in zip(residues, index, strict=True)]
