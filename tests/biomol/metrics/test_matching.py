from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from biomol.metrics.matching import match, residue_groups, residue_points
from scimind.errors import InputError

PER_TOKEN = [
    "mol_type",
    "restype",
    "res_index",
    "chain_id",
    "entity_id",
    "atom_mask",
    "atom_element",
    "atom_charge",
    "atom_name",
    "ref_pos",
    "coords",
    "coord_mask",
    "chirality",
]


def _chain(sequence: str, shift: float, seed: int) -> Complex:
    record = complex_from_sequence(sequence)
    rng = np.random.default_rng(seed)
    turns = Rotation.random(len(sequence), random_state=seed).as_matrix()
    walk = np.cumsum(rng.normal(size=(len(sequence), 3)) * 2.2, axis=0) + np.array([shift, 0, 0])
    coords = np.einsum("tij,tsj->tsi", turns, record.ref_pos) + walk[:, None]
    coords = (coords * record.atom_mask[..., None]).astype(np.float32)
    return replace(record, coords=coords, coord_mask=record.atom_mask)


def _join(chains: list[Complex]) -> Complex:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(chain, name) for chain in chains])

    return replace(
        chains[0],
        **{name: joined(name) for name in PER_TOKEN if not name.endswith("_id")},
        chain_id=np.repeat(np.arange(len(chains)), [c.num_tokens for c in chains]).astype(np.int32),
        entity_id=np.zeros(sum(c.num_tokens for c in chains), np.int32),
        chain_names=tuple("ABCD"[: len(chains)]),
        residue_names=sum((c.residue_names for c in chains), ()),
        residue_numbers=sum((c.residue_numbers for c in chains), ()),
    )


ONE, TWO = _chain("MKDEFYRLVWGHPS", 0.0, 1), _chain("MKDEFYRLVWGHPS", 12.0, 2)
THREE = _chain("GGSTNQCAIVVKLE", 24.0, 3)


def test_copies_of_a_chain_are_assigned_so_that_they_fit() -> None:
    reference = _join([ONE, TWO, THREE])
    model = _join([THREE, TWO, ONE])
    found = match(reference, model)
    assert found.chains == {0: 2, 1: 1, 2: 0}
    np.testing.assert_array_equal(found.coords, reference.coords)
    assert found.present[reference.coord_mask].all()


def test_a_missing_copy_is_missing_and_not_invented() -> None:
    found = match(_join([ONE, TWO]), _join([TWO]))
    assert found.chains == {1: 0}
    assert not found.present[: ONE.num_tokens].any()


def test_residues_are_aligned_by_sequence() -> None:
    keep = np.arange(3, 12)
    part = replace(
        ONE,
        **{name: getattr(ONE, name)[keep] for name in PER_TOKEN},
        residue_names=ONE.residue_names[3:12],
        residue_numbers=ONE.residue_numbers[3:12],
    )
    found = match(ONE, part)
    np.testing.assert_array_equal(found.present.any(axis=1), np.isin(np.arange(14), keep))
    np.testing.assert_array_equal(found.coords[keep], ONE.coords[keep])


def test_another_molecule_is_refused() -> None:
    with pytest.raises(InputError, match="sequence"):
        match(ONE, complex_from_sequence("WWWWWWWWWWWWWW"))
    with pytest.raises(InputError, match="sequence"):
        match(complex_from_sequence("ACGUACGU"), complex_from_sequence("ACGTACGT"))


def test_the_atoms_of_a_ligand_are_one_group_without_a_polymer_point() -> None:
    ligand = from_smiles("CC(=O)Oc1ccccc1C(=O)O", "aspirin")
    assert set(residue_groups(ligand).tolist()) == {0}
    assert not residue_points(ligand).any()
    assert residue_groups(ONE).tolist() == list(range(14))
    assert residue_points(ONE).sum() == 14
