"""Residues and components to the tokens of a ``Complex``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from biomol.chem.ccd import Component, element_symbol
from biomol.chem.standard import mol_type_of, reference_slots, slot_of
from biomol.chem.vocab import (
    ELEMENTS,
    NUM_SLOTS,
    OTHER_ELEMENT,
    REPRESENTATIVE_SLOT,
    TOKEN_ID,
    MolType,
)
from biomol.data.complex import Complex
from scimind.typing import Float

Place = tuple[int, int]
"""Token and slot of an atom."""


@dataclass
class TokenBuilder:
    """Collects tokens, atoms and bonds, then makes the record.

    ``add_standard`` and ``add_component`` return where each atom went, by its name.
    """

    rows: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    standard: list[tuple[int, str]] = field(default_factory=list)
    single: list[tuple[int, str, int, int, int, np.ndarray]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    b_factors: list[np.ndarray] = field(default_factory=list)
    bonds: dict[tuple[int, int, int, int], int] = field(default_factory=dict)

    def _token(
        self,
        mol_type: int,
        restype: int,
        index: int,
        chain: int,
        entity: int,
        name: str,
        number: str,
    ) -> int:
        self.rows.append((mol_type, restype, index, chain, entity))
        self.names.append(name)
        self.numbers.append(number)
        return len(self.rows) - 1

    def add_standard(
        self, code: str, *, index: int, chain: int, entity: int, number: str
    ) -> dict[str, Place]:
        """A standard residue or nucleotide as one token.

        Args:
            code: Standard code of ``vocab.SLOT_NAMES``.
            index: Position along the full sequence.
            chain: Chain index.
            entity: Entity index.
            number: Number for output.
        """
        token = self._token(
            int(mol_type_of(code)), TOKEN_ID[code], index, chain, entity, code, number
        )
        self.standard.append((token, code))
        return {name: (token, slot) for name, slot in slot_of(code).items()}

    def add_component(
        self, entry: Component, *, index: int, chain: int, entity: int, number: str
    ) -> dict[str, Place]:
        """Anything else as one token per atom, with its bonds."""
        tokens = []
        for i, name in enumerate(entry.atom_names):
            element = int(entry.elements[i])
            token = self._token(
                int(MolType.ATOM), element_token(element), index, chain, entity, entry.code, number
            )
            self.single.append(
                (
                    token,
                    name,
                    element,
                    int(entry.charges[i]),
                    int(entry.chirality[i]),
                    entry.positions[i],
                )
            )
            tokens.append(token)
        slot = REPRESENTATIVE_SLOT
        for i, j, order in entry.bonds.tolist():
            self.add_bond((tokens[i], slot), (tokens[j], slot), order)
        return {name: (token, slot) for name, token in zip(entry.atom_names, tokens, strict=True)}

    def set_positions(
        self,
        places: Sequence[Place],
        xyz: Float[np.ndarray, "atom 3"],
        b_factors: Float[np.ndarray, " atom"],
    ) -> None:
        """Give atoms their positions and B factors."""
        self.places += places
        self.positions.append(xyz)
        self.b_factors.append(b_factors)

    def add_bond(self, first: Place, second: Place, order: int = 1) -> None:
        """Record a bond once; the first order given stands."""
        if first != second:
            low, high = sorted((first, second))
            self.bonds.setdefault((*low, *high), order)

    def build(
        self, *, name: str, source: str, chain_names: Sequence[str]
    ) -> tuple[Complex, np.ndarray]:
        """The finished record and the B factor of each atom slot."""
        count = len(self.rows)
        columns = np.array(self.rows, np.int32).reshape(count, 5).T
        shape = (count, NUM_SLOTS)
        mask = np.zeros(shape, bool)
        element, charge, chirality = (np.zeros(shape, np.int32) for _ in range(3))
        width = max((len(atom[1]) for atom in self.single), default=0)
        atom_name = np.full(shape, "", dtype=f"<U{max(4, width)}")
        ref_pos, coords = (np.zeros((*shape, 3), np.float32) for _ in range(2))
        coord_mask, b_factor = np.zeros(shape, bool), np.zeros(shape, np.float32)
        for token, code in self.standard:
            reference = reference_slots(code)
            mask[token], element[token], charge[token] = (
                reference.mask,
                reference.element,
                reference.charge,
            )
            chirality[token], atom_name[token] = reference.chirality, reference.names
            ref_pos[token] = reference.positions
        slot = REPRESENTATIVE_SLOT
        for token, atom, number, atom_charge, label, position in self.single:
            mask[token, slot], atom_name[token, slot] = True, atom
            element[token, slot], charge[token, slot] = number, atom_charge
            chirality[token, slot], ref_pos[token, slot] = label, position
        if self.places:
            tokens, slots = np.array(self.places).T
            coords[tokens, slots] = np.concatenate(self.positions)
            coord_mask[tokens, slots] = True
            b_factor[tokens, slots] = np.concatenate(self.b_factors)
        bonds = np.array([(*k, order) for k, order in sorted(self.bonds.items())], np.int32)
        record = Complex(
            name=name,
            source=source,
            mol_type=columns[0],
            restype=columns[1],
            res_index=columns[2],
            chain_id=columns[3],
            entity_id=columns[4],
            atom_mask=mask,
            atom_element=element,
            atom_charge=charge,
            atom_name=atom_name,
            ref_pos=ref_pos,
            coords=coords,
            coord_mask=coord_mask,
            chirality=chirality,
            bonds=bonds.reshape(-1, 5),
            chain_names=tuple(chain_names),
            residue_names=tuple(self.names),
            residue_numbers=tuple(self.numbers),
        )
        return record, b_factor


def element_token(number: int) -> int:
    """Token of a single atom of an element."""
    symbol = element_symbol(number)
    return TOKEN_ID[f"@{symbol}" if symbol in ELEMENTS else f"@{OTHER_ELEMENT}"]


def connected_groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components of a graph, each sorted, in order of their first member."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())
