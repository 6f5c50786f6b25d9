"""Chains of residues to one complex: tokens, entities, covalent links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy.spatial import cKDTree

from biomol.chem.ccd import Component, find_component
from biomol.chem.standard import (
    is_ambiguous_nucleotide,
    nucleotide_code,
    protein_code,
    standard_atom_name,
)
from biomol.chem.vocab import UNKNOWN_DNA, UNKNOWN_PROTEIN, UNKNOWN_RNA
from biomol.data.complex import Complex
from biomol.io.ligand_atoms import match_component, without_leaving
from biomol.io.records import AtomKey, FileRecords
from biomol.io.residues import NO_SLOT, ChainResidues, Ledger, Residue, is_known_residue
from biomol.io.sequence import Position, place_residues
from biomol.io.tokens import Place, TokenBuilder, connected_groups
from scimind.errors import InputError

_DISULFIDE_ANGSTROM = 2.3
_LINK_ANGSTROM = 1.75
_OVERLAP_ANGSTROM = 0.9
_NON_METALS = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53))


@dataclass(frozen=True, eq=False)
class AssembledComplex:
    """A complex with what is needed to report and expand it."""

    record: Complex
    b_factor: np.ndarray
    chain_keys: tuple[str, ...]
    author_chains: tuple[str, ...]
    notes: tuple[str, ...]


def assemble_complex(
    records: FileRecords,
    chains: list[ChainResidues],
    ledger: Ledger,
    *,
    hydrogens: bool,
    strict: bool,
) -> AssembledComplex:
    """Tokens of all chains: polymers first, then ligands, each in file order.

    Args:
        records: Contents of the file.
        chains: Residues of each chain.
        ledger: Receives atoms without a slot.
        hydrogens: Keep hydrogens of components.
        strict: Refuse polymer residues of unknown name instead of reading them as unknown.

    Raises:
        InputError: No atom is left, a declared polymer chain has none, or a residue is unknown.
    """
    return _Assembler(records, ledger, hydrogens, strict).run(chains)


class _Address(TypedDict):
    index: int
    chain: int
    entity: int
    number: str


class _Assembler:
    def __init__(self, records: FileRecords, ledger: Ledger, hydrogens: bool, strict: bool) -> None:
        self.records, self.ledger = records, ledger
        self.atoms = records.atoms
        self.hydrogens, self.strict = hydrogens, strict
        self.builder = TokenBuilder()
        self.places: dict[int, dict[str, Place]] = {}  # by id of the residue
        self.by_key: dict[tuple[str, int, str, str], Residue] = {}
        self.by_seq: dict[tuple[str, int, str], Residue] = {}
        self.entities: dict[object, int] = {}
        self.chain_keys: list[str] = []
        self.chain_names: list[str] = []
        self.notes: list[str] = []
        self.open_ends: list[tuple[Residue, str]] = []

    def run(self, chains: list[ChainResidues]) -> AssembledComplex:
        self._check_chains(chains)
        for chain in chains:
            for residue in (*chain.polymer, *chain.others):
                key = (chain.key, residue.number, residue.insertion, residue.comp)
                self.by_key.setdefault(key, residue)
                if residue.seq:
                    self.by_seq.setdefault((chain.key, residue.seq, residue.comp), residue)
        links = list(self._declared_links())
        linked = {id(r) for a, _, b, _ in links for r in (a, b)}
        for chain in chains:
            if chain.polymer:
                self._add_polymer(chain, linked)
        others = [residue for chain in chains for residue in chain.others]
        others.sort(key=lambda residue: min(residue.atoms.values()))
        self._add_others(others, links, linked)
        for first, first_atom, second, second_atom in links:
            a = self.places[id(first)].get(first_atom)
            b = self.places[id(second)].get(second_atom)
            if a is not None and b is not None and not self._is_backbone(a, b):
                self.builder.add_bond(a, b)
        self._add_disulfides()
        record, b_factor = self.builder.build(
            name=self.records.name, source=self.records.source, chain_names=self.chain_names
        )
        return AssembledComplex(
            record, b_factor, tuple(self.chain_keys), tuple(self.chain_names), tuple(self.notes)
        )

    def _check_chains(self, chains: list[ChainResidues]) -> None:
        source = self.records.source
        if not any(chain.polymer or chain.others for chain in chains):
            raise InputError(
                "no atom is left after waters, hydrogens and atoms without position",
                path=source,
                rule="structure.empty",
            )
        resolved = {chain.key.split("#")[0] for chain in chains if chain.polymer}
        for key, sequence in self.records.sequences.items():
            if key not in resolved and self.records.polymer.get(key, True):
                raise InputError(
                    f"chain {key or 'without name'!r} is declared with {len(sequence)} residues "
                    "and has no atoms; remove it from SEQRES or _struct_asym, or add its atoms",
                    path=source,
                    rule="structure.empty_chain",
                )

    # Polymers ------------------------------------------------------------------------------

    def _add_polymer(self, chain: ChainResidues, linked: set[int]) -> None:
        sequence = self.records.sequences.get(chain.key.split("#")[0], ())
        positions, note = place_residues(self.atoms, chain.polymer, sequence)
        if note:
            self.notes.append(f"chain {chain.author_chain}: {note}; the numbering was used")
        deoxy = self._is_deoxy(positions)
        codes = [self._standard_code(p, positions, deoxy) for p in positions]
        names = tuple((p.index, code or p.comp) for p, code in zip(positions, codes, strict=True))
        index = len(self.chain_keys)
        entity = self.entities.setdefault(("polymer", names), len(self.entities))
        self.chain_keys.append(chain.key.split("#")[0])
        self.chain_names.append(chain.author_chain)
        before: tuple[Position, str | None, dict[str, Place]] | None = None
        for position, code in zip(positions, codes, strict=True):
            number = self._number(position, chain)
            arguments = _Address(index=position.index, chain=index, entity=entity, number=number)
            if code is not None:
                places = self.builder.add_standard(code, **arguments)
                if position.residue is not None:
                    self._place_standard(code, position.residue, places)
            else:
                places = self._add_modified(position, chain, arguments)
            if before is not None and before[0].index + 1 == position.index:
                self._join(before, (position, code, places))
            before = (position, code, places)

    def _number(self, position: Position, chain: ChainResidues) -> str:
        residue = position.residue
        if residue is not None:
            return f"{residue.number}{residue.insertion}"
        return ""

    def _is_deoxy(self, positions: list[Position]) -> bool:
        """Whether nucleotides with names that leave the sugar open are DNA."""
        ribose = deoxyribose = 0
        for position in positions:
            residue = position.residue
            if residue is None or not is_ambiguous_nucleotide(position.comp):
                continue
            names = {name.replace("*", "'") for name in residue.atoms}
            if "O2'" in names:
                ribose += 1
            elif "C2'" in names:
                deoxyribose += 1
        if ribose or deoxyribose:
            return deoxyribose > ribose
        comps = {position.comp for position in positions}
        return bool(comps & {"T", "THY", "DA", "DC", "DG", "DT"}) and not comps & {"U", "URA"}

    def _standard_code(
        self, position: Position, positions: list[Position], deoxy: bool
    ) -> str | None:
        comp = position.comp
        code = protein_code(comp) or nucleotide_code(comp, deoxy=deoxy)
        if code is not None:
            return code
        residue = position.residue
        if residue is not None and is_known_residue(self.records, residue):
            return None
        if residue is None and (find_component(comp) or comp in self.records.components):
            return None
        where = residue.label if residue is not None else f"position {position.index + 1}"
        if self.strict:
            row = next(iter(residue.atoms.values())) if residue is not None else None
            raise InputError(
                f"residue {comp!r} ({where}) is neither a standard residue nor in the Chemical "
                "Component Dictionary; correct the name, or read it as an unknown residue with "
                "unknown_residues='unknown'",
                path=self.records.source,
                line=None if row is None else int(self.atoms.line[row]),
                rule="structure.unknown_residue",
            )
        self.notes.append(f"{where}: unknown residue {comp}")
        kinds = [protein_code(p.comp) for p in positions]
        if any(kinds):
            return UNKNOWN_PROTEIN
        nucleic = any(nucleotide_code(p.comp, deoxy=deoxy) for p in positions)
        if nucleic:
            return UNKNOWN_DNA if deoxy else UNKNOWN_RNA
        return UNKNOWN_PROTEIN

    def _place_standard(self, code: str, residue: Residue, places: dict[str, Place]) -> None:
        found: dict[str, Place] = {}
        taken: set[Place] = set()
        for name, row in residue.atoms.items():
            place = places.get(standard_atom_name(code, name))
            if place is None or place in taken:
                self.ledger.drop(row, NO_SLOT, f"{residue.comp} {name}")
                continue
            taken.add(place)
            found[name] = place
        self._set_positions(residue, found)

    def _set_positions(self, residue: Residue, found: dict[str, Place]) -> None:
        rows = [residue.atoms[name] for name in found]
        if rows:
            self.builder.set_positions(
                list(found.values()), self.atoms.xyz[rows], self.atoms.b_factor[rows]
            )
        self.places[id(residue)] = found

    def _add_modified(
        self, position: Position, chain: ChainResidues, arguments: _Address
    ) -> dict[str, Place]:
        residue = position.residue or Residue(
            position.comp, chain.key, chain.author_chain, 0, "", 0, True, False, False
        )
        return self._add_component(residue, linked=True, arguments=arguments)

    def _join(
        self,
        before: tuple[Position, str | None, dict[str, Place]],
        after: tuple[Position, str | None, dict[str, Place]],
    ) -> None:
        """Backbone bond to a modified residue, whose atoms are tokens of their own."""
        if before[1] is not None and after[1] is not None:
            return
        for left, right in (("C", "N"), ("O3'", "P")):
            if left in before[2] and right in after[2]:
                self.builder.add_bond(before[2][left], after[2][right])
                return

    # Components ------------------------------------------------------------------------------

    def _add_component(
        self, residue: Residue, *, linked: bool, arguments: _Address
    ) -> dict[str, Place]:
        entry, names, note = match_component(self.records, residue, hydrogens=self.hydrogens)
        if note:
            self.notes.append(note)
        entry = without_leaving(entry, set(names.values()), linked)
        return self._place_component(entry, residue, names, arguments)

    def _place_component(
        self,
        entry: Component,
        residue: Residue,
        names: Mapping[str, str],
        arguments: _Address,
    ) -> dict[str, Place]:
        places = self.builder.add_component(entry, **arguments)
        found = {name: places[names[name]] for name in residue.atoms}
        self._set_positions(residue, found)
        return places

    def _add_others(
        self,
        others: list[Residue],
        links: list[tuple[Residue, str, Residue, str]],
        linked: set[int],
    ) -> None:
        index = {id(residue): i for i, residue in enumerate(others)}
        matched = [match_component(self.records, r, hydrogens=self.hydrogens) for r in others]
        inferred = list(self._inferred_links(others, [m[0] for m in matched]))
        links.extend(inferred)
        linked |= {id(r) for a, _, b, _ in inferred for r in (a, b)}
        pairs = [
            (index[id(a)], index[id(b)])
            for a, _, b, _ in links
            if id(a) in index and id(b) in index
        ]
        for group in connected_groups(len(others), pairs):
            chain = len(self.chain_keys)
            entries = []
            for i in group:
                entry, names, note = matched[i]
                if note:
                    self.notes.append(note)
                entries.append(without_leaving(entry, set(names.values()), id(others[i]) in linked))
            key = tuple((e.code, e.atom_names if matched[i][2] else ()) for e, i in
                        zip(entries, group, strict=True))  # fmt: skip
            entity = self.entities.setdefault(("ligand", key), len(self.entities))
            first = others[group[0]]
            self.chain_keys.append(first.chain.split("#")[0])
            self.chain_names.append(first.author_chain)
            for entry, i in zip(entries, group, strict=True):
                residue = others[i]
                self._place_component(
                    entry,
                    residue,
                    matched[i][1],
                    _Address(
                        index=0,
                        chain=chain,
                        entity=entity,
                        number=f"{residue.number}{residue.insertion}",
                    ),
                )

    # Links -----------------------------------------------------------------------------------

    def _declared_links(self) -> Iterator[tuple[Residue, str, Residue, str]]:
        for link in self.records.links:
            first, second = self._find(link.first), self._find(link.second)
            if first is None or second is None or first is second:
                continue
            a, b = link.first.name, link.second.name
            if a not in first.atoms or b not in second.atoms:
                continue
            elements = {int(self.atoms.element[r.atoms[n]]) for r, n in ((first, a), (second, b))}
            if elements <= _NON_METALS and not self._overlap(first, a, second, b):
                yield first, a, second, b

    def _overlap(self, first: Residue, a: str, second: Residue, b: str) -> bool:
        """Two residues in one place are alternatives of each other and not bonded.

        Files exist that declare every short distance between them as a link.
        """
        rows = [[row for n, row in r.atoms.items() if n != skip]
                for r, skip in ((first, a), (second, b))]  # fmt: skip
        if not all(rows):
            return False
        left, right = (self.atoms.xyz[r] for r in rows)
        distance, _ = cKDTree(left).query(right)
        if float(distance.min()) >= _OVERLAP_ANGSTROM:
            return False
        note = f"{first.label} and {second.label} overlap: alternatives, not linked"
        if note not in self.notes:
            self.notes.append(note)
        return True

    def _find(self, key: AtomKey) -> Residue | None:
        if key.number is not None:
            found = self.by_key.get((key.chain, key.number, key.insertion, key.comp))
            if found is not None:
                return found
        return self.by_seq.get((key.chain, key.seq, key.comp))

    def _is_backbone(self, a: Place, b: Place) -> bool:
        """A link between consecutive standard residues that the sequence implies already."""
        rows = self.builder.rows
        (i, slot_i), (j, slot_j) = sorted((a, b))
        if rows[i][0] == 4 or rows[j][0] == 4 or rows[i][3] != rows[j][3]:
            return False
        if rows[j][2] - rows[i][2] != 1 or rows[i][0] != rows[j][0]:
            return False
        # C of slot 2 to N of slot 0 in proteins, O3' of slot 9 to P of slot 3 in nucleic acids.
        return (slot_i, slot_j) in ((2, 0), (9, 3))

    def _inferred_links(
        self, others: list[Residue], entries: list[Component]
    ) -> Iterator[tuple[Residue, str, Residue, str]]:
        """Bonds of sugars and peptides among ligands that the file does not declare.

        An atom whose leaving group is absent has a free valence; the closest nitrogen, oxygen or
        sulphur of another residue within 1.75 angstrom is what it is bonded to.
        """
        rows = [(r, n, row) for r in self.by_key.values() for n, row in r.atoms.items()]
        rows = [item for item in rows if int(self.atoms.element[item[2]]) in (7, 8, 16)]
        if not rows:
            return
        tree = cKDTree(self.atoms.xyz[[row for *_, row in rows]])
        for residue, entry in zip(others, entries, strict=True):
            for i, j, _ in entry.bonds.tolist():
                for anchor, gone in ((i, j), (j, i)):
                    name, absent = entry.atom_names[anchor], entry.atom_names[gone]
                    if not entry.leaving[gone] or entry.elements[gone] == 1:
                        continue
                    if name not in residue.atoms or absent in residue.atoms:
                        continue
                    xyz = self.atoms.xyz[residue.atoms[name]]
                    near = [
                        (float(np.linalg.norm(self.atoms.xyz[rows[k][2]] - xyz)), k)
                        for k in tree.query_ball_point(xyz, _LINK_ANGSTROM)
                        if rows[k][0] is not residue
                    ]
                    if near and min(near)[0] > 1.0:
                        other, atom, _ = rows[min(near)[1]]
                        if not self._overlap(residue, name, other, atom):
                            yield residue, name, other, atom

    def _add_disulfides(self) -> None:
        sulphurs = [
            (self.places[id(r)]["SG"], self.atoms.xyz[r.atoms["SG"]])
            for r in self.by_key.values()
            if "SG" in r.atoms and "SG" in self.places.get(id(r), {})
        ]
        if len(sulphurs) < 2:
            return
        tree = cKDTree(np.stack([xyz for _, xyz in sulphurs]))
        for i, j in tree.query_pairs(_DISULFIDE_ANGSTROM):
            if np.linalg.norm(sulphurs[i][1] - sulphurs[j][1]) > 1.0:
                self.builder.add_bond(sulphurs[i][0], sulphurs[j][0])
