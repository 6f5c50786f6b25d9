from dataclasses import replace

import numpy as np
import pytest

from biomol.chem.vocab import PAD_ID, MolType
from biomol.data.features import BUCKETS, POLYMER_BOND, bond_matrix, bucket_of, pad, topology
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from scimind.errors import InputError


def test_the_bond_matrix_of_benzene_is_its_ring() -> None:
    bond = bond_matrix(from_smiles("c1ccccc1", "benzene"))
    ring = np.roll(np.eye(6, dtype=int), 1, axis=1)
    np.testing.assert_array_equal(bond, 4 * (ring + ring.T))


def test_topology_is_the_number_of_bonds_capped_at_eight() -> None:
    chain = topology(from_smiles("C" * 12, "dodecane"))
    index = np.arange(12)
    np.testing.assert_array_equal(chain, np.minimum(np.abs(index[:, None] - index), 8))
    ring = topology(from_smiles("C1CCCCC1.CC", "two molecules"))
    assert ring[0].tolist() == [0, 1, 2, 3, 2, 1, 0, 0]
    assert ring[6].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


def test_topology_agrees_with_floyd_warshall() -> None:
    record = from_smiles("CC(=O)Oc1ccc2c(c1)C3CCN(C3)C2.Cl", "bridged")
    count = record.num_tokens
    distance = np.where(np.eye(count) > 0, 0.0, np.inf)
    for i, _, j, _, _ in record.bonds:
        distance[i, j] = distance[j, i] = 1
    for middle in range(count):
        distance = np.minimum(distance, distance[:, middle, None] + distance[None, middle])
    expected = np.where(np.isinf(distance), 0, np.minimum(distance, 8))
    np.testing.assert_array_equal(topology(record), expected)


def test_residues_are_linked_along_the_chain_but_not_across_a_gap_or_chains() -> None:
    record = complex_from_sequence("MKVLA", MolType.PROTEIN)
    gapped = replace(
        record,
        res_index=np.array([0, 1, 5, 6, 7], np.int32),
        chain_id=np.array([0, 0, 0, 0, 1], np.int32),
    )
    bond = bond_matrix(gapped)
    linked = {(i, j) for i, j in zip(*np.nonzero(bond), strict=True) if i < j}
    assert linked == {(0, 1), (2, 3)}
    assert set(np.unique(bond)) == {0, POLYMER_BOND}
    np.testing.assert_array_equal(bond, bond.T)


def test_a_disulfide_shows_as_a_single_bond_between_residues() -> None:
    record = complex_from_sequence("CGC", MolType.PROTEIN)
    bridged = replace(record, bonds=np.array([[0, 5, 2, 5, 1]], np.int32))
    assert bond_matrix(bridged).tolist() == [[0, 5, 1], [5, 0, 5], [1, 5, 0]]
    assert not topology(bridged).any()


def test_padding_is_marked_and_the_record_is_unchanged() -> None:
    record = complex_from_sequence("MKV", MolType.PROTEIN, properties={"y": 2.5})
    record.token_labels["helix"] = np.array([0, -1, 1])
    features = pad(record, 32, properties=("x", "y"), labels=("helix", "strand"))
    assert features["token_mask"].tolist() == [True] * 3 + [False] * 29
    assert (features["restype"][3:] == PAD_ID).all()
    assert (features["chain_id"][3:] == -1).all()
    assert (features["entity_id"][3:] == -1).all()
    assert not features["atom_mask"][3:].any()
    np.testing.assert_array_equal(features["ref_pos"][:3], record.ref_pos)
    assert features["bond"].shape == features["topology"].shape == (32, 32)
    assert features["prop"].tolist() == [0.0, 2.5]
    assert features["prop_mask"].tolist() == [False, True]
    assert features["token_label"][:4].tolist() == [[0, -1], [-1, -1], [1, -1], [-1, -1]]
    assert all(array.dtype != np.float64 for array in features.values())


def test_every_bucket_gives_the_same_shapes_for_every_record() -> None:
    records = (from_smiles("CCO", "ethanol"), complex_from_sequence("ACGU"))
    shapes = [{name: a.shape for name, a in pad(record, 64).items()} for record in records]
    assert shapes[0] == shapes[1]


def test_the_smallest_sufficient_bucket_is_chosen() -> None:
    assert [bucket_of(size) for size in (1, 32, 33, 768)] == [32, 32, 64, 768]
    assert tuple(sorted(BUCKETS)) == BUCKETS
    with pytest.raises(InputError, match="769 tokens"):
        bucket_of(769)
    with pytest.raises(InputError, match="33 tokens"):
        pad(complex_from_sequence("A" * 33, MolType.PROTEIN), 32)
