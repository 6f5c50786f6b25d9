"""PDB files to atom records, with the line of every record.

Fixed columns are read here and not by a library because each ATOM and HETATM line has to be
accounted for: gemmi's reader passes over lines it cannot use. Format: wwPDB 3.3.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import gemmi
import numpy as np

from biomol.chem.ccd import atomic_number, find_component
from biomol.chem.standard import is_standard_name, protein_code
from biomol.io.assembly import gemmi_assemblies
from biomol.io.records import AssemblyPart, AtomKey, AtomTable, FileRecords, Link
from scimind.errors import InputError

_WIDTH = 80
_MIN_LENGTH = 54  # up to the z coordinate
_IDENTITY_OPERATORS = ("", "1555")
_ATOM_START = re.compile(r"(ATOM  |HETATM)(?= *\d)[ \d]{5} ")
_RESIDUE_AND_POSITION = re.compile(r" *-?\d+[A-Za-z ] {3}([ \d-]{3}\d\.\d{3}){3}")
_RECORD_NAMES = frozenset(
    """
    HEADER OBSLTE TITLE SPLIT CAVEAT COMPND SOURCE KEYWDS EXPDTA NUMMDL MDLTYP AUTHOR REVDAT
    SPRSDE JRNL REMARK DBREF DBREF1 DBREF2 SEQADV SEQRES MODRES HET HETNAM HETSYN FORMUL HELIX
    SHEET TURN SSBOND LINK LINKR CISPEP SITE CRYST1 ORIGX1 ORIGX2 ORIGX3 SCALE1 SCALE2 SCALE3
    MTRIX1 MTRIX2 MTRIX3 MODEL ATOM ANISOU SIGATM SIGUIJ TER HETATM ENDMDL CONECT MASTER END
    SLTBRG HYDBND TVECT USER FTNOTE
    """.split()  # noqa: SIM905
)
"""Record names of the format, the older versions included."""


def read_pdb(text: str, *, name: str, source: str) -> FileRecords:
    """Atom records, sequences and links of a PDB file.

    Args:
        text: Contents of the file.
        name: Identifier for the structure.
        source: Path for messages.

    Raises:
        InputError: A record is cut short, or a number cannot be read.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rows, model, ter = _scan(lines)
    note = _check_other_lines(lines, source)
    sequences: dict[str, list[str]] = {}
    links: list[Link] = []
    contacts: Counter[tuple[int, int]] = Counter()
    for line in lines:
        tag = line[:6]
        if tag == "SEQRES":
            sequences.setdefault(line[10:12].strip(), []).extend(line[19:70].split())
        elif tag == "LINK  ":
            links.extend(_link(line))
        elif tag == "SSBOND":
            links.extend(_disulfide(line))
        elif tag == "CONECT":
            contacts.update(_contacts(line))
    return FileRecords(
        name=name,
        source=source,
        atoms=_atoms(lines, rows, model, ter, source),
        sequences={chain: tuple(names) for chain, names in sequences.items()},
        polymer={},
        links=tuple(links),
        contacts=contacts,
        assemblies=lambda: _assemblies(text, source),
        chains_by_author=True,
        notes=(note,) if note else (),
    )


def _scan(lines: list[str]) -> tuple[list[int], list[int], list[int]]:
    """Line, model and remaining TER records (see ``AtomTable.ter``) of every atom record."""
    rows: list[int] = []
    chains: list[tuple[int, str]] = []
    passed: list[int] = []
    ters: Counter[tuple[int, str]] = Counter()
    current, fresh = 0, True
    for index, line in enumerate(lines):
        tag = line[:6].rstrip()
        if tag in ("ATOM", "HETATM"):
            fresh = False
            rows.append(index)
            chains.append((current, line[20:22]))
            passed.append(ters[chains[-1]])
        elif tag == "TER" and chains:
            ters[chains[-1]] += 1
        elif tag in ("MODEL", "ENDMDL", "END") and not fresh:
            current, fresh = current + 1, True
    ter = [ters[c] - before if ters[c] else -1 for c, before in zip(chains, passed, strict=True)]
    return rows, [model for model, _ in chains], ter


def _check_other_lines(lines: list[str], source: str) -> str:
    """A remark on lines that are no record; damaged atom records are refused."""
    unknown: Counter[str] = Counter()
    for index, line in enumerate(lines):
        tag = line[:6].rstrip()
        joined = _ATOM_START.search(line, 1) is not None
        damaged = bool(tag) and tag not in _RECORD_NAMES and _has_position(line)
        if joined or damaged:
            found = "an atom record within the line" if joined else f"record name {tag!r}"
            raise InputError(
                f"{found}; atom records begin with ATOM or HETATM, one in a line: a line end or "
                "a character was lost, fetch the file again",
                path=source,
                line=index + 1,
                rule="pdb.record",
            )
        if line.strip() and tag not in _RECORD_NAMES:
            unknown[tag] += 1
    if not unknown:
        return ""
    return f"{unknown.total()} lines that are no PDB record were passed over: " + " ".join(unknown)


def _has_position(line: str) -> bool:
    # Columns 23-54: residue number, insertion code, x, y, z.
    return _RESIDUE_AND_POSITION.fullmatch(line, 22, 54) is not None


def _atoms(
    lines: list[str], rows: list[int], model: list[int], ter: list[int], source: str
) -> AtomTable:
    if not rows:
        raise InputError(
            "the file has no ATOM or HETATM record; it is empty or not a PDB file",
            path=source,
            rule="structure.empty",
        )
    for index in rows:
        if len(lines[index].rstrip()) < _MIN_LENGTH:
            raise InputError(
                f"atom record of {len(lines[index].rstrip())} characters; x, y and z end in "
                f"column {_MIN_LENGTH}: the file is cut short or not in PDB columns",
                path=source,
                line=index + 1,
                rule="pdb.record",
            )
        numeric = lines[index][22:66]
        # Python reads 1_0 as 10, and digits of other scripts as digits.
        if "_" in numeric or not numeric.isascii():
            raise InputError(
                f"columns 23-66 hold {numeric.strip()!r}; numbers are written with ASCII digits",
                path=source,
                line=index + 1,
                rule="pdb.number",
            )
    block = np.array(
        [lines[i][:_WIDTH].ljust(_WIDTH).encode("latin-1", "replace") for i in rows],
        dtype=f"S{_WIDTH}",
    )
    characters = block.view("S1").reshape(len(rows), _WIDTH)

    def column(start: int, stop: int) -> np.ndarray:
        raw = np.ascontiguousarray(characters[:, start:stop]).view(f"S{stop - start}").ravel()
        # A field of blanks compares equal to ""; NUL bytes at the end are dropped by numpy.
        return np.char.strip(np.char.decode(raw, "latin-1"))

    line_of = np.array(rows, np.int64) + 1

    def numbers(start: int, stop: int, what: str, missing: float | None) -> np.ndarray:
        texts = column(start, stop)
        blank = texts == ""
        if missing is not None:
            texts = np.where(blank, repr(missing), texts)
        try:
            return texts.astype(np.float64)
        except ValueError:
            for text, line in zip(texts, line_of, strict=True):
                _float(str(text), what, source, int(line))
            raise

    comp, chain = column(17, 20), column(21, 22)
    wide = column(20, 21) != ""
    if wide.any():
        long_names, long_chains = column(17, 21), column(20, 22)
        for i in np.flatnonzero(wide):
            # Column 21 is blank in the standard. MD programs put a fourth letter of the residue
            # name there, others a first letter of the chain name.
            if _is_long_name(str(long_names[i])):
                comp = comp.astype("<U4")
                comp[i] = long_names[i]
            else:
                chain = chain.astype("<U2")
                chain[i] = long_chains[i]
    segment = column(72, 76)
    chain = np.where(chain == "", segment, chain)
    name = column(12, 16)
    hetero = np.char.startswith(column(0, 6), "HETATM")
    return AtomTable(
        model=np.array(model, np.int32),
        hetero=hetero,
        name=name,
        altloc=column(16, 17),
        comp=comp,
        chain=chain,
        author_chain=chain,
        seq=np.zeros(len(rows), np.int32),
        number=_residue_numbers(column(22, 26), line_of, source),
        insertion=column(26, 27),
        element=_elements(column(76, 78), characters[:, 12:14], name, comp, hetero),
        xyz=np.stack(
            [numbers(s, s + 8, a, None) for s, a in ((30, "x"), (38, "y"), (46, "z"))], axis=-1
        ).reshape(-1, 3),
        occupancy=numbers(54, 60, "occupancy", 1.0),
        b_factor=numbers(60, 66, "B factor", 0.0),
        charge=_charges(column(78, 80)),
        serial=_serials(column(6, 11)),
        ter=np.array(ter, np.int32),
        line=line_of,
    )


def _is_long_name(name: str) -> bool:
    return is_standard_name(name) or protein_code(name) is not None or name in ("TIP3", "TIP4")


def _float(text: str, what: str, source: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{what} is {text!r}, which is not a number; the columns may be shifted",
            path=source,
            line=line,
            rule="pdb.number",
        ) from None


def _residue_numbers(texts: np.ndarray, lines: np.ndarray, source: str) -> np.ndarray:
    try:
        return texts.astype(np.int32)
    except ValueError:
        pairs = zip(texts.tolist(), lines.tolist(), strict=True)
        return np.array([_residue_number(text, source, line) for text, line in pairs], np.int32)


def _serials(texts: np.ndarray) -> np.ndarray:
    try:
        return texts.astype(np.int64)
    except ValueError:
        return np.array([_serial(text) for text in texts.tolist()], np.int64)


def _charges(texts: np.ndarray) -> np.ndarray:
    distinct, place = np.unique(texts, return_inverse=True)
    return np.array([_charge(text) for text in distinct.tolist()], np.int32)[place]


def _residue_number(text: str, source: str, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    # Hybrid-36 (Grosse-Kunstleve): A000 follows 9999.
    if len(text) == 4 and text.isalnum() and text.isascii() and text[0].isalpha():
        upper = text[0].isupper()
        offset = 10 * 36**3 - 10000 if upper else 10 * 36**3 - 10000 - 26 * 36**3
        return int(text, 36) - offset
    raise InputError(
        f"residue number is {text!r}, which is not an integer; the columns may be shifted",
        path=source,
        line=line,
        rule="pdb.number",
    )


def _serial(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _charge(text: str) -> int:
    """``2+``, ``1-``, ``+2``; anything else is 0 (the columns often hold other things)."""
    if len(text) == 2 and text[0].isdigit() and text[1] in "+-":
        text = text[1] + text[0]
    if len(text) == 2 and text[0] in "+-" and text[1].isdigit():
        return int(text)
    return 0


def _elements(
    given: np.ndarray, first_two: np.ndarray, name: np.ndarray, comp: np.ndarray, hetero: np.ndarray
) -> np.ndarray:
    out = np.zeros(len(name), np.int32)
    known: dict[tuple[str, str, str, str, bool], int] = {}
    columns = zip(
        given.tolist(),
        np.ascontiguousarray(first_two).view("S2").ravel().tolist(),
        name.tolist(),
        comp.tolist(),
        hetero.tolist(),
        strict=True,
    )
    for i, (symbol, start, atom, residue, het) in enumerate(columns):
        key = (symbol, start.decode("latin-1"), atom, residue, het)
        if key not in known:
            known[key] = atomic_number(symbol) or infer_element(atom, residue, key[1], het)
        out[i] = known[key]
    return out


def infer_element(atom: str, residue: str, start: str = "", hetero: bool = True) -> int:
    """Atomic number from the atom name, for files without an element column.

    Args:
        atom: Atom name.
        residue: Residue name; if the dictionary has the atom, it decides.
        start: Columns 13-14 of a PDB record, where a two-letter symbol is left-aligned.
        hetero: The record is a HETATM; standard residues hold no two-letter elements but SE.
    """
    entry = None if is_standard_name(residue) and not hetero else find_component(residue)
    if entry is not None and atom in entry.atom_names:
        return int(entry.elements[entry.atom_names.index(atom)])
    letters = atom.lstrip("0123456789'\"*")
    if start and start[0] == " ":
        return atomic_number(start[1]) or atomic_number(letters[:1])
    if hetero and len(atom) < 4 and atomic_number(start[:2]):
        return atomic_number(start[:2])
    if letters[:2].upper() == "SE" and residue in ("MSE", "SEC", "MET"):
        return 34
    return atomic_number(letters[:1])


def _plain_integer(text: str) -> int:
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return int(text)


def _key(line: str, name: tuple[int, int], residue: int) -> AtomKey:
    number = line[residue + 5 : residue + 9].strip()
    return AtomKey(
        chain=line[residue + 3 : residue + 5].strip(),
        comp=line[residue : residue + 3].strip(),
        number=_plain_integer(number),
        insertion=line[residue + 9 : residue + 10].strip(),
        seq=0,
        name=line[name[0] : name[1]].strip(),
    )


def _same_copy(line: str) -> bool:
    return line[59:65].strip() in _IDENTITY_OPERATORS and line[66:72].strip() in _IDENTITY_OPERATORS


def _link(line: str) -> list[Link]:
    line = line.ljust(_WIDTH)
    try:
        return [Link(_key(line, (12, 16), 17), _key(line, (42, 46), 47))] * _same_copy(line)
    except ValueError:
        return []  # an annotation with damaged numbers; the atoms themselves are unaffected


def _disulfide(line: str) -> list[Link]:
    line = line.ljust(_WIDTH)
    ends = []
    for comp, chain, number in ((11, 14, 17), (25, 28, 31)):
        try:
            value = _plain_integer(line[number : number + 4])
        except ValueError:
            return []
        residue = line[comp : comp + 3].strip()
        insertion = line[number + 4].strip()
        key = AtomKey(line[chain : chain + 2].strip(), residue, value, insertion, 0, "SG")
        ends.append(key)
    return [Link(*ends)] * _same_copy(line)


def _contacts(line: str) -> list[tuple[int, int]]:
    serials = [_serial(line[i : i + 5].strip()) for i in range(6, 31, 5)]
    first = serials[0]
    return [(first, s) for s in serials[1:] if s and first]


def _assemblies(text: str, source: str) -> Mapping[str, tuple[AssemblyPart, ...]]:
    try:
        structure = gemmi.read_pdb_string(text)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"assemblies cannot be read: {error}", path=source, rule="pdb.assembly"
        ) from error
    return gemmi_assemblies(structure, by_author=True)
