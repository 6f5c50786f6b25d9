"""Small complexes with positions, a small network with random weights, and batches of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import MolType
from biomol.config.model import ModelConfig
from biomol.data.batch import Inputs, Targets
from biomol.data.complex import Complex
from biomol.data.features import bucket_of
from biomol.data.noise import Levels, corrupt, stack
from biomol.data.scaling import PropertyScale
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles

SCALE = PropertyScale(
    names=("table/affinity", "table/binds"),
    binary=("table/binds",),
    mean=(1.0, 0.0),
    std=(2.0, 1.0),
    labels={"secondary_structure": 3},
)


def peptide(sequence: str = "MKDEFYRLVWGH", seed: int = 0, name: str = "peptide") -> Complex:
    """A chain whose residues have their ideal shape and random orientations along a helix."""
    record = complex_from_sequence(sequence, MolType.PROTEIN, name=name)
    rng = np.random.default_rng(seed)
    turn = np.arange(len(sequence)) * np.deg2rad(100.0)
    trace = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(len(turn))], axis=1)
    residues = record.ref_pos - record.ref_pos[:, 1:2]
    turned = np.stack([Rotation.random(random_state=rng).apply(residue) for residue in residues])
    coords = np.where(record.atom_mask[..., None], turned + trace[:, None], 0.0)
    labels = rng.integers(0, 3, len(sequence)).astype(np.int8)
    return replace(
        record,
        coords=coords.astype(np.float32),
        coord_mask=record.atom_mask.copy(),
        properties={"table/affinity": float(rng.normal())},
        token_labels={"secondary_structure": labels},
    )


def molecule(smiles: str = "C[C@H](N)C(=O)Oc1ccccc1", name: str = "ligand") -> Complex:
    """A ligand in its reference conformer."""
    record = from_smiles(smiles, name, conformer=True)
    return replace(
        record,
        coords=record.ref_pos.copy(),
        coord_mask=record.atom_mask.copy(),
        properties={"table/affinity": 0.5, "table/binds": 1.0},
    )


def small_config(**changes: Any) -> ModelConfig:
    """A network of one block everywhere with two properties and one label."""
    sizes: dict[str, Any] = {
        "name": "test",
        "dim_single": 16,
        "dim_pair": 8,
        "num_heads": 2,
        "trunk_blocks": 1,
        "denoiser_blocks": 1,
        "pair_heads": 2,
        "motif_width": 5,
        "motif_dim": 4,
    }
    return SCALE.configure(ModelConfig(**{**sizes, **changes}))


def small_network(seed: int = 0, **changes: Any) -> Any:
    """The network of `small_config`, every parameter random: a fresh one answers zero."""
    from mindspore import Tensor

    from biomol.model.network import BioMol

    network = BioMol(small_config(**changes), seed)
    rng = np.random.default_rng(seed)
    for parameter in network.get_parameters():
        # norm weights stay near one
        start = parameter.asnumpy().copy() if parameter.ndim == 1 else 0.0
        spread = 0.1 if parameter.ndim == 1 else 1.0 / np.sqrt(parameter.shape[-1])
        values = start + spread * rng.standard_normal(parameter.shape)
        parameter.set_data(Tensor(values.astype(np.float32)))
    return network.set_train(False)


def features_of(record: Complex, tokens: int | None = None) -> dict[str, np.ndarray]:
    """Padded features, by default in the bucket of the record."""
    return SCALE.features(record, tokens or bucket_of(record.num_tokens))


def hidden(
    features: dict[str, np.ndarray],
    *,
    identity: Any = False,
    visible: Any = False,
    sigma: Any = 0.0,
) -> Levels:
    """Levels from masks or scalars that are spread over the tokens and slots."""
    shape = features["coord_mask"].shape
    return Levels(
        hide_identity=np.broadcast_to(np.asarray(identity, bool), shape[:1]).copy(),
        visible=np.broadcast_to(np.asarray(visible, bool), shape) & features["coord_mask"],
        sigma=np.broadcast_to(np.asarray(sigma, np.float32), shape).copy(),
    )


def batch_of(
    features: list[dict[str, np.ndarray]],
    levels: list[Levels],
    *,
    seed: int = 0,
    rotate: bool = False,
) -> tuple[Inputs, Targets]:
    """One batch; each row draws its noise from its own generator."""
    return stack(
        [
            corrupt(feature, level, np.random.default_rng([seed, row]), rotate=rotate)
            for row, (feature, level) in enumerate(zip(features, levels, strict=True))
        ]
    )


def forward(network: Any, inputs: Inputs, tracks: str) -> list[np.ndarray | None]:
    """Identity logits, properties, label logits, positions, distogram as arrays."""
    from mindspore import Tensor

    key = Tensor(np.zeros(2, np.int32))
    outputs = network(key, tracks, *(Tensor(array) for array in inputs.arrays()))
    return [None if output is None else output.asnumpy().copy() for output in outputs]
