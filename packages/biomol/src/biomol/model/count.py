"""What a configuration costs: parameters, matrix-product operations and memory, on paper.

``python -m biomol.model.count [tokens]`` prints the table of all presets. Nothing is built; the
tests compare the parameters with built networks and the operations with the shapes that a forward
pass meets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from biomol.chem.vocab import NUM_SLOTS, NUM_TOKENS, MolType
from biomol.config.model import ModelConfig
from biomol.model.embedding import NUM_BOND_TYPES, NUM_CHIRALITY, NUM_TOPOLOGY
from biomol.model.encoding import FOURIER_SIZE
from biomol.model.geometry import NEIGHBOUR_SLOTS, PAIR_FEATURE_SIZE
from biomol.model.network import TRACKS
from biomol.model.prior import SURROUNDINGS_SIZE

TRAINING_FACTOR = 3
"""Operations of a training step over those of a forward pass: the gradient of a product is two."""

Rows = Literal["complex", "token", "pair"]


@dataclass(frozen=True)
class Affine:
    """One affine map of the network.

    Attributes:
        rows: What it is applied to: every complex, token or pair of tokens.
        inputs: Features in.
        outputs: Features out.
        bias: Whether it adds a bias.
        tracks: Least track that runs it; see `biomol.model.network.TRACKS`.
    """

    rows: Rows
    inputs: int
    outputs: int
    bias: bool = True
    tracks: str = "sequence"


@dataclass(frozen=True)
class Mixing:
    """One product between activations, without parameters.

    Attributes:
        dim: Width of the features that are mixed.
        rows: Independent mixings: one of all tokens per complex, or one per token (of pairs).
        heads: Attention heads, 0 for a triangle multiplication.
        tracks: Least track that runs it.
    """

    dim: int
    rows: Literal["complex", "token"]
    heads: int
    tracks: str = "sequence"


def affine_maps(config: ModelConfig) -> Iterator[Affine]:
    """All affine maps, in the order of the modules."""
    dim, pair = config.dim_single, config.dim_pair
    properties, logits = len(config.properties), sum(config.token_labels.values())
    geometry = NUM_SLOTS + (NUM_SLOTS + 2 * NEIGHBOUR_SLOTS) * 3 + 2 * FOURIER_SIZE + 1
    yield Affine("token", NUM_TOKENS, config.motif_dim, False)
    yield Affine("token", config.motif_width * config.motif_dim, dim)
    yield Affine("token", NUM_TOKENS + len(MolType) + NUM_CHIRALITY + 1, dim)
    yield Affine("token", 32, dim, False)
    yield Affine("token", geometry, dim, False, "geometry")
    if properties:
        yield Affine("complex", 2 * properties, dim, False)
    relative = 2 * config.relative_clip + 3
    yield Affine("pair", relative + NUM_BOND_TYPES + NUM_TOPOLOGY, pair)
    yield Affine("pair", PAIR_FEATURE_SIZE, pair, False, "geometry")
    yield Affine("pair", pair, pair)

    updated = config.pair_update != "none"
    if not updated:
        yield Affine("pair", pair, config.num_heads * config.trunk_blocks, False)
    for index in range(config.trunk_blocks):
        if updated:
            yield from _pair_update(config)
        if index < config.message_blocks:
            yield Affine("pair", pair, 2 * pair)
            yield Affine("token", dim, pair, False)
            yield Affine("token", pair, dim, False)
        yield from _token_block(config, "sequence")

    yield Affine("token", dim, dim, tracks="structure")
    yield Affine("token", NUM_TOKENS + SURROUNDINGS_SIZE, 2 * dim, tracks="structure")
    yield Affine("token", 2 * dim, NUM_SLOTS * 3, tracks="structure")
    yield Affine("token", NUM_SLOTS * 7 + 2 * FOURIER_SIZE, dim, False, "structure")
    yield Affine("complex", 2 * FOURIER_SIZE + 1, dim, tracks="structure")
    yield Affine("pair", pair, config.num_heads * config.denoiser_blocks, False, "structure")
    for _ in range(config.denoiser_blocks):
        yield Affine("complex", dim, 6 * dim, tracks="structure")
        yield from _token_block(config, "structure")
    yield Affine("token", dim, 2 * NUM_SLOTS * 3, tracks="structure")

    yield Affine("token", dim, dim)
    yield Affine("token", dim, NUM_TOKENS)
    yield Affine("token", dim, pair, False, "structure")
    yield Affine("token", dim, pair, False, "structure")
    yield Affine("pair", pair, config.num_distance_bins, tracks="structure")
    if properties:
        yield Affine("token", dim, dim)
        yield Affine("token", dim, properties)
        yield Affine("complex", dim, dim)
        yield Affine("complex", dim, properties)
    if logits:
        yield Affine("token", dim, dim)
        yield Affine("token", dim, logits)


def _token_block(config: ModelConfig, tracks: str) -> Iterator[Affine]:
    dim, hidden = config.dim_single, config.mlp_ratio * config.dim_single
    yield Affine("token", dim, 3 * dim, False, tracks)
    yield Affine("token", dim, dim, tracks=tracks)
    yield Affine("token", dim, hidden, tracks=tracks)
    yield Affine("token", hidden, dim, tracks=tracks)


def _pair_update(config: ModelConfig) -> Iterator[Affine]:
    dim, hidden = config.dim_pair, config.mlp_ratio * config.dim_pair
    for _ in ("outgoing", "incoming"):
        for outputs in (4 * dim, dim, dim):
            yield Affine("pair", dim, outputs, False)
    if config.pair_update == "full":
        for _ in ("starting", "ending"):
            for outputs in (3 * dim, config.pair_heads, dim, dim):
                yield Affine("pair", dim, outputs, False)
    yield Affine("pair", dim, hidden)
    yield Affine("pair", hidden, dim)
    yield Affine("pair", dim, config.num_heads, False)


def mixings(config: ModelConfig) -> Iterator[Mixing]:
    """All attentions and triangle multiplications."""
    for _ in range(config.trunk_blocks):
        if config.pair_update != "none":
            yield from [Mixing(config.dim_pair, "token", 0)] * 2
        if config.pair_update == "full":
            yield from [Mixing(config.dim_pair, "token", config.pair_heads)] * 2
        yield Mixing(config.dim_single, "complex", config.num_heads)
    for _ in range(config.denoiser_blocks):
        yield Mixing(config.dim_single, "complex", config.num_heads, "structure")


def _norms(config: ModelConfig) -> int:
    """Features of all layer norms that have a weight and a bias."""
    dim, pair = config.dim_single, config.dim_pair
    updated = config.pair_update != "none"
    block = 2 * dim
    if updated:
        # two multiplications of two norms each, two attentions, transition, attention bias
        block += (6 + 2 * (config.pair_update == "full")) * pair
    messages = min(config.message_blocks, config.trunk_blocks) * (dim + pair)
    trunk = config.trunk_blocks * block + messages + dim + (0 if updated else pair)
    denoiser, distogram = pair + dim, pair
    return trunk + denoiser + distogram + (dim if config.properties else 0)


def _runs(part: str, tracks: str) -> bool:
    return TRACKS.index(part) <= TRACKS.index(tracks)


def _count(rows: Rows, batch: int, tokens: int) -> int:
    return batch * {"complex": 1, "token": tokens, "pair": tokens**2}[rows]


def count_parameters(config: ModelConfig) -> int:
    """Number of trained values of `biomol.model.network.BioMol`, exactly."""
    weights = sum(one.outputs * (one.inputs + one.bias) for one in affine_maps(config))
    offsets = NUM_TOKENS * NUM_SLOTS * 3
    return weights + 2 * _norms(config) + offsets


def count_flops(config: ModelConfig, batch: int, tokens: int, tracks: str) -> int:
    """Operations of the matrix products of a forward pass, a multiply-add being two.

    The 3x3 products of the local frames are left out, as is everything elementwise. A training
    step takes `TRAINING_FACTOR` times as many.

    Args:
        config: Sizes.
        batch: Complexes.
        tokens: Tokens of each, padding included.
        tracks: One of `biomol.model.network.TRACKS`.
    """
    total = 0
    for one in affine_maps(config):
        if _runs(one.tracks, tracks):
            total += 2 * _count(one.rows, batch, tokens) * one.inputs * one.outputs
    for mixing in mixings(config):
        if _runs(mixing.tracks, tracks):
            products = 2 if mixing.heads else 1
            rows = _count(mixing.rows, batch, tokens)
            total += products * 2 * rows * tokens**2 * mixing.dim
    return total


def activation_memory(
    config: ModelConfig, batch: int, tokens: int, tracks: str, bytes_per_value: int = 4
) -> int:
    """Estimated bytes that a forward pass keeps for its gradient.

    Assumes that nothing is recomputed and that input and output of each affine map, and of each
    attention the probabilities, are kept; additions, masks and gates then share these arrays or
    are small beside them. An attention kernel that keeps no probabilities needs less.

    Args:
        config: Sizes.
        batch: Complexes.
        tokens: Tokens of each, padding included.
        tracks: One of `biomol.model.network.TRACKS`.
        bytes_per_value: 4 for fp32, 2 for fp16 and bf16.
    """
    values = 0
    for one in affine_maps(config):
        if _runs(one.tracks, tracks):
            values += _count(one.rows, batch, tokens) * (one.inputs + one.outputs)
    for mixing in mixings(config):
        if _runs(mixing.tracks, tracks):
            values += _count(mixing.rows, batch, tokens) * mixing.heads * tokens**2
    return values * bytes_per_value


def optimizer_memory(config: ModelConfig, *, moving_average: bool = True) -> int:
    """Bytes of parameters, gradients and the two moments of AdamW, all fp32.

    Args:
        config: Sizes.
        moving_average: Also count the moving average of the parameters.
    """
    return 4 * (4 + moving_average) * count_parameters(config)


def presets() -> dict[str, ModelConfig]:
    """The model configurations of ``model=<name>``, smallest first, without outputs."""
    from importlib.resources import files

    from biomol.config.train import TrainConfig
    from scimind.config import compose

    folder = files("biomol.configs") / "model"
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )
    found = {
        name: compose("biomol.configs", "train", [f"model={name}", "output=unused"], TrainConfig)
        for name in names
    }
    models = {name: config.model for name, config in found.items()}
    return dict(sorted(models.items(), key=lambda item: count_parameters(item[1])))


def table(tokens: int) -> str:
    """Cost of one complex of some size for each preset, as text."""
    lines = [
        f"one complex of {tokens} tokens, all tracks",
        f"{'model':8}{'parameters':>15}{'forward':>18}{'training':>18}"
        f"{'activations':>14}{'optimizer':>13}",
    ]
    for name, config in presets().items():
        flops = count_flops(config, 1, tokens, "structure")
        lines.append(
            f"{name:8}{count_parameters(config):15,}{flops / 1e9:12,.1f} GFLOP"
            f"{TRAINING_FACTOR * flops / 1e9:12,.1f} GFLOP"
            f"{activation_memory(config, 1, tokens, 'structure') / 2**30:10,.2f} GiB"
            f"{optimizer_memory(config) / 2**30:9,.2f} GiB"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 256))
