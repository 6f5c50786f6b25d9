"""Chemical components: atoms, bonds and ideal coordinates from the dictionary shipped with biotite.

The Chemical Component Dictionary (CCD, Westbrook et al. 2015) is a file inside the biotite
package, so no download is needed. Loading it takes about two seconds, once per process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import gemmi
import numpy as np

from scimind.errors import InputError
from scimind.typing import Bool, Float, Int

AROMATIC = 4
"""Bond order of an aromatic bond; 1, 2 and 3 are the usual ones."""

CHIRALITY = {"R": 1, "S": 2}
"""CIP label to the code used in ``Complex.chirality``; everything else is 0."""

PLACEHOLDER_NAMES = frozenset(
    ("LIG", "UNL", "UNX", "UNK", "DRG", "INH", "MOL", "XXX", "UN1", "000")
)
"""Names that programs give to any ligand; their dictionary entries are particular molecules."""

_ORDERS = {"SING": 1, "DOUB": 2, "TRIP": 3, "QUAD": 3, "AROM": AROMATIC, "DELO": AROMATIC}


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """One entry of the dictionary, hydrogens included, in the order of the dictionary.

    Attributes:
        code: Component identifier, e.g. ``"HEM"``.
        name: Chemical name.
        type: CCD type, lower case, e.g. ``"l-peptide linking"``.
        parent: Standard residue it was made from, "" if none.
        replaced_by: Successor of an obsolete entry, "" if none.
        atom_names: Names in dictionary order.
        alt_names: Names before the remediation of 2007.
        elements: Atomic numbers.
        charges: Formal charges.
        positions: Ideal coordinates in angstrom (deposited model coordinates where the ideal
            ones are missing); all zero when neither is known, see ``has_positions``.
        has_positions: The coordinates are real ones.
        leaving: Atoms that go when the component is linked to another.
        chirality: CIP label, 0 none, 1 R, 2 S.
        bonds: ``(i, j, order)``, order 1, 2, 3 or 4 (aromatic).
        kekule_orders: The same orders with aromatic bonds written as 1 and 2.
    """

    code: str
    name: str
    type: str
    parent: str
    replaced_by: str
    atom_names: tuple[str, ...]
    alt_names: tuple[str, ...]
    elements: Int[np.ndarray, " atom"]
    charges: Int[np.ndarray, " atom"]
    positions: Float[np.ndarray, "atom 3"]
    has_positions: bool
    leaving: Bool[np.ndarray, " atom"]
    chirality: Int[np.ndarray, " atom"]
    bonds: Int[np.ndarray, "bond 3"]
    kekule_orders: Int[np.ndarray, " bond"]

    @property
    def is_peptide(self) -> bool:
        """It can be part of a protein chain (terminal caps included)."""
        return "peptide" in self.type and self.type != "peptide-like"

    @property
    def is_nucleotide(self) -> bool:
        """It can be part of an RNA or DNA chain."""
        return "rna" in self.type or "dna" in self.type

    @property
    def is_saccharide(self) -> bool:
        """It is a sugar."""
        return "saccharide" in self.type

    def select(self, keep: Bool[np.ndarray, " atom"]) -> Component:
        """The component restricted to some atoms, with the bonds among them.

        Args:
            keep: True for each atom to keep.

        Returns:
            A component with the kept atoms in the same order.
        """
        index = np.cumsum(keep) - 1
        kept = keep[self.bonds[:, 0]] & keep[self.bonds[:, 1]]
        bonds = self.bonds[kept].copy()
        bonds[:, :2] = index[bonds[:, :2]]
        return Component(
            code=self.code,
            name=self.name,
            type=self.type,
            parent=self.parent,
            replaced_by=self.replaced_by,
            atom_names=tuple(n for n, k in zip(self.atom_names, keep, strict=True) if k),
            alt_names=tuple(n for n, k in zip(self.alt_names, keep, strict=True) if k),
            elements=self.elements[keep],
            charges=self.charges[keep],
            positions=self.positions[keep],
            has_positions=self.has_positions,
            leaving=self.leaving[keep],
            chirality=self.chirality[keep],
            bonds=bonds,
            kekule_orders=self.kekule_orders[kept],
        )

    def heavy(self) -> Component:
        """The component without hydrogens."""
        return self.select(self.elements > 1)


@lru_cache(maxsize=256)
def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol in any case; 1 for deuterium, 0 if unknown.

    Args:
        symbol: Element symbol such as ``"SE"``.
    """
    number: int = gemmi.Element(symbol.strip()).atomic_number
    return number


@lru_cache(maxsize=256)
def element_symbol(number: int) -> str:
    """Element symbol of an atomic number, ``"X"`` for 0."""
    name: str = gemmi.Element(int(number)).name
    return name


class _Table:
    """Columns of one dictionary category, decoded on first use, with the rows of each code."""

    def __init__(self, category: str, key: str) -> None:
        from biotite.structure.info import get_ccd

        self._category = get_ccd()[category]
        codes = self.column(key)
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        stops = np.r_[starts[1:], len(codes)]
        self.rows: dict[str, slice] = {
            str(codes[start]): slice(int(start), int(stop))
            for start, stop in zip(starts, stops, strict=True)
        }

    @cache  # noqa: B019  (three tables that live as long as the process)
    def column(self, name: str) -> Any:
        return self._category[name].as_array()

    @cache  # noqa: B019
    def numbers(self, name: str) -> Any:
        """A float column with NaN where the value is absent."""
        column = self._category[name]
        values = np.array(column.data.array, dtype=np.float32)
        if column.mask is not None:
            values[column.mask.array != 0] = np.nan
        return values

    def __getitem__(self, key: tuple[str, slice]) -> Any:
        return self.column(key[0])[key[1]]


@lru_cache(maxsize=1)
def _tables() -> tuple[_Table, _Table, _Table]:
    return (
        _Table("chem_comp", "id"),
        _Table("chem_comp_atom", "comp_id"),
        _Table("chem_comp_bond", "comp_id"),
    )


def component_codes() -> Iterator[str]:
    """Codes of every component of the dictionary, in its order."""
    yield from _tables()[0].rows


def component(code: str) -> Component:
    """The component of a code.

    Args:
        code: Identifier, e.g. ``"HEM"``; case matters as in the dictionary (upper case).

    Returns:
        The dictionary entry.

    Raises:
        InputError: There is no such component.
    """
    found = find_component(code)
    if found is None:
        raise InputError(
            f"component {code!r} is not in the Chemical Component Dictionary; "
            "check the code or give the ligand as SMILES or SDF",
            rule="ccd.unknown",
        )
    return found


@lru_cache(maxsize=4096)
def find_component(code: str) -> Component | None:
    """The component of a code, or None when the dictionary does not have it or its atoms."""
    entries, atoms, bonds = _tables()
    if code not in entries.rows or code not in atoms.rows:
        return None
    row, rows = entries.rows[code].start, atoms.rows[code]
    names = [str(name) for name in atoms["atom_id", rows]]
    # The dictionary marks a few obsolete entries with empty atom names.
    positions, has_positions = _positions(atoms, rows)
    pairs, kekule = _bonds(bonds, code, names)
    return Component(
        code=code,
        name=str(entries.column("name")[row]),
        type=str(entries.column("type")[row]).lower(),
        parent=str(entries.column("mon_nstd_parent_comp_id")[row]).split(",")[0].strip(" ?."),
        replaced_by=str(entries.column("pdbx_replaced_by")[row]).split(",")[0].strip(" ?."),
        atom_names=tuple(names),
        alt_names=tuple(str(name) for name in atoms["alt_atom_id", rows]),
        elements=np.array([atomic_number(str(s)) for s in atoms["type_symbol", rows]], np.int32),
        charges=np.asarray(atoms["charge", rows]).astype(np.int32),
        positions=positions,
        has_positions=has_positions,
        leaving=np.asarray(atoms["pdbx_leaving_atom_flag", rows] == "Y"),
        chirality=np.array(
            [CHIRALITY.get(str(label), 0) for label in atoms["pdbx_stereo_config", rows]], np.int32
        ),
        bonds=pairs,
        kekule_orders=kekule,
    )


def _positions(atoms: _Table, rows: slice) -> tuple[np.ndarray, bool]:
    heavy = ~np.isin(atoms["type_symbol", rows], ("H", "D"))
    for prefix in ("pdbx_model_Cartn_{}_ideal", "model_Cartn_{}"):
        found = np.stack([atoms.numbers(prefix.format(axis))[rows] for axis in "xyz"], axis=-1)
        known = np.isfinite(found).all(axis=-1)
        distinct = len(np.unique(found[heavy & known].round(2), axis=0)) == int(heavy.sum())
        if known[heavy].all() and distinct:
            # A hydrogen without coordinates is put at the origin; nothing reads it.
            return np.where(known[:, None], found, 0.0).astype(np.float32), True
    return np.zeros((rows.stop - rows.start, 3), np.float32), False


def _bonds(bonds: _Table, code: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    if code not in bonds.rows:
        return np.zeros((0, 3), np.int32), np.zeros(0, np.int32)
    rows = bonds.rows[code]
    index = {name: i for i, name in enumerate(names)}
    pairs, kekule = [], []
    for first, second, order, aromatic in zip(
        bonds["atom_id_1", rows],
        bonds["atom_id_2", rows],
        bonds["value_order", rows],
        bonds["pdbx_aromatic_flag", rows],
        strict=True,
    ):
        if first not in index or second not in index:
            continue
        plain = _ORDERS.get(str(order).upper(), 1)
        pairs.append((index[first], index[second], AROMATIC if aromatic == "Y" else plain))
        kekule.append(plain)
    return np.array(pairs, np.int32).reshape(-1, 3), np.array(kekule, np.int32)
