import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.data.splits import (
    PARTS,
    cluster_groups_split,
    given_split,
    murcko_scaffold,
    random_split,
    scaffold_split,
    write_split,
)
from scimind.errors import InputError


def everything(split) -> list[int]:
    return sorted(int(index) for part in PARTS for index in split[part])


def test_the_scaffold_of_a_drug_is_its_ring_system() -> None:
    # Ibuprofen has one benzene ring, benzylpenicillin a bicycle with a linked ring.
    assert murcko_scaffold("CC(C)Cc1ccc(cc1)C(C)C(=O)O") == "c1ccccc1"
    assert murcko_scaffold("CCCC") == ""
    penicillin = "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O"
    assert murcko_scaffold(penicillin) == "O=C(Cc1ccccc1)NC1C(=O)N2CCSC12"


def test_the_most_frequent_scaffolds_train() -> None:
    smiles = ["c1ccccc1C"] * 8 + ["C1CCCCC1C", "C1CCNCC1C"]
    split = scaffold_split(smiles)
    assert split.train.tolist() == list(range(8))
    assert len(split.valid) == len(split.test) == 1
    assert split.leaking_groups() == set()


def test_a_written_split_shows_that_no_scaffold_is_in_two_parts(
    real_data: Path, tmp_path: Path
) -> None:
    dataset = load_moleculenet(real_data / "biomol" / "property" / "moleculenet", "freesolv")
    path = tmp_path / "split.json"
    write_split(path, dataset.split, {"smiles": dataset.keys})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["method"] == "scaffold"
    assert len(content["records"]) == 642
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for record in content["records"]:
        scaffold = murcko_scaffold(record["smiles"])
        assert scaffold == record["group"]
        parts[scaffold].add(record["part"])
    assert max(map(len, parts.values())) == 1


def test_every_record_is_in_exactly_one_part() -> None:
    for split in (
        random_split(101, seed=3),
        cluster_groups_split(["a", "b", "c", "a", "d"] * 7, seed=1),
        scaffold_split(["CCO", "c1ccccc1", "C1CC1"] * 5),
    ):
        total = sum(len(split[part]) for part in PARTS)
        assert everything(split) == list(range(total))


def test_splits_repeat_with_their_seed() -> None:
    assert random_split(50, seed=1).train.tolist() == random_split(50, seed=1).train.tolist()
    assert random_split(50, seed=1).train.tolist() != random_split(50, seed=2).train.tolist()


def test_cluster_split_keeps_clusters_whole_and_comes_close_to_the_shares() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{number}" for number in rng.integers(0, 60, size=400)]
    split = cluster_groups_split(groups, (0.8, 0.1, 0.1), seed=5)
    assert split.leaking_groups() == set()
    shares = [len(split[part]) / 400 for part in PARTS]
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.03)


def test_a_leak_is_found() -> None:
    split = cluster_groups_split(["a"] * 4 + ["b"] * 4)
    leaking = type(split)(
        method="x", train=split.train, valid=split.train[:1], test=split.test, groups=split.groups
    )
    assert len(leaking.leaking_groups()) == 1


def test_given_parts_are_kept_and_validation_is_taken_from_training() -> None:
    split = given_split(["train"] * 20 + ["test"] * 5, valid_fraction=0.1)
    assert split.test.tolist() == [20, 21, 22, 23, 24]
    assert len(split.valid) == 2
    assert set(split.valid) < set(range(20))
    kept = given_split(["train", "valid", "test"])
    assert (kept.train.tolist(), kept.valid.tolist(), kept.test.tolist()) == ([0], [1], [2])
    with pytest.raises(InputError, match="record 1"):
        given_split(["train", None])
