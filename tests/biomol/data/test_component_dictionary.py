from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from biomol.chem.ccd import component
from biomol.data.component_dictionary import (
    MAX_ATOMS,
    PROPERTIES,
    component_mol,
    load_component_dictionary,
    properties_of,
)
from biomol.data.datasets.dataset import Dataset
from biomol.data.splits import murcko_scaffold
from biomol.io.rejection import count_by_rule
from scimind.errors import InputError


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_component_dictionary(200, seed=0, cache=tmp_path_factory.mktemp("cache"))


def test_records_have_all_three_tracks(dictionary: Dataset) -> None:
    assert len(dictionary.records) == 200
    names = {known.name for known in PROPERTIES}
    for record in dictionary.records:
        assert record.coord_mask[:, 1].all()
        assert 4 <= record.num_tokens <= MAX_ATOMS
        assert set(record.properties) == names
        assert len(record.bonds) >= record.num_tokens - 1


def test_bonds_have_the_length_of_bonds(dictionary: Dataset) -> None:
    lengths = np.concatenate(
        [
            np.linalg.norm(
                record.coords[record.bonds[:, 0], 1] - record.coords[record.bonds[:, 2], 1], axis=-1
            )
            for record in dictionary.records
        ]
    )
    assert np.mean((lengths > 1.1) & (lengths < 2.6)) > 0.99
    assert 1.35 < np.median(lengths) < 1.5


def test_the_keys_are_the_molecules_and_no_scaffold_is_in_two_parts(dictionary: Dataset) -> None:
    assert dictionary.split.leaking_groups() == set()
    for index, record in enumerate(dictionary.records):
        smiles = dictionary.keys[index]
        mol = Chem.MolFromSmiles(smiles)
        assert mol.GetNumAtoms() == record.num_tokens
        # The Crippen contributions depend on hydrogens and aromaticity: a strict check.
        assert Crippen.MolLogP(mol) == pytest.approx(record.properties["ccd/logp"], abs=1e-4)
        assert murcko_scaffold(smiles) == dictionary.split.groups[index]
    assert len(set(dictionary.keys)) == len(dictionary.keys)


def test_every_refusal_has_a_reason(dictionary: Dataset) -> None:
    counts = count_by_rule(dictionary.rejected)
    assert sum(counts.values()) == len(dictionary.rejected) > 0
    assert all(rule.startswith(("ccd.", "ligand.")) for rule in counts)
    assert all(len(refused.message) > 5 for refused in dictionary.rejected)


def test_the_drawn_components_depend_on_the_seed_alone(dictionary: Dataset, tmp_path: Path) -> None:
    again = load_component_dictionary(50, seed=0, use_cache=False)
    assert again.keys == dictionary.keys[:50]
    other = load_component_dictionary(50, seed=1, cache=tmp_path)
    assert other.keys != again.keys
    cached = load_component_dictionary(50, seed=1, cache=tmp_path)
    assert cached.keys == other.keys
    np.testing.assert_array_equal(cached.records[7].coords, other.records[7].coords)
    with pytest.raises(InputError, match="limit=0"):
        load_component_dictionary(0)


def test_alanine_of_the_dictionary_is_l_alanine() -> None:
    mol = component_mol(component("ALA"))
    assert Chem.MolToSmiles(mol) == "C[C@H](N)C(=O)O"
    values = properties_of(mol)
    assert values["ccd/tpsa"] == pytest.approx(63.32, abs=0.01)
    assert values["ccd/fraction_sp3"] == pytest.approx(2 / 3)
    assert values["ccd/h_bond_donors"] == 2
    assert values["ccd/rotatable_bonds"] == 1
    assert values["ccd/lipinski"] == 1
    assert values["ccd/chiral"] == 1
