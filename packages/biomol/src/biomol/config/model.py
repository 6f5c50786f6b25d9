"""Size and structure of the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(kw_only=True)
class ModelConfig:
    """Hyper-parameters of `biomol.model.network.BioMol`.

    Attributes:
        name: Preset name, written into checkpoints and results.
        dim_single: Width of the token representation.
        dim_pair: Width of the pair representation.
        num_heads: Attention heads; must divide ``dim_single``.
        trunk_blocks: Pairformer blocks of the trunk.
        denoiser_blocks: Transformer blocks of the coordinate denoiser.
        message_blocks: First trunk blocks in which tokens also receive messages from their pairs.
        mlp_ratio: Hidden width of transitions over their input width.
        pair_update: What each trunk block does to the pair representation: nothing, triangle
            multiplication, or triangle multiplication and attention (AlphaFold 3, algorithms
            12-15).
        pair_heads: Heads of triangle attention; must divide ``dim_pair``.
        motif_width: Odd number of neighbouring residues seen by the sequence-motif embedding.
        motif_dim: Width of one residue in that embedding.
        relative_clip: Largest residue offset that is told apart.
        num_distance_bins: Bins of the distogram, 2 to 22 angstrom.
        dropout: Rate on the block outputs, 0 to 1.
        sigma_data: Standard deviation of atom positions about the centre of mass, angstrom.
        sigma_local: The same about the representative atom of their own token, angstrom.
        sigma_frame: The same about the mean of the residue type in the frame of the residue.
        properties: Names of scalar properties, in output order.
        binary_properties: Those of ``properties`` that are 0/1 labels.
        property_mean: Mean of each property over the training data, in ``property_units``.
        property_std: Spread of each, by which outputs are scaled; 1 for binary ones.
        property_units: Unit by property name, where known.
        token_labels: Per-token classifications, name to number of classes.

    The outputs (from ``properties`` on) are measured on the training data when left empty.
    """

    name: str = "tiny"
    dim_single: int = 128
    dim_pair: int = 32
    num_heads: int = 4
    trunk_blocks: int = 4
    denoiser_blocks: int = 4
    message_blocks: int = 2
    mlp_ratio: int = 4
    pair_update: Literal["none", "multiplication", "full"] = "none"
    pair_heads: int = 4
    motif_width: int = 15
    motif_dim: int = 24
    relative_clip: int = 32
    num_distance_bins: int = 32
    dropout: float = 0.0
    sigma_data: float = 16.0
    sigma_local: float = 2.5
    sigma_frame: float = 1.2
    properties: list[str] = field(default_factory=list)
    binary_properties: list[str] = field(default_factory=list)
    property_mean: list[float] = field(default_factory=list)
    property_std: list[float] = field(default_factory=list)
    property_units: dict[str, str] = field(default_factory=dict)
    token_labels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what Hydra cannot."""
        if self.dim_single % self.num_heads:
            raise ValueError(
                f"model.dim_single={self.dim_single} is not a multiple of "
                f"model.num_heads={self.num_heads}; choose heads that divide the width"
            )
        if self.pair_update == "full" and self.dim_pair % self.pair_heads:
            raise ValueError(
                f"model.dim_pair={self.dim_pair} is not a multiple of "
                f"model.pair_heads={self.pair_heads}; choose heads that divide the width"
            )
        if self.motif_width % 2 == 0:
            raise ValueError(f"model.motif_width={self.motif_width} must be odd")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"model.dropout={self.dropout} must be in [0, 1)")
        if self.property_mean or self.property_std:
            counts = {len(self.property_mean), len(self.property_std), len(self.properties)}
            if len(counts) != 1:
                raise ValueError(
                    "model.properties, property_mean and property_std differ in length; leave "
                    "the last two empty to measure them on the training data"
                )
        unknown = set(self.binary_properties) - set(self.properties)
        if unknown:
            raise ValueError(f"model.binary_properties {sorted(unknown)} are not in properties")
