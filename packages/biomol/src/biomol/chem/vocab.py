"""Token and atom vocabulary of the model.

One token is a standard residue or nucleotide, or one heavy atom of anything else (ligands, ions,
modified residues), as in AlphaFold 3 (Abramson et al. 2024, SI 2.6). Each token owns
``NUM_SLOTS`` atom slots. Two conventions keep the network free of case distinctions:

* slot ``REPRESENTATIVE_SLOT`` (1) holds CA of a residue, C1' of a nucleotide, the atom of an
  atom token;
* slots ``FRAME_SLOTS`` (0, 1, 2) of a polymer token hold the three atoms of its local frame:
  N, CA, C or C3', C1', C4'. An atom token has no frame.
"""

from enum import IntEnum

NUM_SLOTS = 24
REPRESENTATIVE_SLOT = 1
FRAME_SLOTS = (0, 1, 2)


class MolType(IntEnum):
    """What a token is part of."""

    PAD = 0
    PROTEIN = 1
    RNA = 2
    DNA = 3
    ATOM = 4  # a heavy atom of a ligand, ion or modified residue


PAD, MASK = "<pad>", "<mask>"

PROTEIN_LETTERS = "ARNDCQEGHILKMFPSTWYV"
PROTEIN_CODES = [
    "ALA",
    "ARG",
    "ASN",
    "ASP",
    "CYS",
    "GLN",
    "GLU",
    "GLY",
    "HIS",
    "ILE",
    "LEU",
    "LYS",
    "MET",
    "PHE",
    "PRO",
    "SER",
    "THR",
    "TRP",
    "TYR",
    "VAL",
]
UNKNOWN_PROTEIN, UNKNOWN_RNA, UNKNOWN_DNA = "UNK", "N", "DN"
RNA_CODES = ("A", "C", "G", "U")
DNA_CODES = ("DA", "DC", "DG", "DT")

# Elements an atom token can be identified as; everything else is "*".
ELEMENTS = [
    "C",
    "N",
    "O",
    "S",
    "P",
    "F",
    "Cl",
    "Br",
    "I",
    "B",
    "Si",
    "Se",
    "As",
    "H",
    "Li",
    "Na",
    "K",
    "Mg",
    "Ca",
    "Sr",
    "Ba",
    "Mn",
    "Fe",
    "Co",
    "Ni",
    "Cu",
    "Zn",
    "Cd",
    "Mo",
    "W",
    "V",
    "Pt",
    "Hg",
]
OTHER_ELEMENT = "*"

TOKENS: tuple[str, ...] = (
    PAD,
    MASK,
    *PROTEIN_CODES,
    UNKNOWN_PROTEIN,
    *RNA_CODES,
    UNKNOWN_RNA,
    *DNA_CODES,
    UNKNOWN_DNA,
    *(f"@{element}" for element in ELEMENTS),
    f"@{OTHER_ELEMENT}",
)
TOKEN_ID: dict[str, int] = {token: index for index, token in enumerate(TOKENS)}
NUM_TOKENS = len(TOKENS)
PAD_ID, MASK_ID = TOKEN_ID[PAD], TOKEN_ID[MASK]
PROTEIN_IDS = tuple(TOKEN_ID[code] for code in PROTEIN_CODES)

MAX_ATOMIC_NUMBER = 118

# Heavy atoms per residue in slot order (IUPAC names). Slots 0-4 of every residue: N CA C O CB.
_SIDE_CHAINS: dict[str, str] = {
    "ALA": "",
    "ARG": "CG CD NE CZ NH1 NH2",
    "ASN": "CG OD1 ND2",
    "ASP": "CG OD1 OD2",
    "CYS": "SG",
    "GLN": "CG CD OE1 NE2",
    "GLU": "CG CD OE1 OE2",
    "GLY": "",
    "HIS": "CG ND1 CD2 CE1 NE2",
    "ILE": "CG1 CG2 CD1",
    "LEU": "CG CD1 CD2",
    "LYS": "CG CD CE NZ",
    "MET": "CG SD CE",
    "PHE": "CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CG CD",
    "SER": "OG",
    "THR": "OG1 CG2",
    "TRP": "CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CG1 CG2",
    "UNK": "",
}
_BASES: dict[str, str] = {
    "A": "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4",
    "C": "N1 C2 O2 N3 C4 N4 C5 C6",
    "G": "N9 C8 N7 C5 C6 O6 N1 C2 N2 N3 C4",
    "U": "N1 C2 O2 N3 C4 O4 C5 C6",
    "T": "N1 C2 O2 N3 C4 O4 C5 C7 C6",
    "N": "",
}
_RIBOSE = ["C3'", "C1'", "C4'", "P", "OP1", "OP2", "O5'", "C5'", "O4'", "O3'", "C2'"]


def _slot_names() -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for code, side_chain in _SIDE_CHAINS.items():
        beta = [] if code == "GLY" else ["CB"]
        names[code] = ("N", "CA", "C", "O", *beta, *side_chain.split())
    for code in (*RNA_CODES, UNKNOWN_RNA):
        names[code] = (*_RIBOSE, "O2'", *_BASES[code].split())
    for code in (*DNA_CODES, UNKNOWN_DNA):
        names[code] = (*_RIBOSE, *_BASES[code[1:]].split())
    return names


SLOT_NAMES: dict[str, tuple[str, ...]] = _slot_names()
"""Residue code to atom names in slot order; an atom token keeps its own atom name in slot 1."""

BACKBONE_SLOTS: dict[MolType, int] = {MolType.PROTEIN: 4, MolType.RNA: 12, MolType.DNA: 11}
"""Number of leading slots that are backbone: present whatever the identity of the token."""
