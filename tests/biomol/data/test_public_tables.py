from pathlib import Path

import numpy as np
import pytest

from biomol.data.datasets.flip import load_flip_residues, load_flip_values
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.data.datasets.table import load_table
from biomol.io.rejection import count_by_rule
from scimind.errors import InputError


@pytest.fixture(scope="module")
def moleculenet(real_data: Path) -> Path:
    return real_data / "biomol" / "property" / "moleculenet"


@pytest.mark.parametrize(
    ("name", "sizes", "rmse"),
    [
        ("esol", (902, 113, 113), 2.315),
        ("freesolv", (513, 64, 65), 4.482),
        pytest.param("lipophilicity", (3360, 420, 420), 1.122, marks=pytest.mark.slow),
    ],
)
def test_the_mean_predictor_scores_as_published_on_the_scaffold_test_part(
    moleculenet: Path, name: str, sizes: tuple[int, int, int], rmse: float
) -> None:
    dataset = load_moleculenet(moleculenet, name)
    split = dataset.split
    assert (len(split.train), len(split.valid), len(split.test)) == sizes
    values = dataset.values(name)
    error = values[split.test] - values[split.train].mean()
    assert round(float(np.sqrt(np.mean(error**2))), 3) == rmse
    assert dataset.rejected == ()


def test_the_eleven_impossible_molecules_of_bbbp_are_reported(moleculenet: Path) -> None:
    dataset = load_moleculenet(moleculenet, "bbbp")
    assert len(dataset.records) == 2039
    assert count_by_rule(dataset.rejected) == {"smiles.valence": 11}
    lines = (moleculenet / "bbbp.csv").read_text(encoding="utf-8").split("\n")
    for refused in dataset.rejected:
        assert refused.line is not None
        smiles = refused.message.split("'")[1]
        assert smiles.removesuffix("...").replace("\\\\", "\\") in lines[refused.line - 1]


@pytest.mark.slow
def test_tox21_has_twelve_tasks_with_missing_labels(moleculenet: Path) -> None:
    dataset = load_moleculenet(moleculenet, "tox21")
    assert len(dataset.properties) == 12
    assert {known.kind for known in dataset.properties} == {"binary"}
    assert len(dataset.records) + len(dataset.rejected) == 7831
    missing = np.isnan(dataset.values("tox21/NR-Aromatase"))
    assert 0.2 < missing.mean() < 0.3


def test_bace_and_clintox_are_read_in_their_published_columns(tmp_path: Path) -> None:
    (tmp_path / "bace.csv").write_text(
        "mol,CID,Class,Model,pIC50,MW\nCCO,B1,1,Train,9.1,46\nc1ccccc1,B2,0,Test,4.2,78\n"
    )
    (tmp_path / "clintox.csv").write_text("smiles,FDA_APPROVED,CT_TOX\nCCO,1,0\nCCN,0,1\n")
    bace = load_moleculenet(tmp_path, "bace")
    assert [(known.name, known.kind) for known in bace.properties] == [("bace", "binary")]
    assert bace.values("bace").tolist() == [1.0, 0.0]
    clintox = load_moleculenet(tmp_path, "clintox")
    assert clintox.values("clintox/CT_TOX").tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match=r"sider\.csv"):
        load_moleculenet(tmp_path, "sider")
    with pytest.raises(InputError, match="known are"):
        load_moleculenet(tmp_path, "esole")


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        ("one_vs_rest", (28, 8705)),
        ("two_vs_rest", (424, 8309)),
        ("three_vs_rest", (2990, 5743)),
        ("low_vs_high", (5089, 3644)),
        ("sampled", (6988, 1745)),
    ],
)
def test_gb1_splits_have_the_sizes_of_the_flip_paper(
    real_data: Path, split: str, sizes: tuple[int, int]
) -> None:
    path = real_data / "biomol" / "property" / "flip_gb1" / f"{split}.csv.gz"
    dataset = load_flip_values(path, "gb1")
    # FLIP, table 1: training including validation, and test.
    assert (len(dataset.split.train) + len(dataset.split.valid), len(dataset.split.test)) == sizes
    assert dataset.rejected == ()
    record = dataset.records[0]
    assert record.num_tokens == 265
    assert record.properties == {"gb1": 1.0}


def test_secondary_structure_has_its_published_sizes_and_masks_unresolved_residues(
    real_data: Path,
) -> None:
    dataset = load_flip_residues(real_data / "biomol" / "property" / "flip_secondary_structure")
    split = dataset.split
    assert (len(split.train), len(split.valid)) == (9712, 1080)
    assert len(split.train) + len(split.valid) + len(split.test) == len(dataset.records)
    assert dataset.labels[0].classes == ("H", "E", "C")
    record = dataset.records[0]
    labels = record.token_labels["secondary_structure"]
    # 1es5-A: mask 0011..., classes CCCCCCCCCEEEEEE...
    assert labels[:12].tolist() == [-1, -1, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]


def test_conservation_and_bind_layouts_are_read(tmp_path: Path) -> None:
    conservation = tmp_path / "conservation"
    conservation.mkdir()
    (conservation / "sequences.fasta").write_text(">a\nMKV\n>b\nMKVL\n>c\nMK\n>d\nMKA\n")
    (conservation / "sampled.fasta").write_text(
        ">a SET=train VALIDATION=False\n197\n>b SET=test VALIDATION=False\n12\n"
        ">d SET=train VALIDATION=True\n555\n>e SET=train VALIDATION=False\n1\n"
    )
    dataset = load_flip_residues(conservation, "sampled", "conservation")
    assert dataset.records[0].token_labels["conservation"].tolist() == [0, 8, 6]
    assert (dataset.split.train.tolist(), dataset.split.valid.tolist()) == ([0], [1])
    assert count_by_rule(dataset.rejected) == {
        "flip.length": 1,
        "flip.sequence": 1,
        "flip.labels": 1,
    }
    bind = tmp_path / "bind"
    bind.mkdir()
    (bind / "one_vs_many.csv").write_text(
        "sequence,target,set,validation\nMKVA,0017,train,\nMKVC,0000,test,\n"
    )
    dataset = load_flip_residues(bind, "one_vs_many", "bind")
    assert dataset.records[0].token_labels["bind"].tolist() == [0, 0, 1, 7]


def test_an_own_table_of_sequences_is_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "assay.csv"
    rows = "".join(f"MKVLAAGIVGLC{letter},{n}\n" for n, letter in enumerate("ACDEFGHIKL"))
    path.write_text(f"seq,fitness\n{rows}MK1,4\n")
    dataset = load_table(path)
    assert dataset.properties[0].name == "assay/fitness"
    assert len(dataset.records) == 10
    assert [refused.rule for refused in dataset.rejected] == ["sequence.letter"]
    assert dataset.split.method == "random"
    assert dataset.records[3].properties == {"assay/fitness": 3.0}


def test_a_table_without_any_possible_molecule_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("smiles,y\nC1CC,1\n")
    with pytest.raises(InputError, match="none of 1 SMILES"):
        load_table(path)
