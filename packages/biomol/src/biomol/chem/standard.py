"""Standard residues: their many names, their atoms' many names, and their reference slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from biomol.chem.ccd import component
from biomol.chem.vocab import (
    DNA_CODES,
    NUM_SLOTS,
    PROTEIN_CODES,
    RNA_CODES,
    SLOT_NAMES,
    UNKNOWN_DNA,
    UNKNOWN_PROTEIN,
    UNKNOWN_RNA,
    MolType,
)
from scimind.typing import Bool, Float, Int

# Names that force fields and older files give to protonation and disulfide states, and
# selenomethionine, which stands in for methionine in crystallography.
_PROTEIN_NAMES: dict[str, str] = {
    **{code: code for code in (*PROTEIN_CODES, UNKNOWN_PROTEIN)},
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "HSC", "HISD", "HISE"), "HIS"),
    **dict.fromkeys(("CYX", "CYM", "CYS2", "CSSC"), "CYS"),
    **dict.fromkeys(("ASH", "ASPP"), "ASP"),
    **dict.fromkeys(("GLH", "GLUP"), "GLU"),
    **dict.fromkeys(("LYN", "LSN"), "LYS"),
    "ARN": "ARG",
    "TYM": "TYR",
    "MSE": "MET",
}
# Base letter of nucleotide names that do not say which sugar they carry; files written before
# 2007 use A, C, G for DNA as well. The sugar itself decides, see ``nucleotide_code``.
_BASE_OF: dict[str, str] = {
    **{letter: letter for letter in "ACGUTN"},
    "ADE": "A",
    "CYT": "C",
    "GUA": "G",
    "URA": "U",
    "URI": "U",
    "THY": "T",
}
_EXPLICIT: dict[str, str] = {
    **{code: code for code in (*DNA_CODES, UNKNOWN_DNA)},
    **{f"R{letter}": letter for letter in "ACGU"},
    **{f"R{letter}{end}": letter for letter in "ACGU" for end in "35"},
    **{f"D{letter}{end}": f"D{letter}" for letter in "ACGT" for end in "35"},
}
# Two of these names (DA3, RA5, ...) are also CCD codes of other molecules; they are taken as
# nucleotides only when they sit in a polymer chain.
ATOM_ALIASES: dict[str, dict[str, str]] = {
    "nucleotide": {"O1P": "OP1", "O2P": "OP2", "O3P": "OP3", "C5M": "C7"},
    "ILE": {"CD": "CD1"},
    "MET": {"SE": "SD"},
    "protein": {"OT1": "O", "OT2": "OXT", "OT": "OXT"},
}


@dataclass(frozen=True, eq=False)
class ReferenceSlots:
    """Atoms of a standard residue in slot order.

    Attributes:
        names: Atom names, "" in empty slots.
        element: Atomic numbers, 0 in empty slots.
        charge: Formal charges.
        chirality: CIP label, 0 none, 1 R, 2 S.
        mask: The slot is used.
        positions: Ideal coordinates of the dictionary, in angstrom, 0 in empty slots.
    """

    names: np.ndarray
    element: Int[np.ndarray, " slot"]
    charge: Int[np.ndarray, " slot"]
    chirality: Int[np.ndarray, " slot"]
    mask: Bool[np.ndarray, " slot"]
    positions: Float[np.ndarray, "slot 3"]


@lru_cache(maxsize=4096)
def protein_code(name: str) -> str | None:
    """Standard amino acid of a residue name such as ``HID`` or ``MSE``; None if it is not one."""
    return _PROTEIN_NAMES.get(name)


def nucleotide_code(name: str, *, deoxy: bool) -> str | None:
    """Standard nucleotide of a residue name.

    Args:
        name: Name in the file, e.g. ``DA``, ``A``, ``ADE``, ``RA5``.
        deoxy: The chain carries deoxyribose; decides names that leave it open.

    Returns:
        A code of ``vocab.RNA_CODES``/``DNA_CODES`` (or the unknown ones), None if the name is
        not a standard nucleotide. Thymine is DNA whatever the sugar; deoxyuridine is not
        standard.
    """
    if name in _EXPLICIT:
        return _EXPLICIT[name]
    base = _BASE_OF.get(name)
    if base is None or (base == "U" and deoxy):
        return None
    return f"D{base}" if deoxy or base == "T" else base


def is_ambiguous_nucleotide(name: str) -> bool:
    """The name says the base but not the sugar."""
    return name in _BASE_OF


@lru_cache(maxsize=4096)
def is_standard_name(name: str) -> bool:
    """The name stands for a standard residue in a polymer chain."""
    return name in _PROTEIN_NAMES or name in _EXPLICIT or name in _BASE_OF


@lru_cache(maxsize=4096)
def mol_type_of(code: str) -> MolType:
    """Molecule type of a standard code of ``vocab.SLOT_NAMES``."""
    if code in RNA_CODES or code == UNKNOWN_RNA:
        return MolType.RNA
    if code in DNA_CODES or code == UNKNOWN_DNA:
        return MolType.DNA
    return MolType.PROTEIN


@lru_cache(maxsize=4096)
def standard_atom_name(code: str, name: str) -> str:
    """Atom name as in the CCD, given a name of another convention.

    Args:
        code: Standard residue code.
        name: Name in the file, e.g. ``O5*``, ``O1P``, ``CD`` of isoleucine.
    """
    if mol_type_of(code) is MolType.PROTEIN:
        name = ATOM_ALIASES.get(code, {}).get(name, name)
        return ATOM_ALIASES["protein"].get(name, name)
    name = name.replace("*", "'")
    return ATOM_ALIASES["nucleotide"].get(name, name)


_MODELS = {UNKNOWN_PROTEIN: "ALA", UNKNOWN_RNA: "A", UNKNOWN_DNA: "DA"}


@lru_cache(maxsize=64)
def slot_of(code: str) -> dict[str, int]:
    """Slot of each atom name of a standard residue."""
    return {name: slot for slot, name in enumerate(SLOT_NAMES[code])}


@lru_cache(maxsize=64)
def reference_slots(code: str) -> ReferenceSlots:
    """Atoms of a standard residue in slot order, from its dictionary entry.

    Args:
        code: Standard residue code; the unknown residues take the atoms they have in common
            with alanine, adenosine and deoxyadenosine.

    Returns:
        Read-only arrays of ``NUM_SLOTS`` slots.
    """
    entry = component(_MODELS.get(code, code))
    index = {name: i for i, name in enumerate(entry.atom_names)}
    names = SLOT_NAMES[code]
    rows = np.array([index[name] for name in names])
    used = len(names)

    def fill(values: np.ndarray) -> np.ndarray:
        out = np.zeros((NUM_SLOTS, *values.shape[1:]), values.dtype)
        out[:used] = values[rows]
        out.setflags(write=False)
        return out

    slots = np.full(NUM_SLOTS, "", dtype="<U8")
    slots[:used] = names
    slots.setflags(write=False)
    # In a chain the phosphate is ionised on one oxygen, and the dictionary's arginine and lysine
    # are protonated already.
    return ReferenceSlots(
        names=slots,
        element=fill(entry.elements),
        charge=fill(entry.charges),
        chirality=fill(entry.chirality),
        mask=fill(np.ones(len(entry.atom_names), dtype=bool)),
        positions=fill(entry.positions),
    )


@lru_cache(maxsize=64)
def residue_bonds(code: str) -> Int[np.ndarray, "bond 3"]:
    """Bonds within a standard residue: two slots and the order.

    Args:
        code: Code of ``vocab.SLOT_NAMES``.
    """
    slots = slot_of(code)
    entry = component(_MODELS.get(code, code))
    names = entry.atom_names
    found = [
        (slots[names[i]], slots[names[j]], order)
        for i, j, order in entry.bonds.tolist()
        if names[i] in slots and names[j] in slots
    ]
    return np.array(found, np.int64).reshape(-1, 3)
