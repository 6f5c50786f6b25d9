"""``Complex`` records to mmCIF and PDB files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from biomol.chem.ccd import AROMATIC, PLACEHOLDER_NAMES, Component, element_symbol, find_component
from biomol.chem.vocab import REPRESENTATIVE_SLOT, MolType
from biomol.data.complex import Complex
from scimind.errors import InputError
from scimind.typing import Bool, Float

_ORDER_NAMES = {1: "sing", 2: "doub", 3: "trip", AROMATIC: "arom"}
_MAX_PDB_SERIAL = 99999
_CIF_STYLE = gemmi.cif.WriteOptions(gemmi.cif.Style.Aligned)


@dataclass(eq=False)
class _Unit:
    """A residue of the output: a polymer token, or the atom tokens of one component."""

    tokens: list[int]
    chain: int
    code: str
    number: int = 0
    insertion: str = " "
    author_chain: str = ""


def write_mmcif(
    record: Complex,
    coords: Float[np.ndarray, "token slot 3"] | None,
    path: str | Path,
    *,
    mask: Bool[np.ndarray, "token slot"] | None = None,
    b_factors: Float[np.ndarray, " *token_slot"] | None = None,
    occupancy: Float[np.ndarray, " *token_slot"] | None = None,
) -> None:
    """Write a complex as mmCIF, replacing the file in one step.

    Args:
        record: Tokens, names and bonds.
        coords: Positions in angstrom; None writes the positions of the record.
        path: File to write.
        mask: Atoms to write; by default all atoms of the record, or those with a position when
            ``coords`` is None.
        b_factors: Temperature factor or pLDDT of each atom or token, 0 by default.
        occupancy: Occupancy of each atom or token, 1 by default.

    Raises:
        InputError: A position to be written is not finite, or there is nothing to write.
    """
    structure, definitions = _structure(record, coords, path, mask, b_factors, occupancy)
    document = structure.make_mmcif_document()
    block = document.sole_block()
    _number_gapped_sequences(block, record, structure)
    _write_definitions(block, definitions)
    _replace(Path(path), document.as_string(_CIF_STYLE))


def write_pdb(
    record: Complex,
    coords: Float[np.ndarray, "token slot 3"] | None,
    path: str | Path,
    *,
    mask: Bool[np.ndarray, "token slot"] | None = None,
    b_factors: Float[np.ndarray, " *token_slot"] | None = None,
    occupancy: Float[np.ndarray, " *token_slot"] | None = None,
) -> None:
    """Write a complex as a PDB file, replacing the file in one step.

    Args: As ``write_mmcif``. Bonds of components outside the dictionary go to CONECT records.

    Raises:
        InputError: As ``write_mmcif``; or the complex does not fit the columns of the format
            (chain names of 2, component names of 3 characters, 99,999 atoms).
    """
    structure, definitions = _structure(record, coords, path, mask, b_factors, occupancy)
    long_chains = [chain.name for chain in structure[0] if len(chain.name) > 2]
    residues = [residue for chain in structure[0] for residue in chain]
    long_names = [residue.name for residue in residues if len(residue.name) > 3]
    atoms = sum(len(residue) for residue in residues)
    if long_chains or long_names or atoms > _MAX_PDB_SERIAL:
        found = ", ".join([*long_chains[:1], *long_names[:1]]) or f"{atoms} atoms"
        raise InputError(
            f"{found} does not fit the PDB format (chain names of 2, component names of 3 "
            f"characters, {_MAX_PDB_SERIAL} atoms); write mmCIF",
            path=path,
            rule="pdb.capacity",
        )
    # TER records count in the numbering that the writer gives.
    structure.assign_serial_numbers(numbered_ter=True)
    gapped = {record.chain_names[chain] for chain in gapped_chains(record)}
    for entity in structure.entities:
        # SEQRES has no way to say that residues of unknown identity are missing between others.
        if any(c.name in gapped and r.entity_id == entity.name for c in structure[0] for r in c):
            entity.full_sequence = []
    for residue in residues:
        if residue.name in definitions:
            entry = definitions[residue.name]
            serial = {atom.name: atom.serial for atom in residue}
            for i, j, order in entry.bonds.tolist():
                first, second = (serial.get(entry.atom_names[k]) for k in (i, j))
                if first is not None and second is not None:
                    structure.add_conect(first, second, 1 if order == AROMATIC else order)
    options = gemmi.PdbWriteOptions(conect_records=True)
    _replace(Path(path), structure.make_pdb_string(options))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _structure(
    record: Complex,
    coords: np.ndarray | None,
    path: str | Path,
    mask: np.ndarray | None,
    b_factors: np.ndarray | None,
    occupancy: np.ndarray | None,
) -> tuple[gemmi.Structure, dict[str, Component]]:
    if mask is None:
        mask = record.coord_mask if coords is None else record.atom_mask
    positions = record.coords if coords is None else np.asarray(coords)
    mask = mask & record.atom_mask
    if not mask.any() or not np.isfinite(positions[mask]).all():
        raise InputError(
            "the positions to write are not finite, or there are none",
            path=path,
            rule="write.positions",
        )
    b = _per_atom(b_factors, record, 0.0)
    weight = _per_atom(occupancy, record, 1.0)
    units = residue_units(record)
    definitions = _define(record, units)
    _number(record, units)
    structure = gemmi.Structure()
    structure.name = record.name
    model = gemmi.Model(1)
    parts: list[gemmi.Chain] = []
    builder = _Entities(record, units)
    for unit in units:
        # Ligands come after all polymers, so that a chain name may come again.
        if not parts or parts[-1].name != unit.author_chain:
            parts.append(gemmi.Chain(unit.author_chain))
        residue = gemmi.Residue()
        residue.name = unit.code
        residue.seqid = gemmi.SeqId(unit.number, unit.insertion)
        builder.label(residue, unit)
        for token in unit.tokens:
            for slot in np.flatnonzero(mask[token]).tolist():
                atom = gemmi.Atom()
                atom.name = str(record.atom_name[token, slot])
                atom.element = gemmi.Element(int(record.atom_element[token, slot]))
                atom.charge = int(record.atom_charge[token, slot])
                atom.pos = gemmi.Position(*map(float, positions[token, slot]))
                atom.b_iso = float(b[token, slot])
                atom.occ = float(weight[token, slot])
                residue.add_atom(atom)
        if len(residue):
            parts[-1].add_residue(residue)
    for chain in parts:
        if len(chain):
            model.add_chain(chain)
    structure.add_model(model)
    for entity in builder.entities.values():
        structure.entities.append(entity)
    _connect(structure, record, units, mask)
    return structure, definitions


def _per_atom(values: np.ndarray | None, record: Complex, default: float) -> np.ndarray:
    if values is None:
        return np.full(record.atom_mask.shape, default)
    values = np.asarray(values)
    return np.broadcast_to(values[:, None] if values.ndim == 1 else values, record.atom_mask.shape)


def residue_units(record: Complex) -> list[_Unit]:
    """Tokens grouped into residues and components, in order."""
    units: list[_Unit] = []
    names: set[str] = set()
    last: tuple[object, ...] | None = None
    for token in range(record.num_tokens):
        name = record.residue_names[token]
        key = (
            int(record.chain_id[token]),
            int(record.res_index[token]),
            name,
            record.residue_numbers[token],
        )
        atom = str(record.atom_name[token, REPRESENTATIVE_SLOT])
        single = record.mol_type[token] == MolType.ATOM
        # The copy of a component begins where its first atom comes again.
        if not single or key != last or atom in names:
            units.append(_Unit([], key[0], name))
            names = set()
        units[-1].tokens.append(token)
        names.add(atom)
        last = key if single else None
    return units


def polymer_chains(record: Complex) -> set[int]:
    """Chains that are polymers: they hold a residue token, or several positions."""
    residues = record.mol_type != MolType.ATOM
    chains = record.chain_id[residues | (record.res_index > 0)]
    return set(chains.tolist())


def gapped_chains(record: Complex) -> list[int]:
    """Polymer chains in which residues of unknown identity are missing."""
    out = []
    for chain in sorted(polymer_chains(record)):
        indices = np.unique(record.res_index[record.chain_id == chain])
        if indices[0] != 0 or indices[-1] != len(indices) - 1:
            out.append(chain)
    return out


def _define(record: Complex, units: list[_Unit]) -> dict[str, Component]:
    """Definitions of the components that the dictionary does not have, by their output name."""
    partners: dict[int, list[tuple[int, int]]] = {}
    for i, _, j, _, order in record.bonds.tolist():
        partners.setdefault(i, []).append((j, order))
    definitions: dict[str, Component] = {}
    taken = {unit.code for unit in units}
    for unit in units:
        if record.mol_type[unit.tokens[0]] != MolType.ATOM or _is_dictionary(record, unit):
            continue
        entry = _definition(record, unit, partners)
        known = definitions.get(unit.code)
        if known is not None and not _same_component(known, entry):
            number = 1
            while f"L{number:02d}" in taken:
                number += 1
            unit.code = f"L{number:02d}"
            taken.add(unit.code)
        definitions.setdefault(unit.code, entry)
    return definitions


def _is_dictionary(record: Complex, unit: _Unit) -> bool:
    entry = None if unit.code in PLACEHOLDER_NAMES else find_component(unit.code)
    if entry is None:
        return False
    elements = dict(zip(entry.atom_names, entry.elements.tolist(), strict=True))
    slot = REPRESENTATIVE_SLOT
    return all(
        elements.get(str(record.atom_name[t, slot])) == int(record.atom_element[t, slot])
        for t in unit.tokens
    )


def _definition(
    record: Complex, unit: _Unit, partners: dict[int, list[tuple[int, int]]]
) -> Component:
    place = {token: i for i, token in enumerate(unit.tokens)}
    slot = REPRESENTATIVE_SLOT
    bonds = [
        (place[i], place[j], order)
        for i in unit.tokens
        for j, order in partners.get(i, ())
        if j in place
    ]
    names = tuple(str(record.atom_name[t, slot]) for t in unit.tokens)
    array = np.array(bonds, np.int32).reshape(-1, 3)
    positions = record.ref_pos[unit.tokens, slot]
    return Component(
        code=unit.code,
        name=unit.code,
        type="non-polymer",
        parent="",
        replaced_by="",
        atom_names=names,
        alt_names=names,
        elements=record.atom_element[unit.tokens, slot],
        charges=record.atom_charge[unit.tokens, slot],
        positions=positions,
        has_positions=len(names) == 1 or bool(np.abs(positions).max() > 0),
        leaving=np.zeros(len(names), bool),
        chirality=record.chirality[unit.tokens, slot],
        bonds=array,
        kekule_orders=array[:, 2],
    )


def _same_component(first: Component, second: Component) -> bool:
    return first.atom_names == second.atom_names and np.array_equal(first.bonds, second.bonds)


def _number(record: Complex, units: list[_Unit]) -> None:
    """Give every unit a chain name and a residue number that is unique within it."""
    names: dict[int, str] = {}
    used = set(record.chain_names)
    for chain, name in enumerate(record.chain_names):
        if not name:
            free = (f"{c}{d}" for d in ("", *map(str, range(10))) for c in map(chr, range(65, 91)))
            name = next(f for f in free if f not in used)
            used.add(name)
        names[chain] = name
    taken: dict[str, set[tuple[int, str]]] = {}
    pending: list[_Unit] = []
    for unit in units:
        unit.author_chain = names.get(unit.chain, "A")
        text = record.residue_numbers[unit.tokens[0]].strip()
        digits = text.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        try:
            key = (int(digits), text[len(digits) :] or " ")
        except ValueError:
            pending.append(unit)
            continue
        if key in taken.setdefault(unit.author_chain, set()) or len(key[1]) > 1:
            pending.append(unit)
            continue
        taken[unit.author_chain].add(key)
        unit.number, unit.insertion = key
    for unit in pending:
        own = taken.setdefault(unit.author_chain, set())
        number = int(record.res_index[unit.tokens[0]]) + 1
        if (number, " ") in own:
            number = max(n for n, _ in own) + 1
        own.add((number, " "))
        unit.number = number


class _Entities:
    """Entities and label identifiers of the output."""

    def __init__(self, record: Complex, units: list[_Unit]) -> None:
        self.record = record
        self.polymers = polymer_chains(record)
        self.entities: dict[object, gemmi.Entity] = {}
        self._subchains: dict[object, str] = {}
        by_chain: dict[int, list[_Unit]] = {}
        for unit in units:
            by_chain.setdefault(unit.chain, []).append(unit)
        self._units = by_chain
        self._branched = {
            chain: len(own) > 1 and all(_is_sugar(u.code) for u in own)
            for chain, own in by_chain.items()
        }
        self._ordinal: dict[int, int] = {}
        for own in by_chain.values():
            for position, unit in enumerate(own, start=1):
                self._ordinal[id(unit)] = position

    def label(self, residue: gemmi.Residue, unit: _Unit) -> None:
        record = self.record
        chain = unit.chain
        polymer = chain in self.polymers
        branched = self._branched[chain]
        owner: object = chain if polymer or branched else ("unit", id(unit))
        subchain = self._subchains.setdefault(owner, _letters(len(self._subchains)))
        identifier = int(record.entity_id[unit.tokens[0]])
        key: object = (
            ("polymer", identifier)
            if polymer
            else ("branched", identifier)
            if branched
            else ("component", unit.code)
        )
        entity = self.entities.get(key)
        if entity is None:
            entity = gemmi.Entity(str(len(self.entities) + 1))
            if polymer:
                entity.entity_type = gemmi.EntityType.Polymer
                entity.polymer_type = self._polymer_type(chain)
                entity.full_sequence = [u.code for u in self._units[chain]]
            elif branched:
                entity.entity_type = gemmi.EntityType.Branched
            else:
                entity.entity_type = gemmi.EntityType.NonPolymer
            self.entities[key] = entity
        if subchain not in entity.subchains:
            entity.subchains = [*entity.subchains, subchain]
        residue.subchain = subchain
        residue.entity_id = entity.name
        residue.entity_type = entity.entity_type
        single = record.mol_type[unit.tokens[0]] == MolType.ATOM
        residue.het_flag = "H" if single else "A"
        if polymer:
            residue.label_seq = int(record.res_index[unit.tokens[0]]) + 1

    def _polymer_type(self, chain: int) -> gemmi.PolymerType:
        kinds = set(self.record.mol_type[self.record.chain_id == chain].tolist())
        if {MolType.RNA, MolType.DNA} <= kinds:
            return gemmi.PolymerType.DnaRnaHybrid
        if MolType.RNA in kinds:
            return gemmi.PolymerType.Rna
        if MolType.DNA in kinds:
            return gemmi.PolymerType.Dna
        return gemmi.PolymerType.PeptideL


def _is_sugar(code: str) -> bool:
    entry = None if code in PLACEHOLDER_NAMES else find_component(code)
    return entry is not None and entry.is_saccharide


def _letters(index: int) -> str:
    name, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def _connect(
    structure: gemmi.Structure, record: Complex, units: list[_Unit], mask: np.ndarray
) -> None:
    """Covalent links between residues as connections."""
    unit_of = {token: unit for unit in units for token in unit.tokens}
    for i, slot_i, j, slot_j, _ in record.bonds.tolist():
        first, second = unit_of[i], unit_of[j]
        if first is second or not (mask[i, slot_i] and mask[j, slot_j]):
            continue
        names = str(record.atom_name[i, slot_i]), str(record.atom_name[j, slot_j])
        link = gemmi.Connection()
        disulfide = names == ("SG", "SG")
        link.type = gemmi.ConnectionType.Disulf if disulfide else gemmi.ConnectionType.Covale
        link.name = f"{'disulf' if disulfide else 'covale'}{len(structure.connections) + 1}"
        link.asu = gemmi.Asu.Same
        for partner, unit, name in (
            ("partner1", first, names[0]),
            ("partner2", second, names[1]),
        ):
            address = gemmi.AtomAddress()
            address.chain_name = unit.author_chain
            address.res_id.name = unit.code
            address.res_id.seqid = gemmi.SeqId(unit.number, unit.insertion)
            address.atom_name = name
            setattr(link, partner, address)
        structure.connections.append(link)


def _number_gapped_sequences(
    block: gemmi.cif.Block, record: Complex, structure: gemmi.Structure
) -> None:
    """Number ``entity_poly_seq`` as the residues are, where unknown ones are missing between."""
    table = block.find("_entity_poly_seq.", ["entity_id", "num"])
    for chain in gapped_chains(record):
        indices = np.unique(record.res_index[record.chain_id == chain])
        subchain = next(
            (
                residue.entity_id
                for c in structure[0]
                for residue in c
                if residue.label_seq is not None
                and c.name == record.chain_names[chain]
                and residue.entity_type == gemmi.EntityType.Polymer
            ),
            None,
        )
        numbers = iter((indices + 1).tolist())
        for row in table:
            if row[0] == subchain:
                number = next(numbers, None)
                if number is not None:
                    row[1] = str(number)


def _write_definitions(block: gemmi.cif.Block, definitions: dict[str, Component]) -> None:
    if not definitions:
        return
    atoms: dict[str, list[str]] = {}
    bonds: dict[str, list[str]] = {}

    def put(columns: dict[str, list[str]], **values: str) -> None:
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    for code, entry in definitions.items():
        for i, name in enumerate(entry.atom_names):
            x, y, z = (
                (f"{v:.3f}" for v in entry.positions[i]) if entry.has_positions else ("?",) * 3
            )
            put(
                atoms,
                comp_id=code,
                atom_id=name,
                type_symbol=element_symbol(int(entry.elements[i])),
                charge=str(int(entry.charges[i])),
                pdbx_stereo_config="NRS"[int(entry.chirality[i])],
                pdbx_model_Cartn_x_ideal=x,
                pdbx_model_Cartn_y_ideal=y,
                pdbx_model_Cartn_z_ideal=z,
            )
        for i, j, order in entry.bonds.tolist():
            put(
                bonds,
                comp_id=code,
                atom_id_1=entry.atom_names[i],
                atom_id_2=entry.atom_names[j],
                value_order=_ORDER_NAMES[order],
                pdbx_aromatic_flag="Y" if order == AROMATIC else "N",
            )
    for category, columns in (("chem_comp_atom", atoms), ("chem_comp_bond", bonds)):
        if columns:
            block.set_mmcif_category(
                f"_{category}.",
                {k: [None if v == "?" else v for v in values] for k, values in columns.items()},
            )
