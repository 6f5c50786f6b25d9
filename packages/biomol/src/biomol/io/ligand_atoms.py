"""Atoms and bonds of a component as it occurs in a structure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from biomol.chem.ccd import PLACEHOLDER_NAMES, Component, find_component
from biomol.chem.perception import MAX_BOND_ANGSTROM, UNKNOWN_TYPE, perceive_component
from biomol.io.records import FileRecords
from biomol.io.residues import Residue

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
    own = records.components.get(residue.comp)
    entry = None if residue.comp in PLACEHOLDER_NAMES else find_component(residue.comp)
    if own is not None and entry is not None and _is_part_of(own, entry):
        own = None  # the dictionary says the same and more: charges, stereochemistry
    candidates = [own, entry]
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
    own_names = list(residue.atoms)
    template = own or entry
    perceived = perceive_component(
        residue.comp,
        own_names,
        records.atoms.element[rows],
        records.atoms.charge[rows],
        records.atoms.xyz[rows],
        _contacts(records, rows),
        None if template is None else template if hydrogens else template.heavy(),
    )
    if perceived.type != UNKNOWN_TYPE:
        note = "its atoms have other names than in the dictionary and were matched by their bonds"
    else:
        origin = "the dictionary does not have it" if template is None else "its atoms do not match"
        note = f"{origin}; bonds were taken from distances (and CONECT records), orders are single"
    return perceived, {name: name for name in own_names}, f"{residue.label}: {note}"


def _is_part_of(own: Component, entry: Component) -> bool:
    """The heavy atoms and bonds of a definition are those of the dictionary, or fewer."""
    bonds = [
        {
            frozenset((c.atom_names[i], c.atom_names[j]))
            for i, j, _ in c.bonds.tolist()
            if c.elements[i] > 1 and c.elements[j] > 1
        }
        for c in (own, entry)
    ]
    heavy = own.heavy()
    elements = dict(zip(entry.atom_names, entry.elements.tolist(), strict=True))
    return bonds[0] <= bonds[1] and all(
        elements.get(name) == element
        for name, element in zip(heavy.atom_names, heavy.elements.tolist(), strict=True)
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
    if set(row_of) >= set(entry.heavy().atom_names) and len(row_of) > 3:
        return True  # every atom by name and element: a predicted pose may have any geometry
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
    plausible = sum(length < MAX_BOND_ANGSTROM for length in lengths)
    return plausible >= _MIN_PLAUSIBLE_BONDS * len(lengths)


def _contacts(records: FileRecords, rows: list[int]) -> dict[tuple[int, int], int]:
    place = {int(records.atoms.serial[row]): i for i, row in enumerate(rows)}
    out: dict[tuple[int, int], int] = {}
    for (first, second), order in records.contacts.items():
        if first in place and second in place and first != second:
            i, j = sorted((place[first], place[second]))
            out[i, j] = max(out.get((i, j), 1), min(order, 3))
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
