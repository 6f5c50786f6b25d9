from itertools import combinations

import numpy as np
import pytest

from biomol.chem.vocab import PROTEIN_LETTERS, MolType
from biomol.data import clusters
from biomol.data.clusters import Groups, cluster_chains, related

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


def mutated(sequence: str, share: float, seed: int) -> str:
    rng = np.random.default_rng(seed)
    letters = list(sequence)
    for place in rng.permutation(len(letters))[: round(share * len(letters))]:
        others = [letter for letter in PROTEIN_LETTERS if letter != letters[place]]
        letters[place] = others[int(rng.integers(len(others)))]
    return "".join(letters)


def unrelated(length: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(list(PROTEIN_LETTERS), size=length))


def test_half_mutated_chains_are_related_and_random_ones_are_not() -> None:
    assert related(UBIQUITIN, mutated(UBIQUITIN, 0.5, 0))
    chains = [unrelated(length, seed) for seed, length in enumerate((40, 80, 120, 200, 300, 60))]
    assert not any(related(a, b) for a, b in combinations(chains, 2))


def test_a_shared_domain_relates_chains_of_different_length() -> None:
    long = unrelated(150, 1) + mutated(UBIQUITIN, 0.4, 2) + unrelated(150, 3)
    assert related(long, UBIQUITIN)
    assert related(UBIQUITIN, long)


def test_a_short_peptide_does_not_join_everything() -> None:
    peptide = "GSHMAELKKW"
    assert not related(peptide, UBIQUITIN)
    assert related(peptide, peptide)


def test_clusters_are_connected_components() -> None:
    # The ends of a path of mutants are strangers, yet share the cluster.
    path = [UBIQUITIN]
    for seed in range(4):
        path.append(mutated(path[-1], 0.45, seed))
    assert not related(path[0], path[-1])
    sequences = [unrelated(90, 7), *path, unrelated(90, 8), path[0]]
    assert cluster_chains(sequences).tolist() == [0, 1, 1, 1, 1, 1, 2, 1]


def test_nucleic_acids_need_four_in_five() -> None:
    rng = np.random.default_rng(0)
    first = "".join(rng.choice(list("ACGU"), size=60))
    second = "".join(rng.choice(list("ACGU"), size=60))
    near = first[:20] + "A" + first[21:]
    assert cluster_chains([first, near, second], MolType.RNA).tolist() == [0, 0, 1]


def test_the_kmer_filter_announces_itself_and_keeps_close_relatives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clusters, "ALL_PAIRS_LIMIT", 3)
    sequences = [UBIQUITIN, mutated(UBIQUITIN, 0.2, 0), unrelated(80, 1), unrelated(80, 2)]
    assert cluster_chains(sequences).tolist() == [0, 0, 1, 2]
    assert "consecutive residues" in caplog.text


def test_groups_unite() -> None:
    groups = Groups(5)
    groups.join(4, 1)
    groups.join(1, 3)
    assert groups.numbers().tolist() == [0, 1, 2, 1, 1]
