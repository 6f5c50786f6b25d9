"""Identities that are allowed, their probabilities, and the plan of revealing them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS, TOKEN_ID, MolType
from biomol.sampling.sequence import allowed_identities, identity_probabilities, unmask_counts


@given(st.integers(0, 500), st.integers(1, 60))
def test_every_hidden_token_is_revealed_once_in_even_shares(hidden, steps):
    counts = unmask_counts(hidden, steps)
    assert sum(counts) == hidden
    assert len(counts) == min(hidden, steps)
    if counts:
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 1


def test_each_kind_of_token_takes_its_own_identities():
    kinds = np.array([MolType.PROTEIN, MolType.RNA, MolType.DNA, MolType.ATOM])
    allowed = allowed_identities(kinds)
    assert set(np.flatnonzero(allowed[0])) == set(PROTEIN_IDS)
    assert set(np.flatnonzero(allowed[1])) == {TOKEN_ID[base] for base in "ACGU"}
    assert set(np.flatnonzero(allowed[2])) == {TOKEN_ID[f"D{base}"] for base in "ACGT"}
    assert allowed[3, TOKEN_ID["@C"]]
    assert allowed.sum(axis=0).max() == 1, "no identity belongs to two kinds"
    for token in ("<pad>", "<mask>", "UNK", "N", "DN"):
        assert not allowed[:, TOKEN_ID[token]].any()


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_probabilities_are_a_tempered_softmax_over_the_allowed(seed, temperature):
    logits = np.random.default_rng(seed).normal(size=(4, NUM_TOKENS)).astype(np.float32) * 5
    kinds = np.array([MolType.PROTEIN, MolType.RNA, MolType.DNA, MolType.ATOM])
    found = identity_probabilities(logits, kinds, temperature)
    allowed = allowed_identities(kinds)
    np.testing.assert_allclose(found.sum(-1), 1.0)
    assert (found[~allowed] == 0).all()
    weights = np.where(allowed, np.exp((logits.astype(float) - logits.max()) / temperature), 0)
    np.testing.assert_allclose(found, weights / weights.sum(-1, keepdims=True), atol=1e-9)


def test_temperature_zero_is_argmax_and_the_limit_of_small_temperatures():
    logits = np.random.default_rng(0).normal(size=(9, NUM_TOKENS)).astype(np.float32)
    kinds = np.full(9, MolType.PROTEIN)
    certain = identity_probabilities(logits, kinds, 0.0)
    np.testing.assert_allclose(certain, identity_probabilities(logits, kinds, 1e-5), atol=1e-9)
    best = np.where(allowed_identities(kinds), logits, -np.inf).argmax(-1)
    np.testing.assert_array_equal(certain.argmax(-1), best)
    assert (certain.max(-1) == 1).all()
    with pytest.raises(ValueError, match="must not be negative"):
        identity_probabilities(logits, kinds, -0.1)
    with pytest.raises(ValueError, match="nan"):
        identity_probabilities(logits, kinds, float("nan"))


def test_a_bias_can_forbid_identities_but_not_all():
    logits = np.zeros((2, NUM_TOKENS), np.float32)
    kinds = np.full(2, MolType.PROTEIN)
    bias = np.zeros((2, NUM_TOKENS))
    bias[:, TOKEN_ID["CYS"]] = -np.inf
    found = identity_probabilities(logits, kinds, 1.0, bias)
    assert (found[:, TOKEN_ID["CYS"]] == 0).all()
    np.testing.assert_allclose(found[:, TOKEN_ID["ALA"]], 1 / 19)
    bias[1] = -np.inf
    with pytest.raises(ValueError, match="at token 1"):
        identity_probabilities(logits, kinds, 1.0, bias)
