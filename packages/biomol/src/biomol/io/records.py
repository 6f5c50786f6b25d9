"""What a structure file says, before any interpretation: one row per atom record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from biomol.chem.ccd import Component
from scimind.typing import Bool, Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class AtomTable:
    """The atom records of a file in file order, models and alternatives included.

    Attributes:
        model: Ordinal of the model, from 0.
        hetero: HETATM instead of ATOM.
        name: Atom name.
        altloc: Label of the alternative position, "" if none.
        comp: Residue or component name.
        chain: Key of the chain: ``label_asym_id``, or the chain column of a PDB file.
        author_chain: Chain name that people use.
        seq: ``label_seq_id``, 0 where there is none.
        number: Author residue number.
        insertion: Insertion code, "" if none.
        element: Atomic number, 0 if unknown.
        xyz: Position in angstrom; NaN where the file gives none.
        occupancy: Occupancy, 1 where the file gives none.
        b_factor: Temperature factor or confidence, 0 where the file gives none.
        charge: Formal charge.
        serial: Serial number of the atom in a PDB file, 0 otherwise.
        ter: TER records of its chain that still follow the atom, -1 if the chain has none.
        line: One-based line (PDB) or row (mmCIF).
    """

    model: Int[np.ndarray, " atom"]
    hetero: Bool[np.ndarray, " atom"]
    name: np.ndarray
    altloc: np.ndarray
    comp: np.ndarray
    chain: np.ndarray
    author_chain: np.ndarray
    seq: Int[np.ndarray, " atom"]
    number: Int[np.ndarray, " atom"]
    insertion: np.ndarray
    element: Int[np.ndarray, " atom"]
    xyz: Float[np.ndarray, "atom 3"]
    occupancy: Float[np.ndarray, " atom"]
    b_factor: Float[np.ndarray, " atom"]
    charge: Int[np.ndarray, " atom"]
    serial: Int[np.ndarray, " atom"]
    ter: Int[np.ndarray, " atom"]
    line: Int[np.ndarray, " atom"]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class AtomKey:
    """Address of an atom in a link record; ``seq`` is used when ``number`` is None."""

    chain: str
    comp: str
    number: int | None
    insertion: str
    seq: int
    name: str


@dataclass(frozen=True)
class Link:
    """A covalent link declared by the file."""

    first: AtomKey
    second: AtomKey


@dataclass(frozen=True)
class Operator:
    """A rigid motion: ``x -> rotation @ x + translation``."""

    name: str
    rotation: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True)
class AssemblyPart:
    """Chains of an assembly with the operators that copy them."""

    chains: tuple[str, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FileRecords:
    """Contents of one structure (one data block or PDB file).

    Attributes:
        name: Identifier of the structure.
        source: File it came from.
        atoms: Atom records.
        sequences: Full sequence (component names) of each polymer chain, by chain key.
        polymer: Whether the chain of a key is a polymer, where the file says so.
        links: Declared covalent links, metal coordination and hydrogen bonds excluded.
        contacts: ``CONECT`` pairs of serial numbers, in the direction given, with how often they
            are given: programs write a double bond twice.
        components: Definitions of components given in the file itself.
        assemblies: Reads the assemblies by name, on demand.
        chains_by_author: Assemblies name chains by author name instead of chain key.
        notes: Remarks for the user that arose while reading.
    """

    name: str
    source: str
    atoms: AtomTable
    sequences: Mapping[str, tuple[str, ...]]
    polymer: Mapping[str, bool]
    links: tuple[Link, ...]
    contacts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    components: Mapping[str, Component] = field(default_factory=dict)
    assemblies: Callable[[], Mapping[str, tuple[AssemblyPart, ...]]] = dict
    chains_by_author: bool = False
    notes: tuple[str, ...] = ()
