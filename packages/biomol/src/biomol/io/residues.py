"""Atom records to residues: hydrogens, waters and alternative positions set aside, chains split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from biomol.chem.ccd import PLACEHOLDER_NAMES, find_component
from biomol.chem.standard import is_standard_name
from biomol.io.records import AtomTable, FileRecords
from scimind.typing import Bool

WATER_NAMES = frozenset(("HOH", "DOD", "WAT", "H2O", "TIP", "TIP3", "TIP4", "SOL", "OH2", "TP3"))
CAP_NAMES = frozenset(("ACE", "NME", "NMA", "NH2", "FOR"))
"""Blocking groups at the ends of a chain, which the dictionary calls non-polymers."""

_BACKBONES = (frozenset(("N", "CA", "C")), frozenset(("C1'", "C3'", "C4'")))
_PEPTIDE_BOND_ANGSTROM = 1.8
_PHOSPHODIESTER_ANGSTROM = 2.1
_MAX_COORDINATE = 1e5

OTHER_MODEL = "other model"
NO_POSITION = "no position in the file"
WATER = "water"
HYDROGEN = "hydrogen"
ALTERNATIVE = "alternative position not chosen"
DUPLICATE = "atom given twice"
NO_SLOT = "terminal or extra atom that the residue has no slot for"
OTHER_CHAIN = "chain not asked for"


class Ledger:
    """What became of each atom record: kept, or set aside for one reason.

    Every record has exactly one fate, so kept plus dropped is the number of records.
    """

    def __init__(self, atoms: AtomTable) -> None:
        self._atoms = atoms
        self.fate: list[str | None] = [None] * len(atoms)
        self.item: list[str] = [""] * len(atoms)

    def drop(self, row: int, reason: str, item: str) -> None:
        """Set a record aside; the first reason stands."""
        if self.fate[row] is None:
            self.fate[row], self.item[row] = reason, item

    def drop_all(self, chosen: Bool[np.ndarray, " atom"], reason: str, items: list[str]) -> None:
        """Set aside all records of a mask; ``items`` names every record of the file."""
        for row in np.flatnonzero(chosen).tolist():
            if self.fate[row] is None:
                self.fate[row], self.item[row] = reason, items[row]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of records per (item, reason), in order of appearance."""
        pairs = zip(self.item, self.fate, strict=True)
        return dict(Counter((item, fate) for item, fate in pairs if fate is not None))


@dataclass(eq=False)
class Residue:
    """One residue or ligand component with the rows of its chosen atoms.

    Attributes:
        comp: Name in the file.
        chain: Chain key.
        author_chain: Chain name for output.
        number: Author residue number.
        insertion: Insertion code.
        seq: ``label_seq_id``, 0 if none.
        hetero: Its records are HETATM.
        after_ter: It follows the last TER record of its chain.
        before_ter: A TER record of its chain follows.
        atoms: Row of each atom by atom name.
    """

    comp: str
    chain: str
    author_chain: str
    number: int
    insertion: str
    seq: int
    hetero: bool
    after_ter: bool
    before_ter: bool
    atoms: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For messages: ``A/HIS 57``."""
        return f"{self.author_chain or '?'}/{self.comp} {self.number}{self.insertion}"


@dataclass(eq=False)
class ChainResidues:
    """Residues of one chain of the file, polymer and other parts apart, in file order."""

    key: str
    author_chain: str
    polymer: list[Residue]
    others: list[Residue]


def select_rows(
    atoms: AtomTable, ledger: Ledger, *, model: int, keep_water: bool, hydrogens: bool
) -> None:
    """Set aside other models, atoms without a position, waters and hydrogens.

    Args:
        atoms: Atom records.
        ledger: Receives the fate of each record.
        model: Ordinal of the model to read, from 0.
        keep_water: Keep water molecules.
        hydrogens: Keep hydrogens (of ligands; residues have no slots for them).
    """
    finite = np.isfinite(atoms.xyz).all(axis=1) & (np.abs(atoms.xyz) < _MAX_COORDINATE).all(axis=1)
    comp = atoms.comp.tolist()
    models = [f"model {number + 1}" for number in atoms.model.tolist()]
    ledger.drop_all(atoms.model != model, OTHER_MODEL, models)
    ledger.drop_all(~finite, NO_POSITION, comp)
    if not keep_water:
        ledger.drop_all(np.isin(atoms.comp, list(WATER_NAMES)), WATER, comp)
    hydrogen = atoms.element == 1
    if hydrogens:
        hydrogen &= np.array([is_standard_name(name) for name in comp])
    ledger.drop_all(hydrogen, HYDROGEN, ["H"] * len(atoms))


def collect_residues(records: FileRecords, ledger: Ledger, *, altloc: str) -> list[ChainResidues]:
    """Chains with their residues, one conformer each.

    Args:
        records: Contents of the file.
        ledger: Knows which rows are still open; receives alternatives and duplicates.
        altloc: ``"highest"`` (mean occupancy, the first of equals), ``"first"``, or the label to
            prefer.
    """
    atoms = records.atoms
    chains: dict[str, list[list[int]]] = {}
    for key, rows in _group(atoms, ledger):
        chains.setdefault(key, []).append(rows)
    out = []
    for key, groups in chains.items():
        residues = [_residue(records, ledger, key, rows, altloc) for rows in groups]
        polymer = _polymer_flags(records, key, residues)
        out.append(
            ChainResidues(
                key,
                residues[0].author_chain,
                [r for r, p in zip(residues, polymer, strict=True) if p],
                [r for r, p in zip(residues, polymer, strict=True) if not p],
            )
        )
    return out


def _group(atoms: AtomTable, ledger: Ledger) -> list[tuple[str, list[int]]]:
    """Rows of each residue with the chain key, in file order."""
    groups: list[tuple[str, list[int]]] = []
    open_groups: dict[tuple[str, int, str, str], int] = {}
    seen: dict[int, set[tuple[str, str]]] = {}
    renamed: dict[str, str] = {}
    suffix: Counter[str] = Counter()
    columns = zip(
        atoms.chain.tolist(),
        atoms.number.tolist(),
        atoms.insertion.tolist(),
        atoms.comp.tolist(),
        atoms.altloc.tolist(),
        atoms.name.tolist(),
        atoms.hetero.tolist(),
        atoms.ter.tolist(),
        strict=True,
    )
    last, last_ter = -1, -1
    for row, (chain, number, insertion, comp, alternative, name, hetero, ter) in enumerate(columns):
        if ledger.fate[row] is not None:
            continue
        key = (renamed.get(chain, chain), number, insertion, comp)
        place = open_groups.get(key)
        elsewhere = place != last or ter != last_ter
        if place is not None and elsewhere and (name, alternative) in seen[place]:
            # The same residue number comes back with the same atoms: another molecule. For a
            # polymer the chain starts anew (files that give every chain one name).
            if not hetero:
                suffix[chain] += 1
                renamed[chain] = f"{chain}#{suffix[chain] + 1}"
                key = (renamed[chain], *key[1:])
            place = None
        if place is None:
            # Alternatives of different chemistry share one residue number.
            sibling = (
                groups[last] if last >= 0 and alternative and groups[last][0] == key[0] else None
            )
            if sibling is not None and _same_position(atoms, sibling[1][0], row):
                place = last
            else:
                groups.append((key[0], []))
                place = len(groups) - 1
            open_groups[key] = place
        groups[place][1].append(row)
        seen.setdefault(place, set()).add((name, alternative))
        last, last_ter = place, ter
    return groups


def _same_position(atoms: AtomTable, first: int, second: int) -> bool:
    return bool(
        atoms.altloc[first] != ""
        and atoms.number[first] == atoms.number[second]
        and atoms.insertion[first] == atoms.insertion[second]
        and atoms.seq[first] == atoms.seq[second]
    )


def _residue(
    records: FileRecords,
    ledger: Ledger,
    chain: str,
    rows: list[int],
    altloc: str,
) -> Residue:
    atoms = records.atoms
    rows = _choose_conformer(atoms, ledger, rows, altloc)
    first = rows[0]
    comp = str(atoms.comp[first])
    residue = Residue(
        comp=comp,
        chain=chain,
        author_chain=str(atoms.author_chain[first]),
        number=int(atoms.number[first]),
        insertion=str(atoms.insertion[first]),
        seq=int(atoms.seq[first]),
        hetero=bool(atoms.hetero[first]),
        after_ter=int(atoms.ter[first]) == 0,
        before_ter=int(atoms.ter[first]) > 0,
    )
    standard = is_standard_name(comp)
    for row in rows:
        name = str(atoms.name[row])
        if name in residue.atoms:
            apart = np.abs(atoms.xyz[row] - atoms.xyz[residue.atoms[name]]).max() > 0.05
            known = comp not in PLACEHOLDER_NAMES and find_component(comp) is not None
            if standard or not apart or known:
                ledger.drop(row, DUPLICATE, f"{comp} {name}")
                continue
            # Docking programs name all carbons of a ligand C; they are different atoms.
            name = next(f"{name}_{k}" for k in range(2, 9999) if f"{name}_{k}" not in residue.atoms)
        residue.atoms[name] = row
    return residue


def _choose_conformer(atoms: AtomTable, ledger: Ledger, rows: list[int], altloc: str) -> list[int]:
    labels: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if atoms.altloc[row] != "":
            key = (str(atoms.altloc[row]), str(atoms.comp[row]))
            labels.setdefault(key, []).append(float(atoms.occupancy[row]))
    if not labels:
        return rows
    if altloc == "first":
        chosen = next(iter(labels))
    else:
        # max returns the first of equals.
        chosen = max(labels, key=lambda k: (k[0] == altloc, round(float(np.mean(labels[k])), 4)))
    kept = []
    for row in rows:
        label, comp = str(atoms.altloc[row]), str(atoms.comp[row])
        if comp == chosen[1] and label in ("", chosen[0]):
            kept.append(row)
        else:
            ledger.drop(row, ALTERNATIVE, f"{comp} {label}".strip())
    return kept


def _polymer_flags(records: FileRecords, key: str, residues: list[Residue]) -> list[bool]:
    """Which residues of a chain are part of its polymer."""
    source_chain = key.split("#")[0] if key not in records.polymer else key
    declared = records.polymer.get(source_chain)
    if declared is False:
        return [False] * len(residues)
    if any(r.seq > 0 for r in residues):
        return [r.seq > 0 for r in residues]
    named = set(records.sequences.get(source_chain, ()))
    flags = []
    for i, residue in enumerate(residues):
        linking = _is_linking(residue.comp)
        if residue.hetero:
            if residue.after_ter:
                flags.append(False)
            elif residue.before_ter or residue.comp in named:
                flags.append(linking or residue.comp in named)
            else:
                flags.append(linking and _is_bonded(records.atoms, residues, i))
        else:
            known = is_known_residue(records, residue)
            flags.append(linking or residue.comp in named or not known)
    return flags


def _is_linking(comp: str) -> bool:
    if is_standard_name(comp) or comp in CAP_NAMES:
        return True
    entry = find_component(comp)
    return entry is not None and (entry.is_peptide or entry.is_nucleotide)


def is_known_residue(records: FileRecords, residue: Residue) -> bool:
    """Whether the component of a residue with backbone atoms has such atoms too.

    A residue without a backbone is a ligand, whatever its name.
    """
    names = {name.replace("*", "'") for name in residue.atoms}
    backbone = next((b for b in _BACKBONES if b <= names), None)
    if backbone is None:
        return True
    entries = (records.components.get(residue.comp), find_component(residue.comp))
    return any(entry is not None and backbone <= set(entry.atom_names) for entry in entries)


def _is_bonded(atoms: AtomTable, residues: list[Residue], i: int) -> bool:
    neighbours = []
    if i > 0:
        neighbours.append((residues[i - 1], residues[i]))
    if i + 1 < len(residues):
        neighbours.append((residues[i], residues[i + 1]))
    return any(is_chain_bond(atoms, first, second) for first, second in neighbours)


def is_chain_bond(atoms: AtomTable, first: Residue, second: Residue) -> bool:
    """Whether two residues are joined by a peptide or phosphodiester bond, by distance."""
    for donor, acceptor, cutoff in (
        (("C",), ("N",), _PEPTIDE_BOND_ANGSTROM),
        (("O3'", "O3*"), ("P",), _PHOSPHODIESTER_ANGSTROM),
    ):
        left = next((first.atoms[n] for n in donor if n in first.atoms), None)
        right = next((second.atoms[n] for n in acceptor if n in second.atoms), None)
        if left is not None and right is not None:
            return bool(np.linalg.norm(atoms.xyz[left] - atoms.xyz[right]) < cutoff)
    return False
