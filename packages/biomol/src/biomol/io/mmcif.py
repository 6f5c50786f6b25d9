"""Data blocks of mmCIF and BinaryCIF files to atom records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gemmi
import numpy as np

from biomol.chem.ccd import AROMATIC, CHIRALITY, Component, atomic_number
from biomol.io.assembly import gemmi_assemblies
from biomol.io.binary_cif import BinaryBlock
from biomol.io.pdb import infer_element
from biomol.io.records import AssemblyPart, AtomKey, AtomTable, FileRecords, Link
from scimind.errors import InputError

Category = Mapping[str, Sequence[Any]]
"""Columns of a category; a text is a value, None or False stand for ``?`` and ``.``."""

_COVALENT = ("covale", "disulf", "covale_base", "covale_phosphate", "covale_sugar", "modres")
_ORDERS = {"sing": 1, "doub": 2, "trip": 3, "quad": 3, "arom": AROMATIC, "delo": AROMATIC}
_MAX_CHARGE = 9
# int() would also take 1_000 and digits of other scripts.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_IDENTITY_OPERATORS = ("", "1_555")
_ASSEMBLY_CATEGORIES = (
    "pdbx_struct_assembly",
    "pdbx_struct_assembly_gen",
    "pdbx_struct_oper_list",
)


class TextBlock:
    """A data block of an mmCIF text file."""

    def __init__(self, block: Any, source: str) -> None:
        self.name = str(block.name)
        self._block, self._source = block, source

    def category(self, name: str) -> Category:
        """Columns of a category, empty when it is absent."""
        try:
            return dict(self._block.get_mmcif_category(f"_{name}."))
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"category _{name} is damaged: {error}", path=self._source, rule="cif.category"
            ) from error


Block = TextBlock | BinaryBlock
"""One data block, whatever the encoding of the file."""


def read_text_blocks(text: str, *, source: str) -> list[TextBlock]:
    """Data blocks of an mmCIF file.

    Raises:
        InputError: The text is not CIF, or is cut short.
    """
    try:
        document = gemmi.cif.read_string(text)
    except (RuntimeError, ValueError) as error:
        raise _syntax_error(str(error), source) from error
    return [TextBlock(block, source) for block in document]


def _syntax_error(message: str, source: str) -> InputError:
    # gemmi says "string:12:0(345): expected ...".
    parts = message.split(":", 3)
    line = int(parts[1]) if len(parts) > 2 and parts[1].isdigit() else None
    return InputError(
        f"not valid mmCIF: {message.split('): ', 1)[-1].strip()}; the file is damaged or cut short",
        path=source,
        line=line,
        rule="cif.syntax",
    )


def read_block(block: Block, *, source: str) -> FileRecords | None:
    """Atom records, sequences, links and component definitions of a data block.

    Args:
        block: Data block.
        source: Path for messages.

    Returns:
        The records; None if the block holds neither atoms nor a component.

    Raises:
        InputError: A value cannot be read.
    """
    sites = block.category("atom_site")
    components = _components(block)
    if not _length(sites):
        if not components:
            return None
        code, entry = next(iter(components.items()))
        return FileRecords(
            name=block.name,
            source=source,
            atoms=_component_atoms(code, entry),
            sequences={},
            polymer={entry.code: False},
            links=(),
            components=components,
        )
    atoms = _atoms(sites, source)
    sequences, polymer = _sequences(block, sites)
    return FileRecords(
        name=block.name,
        source=source,
        atoms=atoms,
        sequences=sequences,
        polymer=polymer,
        links=_links(block),
        components=components,
        assemblies=lambda: _assemblies(block, source),
    )


def _length(category: Category) -> int:
    return max((len(column) for column in category.values()), default=0)


def _text(value: Any) -> str:
    return "" if value is None or value is False else str(value)


def _texts(category: Category, *names: str) -> list[str]:
    """The first of the named columns that exists, as texts; blanks filled from the others."""
    columns = [category[name] for name in names if name in category]
    if not columns:
        return [""] * _length(category)
    out = ["" if v is None or v is False else str(v) for v in columns[0]]
    for column in columns[1:]:
        if all(out):
            break
        out = [value or _text(other) for value, other in zip(out, column, strict=True)]
    return out


def _numbers(category: Category, name: str, missing: float, source: str) -> np.ndarray:
    size = _length(category)
    if name not in category:
        return np.full(size, missing)
    values = [missing if v is None or v is False else v for v in category[name]]
    # Python reads 1_0 as 10, and digits of other scripts as digits: such texts go the slow way.
    plain = all(not isinstance(v, str) or ("_" not in v and v.isascii()) for v in values)
    try:
        if plain:
            return np.array(values).astype(np.float64)
    except ValueError:
        pass
    out = np.empty(size)
    for row, value in enumerate(values):
        try:
            # Standard uncertainties in parentheses are allowed by the format: 1.234(5).
            text = str(value).split("(")[0]
            if "_" in text or not text.isascii():
                raise ValueError(text)
            out[row] = float(text)
        except ValueError:
            raise InputError(
                f"_atom_site.{name} of row {row + 1} is {value!r}, which is not a number",
                path=source,
                line=row + 1,
                rule="cif.number",
            ) from None
    return out


def _atoms(sites: Category, source: str) -> AtomTable:
    size = _length(sites)
    if any(len(column) != size for column in sites.values()):
        raise InputError(
            "_atom_site columns differ in length; the file is damaged",
            path=source,
            rule="cif.columns",
        )
    missing = [axis for axis in ("Cartn_x", "Cartn_y", "Cartn_z") if axis not in sites]
    if missing:
        raise InputError(
            f"_atom_site has no {', '.join(missing)}; Cartesian coordinates are required",
            path=source,
            rule="cif.columns",
        )
    name = _texts(sites, "label_atom_id", "auth_atom_id")
    comp = _texts(sites, "label_comp_id", "auth_comp_id")
    hetero = np.array([group == "HETATM" for group in _texts(sites, "group_PDB")], bool)
    models = _texts(sites, "pdbx_PDB_model_num")
    ordinal = {number: i for i, number in enumerate(dict.fromkeys(models))}
    seq = _integers(sites, ("label_seq_id",), source)
    number = _integers(sites, ("auth_seq_id", "label_seq_id"), source)
    symbols = _texts(sites, "type_symbol")
    return AtomTable(
        model=np.array([ordinal[m] for m in models], np.int32),
        hetero=hetero,
        name=np.array(name, dtype=np.str_),
        altloc=np.array(_texts(sites, "label_alt_id"), dtype=np.str_),
        comp=np.array(comp, dtype=np.str_),
        chain=np.array(_texts(sites, "label_asym_id", "auth_asym_id"), dtype=np.str_),
        author_chain=np.array(_texts(sites, "auth_asym_id", "label_asym_id"), dtype=np.str_),
        seq=seq,
        number=number,
        insertion=np.array(_texts(sites, "pdbx_PDB_ins_code"), dtype=np.str_),
        element=np.array(
            [
                atomic_number(symbol) or infer_element(atom, residue)
                for symbol, atom, residue in zip(symbols, name, comp, strict=True)
            ],
            np.int32,
        ),
        xyz=np.stack([_numbers(sites, f"Cartn_{axis}", np.nan, source) for axis in "xyz"], axis=-1),
        occupancy=_numbers(sites, "occupancy", 1.0, source),
        b_factor=_numbers(sites, "B_iso_or_equiv", 0.0, source),
        charge=_plausible_charges(_numbers(sites, "pdbx_formal_charge", 0.0, source)),
        serial=np.zeros(size, np.int64),
        ter=np.full(size, -1, np.int32),
        line=np.arange(1, size + 1),
    )


def _plausible_charges(charges: np.ndarray) -> np.ndarray:
    """Formal charges; a number that no atom can carry counts as no charge given."""
    known = np.isfinite(charges) & (np.abs(charges) <= _MAX_CHARGE)
    return np.where(known, charges, 0.0).astype(np.int32)


def _integers(sites: Category, names: tuple[str, ...], source: str) -> np.ndarray:
    values = _numbers(sites, names[0], np.nan, source)
    for name in names[1:]:
        values = np.where(np.isnan(values), _numbers(sites, name, np.nan, source), values)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(values, -(2**31), 2**31 - 1).astype(np.int32)


def _sequences(block: Block, sites: Category) -> tuple[dict[str, tuple[str, ...]], dict[str, bool]]:
    asym = block.category("struct_asym")
    entity_of = dict(zip(_texts(asym, "id"), _texts(asym, "entity_id"), strict=True))
    chains = _texts(sites, "label_asym_id", "auth_asym_id")
    for chain, entity in zip(chains, _texts(sites, "label_entity_id"), strict=True):
        if entity:
            entity_of.setdefault(chain, entity)
    entities = block.category("entity")
    kinds = dict(zip(_texts(entities, "id"), _texts(entities, "type"), strict=True))
    poly = block.category("entity_poly_seq")
    residues: dict[str, dict[int, str]] = {}
    for entity, number, name in zip(
        _texts(poly, "entity_id"), _texts(poly, "num"), _texts(poly, "mon_id"), strict=True
    ):
        if number.isascii() and number.isdigit():
            # Microheterogeneity lists several names for one number: the first is the main one.
            residues.setdefault(entity, {}).setdefault(int(number), name)
    sequences = {}
    for chain, entity in entity_of.items():
        numbered = residues.get(entity)
        if numbered and sorted(numbered) == list(range(1, len(numbered) + 1)):
            sequences[chain] = tuple(numbered[i] for i in range(1, len(numbered) + 1))
    polymer = {
        chain: kinds[entity].lower() == "polymer"
        for chain, entity in entity_of.items()
        if kinds.get(entity)
    }
    return sequences, polymer


def _links(block: Block) -> tuple[Link, ...]:
    records = block.category("struct_conn")
    size = _length(records)
    kinds = _texts(records, "conn_type_id")
    ends: list[list[AtomKey]] = []
    same = [True] * size
    for partner in ("ptnr1", "ptnr2"):
        symmetry = _texts(records, f"{partner}_symmetry")
        same = [ok and s in _IDENTITY_OPERATORS for ok, s in zip(same, symmetry, strict=True)]
        ends.append(
            [
                AtomKey(chain, comp, _integer(number), insertion, _integer(seq) or 0, name)
                for chain, comp, number, insertion, seq, name in zip(
                    _texts(records, f"{partner}_label_asym_id", f"{partner}_auth_asym_id"),
                    _texts(records, f"{partner}_label_comp_id", f"{partner}_auth_comp_id"),
                    _texts(records, f"{partner}_auth_seq_id"),
                    _texts(records, f"pdbx_{partner}_PDB_ins_code"),
                    _texts(records, f"{partner}_label_seq_id"),
                    _texts(records, f"{partner}_label_atom_id"),
                    strict=True,
                )
            ]
        )
    return tuple(
        Link(first, second)
        for kind, ok, first, second in zip(kinds, same, *ends, strict=True)
        if ok and kind.lower() in _COVALENT
    )


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None


def _components(block: Block) -> dict[str, Component]:
    atoms, bonds = block.category("chem_comp_atom"), block.category("chem_comp_bond")
    if not _length(atoms) or "comp_id" not in atoms or "atom_id" not in atoms:
        return {}
    rows: dict[str, list[int]] = {}
    for row, code in enumerate(_texts(atoms, "comp_id")):
        rows.setdefault(code, []).append(row)
    names, alternatives = _texts(atoms, "atom_id"), _texts(atoms, "alt_atom_id", "atom_id")
    symbols, charges = _texts(atoms, "type_symbol"), _texts(atoms, "charge")
    leaving, stereo = _texts(atoms, "pdbx_leaving_atom_flag"), _texts(atoms, "pdbx_stereo_config")
    ideal = _positions(atoms, "pdbx_model_Cartn_{}_ideal")
    model = _positions(atoms, "model_Cartn_{}")
    pairs: dict[str, list[tuple[str, str, int, int]]] = {}
    for code, first, second, order, aromatic in zip(
        _texts(bonds, "comp_id"),
        _texts(bonds, "atom_id_1"),
        _texts(bonds, "atom_id_2"),
        _texts(bonds, "value_order"),
        _texts(bonds, "pdbx_aromatic_flag"),
        strict=True,
    ):
        plain = _ORDERS.get(order.lower()[:4], 1)
        shown = AROMATIC if aromatic.upper() == "Y" else plain
        pairs.setdefault(code, []).append((first, second, shown, plain))
    entry = block.category("chem_comp")
    types = dict(zip(_texts(entry, "id"), _texts(entry, "type"), strict=True))
    out = {}
    for code, own in rows.items():
        index = {names[row]: i for i, row in enumerate(own)}
        known = [p for p in pairs.get(code, []) if p[0] in index and p[1] in index]
        positions, has_positions = np.zeros((len(own), 3), np.float32), False
        heavy = np.array([atomic_number(symbols[row]) > 1 for row in own])
        for candidate in (ideal, model):
            if candidate is not None and np.isfinite(candidate[own][heavy]).all():
                positions = np.nan_to_num(candidate[own]).astype(np.float32)
                has_positions = True
                break
        out[code] = Component(
            code=code,
            name=code,
            type=types.get(code, "").lower(),
            parent="",
            replaced_by="",
            atom_names=tuple(names[row] for row in own),
            alt_names=tuple(alternatives[row] for row in own),
            elements=np.array([atomic_number(symbols[row]) for row in own], np.int32),
            charges=_plausible_charges(
                np.array([_integer(charges[row]) or 0 for row in own], np.float64)
            ),
            positions=positions,
            has_positions=has_positions,
            leaving=np.array([leaving[row] == "Y" for row in own]),
            chirality=np.array([CHIRALITY.get(stereo[row], 0) for row in own], np.int32),
            bonds=np.array(
                [(index[a], index[b], order) for a, b, order, _ in known], np.int32
            ).reshape(-1, 3),
            kekule_orders=np.array([plain for *_, plain in known], np.int32),
        )
    return out


def _positions(atoms: Category, pattern: str) -> np.ndarray | None:
    names = [pattern.format(axis) for axis in "xyz"]
    if any(name not in atoms for name in names):
        return None
    return np.stack([[_float(value) for value in atoms[name]] for name in names], axis=-1)


def _float(value: Any) -> float:
    text = _text(value)
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def _component_atoms(code: str, entry: Component) -> AtomTable:
    """A component dictionary entry as the atoms of a single ligand."""
    size = len(entry.atom_names)

    def texts(value: str) -> np.ndarray:
        return np.full(size, value, dtype=f"<U{max(1, len(value))}")

    zeros = np.zeros(size, np.int32)
    xyz = entry.positions.astype(np.float64)
    return AtomTable(
        model=zeros,
        hetero=np.ones(size, bool),
        name=np.array(entry.atom_names, dtype=np.str_),
        altloc=texts(""),
        comp=texts(code),
        chain=texts(code),
        author_chain=texts("A"),
        seq=zeros,
        number=zeros + 1,
        insertion=texts(""),
        element=entry.elements,
        xyz=xyz if entry.has_positions else np.full_like(xyz, np.nan),
        occupancy=np.ones(size),
        b_factor=np.zeros(size),
        charge=entry.charges,
        serial=np.zeros(size, np.int64),
        ter=zeros - 1,
        line=np.arange(1, size + 1),
    )


def _assemblies(block: Block, source: str) -> Mapping[str, tuple[AssemblyPart, ...]]:
    copy = gemmi.cif.Block("assembly")
    for name in _ASSEMBLY_CATEGORIES:
        category = block.category(name)
        if _length(category):
            copy.set_mmcif_category(f"_{name}.", {k: list(v) for k, v in category.items()})
    try:
        return gemmi_assemblies(gemmi.make_structure_from_block(copy), by_author=False)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"assemblies cannot be read: {error}", path=source, rule="cif.assembly"
        ) from error
