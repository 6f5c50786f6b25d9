"""Weights of the training losses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class LossConfig:
    """Weight of each term; 0 switches it off.

    Attributes:
        identity: Cross-entropy of hidden identities.
        coordinates: Mean squared deviation in units of the noise level.
        prior: Mean squared deviation of what is expected of a residue by its surroundings alone.
        lddt: One minus the smooth lDDT of representative atoms.
        bonds: Deviation of bonded and 1-3, 1-4 distances, per angstrom.
        distogram: Cross-entropy of binned distances.
        properties: Squared error of standardised values or binary cross-entropy.
        token_labels: Cross-entropy of per-token labels.
    """

    identity: float = 1.0
    coordinates: float = 1.0
    prior: float = 1.0
    lddt: float = 1.0
    bonds: float = 0.3
    distogram: float = 0.2
    properties: float = 1.0
    token_labels: float = 1.0
