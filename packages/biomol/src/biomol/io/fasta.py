"""Sequences: FASTA files and plain strings to ``Complex``.

The type of a chain is read from its header (``>name|rna``), otherwise from its letters: U
without T is RNA, only A, C, G, T, N is DNA, anything else protein.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from Bio.SeqIO.FastaIO import SimpleFastaParser

from biomol.chem.standard import reference_slots
from biomol.chem.vocab import (
    NUM_SLOTS,
    NUM_TOKENS,
    PROTEIN_CODES,
    PROTEIN_LETTERS,
    TOKEN_ID,
    TOKENS,
    UNKNOWN_DNA,
    UNKNOWN_PROTEIN,
    UNKNOWN_RNA,
    MolType,
)
from biomol.data.complex import Complex
from biomol.io.rejection import Rejection
from scimind.errors import InputError
from scimind.reading import read_text

_HEADER_TYPES = {
    "protein": MolType.PROTEIN,
    "peptide": MolType.PROTEIN,
    "polypeptide": MolType.PROTEIN,
    "rna": MolType.RNA,
    "dna": MolType.DNA,
}
# Other residues whose identity is known: selenocysteine and pyrrolysine are read as the residue
# they derive from, as in UniProt-trained sequence models.
_LETTERS: dict[MolType, dict[str, str]] = {
    MolType.PROTEIN: {
        **dict(zip(PROTEIN_LETTERS, PROTEIN_CODES, strict=True)),
        "U": "CYS",
        "O": "LYS",
        "X": UNKNOWN_PROTEIN,
    },
    MolType.RNA: {"A": "A", "C": "C", "G": "G", "U": "U", "T": "U", "N": UNKNOWN_RNA},
    MolType.DNA: {"A": "DA", "C": "DC", "G": "DG", "T": "DT", "U": "DT", "N": UNKNOWN_DNA},
}
_UNKNOWN = {
    MolType.PROTEIN: UNKNOWN_PROTEIN,
    MolType.RNA: UNKNOWN_RNA,
    MolType.DNA: UNKNOWN_DNA,
}
_AMBIGUOUS = {
    MolType.PROTEIN: "BZJX",
    MolType.RNA: "NRYSWKMBDHVX",
    MolType.DNA: "NRYSWKMBDHVX",
}


@dataclass(frozen=True, kw_only=True)
class FastaRecord:
    """One record of a FASTA file.

    Attributes:
        name: First word of the header, without the type.
        header: The whole header line without ``>``.
        line: One-based line of the header.
        sequence: Letters as in the file, without blanks.
    """

    name: str
    header: str
    line: int
    sequence: str


@dataclass(frozen=True, kw_only=True)
class FastaFile:
    """The chains of one file.

    Attributes:
        complexes: One single-chain record per accepted sequence.
        dropped: Sequences that were refused.
        totals: Number of ``records``, ``residues`` accepted, ``unknown_letters`` read as the
            unknown residue, and ``duplicates`` (sequences seen before in the file, kept).
    """

    complexes: tuple[Complex, ...]
    dropped: tuple[Rejection, ...] = ()
    totals: dict[str, int] = field(default_factory=dict)


def read_records(path: str | Path) -> tuple[list[FastaRecord], list[Rejection]]:
    """Headers and letters of a FASTA file, of any alphabet (labels included).

    Args:
        path: The file, plain or gzipped.

    Returns:
        Records with letters, and the refused ones (no name, no letters, name seen before with
        other letters).

    Raises:
        InputError: The file is unreadable, empty, or does not begin with ``>``.
    """
    path = Path(path)
    text = read_text(path)
    rows = text.split("\n")
    first = next((place for place, row in enumerate(rows) if row.strip()), None)
    if first is None:
        raise InputError(
            "the file is empty; a FASTA file has one record at least", path=path, rule="fasta.empty"
        )
    if not rows[first].startswith(">"):
        raise InputError(
            f"the file begins with {rows[first][:40]!r}; a FASTA record begins with '>' and a name",
            path=path,
            line=first + 1,
            rule="fasta.header",
        )
    lines = [number for number, row in enumerate(rows, start=1) if row.startswith(">")]
    parsed = SimpleFastaParser(io.StringIO(text, newline="\n"))
    records: list[FastaRecord] = []
    rejected: list[Rejection] = []
    seen: dict[str, str] = {}
    for line, (header, sequence) in zip(lines, parsed, strict=True):
        letters = "".join(sequence.split())
        name = header.split(maxsplit=1)[0].strip("|") if header.strip() else ""
        problem = None
        if not name:
            problem = ("fasta.name", "the record has no name; write it after '>'")
        elif not letters:
            problem = ("fasta.empty_record", f"record {name!r} has no letters")
        elif seen.setdefault(name, letters) != letters:
            message = f"record {name!r} was given before with other letters; rename it"
            problem = ("fasta.duplicate_name", message)
        if problem:
            rejected.append(Rejection(str(path), line, *problem))
        else:
            records.append(FastaRecord(name=name, header=header, line=line, sequence=letters))
    return records, rejected


def read_fasta(path: str | Path) -> FastaFile:
    """Every chain of a FASTA file as a record of its own.

    Args:
        path: The file, plain or gzipped.

    Returns:
        Accepted chains, refused ones, and counts.

    Raises:
        InputError: See ``read_records``.
    """
    records, dropped = read_records(path)
    complexes: list[Complex] = []
    totals = {"records": len(records) + len(dropped), "residues": 0, "unknown_letters": 0}
    sequences: set[str] = set()
    for record in records:
        try:
            words = [word.lower() for word in record.header.replace("|", " ").split()]
            mol_type = next((_HEADER_TYPES[w] for w in words if w in _HEADER_TYPES), None)
            chain, mol_type, _ = clean_sequence(record.sequence, mol_type)
            name = record.name.split("|")[0]
            complexes.append(complex_from_sequence(chain, mol_type, name, source=str(path)))
        except InputError as error:
            dropped.append(Rejection.from_error(error, path=str(path), line=record.line))
            continue
        unknown = TOKEN_ID[_UNKNOWN[mol_type]]
        totals["residues"] += len(chain)
        totals["unknown_letters"] += int((complexes[-1].restype == unknown).sum())
        sequences.add(chain)
    totals["duplicates"] = len(complexes) - len(sequences)
    return FastaFile(complexes=tuple(complexes), dropped=tuple(dropped), totals=totals)


def guess_mol_type(sequence: str) -> MolType:
    """Molecule type by the letters alone; see the rule at the top of this module.

    Args:
        sequence: Upper-case letters.
    """
    letters = set(sequence)
    if "U" in letters and letters <= set("ACGUN"):
        return MolType.RNA
    if letters <= set("ACGTN") and len(letters - {"N"}) > 0:
        return MolType.DNA
    return MolType.PROTEIN


def clean_sequence(sequence: str, mol_type: MolType | None = None) -> tuple[str, MolType, int]:
    """Upper-case letters of a chain, its type, and the number of unknown residues.

    Args:
        sequence: Letters; blanks, a final stop ``*`` and alignment gaps at the ends are removed.
        mol_type: The type, or None to guess it.

    Returns:
        The letters, the type, and how many of them stand for an unknown residue.

    Raises:
        InputError: No letters, a stop or a gap inside, or a character of no alphabet.
    """
    letters = "".join(sequence.split()).upper().removesuffix("*").strip("-.")
    if not letters:
        raise InputError("the sequence is empty", rule="sequence.empty")
    kind = guess_mol_type(letters) if mol_type is None else MolType(mol_type)
    known = _LETTERS[kind]
    ambiguous = _AMBIGUOUS[kind]
    unknown = 0
    for place, letter in enumerate(letters, start=1):
        if letter in known and letter not in ambiguous:
            continue
        if letter in ambiguous:
            unknown += 1
            continue
        rule, way_out = "sequence.letter", "remove it or write X (N in nucleic acids)"
        if letter == "*":
            rule, way_out = "sequence.stop", "cut the chain at the stop codon"
        elif letter in "-.":
            rule, way_out = "sequence.gap", "give the unaligned sequence"
        raise InputError(
            f"character {letter!r} at position {place} is no {kind.name} residue; {way_out}",
            rule=rule,
        )
    return letters, kind, unknown


def complex_from_sequence(
    sequence: str,
    mol_type: MolType | None = None,
    name: str = "chain",
    *,
    source: str = "sequence",
    properties: dict[str, float] | None = None,
    token_labels: dict[str, np.ndarray] | None = None,
) -> Complex:
    """One chain without coordinates.

    Args:
        sequence: One-letter codes; letters for ambiguous residues become the unknown residue.
        mol_type: Type of the chain, or None to decide by its letters.
        name: Name of the record.
        source: Where it came from.
        properties: Labels of the record.
        token_labels: Labels of the residues.

    Returns:
        The record; ``ref_pos`` holds the ideal residues of the dictionary.

    Raises:
        InputError: See ``clean_sequence``.
    """
    letters, kind, _ = clean_sequence(sequence, mol_type)
    codes = _LETTERS[kind]
    restype = np.array(
        [TOKEN_ID[codes.get(letter, _UNKNOWN[kind])] for letter in letters], np.int32
    )
    count = len(restype)
    slots = _residue_slots()
    return Complex(
        name=name,
        source=source,
        mol_type=np.full(count, int(kind), np.int32),
        restype=restype,
        res_index=np.arange(count, dtype=np.int32),
        chain_id=np.zeros(count, np.int32),
        entity_id=np.zeros(count, np.int32),
        atom_mask=slots["mask"][restype],
        atom_element=slots["element"][restype],
        atom_charge=slots["charge"][restype],
        atom_name=slots["name"][restype],
        ref_pos=slots["positions"][restype],
        coords=np.zeros((count, NUM_SLOTS, 3), np.float32),
        coord_mask=np.zeros((count, NUM_SLOTS), np.bool_),
        chirality=slots["chirality"][restype],
        bonds=np.zeros((0, 5), np.int32),
        chain_names=("A",),
        residue_names=tuple(TOKENS[token] for token in restype),
        residue_numbers=tuple(str(number) for number in range(1, count + 1)),
        properties=dict(properties or {}),
        token_labels=dict(token_labels or {}),
    )


@lru_cache(maxsize=1)
def _residue_slots() -> dict[str, np.ndarray]:
    """Slots of every residue of the vocabulary, indexed by token."""
    table = {
        "mask": np.zeros((NUM_TOKENS, NUM_SLOTS), np.bool_),
        "element": np.zeros((NUM_TOKENS, NUM_SLOTS), np.int32),
        "charge": np.zeros((NUM_TOKENS, NUM_SLOTS), np.int32),
        "chirality": np.zeros((NUM_TOKENS, NUM_SLOTS), np.int32),
        "name": np.full((NUM_TOKENS, NUM_SLOTS), "", "<U8"),
        "positions": np.zeros((NUM_TOKENS, NUM_SLOTS, 3), np.float32),
    }
    for code in {code for codes in _LETTERS.values() for code in codes.values()}:
        reference = reference_slots(code)
        token = TOKEN_ID[code]
        table["mask"][token] = reference.mask
        table["element"][token] = reference.element
        table["charge"][token] = reference.charge
        table["chirality"][token] = reference.chirality
        table["name"][token] = reference.names
        table["positions"][token] = reference.positions
    return table
