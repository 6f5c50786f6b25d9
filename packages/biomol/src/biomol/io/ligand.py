"""Small molecules: SMILES and SDF to ``Complex``, one token per heavy atom.

Hydrogens are removed and aromaticity is RDKit's. The geometry of double bonds (E, Z) is carried
by coordinates only: ``Complex`` has no field for it.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler, rdDistGeom

from biomol.chem.vocab import NUM_SLOTS, OTHER_ELEMENT, REPRESENTATIVE_SLOT, TOKEN_ID, MolType
from biomol.data.complex import Complex
from biomol.io.rejection import Rejection
from scimind.errors import InputError
from scimind.reading import read_text
from scimind.typing import Float

log = logging.getLogger(__name__)

MAX_SMILES_LENGTH = 5000
"""Longer strings are refused: ring perception of RDKit can take minutes on them."""

CIP_CODES = {"R": 1, "S": 2, "r": 1, "s": 2}
"""CIP label to ``Complex.chirality``; lower case is pseudo-asymmetric."""

_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DATIVE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.QUADRUPLE: 3,
    Chem.BondType.AROMATIC: 4,
}
_ITEM_NAME = re.compile(r">.*?<(.+)>")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_CIP_ITERATIONS = 100_000
_EMBED_TIMEOUT_S = 30
_PROBLEM_RULES = {
    "AtomValenceException": "valence",
    "KekulizeException": "kekulize",
    "AtomKekulizeException": "kekulize",
}


@dataclass(frozen=True, kw_only=True)
class LigandFile:
    """The molecules of one file.

    Attributes:
        complexes: Accepted molecules in file order.
        smiles: Canonical SMILES of each accepted molecule.
        dropped: Records that were refused; ``len(complexes) + len(dropped)`` is the number of
            records in the file.
        totals: Number of ``records`` and of ``hydrogens`` removed.
    """

    complexes: tuple[Complex, ...]
    smiles: tuple[str, ...] = ()
    dropped: tuple[Rejection, ...] = ()
    totals: dict[str, int] = field(default_factory=dict)


def parse_smiles(smiles: str) -> Chem.Mol:
    """Sanitised molecule of a SMILES string.

    Args:
        smiles: One SMILES; blanks around it are ignored, extensions and names after it refused.

    Returns:
        RDKit molecule with the hydrogens implicit.

    Raises:
        InputError: It is empty, longer than ``MAX_SMILES_LENGTH``, not a SMILES, or chemically
            impossible.
    """
    text = smiles.strip()
    if not text:
        raise InputError("the SMILES is empty; give one molecule per record", rule="smiles.empty")
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    if len(text) > MAX_SMILES_LENGTH:
        raise InputError(
            f"SMILES {shown!r} has {len(text)} characters, at most {MAX_SMILES_LENGTH} are read; "
            "give large molecules as a sequence or a structure file",
            rule="smiles.length",
        )
    if any(character.isspace() or ord(character) < 33 for character in text):
        raise InputError(
            f"{shown!r} has a blank inside; a record holds one SMILES and nothing else",
            rule="smiles.blank",
        )
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
        if mol is not None:
            return mol
        parameters = Chem.SmilesParserParams()
        parameters.sanitize = False
        raw = Chem.MolFromSmiles(text, parameters)
        if raw is None:
            raise InputError(
                f"{shown!r} is not a SMILES; check brackets, ring closures and element symbols",
                rule="smiles.syntax",
            )
        kind, reason = _chemistry_problem(raw)
    raise InputError(f"{shown!r} is not a possible molecule: {reason}", rule=f"smiles.{kind}")


def from_smiles(smiles: str, name: str, conformer: bool = False, seed: int = 0) -> Complex:
    """A molecule, or several separated by dots, from SMILES.

    Args:
        smiles: The SMILES.
        name: Name of the record.
        conformer: Fill ``ref_pos`` with an ETKDG conformer of each fragment; zeros otherwise.
        seed: Seed of the embedding.

    Returns:
        One token per heavy atom in the order of the SMILES, one chain per fragment; fragments
        with the same canonical SMILES share the entity. Atom names are element symbol and
        running number within the fragment. A fragment without conformer keeps zero ``ref_pos``
        and is named in the log.

    Raises:
        InputError: See ``parse_smiles``; or there is no heavy atom, or a dummy atom.
    """
    mol = parse_smiles(smiles)
    reference = _embed(mol, name, seed) if conformer else None
    return complex_from_mol(mol, name, f"smiles:{smiles.strip()}", reference=reference)


def read_sdf(path: str | Path) -> LigandFile:
    """Every molecule of an SDF or MOL file, V2000 or V3000.

    Numeric data items become ``properties``. The positions of a file marked 2D are a drawing and
    are not read as coordinates.

    Args:
        path: The file, plain or gzipped.

    Returns:
        Accepted molecules and refused records; none is lost.

    Raises:
        InputError: The file cannot be read as text or holds no record.
    """
    path = Path(path)
    complexes: list[Complex] = []
    smiles: list[str] = []
    dropped: list[Rejection] = []
    hydrogens = 0
    records = _sdf_records(read_text(path))
    if not records:
        raise InputError(
            "the file has no record; an SDF has one molecule at least", path=path, rule="sdf.empty"
        )
    for number, (line, block) in enumerate(records, start=1):
        try:
            mol = _parse_mol_block(block)
            title = block.split("\n", 1)[0].strip() or f"{path.name.split('.')[0]}-{number}"
            conformer = mol.GetConformer() if mol.GetNumConformers() else None
            positions = None
            if conformer is not None and conformer.Is3D():
                positions = np.asarray(conformer.GetPositions(), np.float32)
                if not np.isfinite(positions).all():
                    raise InputError("a coordinate is not finite", rule="sdf.coordinate")
            complexes.append(
                complex_from_mol(
                    mol,
                    title,
                    f"{path}#{number}",
                    reference=positions,
                    positions=positions,
                    properties=_numeric_items(block),
                )
            )
            smiles.append(Chem.MolToSmiles(Chem.RemoveHs(mol)))
            hydrogens += sum(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())
        except InputError as error:
            dropped.append(Rejection.from_error(error, path=str(path), line=line))
    return LigandFile(
        complexes=tuple(complexes),
        smiles=tuple(smiles),
        dropped=tuple(dropped),
        totals={"records": len(records), "hydrogens": hydrogens},
    )


def complex_from_mol(
    mol: Chem.Mol,
    name: str,
    source: str,
    *,
    reference: Float[np.ndarray, "atom 3"] | None = None,
    positions: Float[np.ndarray, "atom 3"] | None = None,
    atom_names: Sequence[str] | None = None,
    residue_name: str | None = None,
    properties: dict[str, float] | None = None,
) -> Complex:
    """Tokens of the heavy atoms of an RDKit molecule.

    Args:
        mol: Sanitised molecule; explicit hydrogens are left out.
        name: Name of the record.
        source: Where it came from.
        reference: Idealised positions of all atoms of ``mol``, angstrom.
        positions: Observed positions of all atoms of ``mol``, angstrom.
        atom_names: Name of each atom of ``mol``; element and running number by default.
        residue_name: Component name; by default ``LIG``, then ``01``, ``02``, ... for further
            entities, which the PDB reserves for this use.
        properties: Labels of the record.

    Returns:
        The record, with one chain per connected fragment.

    Raises:
        InputError: There is no heavy atom, a dummy atom, or a bond of a query type.
    """
    chain_of, entities = _fragments(mol)
    order = sorted(chain_of, key=lambda atom: (chain_of[atom], atom))
    if not order:
        raise InputError(
            "the molecule has no atom other than hydrogen; nothing is left to model",
            rule="ligand.no_heavy_atom",
        )
    token_of = {atom: token for token, atom in enumerate(order)}
    atoms = [mol.GetAtomWithIdx(atom) for atom in order]
    elements = np.array([atom.GetAtomicNum() for atom in atoms], np.int32)
    if not elements.all():
        raise InputError(
            "the molecule has an attachment point or query atom (*); give a complete molecule",
            rule="ligand.dummy_atom",
        )
    slot = REPRESENTATIVE_SLOT
    count = len(atoms)
    chain_id = np.array([chain_of[atom] for atom in order], np.int32)
    entity_id = np.array(entities, np.int32)[chain_id]
    symbols = [atom.GetSymbol() for atom in atoms]
    names = (
        _running_names(symbols, chain_id)
        if atom_names is None
        else [atom_names[atom] for atom in order]
    )

    def slots(values: object, dtype: type) -> np.ndarray:
        out: np.ndarray = np.zeros((count, NUM_SLOTS), dtype)
        out[:, slot] = values
        return out

    def slots3(values: np.ndarray | None) -> np.ndarray:
        out = np.zeros((count, NUM_SLOTS, 3), np.float32)
        if values is not None:
            out[:, slot] = values[order]
        return out

    atom_name = np.full((count, NUM_SLOTS), "", "<U8")
    atom_name[:, slot] = names
    first = residue_name or "LIG"
    residue_names = [first if entity == 0 else f"{entity:02d}" for entity in entity_id]
    return Complex(
        name=name,
        source=source,
        mol_type=np.full(count, int(MolType.ATOM), np.int32),
        restype=np.array([token_of_element(symbol) for symbol in symbols], np.int32),
        res_index=np.zeros(count, np.int32),
        chain_id=chain_id,
        entity_id=entity_id,
        atom_mask=slots(True, np.bool_),
        atom_element=slots(elements, np.int32),
        atom_charge=slots([atom.GetFormalCharge() for atom in atoms], np.int32),
        atom_name=atom_name,
        ref_pos=slots3(reference),
        coords=slots3(positions),
        coord_mask=slots(positions is not None, np.bool_),
        chirality=slots(_chirality(mol, order), np.int32),
        bonds=_bonds(mol, token_of),
        chain_names=tuple(chain_name(index) for index in range(len(entities))),
        residue_names=tuple(residue_names),
        residue_numbers=("1",) * count,
        properties=dict(properties or {}),
    )


def token_of_element(symbol: str) -> int:
    """Vocabulary index of an atom token.

    Args:
        symbol: Element symbol such as ``"Cl"``.
    """
    return TOKEN_ID.get(f"@{symbol}", TOKEN_ID[f"@{OTHER_ELEMENT}"])


def chain_name(index: int) -> str:
    """Spreadsheet-style chain name: A ... Z, AA, AB, ..."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _fragments(mol: Chem.Mol) -> tuple[dict[int, int], list[int]]:
    """Chain of each heavy atom and entity of each chain."""
    chain_of: dict[int, int] = {}
    entities: list[int] = []
    known: dict[str, int] = {}
    fragments = Chem.GetMolFrags(mol)
    for fragment in fragments:
        heavy = [atom for atom in fragment if mol.GetAtomWithIdx(atom).GetAtomicNum() != 1]
        if not heavy:
            continue
        key = ""
        if len(fragments) > 1:
            key = Chem.MolFragmentToSmiles(mol, fragment)
        chain_of.update(dict.fromkeys(heavy, len(entities)))
        entities.append(known.setdefault(key, len(known)))
    return chain_of, entities


def _running_names(symbols: Sequence[str], chain_id: np.ndarray) -> list[str]:
    seen: Counter[tuple[int, str]] = Counter()
    names = []
    for symbol, chain in zip(symbols, chain_id.tolist(), strict=True):
        seen[chain, symbol] += 1
        names.append(f"{symbol.upper()}{seen[chain, symbol]}")
    return names


def _chirality(mol: Chem.Mol, order: Sequence[int]) -> list[int]:
    if not any(atom.GetChiralTag() for atom in mol.GetAtoms()):
        return [0] * len(order)
    try:
        rdCIPLabeler.AssignCIPLabels(mol, maxRecursiveIterations=_CIP_ITERATIONS)
    except RuntimeError:
        raise InputError(
            "the stereocentres are too entangled to be ranked; give the molecule without "
            "stereochemistry or as a structure file",
            rule="ligand.stereo",
        ) from None
    codes = []
    for index in order:
        atom = mol.GetAtomWithIdx(index)
        codes.append(CIP_CODES.get(atom.GetProp("_CIPCode"), 0) if atom.HasProp("_CIPCode") else 0)
    return codes


def _bonds(mol: Chem.Mol, token_of: dict[int, int]) -> np.ndarray:
    bonds = []
    for bond in mol.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if first not in token_of or second not in token_of:
            continue
        order = _ORDERS.get(bond.GetBondType())
        if order is None:
            raise InputError(
                f"bond type {bond.GetBondType().name} is not a bond of a molecule; "
                "use single, double, triple, aromatic or dative bonds",
                rule="ligand.bond_type",
            )
        i, j = sorted((token_of[first], token_of[second]))
        bonds.append((i, REPRESENTATIVE_SLOT, j, REPRESENTATIVE_SLOT, order))
    return np.array(sorted(bonds), np.int32).reshape(-1, 5)


def _embed(mol: Chem.Mol, name: str, seed: int) -> np.ndarray:
    """ETKDG position of each atom; zeros for a fragment that cannot be embedded."""
    positions = np.zeros((mol.GetNumAtoms(), 3), np.float32)
    members: list[tuple[int, ...]] = []
    with rdBase.BlockLogs():
        fragments = Chem.GetMolFrags(mol, asMols=True, fragsMolAtomMapping=members)
        for fragment, atoms in zip(fragments, members, strict=True):
            hydrogenated = Chem.AddHs(fragment)
            parameters: Any = rdDistGeom.ETKDGv3()
            parameters.randomSeed = seed & 0x7FFFFFFF
            parameters.timeout = _EMBED_TIMEOUT_S
            failed = rdDistGeom.EmbedMolecule(hydrogenated, parameters) < 0
            if failed:
                parameters.useRandomCoords = True
                failed = rdDistGeom.EmbedMolecule(hydrogenated, parameters) < 0
            if failed:
                log.warning(
                    "%s: no 3D conformer of a fragment of %d atoms was found; "
                    "its reference positions are zero",
                    name,
                    len(atoms),
                )
                continue
            embedded = hydrogenated.GetConformer().GetPositions()[: len(atoms)]
            positions[list(atoms)] = embedded - embedded.mean(axis=0)
    return positions


def _chemistry_problem(mol: Chem.Mol) -> tuple[str, str]:
    try:
        mol.UpdatePropertyCache(strict=False)
        problems = Chem.DetectChemistryProblems(mol)
    except RuntimeError as error:
        return "sanitize", str(error).strip().split("\n")[0] or "RDKit cannot say why"
    if not problems:
        return "sanitize", "RDKit refuses it without a reason"
    first = problems[0]
    return _PROBLEM_RULES.get(first.GetType(), "sanitize"), first.Message().strip()


def _sdf_records(text: str) -> list[tuple[int, str]]:
    """First line number and text of each record; a record ends with ``$$$$`` or the file."""
    records: list[tuple[int, str]] = []
    lines: list[str] = []
    start = 1
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("$$$$"):
            records.append((start, "\n".join(lines)))
            start, lines = number + 1, []
        else:
            lines.append(line)
    if any(line.strip() for line in lines):
        records.append((start, "\n".join(lines)))
    return records


def _parse_mol_block(block: str) -> Chem.Mol:
    if not block.strip():
        raise InputError("the record is empty", rule="sdf.empty_record")
    lines = block.split("\n")
    end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
    if end is None:
        raise InputError(
            "the record has no 'M  END' line: it is cut off or not a MOL block",
            rule="sdf.truncated",
        )
    mol_block = "\n".join(lines[: end + 1])
    with rdBase.BlockLogs():
        try:
            raw = Chem.MolFromMolBlock(mol_block, sanitize=False, removeHs=False)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"not a MOL block: {error}", rule="sdf.syntax") from None
        if raw is None:
            raise InputError(
                "not a MOL block: the counts line, an atom line or a bond line is malformed",
                rule="sdf.syntax",
            )
        _check_counts(lines, raw)
        mol = Chem.MolFromMolBlock(mol_block, sanitize=True, removeHs=False)
        if mol is None:
            kind, reason = _chemistry_problem(raw)
            raise InputError(f"not a possible molecule: {reason}", rule=f"sdf.{kind}")
    return mol


def _check_counts(lines: list[str], mol: Chem.Mol) -> None:
    """The molecule has as many atoms as the record declares."""
    declared: str | None = None
    if len(lines) > 3 and "V3000" in lines[3]:
        counts = next((line.split() for line in lines if "V30 COUNTS" in line), [])
        declared = counts[3] if len(counts) > 3 else None
    elif len(lines) > 3:
        declared = lines[3][:3].strip()
    if declared is None or not declared.isdigit() or int(declared) != mol.GetNumAtoms():
        raise InputError(
            f"the record declares {declared} atoms and {mol.GetNumAtoms()} could be read",
            rule="sdf.atom_count",
        )
    if mol.GetNumAtoms() == 0:
        raise InputError("the record declares no atoms", rule="sdf.no_atoms")


def _numeric_items(block: str) -> dict[str, float]:
    """Data items (``> <name>`` and the next line) whose value is one finite number."""
    items: dict[str, float] = {}
    for header, value in pairwise(block.split("\n")):
        name = _ITEM_NAME.match(header)
        # float() would also take 1_000 and digits of other scripts.
        if name and _NUMBER.fullmatch(value.strip(" \t")) and math.isfinite(float(value)):
            items[name.group(1)] = float(value)
    return items
