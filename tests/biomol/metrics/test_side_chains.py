from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import SLOT_NAMES, TOKEN_ID, TOKENS
from biomol.io.fasta import complex_from_sequence
from biomol.metrics.side_chains import (
    chi_angles,
    chi_correct,
    chi_errors,
    side_chain_mask,
    side_chain_rmsd,
)

RECORD = complex_from_sequence("ARNDCQEGHILKMFPSTWYV")
COORDS = RECORD.ref_pos.astype(np.float64)


def _turned(code: str, chi: int, degrees: float) -> np.ndarray:
    """The ideal residue with one torsion turned: everything beyond its axis moves."""
    token = int(np.flatnonzero(RECORD.restype == TOKEN_ID[code])[0])
    names = SLOT_NAMES[code]
    axis_atoms = {0: ("CA", "CB"), 1: ("CB", "CG"), 2: ("CG", "CD")}[chi]
    i, j = (names.index(name) for name in axis_atoms)
    fixed = {"N", "CA", "C", "O", *axis_atoms}
    if chi >= 1:
        fixed |= {"CB"}
    if chi >= 2:
        fixed |= {"CG"}
    moving = [s for s, name in enumerate(names) if name not in fixed]
    coords = COORDS.copy()
    origin, axis = COORDS[token, i], COORDS[token, j] - COORDS[token, i]
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    coords[token, moving] = turn.apply(COORDS[token, moving] - origin) + origin
    return coords


def test_every_residue_has_its_number_of_torsions() -> None:
    _, known = chi_angles(COORDS, RECORD.atom_mask, RECORD.restype)
    counts = {TOKENS[t]: int(n) for t, n in zip(RECORD.restype, known.sum(axis=1), strict=True)}
    assert counts["GLY"] == counts["ALA"] == 0
    assert counts["ARG"] == counts["LYS"] == 4
    assert counts["VAL"] == counts["SER"] == 1
    assert sum(counts.values()) == 4 * 2 + 3 * 3 + 2 * 9 + 4


@pytest.mark.parametrize("degrees", [30.0, -75.0, 120.0])
def test_turning_a_bond_turns_its_torsion(degrees: float) -> None:
    before, known = chi_angles(COORDS, RECORD.atom_mask, RECORD.restype)
    after, _ = chi_angles(_turned("LYS", 0, degrees), RECORD.atom_mask, RECORD.restype)
    row = int(np.flatnonzero(RECORD.restype == TOKEN_ID["LYS"])[0])
    change = (after - before + 180.0) % 360.0 - 180.0
    assert change[row, 0] == pytest.approx(degrees, abs=1e-3)
    assert np.abs(change[known]).sum() == pytest.approx(abs(degrees), abs=1e-2)


@pytest.mark.parametrize(("code", "chi"), [("ASP", 1), ("GLU", 2), ("PHE", 1), ("TYR", 1)])
def test_a_half_turn_of_a_symmetric_group_is_no_error(code: str, chi: int) -> None:
    coords = _turned(code, chi, 180.0)
    mask = side_chain_mask(RECORD.mol_type, RECORD.atom_mask)
    # The ideal groups are symmetric to about 0.05 angstrom (a carboxylate drawn as an acid).
    assert side_chain_rmsd(coords, COORDS, mask, RECORD.restype) < 0.05
    correct, counted = chi_correct(coords, COORDS, RECORD.atom_mask, RECORD.restype)
    assert np.array_equal(correct, counted)


@pytest.mark.parametrize(("code", "chi"), [("ASN", 1), ("HIS", 1), ("TRP", 1)])
def test_a_half_turn_of_an_unsymmetric_group_is_an_error(code: str, chi: int) -> None:
    coords = _turned(code, chi, 180.0)
    mask = side_chain_mask(RECORD.mol_type, RECORD.atom_mask)
    assert side_chain_rmsd(coords, COORDS, mask, RECORD.restype) > 0.1
    correct, counted = chi_correct(coords, COORDS, RECORD.atom_mask, RECORD.restype)
    assert (counted & ~correct).sum() == 1


def test_forty_degrees_is_the_limit_and_later_torsions_need_the_earlier() -> None:
    row = int(np.flatnonzero(RECORD.restype == TOKEN_ID["LYS"])[0])
    good, counted = chi_correct(_turned("LYS", 0, 39.0), COORDS, RECORD.atom_mask, RECORD.restype)
    assert good[row].all()
    bad, _ = chi_correct(_turned("LYS", 0, 41.0), COORDS, RECORD.atom_mask, RECORD.restype)
    assert counted[row].sum() == 4
    assert not bad[row].any()
    second, _ = chi_correct(_turned("LYS", 1, 41.0), COORDS, RECORD.atom_mask, RECORD.restype)
    assert second[row].tolist() == [True, False, False, False]


def test_errors_wrap_around_the_circle() -> None:
    restype = np.array([TOKEN_ID["LYS"]])
    near = chi_errors(np.full((1, 4), 179.0), np.full((1, 4), -179.0), restype)
    assert near == pytest.approx(2.0)


def test_backbone_atoms_do_not_count() -> None:
    moved = COORDS.copy()
    moved[:, :4] += 10.0
    mask = side_chain_mask(RECORD.mol_type, RECORD.atom_mask)
    assert side_chain_rmsd(moved, COORDS, mask, RECORD.restype) == 0.0
    shifted = COORDS + np.array([3.0, 0.0, 0.0])
    assert side_chain_rmsd(shifted, COORDS, mask, RECORD.restype) == pytest.approx(3.0)
