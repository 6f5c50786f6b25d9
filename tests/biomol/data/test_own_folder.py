from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from biomol.data.clusters import related_to_any
from biomol.data.datasets.folder import load_folder
from scimind.errors import InputError


def write_sdf(path: Path, molecules: dict[str, float]) -> None:
    with Chem.SDWriter(str(path)) as writer:
        for smiles, activity in molecules.items():
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            rdDistGeom.EmbedMolecule(mol, randomSeed=1)
            mol.SetProp("_Name", smiles)
            mol.SetProp("activity", str(activity))
            writer.write(mol)


def test_a_mixed_folder_becomes_data_sets_and_bad_files_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "solubility.csv").write_text("smiles,logS\nCCO,1\nc1ccccc1,2\nC1CC,3\n")
    (tmp_path / "broken.csv").write_text("smiles,y,y\nC,1,2\n")
    write_sdf(tmp_path / "poses.sdf", {"CCO": 1.5, "c1ccccc1C(=O)O": 2.5, "CCN": -1.0})
    (tmp_path / "chains.fasta").write_text(">a\nMKVLAAGIVG\n>b\nMK*V\n>c|rna\nACGUACGU\n")
    (tmp_path / "bad.pdb").write_text("ATOM  garbage\n")
    data = load_folder(tmp_path)
    by_name = {dataset.name: dataset for dataset in data.datasets}
    assert set(by_name) == {"solubility", "poses", "sequences"}
    assert len(by_name["solubility"].records) == 2
    poses = by_name["poses"]
    assert [known.name for known in poses.properties] == ["poses/activity"]
    assert poses.values("poses/activity").tolist() == [1.5, 2.5, -1.0]
    assert poses.records[1].coord_mask[:, 1].all()
    assert poses.keys[1] == "O=C(O)c1ccccc1"
    assert len(by_name["sequences"].records) == 2
    refused = {(Path(item.path).name, item.rule) for item in data.rejected}
    assert ("broken.csv", "table.duplicate_column") in refused
    assert ("solubility.csv", "smiles.syntax") in refused
    assert ("chains.fasta", "sequence.stop") in refused
    assert "bad.pdb" in {path for path, _ in refused}


def test_a_folder_in_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.csv").write_text("smiles,y,y\nC,1,2\n")
    with pytest.raises(InputError, match="no file can be used"):
        load_folder(tmp_path)


def test_relatives_of_held_out_chains_are_found_across_data_sets() -> None:
    ubiquitin = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
    tagged = "GSHHHHHHSSG" + ubiquitin[:70]
    stranger = "ACDEFGHIKLMNPQRSTVWY" * 4
    assert related_to_any([tagged, stranger, tagged], [ubiquitin]).tolist() == [True, False, True]
    assert related_to_any([stranger], []).tolist() == [False]
