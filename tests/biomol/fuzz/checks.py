"""Checks of one file per format: read it with the product, and count again by other means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from biomol.data.complex import Complex
from biomol.io.fasta import read_fasta
from biomol.io.ligand import read_sdf
from biomol.io.structure import StructureFile, read_structure
from biomol.io.tables import read_table
from fuzzing.verdicts import judge

# Record names of the PDB format 3.3; any other line would be lost without a word.
_PDB_RECORDS = """
HEADER OBSLTE TITLE SPLIT CAVEAT COMPND SOURCE KEYWDS EXPDTA NUMMDL MDLTYP AUTHOR REVDAT SPRSDE
JRNL REMARK DBREF DBREF1 DBREF2 SEQADV SEQRES MODRES HET HETNAM HETSYN FORMUL HELIX SHEET TURN
SSBOND LINK CISPEP SITE CRYST1 ORIGX1 ORIGX2 ORIGX3 SCALE1 SCALE2 SCALE3 MTRIX1 MTRIX2 MTRIX3
MODEL ATOM ANISOU SIGATM SIGUIJ TER HETATM ENDMDL CONECT MASTER END SLTBRG HYDBND TVECT USER
FTNOTE LINKR
"""
PDB_RECORDS = frozenset(_PDB_RECORDS.split())


def _record_faults(record: Complex) -> Iterator[str]:
    """What no record may contain, whatever the file was."""
    count = record.num_tokens
    for name in ("mol_type", "res_index", "chain_id", "entity_id", "atom_mask", "coords"):
        if len(getattr(record, name)) != count:
            yield f"{name} has {len(getattr(record, name))} rows for {count} tokens"
    if not np.isfinite(record.coords).all() or not np.isfinite(record.ref_pos).all():
        yield "positions are not finite"
    if (record.coord_mask & ~record.atom_mask).any():
        yield "a position belongs to no atom"
    if not all(np.isfinite(value) for value in record.properties.values()):
        yield "a property is not finite"
    if (
        len(record.bonds)
        and not 0 <= record.bonds[:, [0, 2]].min() <= record.bonds[:, [0, 2]].max() < count
    ):
        yield "a bond leaves the record"


def _account(file: StructureFile, records_in_text: int | None) -> Iterator[str]:
    kept = sum(int(record.coord_mask.sum()) for record in file.complexes)
    dropped = sum(entry.count for entry in file.dropped)
    if records_in_text is not None and kept + dropped != records_in_text:
        yield f"{records_in_text} atom records in the file, {kept} kept and {dropped} reported"
    if not all(entry.reason for entry in file.dropped):
        yield "atoms were dropped without a reason"
    for record in file.complexes:
        yield from _record_faults(record)


def check_pdb(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        file = read_structure(path)
        text = re.sub(rb"^(\xef\xbb\xbf)+", b"", path.read_bytes()).decode("latin-1")
        lines = re.split(r"\r\n|\r|\n", text)
        tags = {line[:6].rstrip() for line in lines if line.strip()}
        notes = " ".join(file.notes)
        unknown = tags - PDB_RECORDS
        reported = {tag for tag in unknown if tag in notes}
        records = sum(_pdb_atoms(line) for line in lines if line[:6].rstrip() not in reported)
        losses = list(_account(file, records))
        losses += [f"line {tag!r} unreported" for tag in sorted(unknown - reported)]
        if records:
            written = {line[30:54] for line in lines}
            places = {
                tuple(np.float32(text[k : k + 8]) for k in (0, 8, 16))
                for text in written
                if re.fullmatch(r"(?: *[-+]?[\d.]+(?:[eE][-+]?\d+)? *){1,3}", text) and _parts(text)
            }
            if strangers := _positions(file) - places:
                losses.append(f"{len(strangers)} positions that are not in the file")
        return Counter(entry.reason for entry in file.dropped), losses

    return judge(path, read)


def _pdb_atoms(line: str) -> int:
    """Atom records of a line: one at its beginning, and any that a lost line end put there."""
    return (line[:6].rstrip() in ("ATOM", "HETATM")) + len(_EMBEDDED_ATOM.findall(line, 1))


# Name and serial number, then 13 columns up to the residue number.
_EMBEDDED_ATOM = re.compile(r"(?:ATOM  |HETATM)(?= *\d)[ \d]{5} .{10}[ \d-]{4}")


def _parts(columns: str) -> bool:
    try:
        return all(np.isfinite(float(columns[k : k + 8])) for k in (0, 8, 16))
    except ValueError:
        return False


_CIF_TOKEN = re.compile(
    r"""^;[\s\S]*?\n;(?=\s|\Z)      # text field
    | \#[^\n]*                       # comment
    | '(?:[^'\n]|'(?=\S))*'(?=\s|\Z)
    | "(?:[^"\n]|"(?=\S))*"(?=\s|\Z)
    | \S+""",
    re.VERBOSE | re.MULTILINE,
)


def cif_atom_sites(text: str) -> tuple[int, set[tuple[np.float32, ...]]]:
    """Rows of all ``_atom_site`` loops and their positions, by a tokenizer of its own."""
    tokens = [m.group() for m in _CIF_TOKEN.finditer(text) if not m.group().startswith("#")]
    rows, places, position = 0, set(), 0
    while position < len(tokens):
        token = tokens[position].lower()
        position += 1
        if token.startswith("_atom_site."):  # a single row written as pairs
            rows += token == "_atom_site.cartn_x"
            position += 1
        if token != "loop_":
            continue
        names = []
        while position < len(tokens) and tokens[position].startswith("_"):
            names.append(tokens[position].lower())
            position += 1
        start = position
        while position < len(tokens) and not _CIF_KEYWORD.match(tokens[position]):
            position += 1
        if not names or not names[0].startswith("_atom_site."):
            continue
        values, width = tokens[start:position], len(names)
        rows += len(values) // width
        axes = [f"_atom_site.cartn_{axis}" for axis in "xyz"]
        if all(axis in names for axis in axes):
            columns = [values[names.index(axis) :: width] for axis in axes]
            places |= {tuple(map(_cif_number, place)) for place in zip(*columns, strict=False)}
    return rows, places


_CIF_KEYWORD = re.compile(r"_|loop_$|data_|save_", re.IGNORECASE)
_CIF_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?:\(\d+\))?", re.ASCII)


def _cif_number(token: str) -> np.float32:
    match = _CIF_NUMBER.fullmatch(token.strip("'\""))
    return np.float32(match[1]) if match else np.float32(np.nan)


def _positions(file: StructureFile) -> set[tuple[np.float32, ...]]:
    return {tuple(row) for record in file.complexes for row in record.coords[record.coord_mask]}


def check_mmcif(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        file = read_structure(path)
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        sites, places = cif_atom_sites(text.replace("\r\n", "\n").replace("\r", "\n"))
        losses = list(_account(file, sites or None))
        if sites and (strangers := _positions(file) - places):
            losses.append(f"{len(strangers)} positions that are not in the file")
        return Counter(entry.reason for entry in file.dropped), losses

    return judge(path, read)


def check_bcif(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        file = read_structure(path)
        return Counter(entry.reason for entry in file.dropped), list(_account(file, None))

    return judge(path, read)


def check_sdf(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        file = read_sdf(path)
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        blocks = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
        if not blocks[-1].strip():
            blocks.pop()
        losses = []
        if len(file.complexes) + len(file.dropped) != len(blocks):
            losses.append(
                f"{len(blocks)} records, {len(file.complexes)} read, {len(file.dropped)} reported"
            )
        for record in file.complexes:
            losses += _record_faults(record)
            block = blocks[int(record.source.rpartition("#")[2]) - 1]
            if (heavy := _heavy_atoms(block)) != record.num_tokens:
                losses.append(f"{heavy} heavy atoms written, {record.num_tokens} read")
        return Counter(entry.rule for entry in file.dropped), losses

    return judge(path, read)


def _heavy_atoms(block: str) -> int:
    lines = block.split("\n")
    if "V3000" in lines[3]:
        joined = re.sub(r"-\nM  V30 ", "", block)
        body = joined.partition("BEGIN ATOM")[2].partition("END ATOM")[0]
        lines = [line.split() for line in body.split("\n")]
        symbols = [words[3] for words in lines if words[:2] == ["M", "V30"] and len(words) > 6]
    else:
        symbols = [line[31:34].strip() for line in lines[4 : 4 + int(lines[3][:3])]]
    return sum(symbol not in ("H", "D", "T") for symbol in symbols)


def check_fasta(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        file = read_fasta(path)
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        starts, letters = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.startswith(">"):
                starts.append(number)
                letters.append("")
            elif letters:
                letters[-1] += "".join(line.split())
        losses = []
        if len(file.complexes) + len(file.dropped) != len(starts):
            losses.append(
                f"{len(starts)} headers, {len(file.complexes)} read, {len(file.dropped)} reported"
            )
        lost = {entry.line for entry in file.dropped}
        written = sum(
            len(chain.removesuffix("*").strip("-."))
            for start, chain in zip(starts, letters, strict=True)
            if start not in lost
        )
        tokens = sum(record.num_tokens for record in file.complexes)
        if written != tokens:
            losses.append(f"{written} letters written, {tokens} read")
        for record in file.complexes:
            losses += _record_faults(record)
        return Counter(entry.rule for entry in file.dropped), losses

    return judge(path, read)


def check_csv(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        table = read_table(path)
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        rows = _logical_rows(text) - 1
        reported = {entry.line for entry in table.rejected}
        losses = []
        if len(table.rows) + len(reported) != rows:
            losses.append(f"{rows} rows, {len(table.rows)} read, {len(reported)} reported")
        for row in table.rows:
            if row.text not in text and row.text.replace('"', '""') not in text:
                losses.append(f"{row.text!r:.60} is not in the file")
            if not all(np.isfinite(value) for value in row.values.values()):
                losses.append("a value is not finite")
        return Counter(entry.rule for entry in table.rejected), losses

    return judge(path, read)


def _logical_rows(text: str) -> int:
    """Lines that hold more than blanks and separators; quoted line ends do not end them."""
    header = text.lstrip().partition("\n")[0]
    delimiter = max(",\t;", key=header.count)
    rows, quoted, content, start = 0, False, False, True
    for character in text + "\n":
        if character == "\n" and not quoted:
            rows, content, start = rows + content, False, True
            continue
        # A quote opens a quoted cell only where a cell begins.
        if character == '"' and (quoted or start):
            quoted = not quoted
            start = not quoted  # "" inside a quoted cell closes and opens again
            continue
        content |= not (character.isspace() or character == delimiter)
        start = character == delimiter and not quoted
    return rows
