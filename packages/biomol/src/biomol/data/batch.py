"""The static-shape batch: what the network sees and what it must predict."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from scimind.typing import Float, Int


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the network sees of B complexes padded to N tokens.

    Hidden information is absent here, not merely flagged: a token of hidden identity has the
    mask identity and shows only its backbone atoms, a noised atom shows only its noised position.

    Attributes:
        token_mask: 1 for real tokens.
        mol_type: ``MolType``; 0 for padding.
        token: Identity, ``MASK_ID`` where hidden.
        res_index: Residue number along the full sequence.
        chain_id: Chain index; -1 for padding.
        entity_id: Entity index; -1 for padding.
        charge: Formal charge of atom tokens.
        chirality: 0, 1 (R) or 2 (S) of atom tokens.
        bond: Bond between two tokens: 0 none, 1-4 single to aromatic, 5 polymer link.
        topology: Bonds between two atoms of one ligand along the shortest path, at most 8.
        atom_visible: 1 where the atom takes part in the structure track.
        positions: Noised or given positions of visible atoms, centred, angstrom.
        sigma: Standard deviation of the noise on each visible atom, angstrom; 0 where given.
        prop_value: Standardised property values used as a condition.
        prop_given: 1 where such a value is given.
    """

    token_mask: Float[np.ndarray, "batch token"]
    mol_type: Int[np.ndarray, "batch token"]
    token: Int[np.ndarray, "batch token"]
    res_index: Int[np.ndarray, "batch token"]
    chain_id: Int[np.ndarray, "batch token"]
    entity_id: Int[np.ndarray, "batch token"]
    charge: Float[np.ndarray, "batch token"]
    chirality: Int[np.ndarray, "batch token"]
    bond: Int[np.ndarray, "batch token token"]
    topology: Int[np.ndarray, "batch token token"]
    atom_visible: Float[np.ndarray, "batch token slot"]
    positions: Float[np.ndarray, "batch token slot 3"]
    sigma: Float[np.ndarray, "batch token slot"]
    prop_value: Float[np.ndarray, "batch property"]
    prop_given: Float[np.ndarray, "batch property"]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays in the order in which the network takes them."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What is to be predicted, with a weight for each quantity (0 where there is no label).

    Attributes:
        restype: True identity.
        restype_weight: Weight of each identity.
        coords: True positions, in the frame of ``Inputs.positions``.
        coord_weight: Weight of each atom.
        align: 1 where the prediction may be superposed before comparison (nothing was given).
        prop: Standardised values, or 0/1 labels.
        prop_weight: Weight of each value.
        token_label: Class of each token for each kind of label.
        token_label_weight: Weight of each.
    """

    restype: Int[np.ndarray, "batch token"]
    restype_weight: Float[np.ndarray, "batch token"]
    coords: Float[np.ndarray, "batch token slot 3"]
    coord_weight: Float[np.ndarray, "batch token slot"]
    align: Float[np.ndarray, " batch"]
    prop: Float[np.ndarray, "batch property"]
    prop_weight: Float[np.ndarray, "batch property"]
    token_label: Int[np.ndarray, "batch token label"]
    token_label_weight: Float[np.ndarray, "batch token label"]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays in the order in which the loss takes them."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and targets of one training step.

    Attributes:
        inputs: What the network sees.
        targets: What it must predict.
        tracks: Which parts of the network run: ``"sequence"`` (no coordinates), ``"geometry"``
            (coordinates are read, none are predicted) or ``"structure"`` (coordinates predicted).
        task: Name of the source, for logging.
    """

    inputs: Inputs
    targets: Targets
    tracks: str
    task: str
