"""Atoms and bonds of a component as it occurs in a structure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from biomol.chem.ccd import Component, find_component
from biomol.chem.perception import perceive_component
from biomol.io.records import FileRecords
from biomol.io.residues import Residue

# Names that programs give to any ligand; their dictionary entries are particular molecules.
_PLACEHOLDERS = frozenset(("LIG", "UNL", "UNX", "UNK", "DRG", "INH", "MOL", "XXX", "UN1", "000"))
_MAX_BOND_ANGSTROM = 2.6
_MIN_PLAUSIBLE_BONDS = 0.9


def match_component(
    records: FileRecords, residue: Residue, *, hydrogens: bool
) -> tuple[Component, Mapping[str, str], str]:
    """The chemistry of a residue that is not a standard one.

    A definition in the file comes first, then the dictionary, if the atoms carry its names and
    its bonds have the length of bonds; otherwise bonds are found from the distances.

    Args:
        records: Contents of the file.
        residue: Residue with the rows of its atoms.
        hydrogens: Keep hydrogens.

    Returns:
        The component, the component's name of each atom of the residue, and a remark for the
        user ("" if the component was known).
    """
    placeholder = residue.comp in _PLACEHOLDERS
    candidates = [
        records.components.get(residue.comp),
        None if placeholder else find_component(residue.comp),
    ]
    for candidate in candidates:
        if candidate is None or (len(candidate.atom_names) > 1 and not len(candidate.bonds)):
            continue
        entry = candidate if hydrogens else candidate.heavy()
        for names in (entry.atom_names, entry.alt_names):
            renamed = dict(zip(names, entry.atom_names, strict=True))
            if set(residue.atoms) <= set(renamed) and _is_plausible(
                records, residue, entry, renamed
            ):
                return entry, {name: renamed[name] for name in residue.atoms}, ""
    rows = list(residue.atoms.values())
    names = list(residue.atoms)
    contacts = _contacts(records, rows)
    entry = perceive_component(
        residue.comp,
        names,
        records.atoms.element[rows],
        records.atoms.charge[rows],
        records.atoms.xyz[rows],
        contacts,
    )
    known = "is not in the dictionary" if candidates == [None, None] else "has other atom names"
    origin = "CONECT records" if contacts else "distances"
    return (
        entry,
        {name: name for name in names},
        (f"{residue.label}: component {known}; its bonds were taken from {origin}"),
    )


def _is_plausible(
    records: FileRecords, residue: Residue, entry: Component, renamed: Mapping[str, str]
) -> bool:
    row_of = {renamed[name]: row for name, row in residue.atoms.items()}
    index = {name: i for i, name in enumerate(entry.atom_names)}
    for name, row in row_of.items():
        given = int(records.atoms.element[row])
        if given and given != int(entry.elements[index[name]]):
            return False
    lengths = [
        float(
            np.linalg.norm(
                records.atoms.xyz[row_of[entry.atom_names[i]]]
                - records.atoms.xyz[row_of[entry.atom_names[j]]]
            )
        )
        for i, j, _ in entry.bonds.tolist()
        if entry.atom_names[i] in row_of and entry.atom_names[j] in row_of
    ]
    plausible = sum(length < _MAX_BOND_ANGSTROM for length in lengths)
    return plausible >= _MIN_PLAUSIBLE_BONDS * len(lengths)


def _contacts(records: FileRecords, rows: list[int]) -> dict[tuple[int, int], int]:
    place = {int(records.atoms.serial[row]): i for i, row in enumerate(rows)}
    out = {}
    for (first, second), order in records.contacts.items():
        if first in place and second in place:
            out[place[first], place[second]] = min(order, 3)
    return out


def without_leaving(entry: Component, present: set[str], linked: bool) -> Component:
    """Drop the atoms that left when the component was linked, unless the file has them.

    Args:
        entry: Component.
        present: Atoms that the file has.
        linked: It is part of a chain or covalently linked.
    """
    if not linked:
        return entry
    keep = np.array(
        [
            not leaves or name in present
            for leaves, name in zip(entry.leaving, entry.atom_names, strict=True)
        ]
    )
    return entry if keep.all() else entry.select(keep)
