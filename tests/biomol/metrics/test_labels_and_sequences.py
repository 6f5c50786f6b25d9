from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS, PROTEIN_LETTERS
from biomol.metrics.agreement import (
    class_accuracy,
    concordance_index,
    matthews_correlation,
    ndcg,
)
from biomol.metrics.sequence import perplexity, recovery, similarity_recovery


def _tokens(letters: str) -> np.ndarray:
    return np.array([PROTEIN_IDS[PROTEIN_LETTERS.index(letter)] for letter in letters])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40))
def test_concordance_equals_the_double_loop(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 6, count).astype(float)
    prediction = rng.integers(0, 6, count).astype(float)
    won, pairs = 0.0, 0
    for i in range(count):
        for j in range(count):
            if target[i] > target[j]:
                pairs += 1
                won += (
                    1.0 if prediction[i] > prediction[j] else 0.5 * (prediction[i] == prediction[j])
                )
    found = concordance_index(prediction, target)
    assert math.isnan(found) if pairs == 0 else found == pytest.approx(won / pairs)


def test_concordance_of_binary_targets_is_the_area_under_roc() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 200).astype(float)
    prediction = rng.normal(size=200).round(1)
    assert concordance_index(prediction, target) == pytest.approx(
        sk.roc_auc_score(target, prediction)
    )


def test_matthews_correlation_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    for classes in (2, 3, 5):
        target, prediction = rng.integers(0, classes, (2, 300))
        assert matthews_correlation(prediction, target) == pytest.approx(
            sk.matthews_corrcoef(target, prediction)
        )
    assert math.isnan(matthews_correlation(np.zeros(5, int), np.array([0, 1, 0, 1, 0])))


def test_ndcg_equals_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        target, prediction = rng.normal(size=100), rng.normal(size=100).round(1)
        gain = target - target.min()
        # scikit-learn averages ties over the whole list too.
        expected = sk.ndcg_score(gain[None], prediction[None], k=10)
        assert ndcg(prediction, target, top=0.1) == pytest.approx(expected)
    assert ndcg(target, target) == pytest.approx(1.0)


def test_unknown_classes_do_not_count() -> None:
    assert class_accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, -1])) == pytest.approx(2 / 3)
    assert math.isnan(class_accuracy(np.array([0]), np.array([-1])))


def test_a_uniform_guess_has_perplexity_twenty_and_a_sure_one_has_one() -> None:
    native = _tokens("ACDEFGHIKLMNPQRSTVWY")
    everywhere = np.ones(20, bool)
    uniform = np.full((20, NUM_TOKENS), 1.0 / NUM_TOKENS)
    assert perplexity(uniform, native, everywhere) == pytest.approx(20.0)
    sure = np.zeros((20, NUM_TOKENS))
    sure[np.arange(20), native] = 1.0
    assert perplexity(sure, native, everywhere) == pytest.approx(1.0)
    half = 0.5 * sure
    half[np.arange(20), np.roll(native, 1)] += 0.5
    assert perplexity(half, native, everywhere) == pytest.approx(2.0)


def test_recovery_counts_equal_and_similar_residues() -> None:
    native, designed = _tokens("DDLLKK"), _tokens("DELVKW")
    everywhere = np.ones(6, bool)
    assert recovery(designed, native, everywhere) == pytest.approx(0.5)
    # BLOSUM62: D/E 2, L/V 1, K/W -3.
    assert similarity_recovery(designed, native, everywhere) == pytest.approx(5 / 6)
    assert recovery(designed, native, np.arange(6) < 1) == 1.0
