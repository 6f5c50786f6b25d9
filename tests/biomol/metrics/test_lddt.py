from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import SLOT_NAMES, TOKEN_ID
from biomol.io.fasta import complex_from_sequence
from biomol.metrics.lddt import ca_lddt, distance_counts, lddt


def _protein(sequence: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ideal residues strung along a random walk: coordinates, mask, identities."""
    record = complex_from_sequence(sequence)
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(len(sequence), 3))
    walk = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    turns = Rotation.random(len(sequence), random_state=seed).as_matrix()
    coords = np.einsum("tij,tsj->tsi", turns, record.ref_pos) + walk[:, None]
    return coords * record.atom_mask[..., None], record.atom_mask, record.restype


SEQUENCE = "MKDEFYRLVWGHPSTNQCAI"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_lddt_is_one_for_a_rigid_motion_and_invariant_to_it(seed: int) -> None:
    coords, mask, restype = _protein(SEQUENCE)
    turn = Rotation.random(random_state=seed).as_matrix()
    shift = np.random.default_rng(seed).normal(size=3) * 100
    assert lddt(coords @ turn.T + shift, coords, mask, restype)[0] == pytest.approx(1.0)
    other = coords + np.random.default_rng(seed).normal(size=coords.shape)
    score = lddt(other, coords, mask, restype)[0]
    assert 0.0 < score < 1.0
    assert lddt(other @ turn.T + shift, coords, mask, restype)[0] == pytest.approx(score, abs=1e-3)


def test_a_stretched_pair_has_its_closed_form() -> None:
    reference = np.array([[0.0, 0, 0], [5.0, 0, 0]])
    for stretch, kept in ((0.3, 1.0), (0.7, 0.75), (1.5, 0.5), (3.0, 0.25), (5.0, 0.0)):
        predicted = reference * (1 + stretch / 5.0)
        assert ca_lddt(predicted, reference) == kept
    far = reference * 3.1
    assert np.isnan(ca_lddt(far, far)), "no distance within 15 angstrom"


def test_a_mirror_image_keeps_every_distance() -> None:
    # A known property of lDDT, and why chirality is checked apart.
    coords, mask, restype = _protein(SEQUENCE)
    assert lddt(coords * [1, 1, -1], coords, mask, restype)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("code", "first", "second"),
    [
        ("ASP", "OD1", "OD2"),
        ("GLU", "OE1", "OE2"),
        ("ARG", "NH1", "NH2"),
        ("PHE", "CD1", "CD2"),
        ("TYR", "CE1", "CE2"),
        ("LEU", "CD1", "CD2"),
        ("VAL", "CG1", "CG2"),
    ],
)
def test_names_of_interchangeable_atoms_do_not_matter(code: str, first: str, second: str) -> None:
    coords, mask, restype = _protein(SEQUENCE)
    token = int(np.flatnonzero(restype == TOKEN_ID[code])[0])
    pairs = [(first, second)]
    if code in ("PHE", "TYR"):
        pairs = [("CD1", "CD2"), ("CE1", "CE2")]
    swapped = coords.copy()
    for a, b in pairs:
        i, j = SLOT_NAMES[code].index(a), SLOT_NAMES[code].index(b)
        swapped[token, [i, j]] = coords[token, [j, i]]
    assert lddt(swapped, coords, mask, restype)[0] == 1.0
    assert lddt(swapped, coords, mask, restype, rename=False)[0] < 1.0


def test_atoms_that_differ_are_not_interchanged() -> None:
    coords, mask, restype = _protein(SEQUENCE)
    token = int(np.flatnonzero(restype == TOKEN_ID["ASN"])[0])
    i, j = SLOT_NAMES["ASN"].index("OD1"), SLOT_NAMES["ASN"].index("ND2")
    swapped = coords.copy()
    swapped[token, [i, j]] = coords[token, [j, i]]
    assert lddt(swapped, coords, mask, restype)[0] < 1.0


def test_missing_atoms_lose_their_distances() -> None:
    coords, mask, restype = _protein(SEQUENCE)
    present = mask.copy()
    present[4] = False
    score, per_token = lddt(coords, coords, mask, restype, present=present)
    assert per_token[4] == 0.0
    assert 0.5 < score < 1.0


def test_counts_equal_the_plain_double_loop() -> None:
    rng = np.random.default_rng(4)
    reference = rng.uniform(0, 25, (60, 3))
    predicted = reference + rng.normal(scale=1.0, size=reference.shape)
    group = np.repeat(np.arange(20), 3)
    counts = distance_counts(predicted, reference, group)
    kept, total = 0.0, 0
    for i in range(60):
        for j in range(60):
            true = np.linalg.norm(reference[i] - reference[j])
            if group[i] != group[j] and true <= 15.0:
                error = abs(np.linalg.norm(predicted[i] - predicted[j]) - true)
                kept += np.mean([error < t for t in (0.5, 1.0, 2.0, 4.0)])
                total += 1
    assert counts.total.sum() == total
    assert counts.kept.sum() == pytest.approx(kept)


def test_lddt_equals_biotite_without_renaming() -> None:
    structure = pytest.importorskip("biotite.structure")
    coords, mask, restype = _protein(SEQUENCE)
    predicted = coords + np.random.default_rng(7).normal(scale=0.8, size=coords.shape)
    arrays = []
    for positions in (coords, predicted):
        array = structure.AtomArray(int(mask.sum()))
        array.coord = positions[mask].astype(np.float32)
        array.res_id = np.nonzero(mask)[0] + 1
        array.chain_id[:] = "A"
        arrays.append(array)
    expected = structure.lddt(*arrays)
    found = lddt(predicted, coords, mask, restype, rename=False)[0]
    # The two differ in the type of the arithmetic at the thresholds only.
    assert found == pytest.approx(expected, abs=2e-3)
