"""Scores of engines that know the answer, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from biomol.chem.vocab import NUM_TOKENS, TOKEN_ID
from biomol.data.datasets.dataset import Dataset, TokenLabel
from biomol.data.preparation import Prepared
from biomol.data.splits import Split
from biomol.io.tables import Property
from biomol.sampling.engine import BioMolEngine
from biomol.validation import Score, evaluate_part, summary
from small_complexes import SCALE, molecule, peptide


class Oracle(BioMolEngine):
    """Answers with the labels of the records, moved by an error."""

    def __init__(self, error=0.0):
        self.scale, self.error = SCALE, error

    def properties(self, complexes, names, *, use_structure=False):
        return np.array([[r.properties.get(n, 0.0) + self.error for n in names] for r in complexes])

    def token_probabilities(self, complexes, label):
        return [np.eye(3)[(r.token_labels[label] + int(self.error > 0)) % 3] for r in complexes]

    def sequence_probabilities(self, complexes, hidden, *, temperature=1.0):
        answers = [np.eye(NUM_TOKENS)[record.restype] for record in complexes]
        if self.error:
            answers = [np.roll(answer, 1, axis=0) for answer in answers]
        return answers

    def structures(self, complexes, given, *, seed=0, num_steps=20, num_samples=1, noise=1.0):
        return [
            (r.coords + self.error * ~g[..., None])[None]
            for r, g in zip(complexes, given, strict=True)
        ]


class Mean(Oracle):
    """Answers with the mean of the training data and the first class."""

    def properties(self, complexes, names, *, use_structure=False):
        mean = dict(zip(SCALE.names, SCALE.mean, strict=True))
        return np.array([[mean[name] for name in names] for _ in complexes])

    def token_probabilities(self, complexes, label):
        return [np.eye(3)[np.zeros(r.num_tokens, int)] for r in complexes]


def prepared():
    rng = np.random.default_rng(0)
    molecules = [
        replace(molecule(text, text), properties={"table/affinity": v, "table/binds": float(i % 2)})
        for i, (text, v) in enumerate(
            zip(
                ["CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCC", "CCS"],
                rng.normal(1, 2, 6),
                strict=True,
            )
        )
    ]
    chains = [peptide("MKDEFYRLVWGH", seed=s, name=f"chain{s}") for s in range(4)]
    chains = [replace(chain, properties={}) for chain in chains]

    def split(count):
        return Split(method="random", train=np.arange(0), valid=np.arange(1), test=np.arange(count))

    return Prepared(
        datasets={
            "table": Dataset(
                name="table", records=molecules, split=split(6),
                properties=(
                    Property("table/affinity", "regression"), Property("table/binds", "binary"),
                ),
            ),
            "chains": Dataset(name="chains", records=chains, split=split(4)),
            "labels": Dataset(
                name="labels", records=chains, split=split(4),
                labels=(TokenLabel("secondary_structure", ("H", "E", "C")),),
            ),
            "components": Dataset(name="components", records=molecules, split=split(6)),
        },
        scale=SCALE,
    )  # fmt: skip


NAMES = {
    "table/affinity/rmse", "table/binds/roc_auc", "secondary_structure/accuracy",
    "chains/inverse_folding/recovery", "chains/side_chains/rmsd", "components/conformers/rmsd",
    "components/elements/accuracy",
}  # fmt: skip


def test_an_oracle_has_skill_one_everywhere():
    scores = evaluate_part(Oracle(), prepared(), "test")
    assert {score.name for score in scores} == NAMES
    for score in scores:
        assert score.skill == pytest.approx(1.0, abs=1e-4), score
    assert summary(scores)["score"] == pytest.approx(1.0, abs=1e-4)


def test_the_trivial_predictor_has_skill_zero():
    scores = {score.name: score for score in evaluate_part(Mean(), prepared(), "test")}
    assert scores["table/affinity/rmse"].skill == pytest.approx(0.0)
    assert scores["table/affinity/rmse"].value == scores["table/affinity/rmse"].trivial
    assert scores["table/binds/roc_auc"].skill == pytest.approx(0.0)
    labels = np.concatenate(
        [r.token_labels["secondary_structure"] for r in prepared().datasets["labels"].records]
    )
    accuracy = scores["secondary_structure/accuracy"]
    assert accuracy.value == pytest.approx((labels == 0).mean())
    assert accuracy.trivial == pytest.approx(np.bincount(labels).max() / len(labels))


def test_errors_have_the_size_that_was_made():
    scores = {score.name: score for score in evaluate_part(Oracle(0.5), prepared(), "test")}
    assert scores["table/affinity/rmse"].value == pytest.approx(0.5)
    assert scores["table/binds/roc_auc"].value == 1.0, "ranks do not feel a shift"
    assert scores["secondary_structure/accuracy"].value == 0.0
    # side-chain atoms are shifted by 0.5 in x, y and z; a rigid shift of a conformer is undone
    assert scores["chains/side_chains/rmsd"].value == pytest.approx(0.5 * np.sqrt(3), rel=1e-4)
    assert scores["components/conformers/rmsd"].value == pytest.approx(0.0, abs=1e-3)
    native = peptide("MKDEFYRLVWGH").restype
    recovered = (np.roll(native, 1) == native).mean()
    assert scores["chains/inverse_folding/recovery"].value == pytest.approx(recovered)


def test_the_part_and_the_limit_choose_the_records():
    scores = {s.name: s for s in evaluate_part(Oracle(), prepared(), "test", limit=3)}
    assert scores["table/affinity/rmse"].count == 3
    assert scores["secondary_structure/accuracy"].count == 3 * 12
    valid = {s.name for s in evaluate_part(Oracle(), prepared(), "valid")}
    assert "table/affinity/rmse" not in valid, "one value has no spread to score"


def test_unknown_residues_are_not_counted():
    data = prepared()
    chain = data.datasets["chains"].records[0]
    restype = chain.restype.copy()
    restype[:3] = TOKEN_ID["UNK"]
    records = [replace(chain, restype=restype)]
    data.datasets = {
        "chains": replace(
            data.datasets["chains"], records=records,
            split=Split(method="random", train=np.arange(0), valid=np.arange(0), test=np.arange(1)),
        )
    }  # fmt: skip
    (score, *_) = evaluate_part(Oracle(), data, "test")
    assert score.value == 1.0


def test_a_perfect_trivial_predictor_leaves_no_skill_to_measure():
    # one element, one value, one kind of residue
    alkanes = [replace(molecule(s, s), properties={"table/affinity": 1.0}) for s in ("CC", "CCC")]
    chain = replace(peptide("AAAA"), properties={})
    split = Split(method="random", train=np.arange(0), valid=np.arange(0), test=np.arange(2))
    affinity = (Property("table/affinity", "regression"),)
    data = Prepared(
        datasets={
            "table": Dataset(name="table", records=alkanes, split=split, properties=affinity),
            "components": Dataset(name="components", records=alkanes, split=split),
            "chains": Dataset(name="chains", records=[chain, chain], split=split),
        },
        scale=SCALE,
    )
    scores = {score.name: score for score in evaluate_part(Oracle(), data, "test")}
    for name in (
        "table/affinity/rmse",
        "components/elements/accuracy",
        "chains/inverse_folding/recovery",
    ):
        assert np.isnan(scores[name].skill), name
    assert not np.isinf(summary(list(scores.values()))["score"])


def test_the_summary_counts_each_data_set_once_and_clips():
    def score(name, skill):
        return Score(name=name, value=skill, trivial=0.0, skill=skill, count=1)

    scores = [
        score("a/x/m", 1.0),
        score("a/y/m", 0.0),
        score("b/z/m", -50.0),
        score("c/z/m", np.nan),
    ]
    assert summary(scores)["score"] == pytest.approx((0.5 - 1.0) / 2)
    assert np.isnan(summary([])["score"])
