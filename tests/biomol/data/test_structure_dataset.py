from itertools import product
from pathlib import Path

import numpy as np
import pytest

from biomol.chem.vocab import MolType
from biomol.data.clusters import related
from biomol.data.datasets.structures import complex_groups, load_structures, polymer_chains
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from scimind.errors import InputError

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


def test_complexes_that_share_a_chain_are_one_group() -> None:
    records = [
        complex_from_sequence(UBIQUITIN, MolType.PROTEIN),
        complex_from_sequence(UBIQUITIN[:60], MolType.PROTEIN),
        complex_from_sequence("GGGGGAAAAAWWWWWHHHHHKKKKKDDDDDLLLLLPPPPP", MolType.PROTEIN),
        from_smiles("c1ccccc1", "a"),
        from_smiles("c1ccccc1", "b"),
    ]
    groups = complex_groups(records, [polymer_chains(record) for record in records])
    assert groups[0] == groups[1]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 3


def test_the_sequence_of_a_chain_is_read_from_its_tokens() -> None:
    (chain,) = polymer_chains(complex_from_sequence("MKXV", MolType.PROTEIN))
    assert (chain.mol_type, chain.sequence) == (MolType.PROTEIN, "MKXV")
    assert polymer_chains(from_smiles("CCO", "ethanol")) == []


def test_files_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    (tmp_path / "bad.cif").write_text("data_x\n")
    with pytest.raises(InputError, match="none of 1 structure files"):
        load_structures([tmp_path / "bad.cif"])


@pytest.mark.slow
def test_no_chain_of_the_test_part_has_a_relative_in_training(real_data: Path) -> None:
    files = sorted((real_data / "biomol" / "structures").rglob("*.*"))
    files = [path for path in files if path.suffix in (".pdb", ".cif")]
    chains = load_structures(files, unit="chain", fractions=(0.7, 0.1, 0.2))
    split = chains.split
    assert len(chains.records) > 100
    assert min(len(split.valid), len(split.test)) >= 5
    for held_out in (split.valid, split.test):
        for i, j in product(held_out, split.train):
            assert not related(chains.keys[i], chains.keys[j])
    complexes = load_structures(files, unit="complex", fractions=(0.7, 0.1, 0.2))
    # Chains have the part of the complex they come from.
    part = {
        complexes.records[int(i)].source: name
        for name in ("train", "valid", "test")
        for i in complexes.split[name]
    }
    for name in ("train", "valid", "test"):
        assert {part[chains.records[int(i)].source] for i in split[name]} <= {name}
    tokens = np.array([record.num_tokens for record in chains.records])
    assert tokens.min() >= 30
