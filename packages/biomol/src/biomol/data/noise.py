"""Noise levels per track: which identities, coordinates and properties of a complex are hidden.

A task is a choice of levels. Nothing here is learned; everything is a pure function of the
complex and a random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from biomol.chem.geometry import random_rotation
from biomol.chem.vocab import BACKBONE_SLOTS, MASK_ID, NUM_SLOTS, REPRESENTATIVE_SLOT, MolType
from biomol.data.batch import Inputs, Targets
from scimind.typing import Bool, Float

SIGMA_MAX = 160.0
"""Noise that hides a structure completely, angstrom (Boltz and AlphaFold 3 sample from here)."""

SIDE_CHAIN_SIGMA_MAX = 20.0
"""Noise that hides side chains completely when their CA is given: 16 times their spread."""

RESIDUE_SHAKE, ATOM_SHAKE = 0.2, 0.05
"""How far the tokens of a given structure are moved, angstrom; see `shaken`."""

SHAKE_ARM = 2.6
"""Distance at which the turn of a shaken token moves an atom as far as its shift, angstrom."""

LARGEST_NUMBER = 512
"""Training structures count their residues from up to here."""

Features = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """What is hidden of one complex.

    Attributes:
        hide_identity: Tokens whose identity must be predicted.
        visible: Atoms that take part in the structure track.
        sigma: Noise on each visible atom, angstrom; 0 where it is given.
        shake: Unannounced motion of each token, angstrom, see `shaken`; None leaves all in place.
        give_property: Properties given as a condition instead of asked.
    """

    hide_identity: Bool[np.ndarray, " token"]
    visible: Bool[np.ndarray, "token slot"]
    sigma: Float[np.ndarray, "token slot"]
    shake: Float[np.ndarray, " token"] | None = None
    give_property: Bool[np.ndarray, " property"] | None = None

    def giving(self, properties: Bool[np.ndarray, " property"]) -> Levels:
        """The same levels with some properties as a condition."""
        return replace(self, give_property=properties)


def backbone_mask(mol_type: np.ndarray) -> Bool[np.ndarray, "token slot"]:
    """Slots that exist whatever the identity of the token."""
    mask = np.zeros((len(mol_type), NUM_SLOTS), bool)
    for kind, count in BACKBONE_SLOTS.items():
        mask[mol_type == kind, :count] = True
    mask[mol_type == MolType.ATOM, 1] = True
    return mask


def nothing_hidden(features: Features) -> Levels:
    """All identities shown, no structure track: properties and labels from sequence."""
    tokens = len(features["mol_type"])
    return Levels(
        hide_identity=np.zeros(tokens, bool),
        visible=np.zeros((tokens, NUM_SLOTS), bool),
        sigma=np.zeros((tokens, NUM_SLOTS), np.float32),
    )


def sequence_levels(features: Features, rng: np.random.Generator) -> Levels:
    """Read the whole sequence; one sample in four hides 15 % of the identities instead."""
    levels = nothing_hidden(features)
    if rng.random() < 0.25:
        hide = (rng.random(len(levels.hide_identity)) < 0.15) & (features["token_mask"] > 0)
        return Levels(hide_identity=hide, visible=levels.visible, sigma=levels.sigma)
    return levels


def shake_of(features: Features) -> Float[np.ndarray, " token"]:
    """How far each token of a given structure is moved in training, angstrom."""
    atom = features["mol_type"] == MolType.ATOM
    return np.where(atom, ATOM_SHAKE, RESIDUE_SHAKE)


def resolved(features: Features) -> Bool[np.ndarray, "token slot"]:
    """Atoms with a known position."""
    return features["coord_mask"].astype(bool)


def inverse_folding_levels(features: Features, rng: np.random.Generator) -> Levels:
    """Backbone given, all or some identities hidden; 30 % also show the other side chains."""
    real = features["token_mask"] > 0
    share = 1.0 if rng.random() < 0.6 else rng.uniform(0.1, 1.0)
    hide = (rng.random(len(real)) < share) & real
    backbone = backbone_mask(features["mol_type"])
    visible = resolved(features) & backbone
    if rng.random() < 0.3:
        visible |= resolved(features) & ~hide[:, None]
    sigma = np.zeros(visible.shape, np.float32)
    return Levels(hide_identity=hide, visible=visible, sigma=sigma, shake=shake_of(features))


def log_normal_sigma(
    rng: np.random.Generator, median: float, spread: float, most: float = SIGMA_MAX
) -> float:
    """Noise level of EDM training, clipped to the range of the sampler."""
    return float(np.clip(median * np.exp(spread * rng.standard_normal()), 0.01, most))


def fold_levels(features: Features, rng: np.random.Generator) -> Levels:
    """Sequence given, one noise level on every atom; a third of the time nothing is left of it."""
    visible = resolved(features)
    level = SIGMA_MAX if rng.random() < 0.34 else log_normal_sigma(rng, 4.8, 1.5)
    sigma = np.full(visible.shape, level, np.float32)
    return Levels(hide_identity=np.zeros(len(visible), bool), visible=visible, sigma=sigma)


def side_chain_levels(features: Features, rng: np.random.Generator) -> Levels:
    """Backbone given, side chains noised; at times some residues show neither name nor atoms.

    The hidden residues and the shaken backbone keep few chains from being learned by heart.
    """
    real = features["token_mask"] > 0
    share = 0.0 if rng.random() < 0.4 else rng.uniform(0.0, 0.9)
    hide = (rng.random(len(real)) < share) & real
    backbone = backbone_mask(features["mol_type"])
    visible = resolved(features) & (backbone | ~hide[:, None])
    most = SIDE_CHAIN_SIGMA_MAX
    level = most if rng.random() < 0.5 else log_normal_sigma(rng, 1.0, 1.3, most)
    sigma = np.where(visible & ~backbone, np.float32(level), np.float32(0.0))
    return Levels(hide_identity=hide, visible=visible, sigma=sigma, shake=shake_of(features))


def codesign_levels(features: Features, rng: np.random.Generator) -> Levels:
    """A contiguous part without identity or structure, the rest given."""
    real = np.flatnonzero(features["token_mask"] > 0)
    length = max(1, int(len(real) * rng.uniform(0.1, 1.0)))
    start = int(rng.integers(0, len(real) - length + 1))
    hide = np.zeros(len(features["token_mask"]), bool)
    hide[real[start : start + length]] = True
    visible = resolved(features) & (backbone_mask(features["mol_type"]) | ~hide[:, None])
    level = SIGMA_MAX if rng.random() < 0.34 else log_normal_sigma(rng, 4.8, 1.5)
    sigma = np.where(visible & hide[:, None], np.float32(level), np.float32(0.0))
    return Levels(hide_identity=hide, visible=visible, sigma=sigma)


LevelSampler = Callable[[Features, np.random.Generator], Levels]

PRESETS: dict[str, tuple[LevelSampler, str]] = {
    "sequence": (sequence_levels, "sequence"),
    "inverse_folding": (inverse_folding_levels, "geometry"),
    "fold": (fold_levels, "structure"),
    "side_chains": (side_chain_levels, "structure"),
    "codesign": (codesign_levels, "structure"),
}
"""Name to (sampler of levels, tracks of the network that it needs)."""


def canonical_rotation(
    points: Float[np.ndarray, "point 3"],
) -> Float[np.ndarray, "3 3"]:
    """Rotation that brings centred points into their own pose: ``points @ rotation.T``.

    The axes are the principal ones, widest first; the first two point from the beginning of the
    record to its end, the third makes the frame right-handed.
    """
    _, axes = np.linalg.eigh(points.T.astype(np.float64) @ points)
    axes = axes.T[::-1]
    order = np.linspace(-1.0, 1.0, len(points))
    signs = np.where(axes @ (order @ points) < 0, -1.0, 1.0)
    axes = axes * signs[:, None]
    axes[2] = np.cross(axes[0], axes[1])
    return np.asarray(axes, np.float32)


def shaken(
    coords: Float[np.ndarray, "token slot 3"],
    amount: Float[np.ndarray, " token"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "token slot 3"]:
    """Every token shifted and turned a little, at random, as a rigid body.

    Independent noise of 0.2 angstrom on the atoms would turn the frame of a residue by ten degrees
    and its side chain with it. Here a residue stays what it is, and only what lies around it gets
    blurred.

    Args:
        coords: Positions, angstrom.
        amount: Standard deviation of the shift along each axis, angstrom; that of the turn about
            each axis moves an atom at a distance of `SHAKE_ARM` as far.
        rng: Source of both.
    """
    scale = amount[:, None]
    turns = Rotation.from_rotvec(rng.normal(size=(len(coords), 3)) * scale / SHAKE_ARM)
    shift = rng.normal(size=(len(coords), 3)) * scale
    pivot = coords[:, REPRESENTATIVE_SLOT, None]
    moved = (coords - pivot) @ turns.as_matrix().swapaxes(1, 2) + pivot + shift[:, None]
    return np.asarray(moved, np.float32)


def corrupt(
    features: Features, levels: Levels, rng: np.random.Generator, *, rotate: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One row of a batch: hide what the levels say and keep the truth as target.

    Args:
        features: Clean padded arrays of `biomol.data.scaling.PropertyScale.features`.
        levels: What is hidden.
        rng: Source of the rotation and the noise.
        rotate: Shake and turn the structure and count its residues from a random number, so that
            none of it is learned by heart. A structure of which something is given is turned at
            random; one that is all noise is brought into its own pose: it may be answered in any,
            and the sampler stays in the one that the network chose.

    Returns:
        Rows of `Inputs` and `Targets` by field name.
    """
    real = features["token_mask"] > 0
    hide = levels.hide_identity & real
    visible = levels.visible & real[:, None]
    known = visible & resolved(features)
    free = not bool((visible & (levels.sigma <= 0)).any())
    coords = np.zeros((len(real), NUM_SLOTS, 3), np.float32)
    res_index = features["res_index"].astype(np.int32)
    if known.any():
        clean = features["coords"].astype(np.float32)
        centre = clean[known].mean(axis=0)
        turned = clean - centre
        if rotate and levels.shake is not None:
            turned = shaken(turned, levels.shake, rng)
        if rotate:
            res_index = res_index + rng.integers(0, LARGEST_NUMBER, dtype=np.int32)
            rotation = canonical_rotation(turned[known]) if free else random_rotation(rng)
            turned = (turned @ rotation.T).astype(np.float32)
        coords = np.where(known[..., None], turned, np.float32(0.0))
    sigma = np.where(visible, levels.sigma, 0.0).astype(np.float32)
    noise = rng.standard_normal(coords.shape, dtype=np.float32)
    positions = np.where(visible[..., None], coords + sigma[..., None] * noise, 0.0)
    atom_token = features["mol_type"] == MolType.ATOM
    chemistry = atom_token & ~hide
    num_properties = len(features["prop"])
    give = levels.give_property
    if give is None:
        give = np.zeros(num_properties, bool)
    given = give & (features["prop_mask"] > 0)
    inputs = {
        "token_mask": features["token_mask"].astype(np.float32),
        "mol_type": features["mol_type"].astype(np.int32),
        "token": np.where(hide, MASK_ID, features["restype"]).astype(np.int32),
        "res_index": res_index,
        "chain_id": np.where(real, features["chain_id"], -1).astype(np.int32),
        "entity_id": np.where(real, features["entity_id"], -1).astype(np.int32),
        "charge": np.where(chemistry, features["atom_charge"][:, 1], 0).astype(np.float32),
        "chirality": np.where(chemistry, features["chirality"][:, 1], 0).astype(np.int32),
        "bond": features["bond"].astype(np.int32),
        "topology": features["topology"].astype(np.int32),
        "atom_visible": visible.astype(np.float32),
        "positions": positions.astype(np.float32),
        "sigma": sigma,
        "prop_value": np.where(given, features["prop"], 0.0).astype(np.float32),
        "prop_given": given.astype(np.float32),
    }
    targets = {
        "restype": features["restype"].astype(np.int32),
        "restype_weight": hide.astype(np.float32),
        "coords": coords,
        "coord_weight": (known & (sigma > 0)).astype(np.float32),
        "align": np.float32(free),
        "prop": np.where(features["prop_mask"] > 0, features["prop"], 0.0).astype(np.float32),
        "prop_weight": ((features["prop_mask"] > 0) & ~given).astype(np.float32),
        "token_label": features["token_label"].astype(np.int32),
        "token_label_weight": ((features["token_label"] >= 0) & real[:, None]).astype(np.float32),
    }
    return inputs, targets


def stack(
    rows: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]],
) -> tuple[Inputs, Targets]:
    """Rows of equal length to one batch."""
    inputs = {name: np.stack([row[0][name] for row in rows]) for name in rows[0][0]}
    targets = {name: np.stack([row[1][name] for row in rows]) for name in rows[0][1]}
    return Inputs(**inputs), Targets(**targets)
