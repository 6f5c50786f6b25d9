"""The coordinate denoiser: a transformer with EDM preconditioning.

It reads and writes positions in two frames, blended by how far the local frame of a token can be
relied on: a side chain on a given backbone is seen and predicted in the frame of its residue alone,
which is exactly equivariant, and a chain from pure noise in the laboratory frame, which is not. No
part of it sees distances alone, so handedness is kept.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from biomol.chem.vocab import NUM_SLOTS, REPRESENTATIVE_SLOT
from biomol.config.model import ModelConfig
from biomol.model.encoding import FOURIER_SIZE, noise_features
from biomol.model.geometry import to_global, to_local
from biomol.model.prior import AtomPrior
from biomol.model.trunk import PairBias, TokenAttention
from scimind.nn import LayerNorm, Linear
from scimind.ops import dropout, fold_in, spread
from scimind.typing import Float, Int

BYPASS = 0.5
"""Share of complexes whose residues are corrected by nothing but the prior, where there is dropout.

A stochastic depth (Huang et al. 2016) that keeps what the blocks add to few training chains small.
"""


class DenoiserBlock(nn.Cell):
    """Transformer block modulated by the noise level of the whole complex (adaLN-zero).

    Peebles and Xie, Scalable Diffusion Models with Transformers (2023), section 3.2.
    """

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        dim = config.dim_single
        self.modulation = Linear(dim, 6 * dim, rng=rng, init="zeros")
        self.attention_norm = LayerNorm(dim, affine=False)
        self.attend = TokenAttention(dim, config.num_heads, rng)
        self.transition_norm = LayerNorm(dim, affine=False)
        self.expand = Linear(dim, config.mlp_ratio * dim, activation="gelu", rng=rng)
        self.contract = Linear(config.mlp_ratio * dim, dim, rng=rng, init="residual")
        self.rate = config.dropout

    def construct(
        self,
        key: Int[Tensor, "2"],
        x: Float[Tensor, "batch token dim"],
        condition: Float[Tensor, "batch dim"],
        bias: Float[Tensor, "batch head token token"],
    ) -> Float[Tensor, "batch token dim"]:
        batch, tokens, dim = x.shape
        modulation = spread(self.modulation(condition).expand_dims(1), (batch, tokens, 6 * dim))
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = ops.split(modulation, dim, axis=-1)
        mixed = self.attend(self.attention_norm(x) * (1.0 + scale) + shift, bias)
        if self.rate > 0.0 and self.training:
            mixed = dropout(mixed, fold_in(key, 0), self.rate)
        x = x + mixed * (1.0 + gate)
        hidden = self.expand(self.transition_norm(x) * (1.0 + scale_mlp) + shift_mlp)
        update = self.contract(hidden)
        if self.rate > 0.0 and self.training:
            update = dropout(update, fold_in(key, 1), self.rate)
        return x + update * (1.0 + gate_mlp)


class Denoiser(nn.Cell):
    """Expected clean positions given noisy ones, the trunk's tokens and pairs; and of the prior.

    Each atom has its own noise level and its own Gaussian prior, see `AtomPrior`. With one common
    level this is the preconditioning of Karras et al., Elucidating the Design Space of Diffusion
    Models (2022), table 1.
    """

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        dim = config.dim_single
        self.sigma_data = config.sigma_data
        self.rate = config.dropout
        self.prior = AtomPrior(config, rng)
        self.single = Linear(dim, dim, rng=rng)
        coordinates = NUM_SLOTS * (3 + 3 + 1) + 2 * FOURIER_SIZE
        self.coordinates = Linear(coordinates, dim, bias=False, rng=rng)
        self.noise = Linear(2 * FOURIER_SIZE + 1, dim, activation="gelu", rng=rng)
        self.pair_bias = PairBias(config.dim_pair, config.num_heads, config.denoiser_blocks, rng)
        self.blocks = nn.CellList(
            [DenoiserBlock(config, rng) for _ in range(config.denoiser_blocks)]
        )
        self.norm = LayerNorm(dim)
        self.displacement = Linear(dim, 2 * NUM_SLOTS * 3, rng=rng, init="zeros")

    def construct(
        self,
        key: Int[Tensor, "2"],
        single: Float[Tensor, "batch token single"],
        pair: Float[Tensor, "batch token token pair"],
        token_mask: Float[Tensor, "batch token"],
        token: Int[Tensor, "batch token"],
        atom_visible: Float[Tensor, "batch token slot"],
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        rotation: Float[Tensor, "batch token 3 3"],
        reliability: Float[Tensor, "batch token"],
        surroundings: Float[Tensor, "batch token surrounding"],
    ) -> tuple[Float[Tensor, "batch token slot 3"], Float[Tensor, "batch token slot 3"]]:
        batch, tokens = token_mask.shape
        rep = REPRESENTATIVE_SLOT
        blend = reliability.reshape((batch, tokens, 1, 1))
        base = self.prior.mean(positions, sigma, token, rotation, reliability, surroundings)
        width = self.prior.width(sigma)
        total = ops.sqrt(ops.square(sigma) + ops.square(width))
        # the linear estimate of the offset in units of its width: what is all noise vanishes
        estimate = width / ops.square(total) * atom_visible
        scaled = (positions - base) * estimate.expand_dims(-1)
        mean_sigma = ops.exp(
            (ops.log(sigma + 1e-3) * atom_visible).sum(axis=(1, 2))
            / (atom_visible.sum(axis=(1, 2)) + 1e-6)
        )
        rep_weight = atom_visible[:, :, rep]
        rep_sigma = ops.exp(
            (ops.log(sigma[:, :, rep] + 1e-3) * rep_weight).sum(axis=1)
            / (rep_weight.sum(axis=1) + 1e-6)
        )
        given = ((sigma <= 0.0).astype(sigma.dtype) * atom_visible).sum(axis=(1, 2))
        share = given / (atom_visible.sum(axis=(1, 2)) + 1e-6)
        condition = self.noise(
            ops.cat(
                (
                    noise_features(mean_sigma, self.sigma_data),
                    noise_features(rep_sigma, self.sigma_data),
                    share.expand_dims(-1),
                ),
                axis=-1,
            )
        )
        others = (1.0 - self.prior.representative).reshape((1, 1, NUM_SLOTS, 1))
        in_frame = to_local(rotation, scaled * others) * blend
        in_laboratory = scaled * (1.0 - blend)
        features = ops.cat(
            (
                in_laboratory.reshape((batch, tokens, NUM_SLOTS * 3)),
                in_frame.reshape((batch, tokens, NUM_SLOTS * 3)),
                atom_visible,
                noise_features(sigma[..., rep], self.sigma_data),
                noise_features(
                    (sigma * atom_visible).sum(axis=-1) / (atom_visible.sum(axis=-1) + 1e-6),
                    self.sigma_data,
                ),
            ),
            axis=-1,
        )
        x = self.single(single) + self.coordinates(features)
        biases = self.pair_bias(pair, token_mask)
        for index, block in enumerate(self.blocks):
            x = block(fold_in(key, index), x, condition, biases[index])
        both = self.displacement(self.norm(x)).reshape((batch, tokens, 2 * NUM_SLOTS, 3))
        inner = both[:, :, NUM_SLOTS:]
        if self.rate > 0.0 and self.training:
            # half of the complexes are answered by the prior alone
            share = ops.ones((batch, 1, 1, 1), inner.dtype)
            share = dropout(share, fold_in(key, len(self.blocks)), BYPASS) * (1.0 - BYPASS)
            inner = inner * spread(share, inner.shape)
        turned = to_global(rotation, inner)
        predicted = both[:, :, :NUM_SLOTS] * (1.0 - blend) + turned * blend
        keep = ops.square(width / total).expand_dims(-1)
        step = (sigma * width / total).expand_dims(-1)
        clean = positions * keep + base * (1.0 - keep) + predicted * step
        shown = atom_visible.expand_dims(-1)
        return clean * shown, base * shown
