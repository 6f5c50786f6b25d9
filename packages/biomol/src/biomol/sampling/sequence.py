"""Sampling identities by iterative unmasking."""

from __future__ import annotations

import numpy as np

from biomol.chem.vocab import (
    DNA_CODES,
    NUM_TOKENS,
    PROTEIN_IDS,
    RNA_CODES,
    TOKEN_ID,
    TOKENS,
    MolType,
)
from scimind.typing import Bool, Float, Int

_ALLOWED = {
    MolType.PROTEIN: PROTEIN_IDS,
    MolType.RNA: tuple(TOKEN_ID[code] for code in RNA_CODES),
    MolType.DNA: tuple(TOKEN_ID[code] for code in DNA_CODES),
    MolType.ATOM: tuple(index for index, token in enumerate(TOKENS) if token.startswith("@")),
}


def allowed_identities(mol_type: Int[np.ndarray, " token"]) -> Bool[np.ndarray, "token identity"]:
    """Identities that a token of each kind can take."""
    allowed = np.zeros((len(mol_type), NUM_TOKENS), bool)
    for kind, identities in _ALLOWED.items():
        allowed[np.ix_(mol_type == kind, list(identities))] = True
    return allowed


def identity_probabilities(
    logits: Float[np.ndarray, "token identity"],
    mol_type: Int[np.ndarray, " token"],
    temperature: float = 1.0,
    bias: Float[np.ndarray, "token identity"] | None = None,
) -> Float[np.ndarray, "token identity"]:
    """Softmax over the identities that each token can take; rows sum to one.

    Args:
        logits: Network output.
        mol_type: Kind of each token.
        temperature: Below one sharpens the distribution; 0 puts all weight on the best identity.
        bias: Added to the logits; ``-inf`` forbids an identity.

    Raises:
        ValueError: The temperature is negative, or nothing is allowed at some token.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature={temperature} must not be negative; 0 is argmax")
    scores = logits.astype(np.float64) + (0.0 if bias is None else bias)
    scores = np.where(allowed_identities(mol_type), scores, -np.inf)
    best = scores.max(axis=-1, keepdims=True)
    if not np.isfinite(best).all():
        token = int(np.flatnonzero(~np.isfinite(best[:, 0]))[0])
        raise ValueError(f"no identity is allowed at token {token}; relax omit or bias there")
    if temperature == 0:
        certain: np.ndarray = np.eye(scores.shape[-1])[scores.argmax(axis=-1)]
        return certain
    weights = np.exp((scores - best) / temperature)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def unmask_counts(num_hidden: int, num_steps: int) -> list[int]:
    """Tokens revealed at each step: even shares, at most one step per token."""
    steps = max(1, min(num_steps, num_hidden))
    edges = np.linspace(0, num_hidden, steps + 1).round().astype(int)
    return [int(count) for count in np.diff(edges) if count > 0]
