"""Physical plausibility of a structure: bond lengths, angles, clashes, chirality.

The limits follow PoseBusters (Buttenschoen, Morris and Deane, Chem. Sci. 15, 3130 (2024)):
lengths and 1-3 distances within 25 % of the ideal ones, no contact closer than 75 % of the sum
of the van der Waals radii.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import gemmi
import numpy as np

from biomol.chem.standard import reference_slots, residue_bonds
from biomol.chem.vocab import SLOT_NAMES, TOKENS, MolType
from biomol.data.complex import Complex
from scimind.typing import Bool, Float, Int

LENGTH_TOLERANCE = 0.25
CLASH_FRACTION = 0.75
_PEPTIDE_BOND, _PHOSPHODIESTER_BOND = 1.33, 1.61
_ORDER_SHORTENING = {1: 0.0, 2: 0.13, 3: 0.27, 4: 0.07}
"""How much shorter than the sum of covalent radii a bond of each order is, angstrom (mean over
carbon-carbon and carbon-nitrogen bonds: Allen et al., J. Chem. Soc. Perkin Trans. 2, S1 (1987))."""
_CLASH_BLOCK = 512
_MAX_VDW_SUM = 5.0
# Three bonds of a tetrahedral carbon span about 2.6 cubic angstrom; a drawing spans none.
_FLAT_VOLUME = 0.5


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Counts of what was checked and what was right.

    Attributes:
        bonds: Bonds with both atoms present.
        good_bonds: Those of plausible length.
        angles: Pairs of atoms with a common neighbour.
        good_angles: Those at a plausible distance.
        centres: Stereocentres with at least three present neighbours and a known hand.
        good_centres: Those of the right hand.
        clashes: Pairs of atoms more than three bonds apart that are too close.
        atoms: Atoms present.
    """

    bonds: int
    good_bonds: int
    angles: int
    good_angles: int
    centres: int
    good_centres: int
    clashes: int
    atoms: int

    @property
    def clash_score(self) -> float:
        """Clashes per thousand atoms."""
        return 1000.0 * self.clashes / self.atoms if self.atoms else math.nan

    @property
    def valid(self) -> bool:
        """Nothing is wrong."""
        return (
            self.good_bonds == self.bonds
            and self.good_angles == self.angles
            and self.good_centres == self.centres
            and self.clashes == 0
        )


def validity(
    record: Complex,
    coords: Float[np.ndarray, "token slot 3"] | None = None,
    mask: Bool[np.ndarray, "token slot"] | None = None,
) -> Validity:
    """Checks the geometry of a structure against the chemistry of its record.

    Ideal distances come from the reference conformer of the record (``ref_pos``); where a ligand
    has none, from covalent radii, and then its angles and chirality are not judged.

    Args:
        record: The molecule.
        coords: Positions to check, angstrom; those of the record by default.
        mask: Atoms to check; by default those of the record with known positions.

    Returns:
        The counts.
    """
    mask = record.coord_mask if mask is None else mask & record.atom_mask
    coords = record.coords if coords is None else coords
    token, slot = np.nonzero(mask)
    number = np.full(mask.shape, -1)
    number[token, slot] = np.arange(len(token))
    positions = np.asarray(coords[token, slot], np.float64)
    bonds, ideal = _bonds(record, number)
    lengths = np.linalg.norm(positions[bonds[:, 0]] - positions[bonds[:, 1]], axis=-1)
    pairs, pair_ideal = _angles(bonds, record, token, slot)
    spans = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=-1)
    centres, good_centres = _chirality(record, bonds, positions, token, slot)
    return Validity(
        bonds=len(bonds),
        good_bonds=int(_plausible(lengths, ideal).sum()),
        angles=len(pairs),
        good_angles=int(_plausible(spans, pair_ideal).sum()),
        centres=centres,
        good_centres=good_centres,
        clashes=_clashes(positions, record.atom_element[token, slot], bonds),
        atoms=len(token),
    )


def _plausible(found: np.ndarray, ideal: np.ndarray) -> Bool[np.ndarray, " pair"]:
    return np.asarray(np.abs(found - ideal) <= LENGTH_TOLERANCE * ideal)


def _bonds(
    record: Complex, number: Int[np.ndarray, "token slot"]
) -> tuple[Int[np.ndarray, "bond 2"], Float[np.ndarray, " bond"]]:
    """Bonds between present atoms and their ideal lengths."""
    pairs: list[tuple[int, int]] = []
    ideal: list[float] = []
    polymer = (record.mol_type != MolType.ATOM) & (record.mol_type != MolType.PAD)
    for token in np.flatnonzero(polymer):
        code = TOKENS[record.restype[token]]
        reference = reference_slots(code).positions
        for i, j, _ in residue_bonds(code).tolist():
            if number[token, i] >= 0 and number[token, j] >= 0:
                pairs.append((number[token, i], number[token, j]))
                ideal.append(float(np.linalg.norm(reference[i] - reference[j])))
    for token in np.flatnonzero(polymer[:-1] & polymer[1:]):
        link = _polymer_link(record, int(token))
        if link is not None:
            i, j, length = link
            if number[token, i] >= 0 and number[token + 1, j] >= 0:
                pairs.append((number[token, i], number[token + 1, j]))
                ideal.append(length)
    for t, i, u, j, order in record.bonds.tolist():
        if number[t, i] >= 0 and number[u, j] >= 0:
            pairs.append((number[t, i], number[u, j]))
            ideal.append(_ideal_length(record, (t, i), (u, j), order))
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(ideal)


def _polymer_link(record: Complex, token: int) -> tuple[int, int, float] | None:
    following = token + 1
    if (
        record.chain_id[token] != record.chain_id[following]
        or record.res_index[token] + 1 != record.res_index[following]
        or record.mol_type[token] != record.mol_type[following]
    ):
        return None
    if record.mol_type[token] == MolType.PROTEIN:
        return SLOT_NAMES["ALA"].index("C"), SLOT_NAMES["ALA"].index("N"), _PEPTIDE_BOND
    return SLOT_NAMES["A"].index("O3'"), SLOT_NAMES["A"].index("P"), _PHOSPHODIESTER_BOND


def _ideal_length(
    record: Complex, first: tuple[int, int], second: tuple[int, int], order: int
) -> float:
    a, b = record.ref_pos[first], record.ref_pos[second]
    same_frame = (
        record.mol_type[first[0]] == record.mol_type[second[0]] == MolType.ATOM
        and record.chain_id[first[0]] == record.chain_id[second[0]]
        and record.residue_names[first[0]] == record.residue_names[second[0]]
        if record.residue_names
        else False
    )
    if same_frame and a.any() and b.any():
        length = float(np.linalg.norm(a - b))
        if 0.5 < length < 3.5:
            return length
    radii = sum(
        gemmi.Element(int(record.atom_element[atom])).covalent_r for atom in (first, second)
    )
    return float(radii) - _ORDER_SHORTENING.get(order, 0.0)


def _angles(
    bonds: Int[np.ndarray, "bond 2"],
    record: Complex,
    token: Int[np.ndarray, " atom"],
    slot: Int[np.ndarray, " atom"],
) -> tuple[Int[np.ndarray, "angle 2"], Float[np.ndarray, " angle"]]:
    """Pairs two bonds apart within one reference frame, and their ideal distances."""
    pairs, ideal = [], []
    places = list(zip(token.tolist(), slot.tolist(), strict=True))
    for around in _neighbours(bonds, len(token)).values():
        for index, i in enumerate(around):
            for j in around[index + 1 :]:
                a, b = _reference(record, *places[i]), _reference(record, *places[j])
                if a is None or b is None or not _one_frame(record, places[i][0], places[j][0]):
                    continue
                pairs.append((i, j))
                ideal.append(float(np.linalg.norm(a - b)))
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(ideal)


def _reference(record: Complex, token: int, slot: int) -> Float[np.ndarray, " 3"] | None:
    """Ideal position of an atom in the frame of its residue or ligand, None if unknown."""
    if record.mol_type[token] != MolType.ATOM:
        found: np.ndarray = reference_slots(TOKENS[record.restype[token]]).positions[slot]
        return found
    position = record.ref_pos[token, slot]
    return position if position.any() else None


def _one_frame(record: Complex, first: int, second: int) -> bool:
    if first == second:
        return True
    both_atoms = record.mol_type[first] == record.mol_type[second] == MolType.ATOM
    same_chain = record.chain_id[first] == record.chain_id[second]
    numbers = record.residue_numbers
    same_residue = not numbers or numbers[first] == numbers[second]
    return bool(both_atoms and same_chain and same_residue)


def _neighbours(bonds: Int[np.ndarray, "bond 2"], count: int) -> dict[int, list[int]]:
    around: dict[int, list[int]] = {atom: [] for atom in range(count)}
    for i, j in bonds.tolist():
        around[i].append(j)
        around[j].append(i)
    return around


def _chirality(
    record: Complex,
    bonds: Int[np.ndarray, "bond 2"],
    positions: Float[np.ndarray, "atom 3"],
    token: Int[np.ndarray, " atom"],
    slot: Int[np.ndarray, " atom"],
) -> tuple[int, int]:
    """Stereocentres, and those whose hand is that of the reference conformer."""
    checked = right = 0
    places = list(zip(token.tolist(), slot.tolist(), strict=True))
    for centre, around in _neighbours(bonds, len(token)).items():
        if not record.chirality[token[centre], slot[centre]]:
            continue
        near = [n for n in around if _one_frame(record, places[centre][0], places[n][0])][:3]
        ideal = [_reference(record, *places[n]) for n in (*near, centre)]
        if len(near) < 3 or any(position is None for position in ideal):
            continue
        wanted = _volume(np.array(ideal[:3]), np.asarray(ideal[3]))
        if abs(wanted) < _FLAT_VOLUME:
            continue
        checked += 1
        right += int(wanted * _volume(positions[near], positions[centre]) > 0.0)
    return checked, right


def _volume(corners: Float[np.ndarray, "3 3"], centre: Float[np.ndarray, " 3"]) -> float:
    return float(np.linalg.det(np.asarray(corners - centre, np.float64)))


def _clashes(
    positions: Float[np.ndarray, "atom 3"],
    elements: Int[np.ndarray, " atom"],
    bonds: Int[np.ndarray, "bond 2"],
) -> int:
    """Pairs more than three bonds apart that are closer than the fraction of their radii."""
    radii = np.array([gemmi.Element(int(e)).vdw_r for e in range(119)])[elements]
    near = _within_three_bonds(bonds, len(positions))
    clashes = 0
    for start in range(0, len(positions), _CLASH_BLOCK):
        block = slice(start, start + _CLASH_BLOCK)
        squares = sum(
            (positions[block, None, axis] - positions[None, :, axis]) ** 2 for axis in range(3)
        )
        i, j = np.nonzero(squares < _MAX_VDW_SUM**2)
        i, distance = i + start, np.sqrt(np.asarray(squares)[i, j])
        close = (i < j) & (distance < CLASH_FRACTION * (radii[i] + radii[j]))
        clashes += sum(
            (a, b) not in near for a, b in zip(i[close].tolist(), j[close].tolist(), strict=True)
        )
    return clashes


def _within_three_bonds(bonds: Int[np.ndarray, "bond 2"], count: int) -> set[tuple[int, int]]:
    around = _neighbours(bonds, count)
    pairs: set[tuple[int, int]] = set()
    for atom in range(count):
        reached = frontier = {atom}
        for _ in range(3):
            frontier = {n for i in frontier for n in around[i]} - reached
            reached = reached | frontier
        pairs.update((atom, other) for other in reached if atom < other)
    return pairs
