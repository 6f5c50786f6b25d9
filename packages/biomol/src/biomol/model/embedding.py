"""From a batch to the single and pair representations."""

from __future__ import annotations

import math

import numpy as np
from mindspore import Tensor, nn, ops

from biomol.chem.vocab import NUM_SLOTS, NUM_TOKENS, REPRESENTATIVE_SLOT, MolType
from biomol.config.model import ModelConfig
from biomol.model.encoding import (
    FOURIER_SIZE,
    chain_window,
    noise_features,
    one_hot,
    sinusoidal_index,
)
from biomol.model.geometry import (
    NEIGHBOUR_SLOTS,
    PAIR_FEATURE_SIZE,
    RADIAL_SIZE,
    adjacent_residues,
    pair_features,
    reliability_at,
    to_local,
    token_frames,
)
from scimind.nn import Linear
from scimind.ops import gelu
from scimind.typing import Float, Int

NUM_BOND_TYPES = 6
NUM_TOPOLOGY = 9
NUM_CHIRALITY = 3
BOND_ANGSTROM = 1.5
"""Unit of positions within a residue: about one bond."""
SINGLE_GEOMETRY_GAIN, PAIR_GEOMETRY_GAIN = 1.5, 2.0
"""Most geometric features are near 0: these bring them to the scale of the one-hot inputs."""


class MotifEmbedding(nn.Cell):
    """What stands next to a residue in its chain, one matrix product over a window.

    A residue outside the chain, an atom token or padding contributes nothing.
    """

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.half = config.motif_width // 2
        # one entry of the input is 1: without the gain its image would drown in the others
        self.gain = math.sqrt(NUM_TOKENS)
        self.identity = Linear(NUM_TOKENS, config.motif_dim, bias=False, rng=rng)
        self.output = Linear(config.motif_width * config.motif_dim, config.dim_single, rng=rng)

    def construct(
        self,
        identity: Float[Tensor, "batch token vocabulary"],
        polymer: Float[Tensor, "batch token"],
        res_index: Int[Tensor, "batch token"],
        chain_id: Int[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token dim"]:
        embedded = self.identity(identity * self.gain) * polymer.expand_dims(-1)
        window = chain_window(embedded, res_index, chain_id, self.half)
        return self.output(ops.cat(window, axis=-1)) * polymer.expand_dims(-1)


class SingleEmbedding(nn.Cell):
    """The token representation before the trunk."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.sigma_data = config.sigma_data
        dim = config.dim_single
        self.index_size = 32
        chemistry = NUM_TOKENS + len(MolType) + NUM_CHIRALITY + 1
        geometry = NUM_SLOTS + (NUM_SLOTS + 2 * NEIGHBOUR_SLOTS) * 3 + 2 * FOURIER_SIZE + 1
        self.gain = math.sqrt(chemistry / 3)
        self.chemistry = Linear(chemistry, dim, rng=rng)
        self.index = Linear(self.index_size, dim, bias=False, rng=rng, init="residual")
        self.geometry = Linear(geometry, dim, bias=False, rng=rng)
        self.motif = MotifEmbedding(config, rng)
        self.has_properties = len(config.properties) > 0
        if self.has_properties:
            self.properties = Linear(2 * len(config.properties), dim, bias=False, rng=rng)

    def construct(
        self,
        token_mask: Float[Tensor, "batch token"],
        mol_type: Int[Tensor, "batch token"],
        token: Int[Tensor, "batch token"],
        res_index: Int[Tensor, "batch token"],
        chain_id: Int[Tensor, "batch token"],
        charge: Float[Tensor, "batch token"],
        chirality: Int[Tensor, "batch token"],
        atom_visible: Float[Tensor, "batch token slot"],
        sigma: Float[Tensor, "batch token slot"],
        local_positions: Float[Tensor, "batch token atom 3"] | None,
        prop_value: Float[Tensor, "batch property"],
        prop_given: Float[Tensor, "batch property"],
        with_geometry: bool,
    ) -> Float[Tensor, "batch token dim"]:
        identity = one_hot(token, NUM_TOKENS)
        kind = one_hot(mol_type, len(MolType))
        handedness = one_hot(chirality, NUM_CHIRALITY)
        chemistry = ops.cat((identity, kind, handedness, charge.expand_dims(-1)), axis=-1)
        polymer = kind[..., MolType.PROTEIN] + kind[..., MolType.RNA] + kind[..., MolType.DNA]
        single = self.chemistry(chemistry * self.gain) + self.motif(
            identity, polymer, res_index, chain_id
        )
        position = sinusoidal_index(res_index, self.index_size) * polymer.expand_dims(-1)
        single = single + self.index(position)
        if with_geometry and local_positions is not None:
            batch, tokens = token_mask.shape
            rep = REPRESENTATIVE_SLOT
            others = (sigma * atom_visible).sum(axis=-1) / (atom_visible.sum(axis=-1) + 1e-6)
            local = local_positions.reshape((batch, tokens, -1))
            features = ops.cat(
                (
                    atom_visible,
                    local,
                    noise_features(sigma[..., rep], self.sigma_data),
                    noise_features(others, self.sigma_data),
                    atom_visible[..., rep : rep + 1],
                ),
                axis=-1,
            )
            single = (
                single
                + SINGLE_GEOMETRY_GAIN * self.geometry(features) * atom_visible[..., rep : rep + 1]
            )
        if self.has_properties:
            given = ops.cat((prop_value * prop_given, prop_given), axis=-1)
            single = single + self.properties(given).expand_dims(1)
        return single * token_mask.expand_dims(-1)


class PairEmbedding(nn.Cell):
    """The pair representation: sequence separation, bonds, graph distance and geometry."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.clip = config.relative_clip
        # offsets -clip..clip within a chain, another copy of the entity, another entity
        self.num_relative = 2 * self.clip + 3
        dim = config.dim_pair
        topology = self.num_relative + NUM_BOND_TYPES + NUM_TOPOLOGY
        self.gain = math.sqrt(topology / 3)
        self.topology = Linear(topology, dim, rng=rng)
        self.geometry = Linear(PAIR_FEATURE_SIZE, dim, bias=False, rng=rng)
        self.hidden = Linear(dim, dim, rng=rng)

    def construct(
        self,
        mol_type: Int[Tensor, "batch token"],
        res_index: Int[Tensor, "batch token"],
        chain_id: Int[Tensor, "batch token"],
        entity_id: Int[Tensor, "batch token"],
        bond: Int[Tensor, "batch token token"],
        topology: Int[Tensor, "batch token token"],
        geometry: Float[Tensor, "batch token token feature"] | None,
    ) -> Float[Tensor, "batch token token dim"]:
        clip = self.clip
        offset = res_index[:, None, :] - res_index[:, :, None]
        same_chain = chain_id[:, None, :] == chain_id[:, :, None]
        same_entity = entity_id[:, None, :] == entity_id[:, :, None]
        within = ops.clamp(offset, -clip, clip) + clip
        apart = ops.select(
            same_entity, ops.full_like(within, 2 * clip + 1), ops.full_like(within, 2 * clip + 2)
        )
        relative = ops.select(same_chain, within, apart)
        features = ops.cat(
            (
                one_hot(relative, self.num_relative),
                one_hot(bond, NUM_BOND_TYPES),
                one_hot(topology, NUM_TOPOLOGY),
            ),
            axis=-1,
        )
        pair = self.topology(features * self.gain)
        if geometry is not None:
            pair = pair + self.geometry(geometry) * PAIR_GEOMETRY_GAIN
        return pair + self.hidden(gelu(pair))


class InputEmbedding(nn.Cell):
    """Embeds all three tracks of a batch; see `biomol.data.batch.Inputs` for the arguments."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.single = SingleEmbedding(config, rng)
        self.pair = PairEmbedding(config, rng)

    def construct(
        self,
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
        with_geometry: bool,
    ) -> tuple[
        Float[Tensor, "batch token single"],
        Float[Tensor, "batch token token pair"],
        Float[Tensor, "batch token 3 3"] | None,
        Float[Tensor, "batch token"] | None,
        Float[Tensor, "batch token surrounding"] | None,
    ]:
        if with_geometry:
            rotation, reliability = token_frames(positions, atom_visible, sigma)
            centre = positions[:, :, REPRESENTATIVE_SLOT]
            local = to_local(rotation, (positions - centre.expand_dims(2)) / BOND_ANGSTROM)
            known = atom_visible * reliability_at(sigma) * reliability.expand_dims(-1)
            near = adjacent_residues(
                positions, atom_visible, sigma, rotation, reliability, res_index, chain_id
            )
            near = near / BOND_ANGSTROM
            local = ops.cat((local * known.expand_dims(-1), near), axis=2)
            geometry = pair_features(positions, atom_visible, sigma, rotation, reliability)
            crowd = ops.log1p(geometry[..., :RADIAL_SIZE].sum(axis=2))
            surroundings = ops.cat((near.reshape((*reliability.shape, -1)), crowd), axis=-1)
        else:
            rotation, reliability, surroundings, local, geometry = None, None, None, None, None
        single = self.single(
            token_mask, mol_type, token, res_index, chain_id, charge, chirality,
            atom_visible, sigma, local, prop_value, prop_given, with_geometry,
        )  # fmt: skip
        pair = self.pair(mol_type, res_index, chain_id, entity_id, bond, topology, geometry)
        return single, pair, rotation, reliability, surroundings
