"""The typed record that every reader produces: one complex, tokenised."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scimind.typing import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Complex:
    """One molecule or assembly as tokens with ``NUM_SLOTS`` atom slots each (see ``chem.vocab``).

    A record may lack any modality: without coordinates ``coord_mask`` is all false, a pure
    structure has no ``properties``. Coordinates and reference positions are in angstrom.

    Attributes:
        name: Identifier shown in reports and output files.
        source: File (and record) it came from.
        mol_type: ``MolType`` of each token.
        restype: Identity, an index into ``vocab.TOKENS``.
        res_index: Residue number within its chain, counted from 0 along the *full* sequence, so
            an unresolved loop leaves a gap; 0 for ligand atoms.
        chain_id: Index of the chain (or ligand copy) within the complex.
        entity_id: Index of the chemically distinct entity; copies share it.
        atom_mask: The atom exists chemically.
        atom_element: Atomic number, 0 in empty slots.
        atom_charge: Formal charge.
        atom_name: Atom name as in the CCD or the input file, "" in empty slots.
        ref_pos: Idealised conformer: one frame per residue or per ligand, arbitrary pose.
        coords: Positions, 0 where unresolved.
        coord_mask: The position is known.
        chirality: 0 none, 1 clockwise, 2 anticlockwise (CIP R, S) of the atom.
        bonds: ``(i, slot_i, j, slot_j, order)`` for ligand bonds and covalent links between
            tokens other than the polymer backbone; order 1, 2, 3 or 4 (aromatic).
        chain_names: Chain name of the input file per ``chain_id``.
        residue_names: Residue or component name of each token, for output.
        residue_numbers: Number (with insertion code) of the input file, for output.
        properties: Scalar labels by property name, in their own units.
        token_labels: Per-token class labels by name, -1 where unknown.
    """

    name: str
    source: str
    mol_type: Int[np.ndarray, " token"]
    restype: Int[np.ndarray, " token"]
    res_index: Int[np.ndarray, " token"]
    chain_id: Int[np.ndarray, " token"]
    entity_id: Int[np.ndarray, " token"]
    atom_mask: Bool[np.ndarray, "token slot"]
    atom_element: Int[np.ndarray, "token slot"]
    atom_charge: Int[np.ndarray, "token slot"]
    atom_name: np.ndarray
    ref_pos: Float[np.ndarray, "token slot 3"]
    coords: Float[np.ndarray, "token slot 3"]
    coord_mask: Bool[np.ndarray, "token slot"]
    chirality: Int[np.ndarray, "token slot"]
    bonds: Int[np.ndarray, "bond 5"]
    chain_names: tuple[str, ...] = ()
    residue_names: tuple[str, ...] = ()
    residue_numbers: tuple[str, ...] = ()
    properties: dict[str, float] = field(default_factory=dict)
    token_labels: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return int(self.restype.shape[0])
