"""The network: one trunk under three tracks."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn

from biomol.config.model import ModelConfig
from biomol.model.denoiser import Denoiser
from biomol.model.embedding import InputEmbedding
from biomol.model.heads import DistogramHead, IdentityHead, PropertyHead, TokenLabelHead
from biomol.model.trunk import Trunk
from scimind.ops import fold_in
from scimind.typing import Float, Int

TRACKS = ("sequence", "geometry", "structure")


class BioMol(nn.Cell):
    """Predicts whatever is hidden of a complex: identities, coordinates, properties, labels.

    Args:
        config: Sizes and output names.
        seed: Seed of the initial weights.

    The first argument of ``construct`` is the dropout key, the second, a Python string, says which
    parts run (see `biomol.data.batch.Batch.tracks`); the others are ``Inputs.arrays()``.

    Returns of ``construct``: identity logits ``(B, N, NUM_TOKENS)``, property values ``(B, P)``
    (standardised, or logits of binary ones), token-label logits ``(B, N, sum of classes)``,
    clean positions ``(B, N, 24, 3)`` in angstrom, distogram logits ``(B, N, N, bins)``, and the
    positions ``(B, N, 24, 3)`` that the prior of the denoiser expected; the last three are None
    unless ``tracks == "structure"``, the second and third None where the configuration names none.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.config = config
        self.embedding = InputEmbedding(config, rng)
        self.trunk = Trunk(config, rng)
        self.denoiser = Denoiser(config, rng)
        self.identity = IdentityHead(config, rng)
        self.distogram = DistogramHead(config, rng)
        self.has_properties = len(config.properties) > 0
        self.has_labels = len(config.token_labels) > 0
        if self.has_properties:
            self.properties = PropertyHead(config, rng)
        if self.has_labels:
            self.labels = TokenLabelHead(config, rng)

    def construct(
        self,
        key: Int[Tensor, "2"],
        tracks: str,
        token_mask: Float[Tensor, "batch token"],
        mol_type: Int[Tensor, "batch token"],
        token: Int[Tensor, "batch token"],
        res_index: Int[Tensor, "batch token"],
        chain_id: Int[Tensor, "batch token"],
        entity_id: Int[Tensor, "batch token"],
        charge: Float[Tensor, "batch token"],
        chirality: Int[Tensor, "batch token"],
        bond: Int[Tensor, "batch token token"],
        topology: Int[Tensor, "batch token token"],
        atom_visible: Float[Tensor, "batch token slot"],
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        prop_value: Float[Tensor, "batch property"],
        prop_given: Float[Tensor, "batch property"],
    ) -> tuple[
        Float[Tensor, "batch token identity"],
        Float[Tensor, "batch property"] | None,
        Float[Tensor, "batch token logit"] | None,
        Float[Tensor, "batch token slot 3"] | None,
        Float[Tensor, "batch token token bin"] | None,
        Float[Tensor, "batch token slot 3"] | None,
    ]:
        single, pair, rotation, reliability, surroundings = self.embedding(
            token_mask, mol_type, token, res_index, chain_id, entity_id, charge, chirality, bond,
            topology, atom_visible, positions, sigma, prop_value, prop_given,
            tracks != "sequence",
        )  # fmt: skip
        single, pair = self.trunk(key, single, pair, token_mask)
        identity = self.identity(single)
        properties, labels, clean, distogram, expected = None, None, None, None, None
        if self.has_properties:
            properties = self.properties(single, token_mask)
        if self.has_labels:
            labels = self.labels(single)
        if tracks == "structure":
            clean, expected = self.denoiser(
                fold_in(key, self.config.trunk_blocks), single, pair, token_mask, token,
                atom_visible, positions, sigma, rotation, reliability, surroundings,
            )  # fmt: skip
            distogram = self.distogram(single, pair)
        return identity, properties, labels, clean, distogram, expected
