"""Structure files (PDB, mmCIF, BinaryCIF) to ``Complex`` records, with every atom accounted for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from biomol.data.complex import Complex
from biomol.io.assembly import expand_assembly
from biomol.io.binary_cif import read_binary_blocks
from biomol.io.chains import AssembledComplex, assemble_complex
from biomol.io.mmcif import read_block, read_text_blocks
from biomol.io.pdb import read_pdb
from biomol.io.records import FileRecords
from biomol.io.residues import Ledger, collect_residues, select_rows
from scimind.errors import InputError
from scimind.reading import read_bytes
from scimind.typing import Float

FORMATS = {
    ".pdb": "pdb",
    ".ent": "pdb",
    ".cif": "mmcif",
    ".mmcif": "mmcif",
    ".bcif": "bcif",
}
"""File ending to format; each may carry a further ``.gz``."""


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Dropped:
    """Atom records that did not become atoms of the complex.

    Attributes:
        item: What they are, e.g. ``"HOH"`` or ``"SER OXT"``.
        reason: Why they were left out.
        count: Number of records.
    """

    item: str
    reason: str
    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureFile:
    """Contents of a structure file.

    Attributes:
        complexes: One record per data block (one, but for concatenated files).
        b_factors: Temperature factor or confidence of each atom slot, per complex.
        chain_keys: Per complex, the ``label_asym_id`` (PDB: chain column) of each chain.
        dropped: Atom records left out, by item and reason.
        notes: Remarks, e.g. a ligand whose bonds had to be inferred.
        totals: ``records``, ``kept`` and ``dropped`` atom records (kept + dropped = records),
            ``models``, ``tokens`` and ``unresolved_tokens``.
    """

    complexes: tuple[Complex, ...]
    b_factors: tuple[Float[np.ndarray, "token slot"], ...]
    chain_keys: tuple[tuple[str, ...], ...]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]
    totals: dict[str, int]


def is_structure_file(path: str | Path) -> bool:
    """The name ends like one of the formats that ``read_structure`` reads."""
    return _format_of(Path(path)) is not None


def read_structure(
    path: str | Path,
    *,
    model: int = 1,
    altloc: str = "highest",
    assembly: str | None = None,
    keep_water: bool = False,
    hydrogens: bool = False,
    unknown_residues: str = "error",
) -> StructureFile:
    """Read a structure file.

    Standard residues and nucleotides become one token each, everything else one token per heavy
    atom. Residues that the file declares but does not resolve are tokens without coordinates.

    Args:
        path: File ending in .pdb, .ent, .cif, .mmcif or .bcif, possibly followed by .gz.
        model: Which model of an ensemble, from 1.
        altloc: Which alternative position: ``"highest"`` mean occupancy of the residue,
            ``"first"``, or a label such as ``"B"`` (highest where a residue lacks it).
        assembly: Identifier of the biological assembly to build, None for the deposited unit.
        keep_water: Keep water molecules.
        hydrogens: Keep hydrogens of ligands (residues have no slots for them).
        unknown_residues: What to do with a polymer residue of unknown name: ``"error"``, or
            ``"unknown"`` to read it as the unknown residue of its polymer.

    Returns:
        The complexes, with an account of every atom record of the file.

    Raises:
        InputError: The file cannot be read, holds no usable atoms, or breaks a rule.
    """
    path = Path(path)
    kind = _format_of(path)
    if kind is None:
        raise InputError(
            f"{path.name!r} does not end like a structure file; use {', '.join(FORMATS)} "
            "(optionally with .gz)",
            path=path,
            rule="structure.format",
        )
    if altloc == "" or unknown_residues not in ("error", "unknown"):
        raise InputError(
            f"altloc={altloc!r}, unknown_residues={unknown_residues!r}; altloc is 'highest', "
            "'first' or a label, unknown_residues is 'error' or 'unknown'",
            path=path,
            rule="structure.option",
        )
    blocks = _read_records(path, kind)
    complexes, b_factors, keys = [], [], []
    dropped: dict[tuple[str, str], int] = {}
    notes: list[str] = []
    totals = dict.fromkeys(("records", "kept", "dropped", "models"), 0)
    for records in blocks:
        _check(records, model, path)
        ledger = Ledger(records.atoms)
        select_rows(
            records.atoms, ledger, model=model - 1, keep_water=keep_water, hydrogens=hydrogens
        )
        chains = collect_residues(records, ledger, altloc=altloc)
        made = assemble_complex(
            records, chains, ledger, hydrogens=hydrogens, strict=unknown_residues == "error"
        )
        counts = ledger.counts()
        kept = int(made.record.coord_mask.sum())
        # The identity that makes a silent loss impossible; a failure is a defect of this package.
        assert kept + sum(counts.values()) == len(records.atoms), path
        record, b_factor, chain_keys = made.record, made.b_factor, made.chain_keys
        if assembly is not None:
            record, b_factor, chain_keys = _expand(records, made, b_factor, assembly, path)
        complexes.append(record)
        b_factors.append(b_factor)
        keys.append(chain_keys)
        notes += [*records.notes, *made.notes]
        for item, count in counts.items():
            dropped[item] = dropped.get(item, 0) + count
        totals["records"] += len(records.atoms)
        totals["kept"] += kept
        totals["dropped"] += sum(counts.values())
        totals["models"] += int(records.atoms.model.max()) + 1
    totals["tokens"] = sum(c.num_tokens for c in complexes)
    totals["unresolved_tokens"] = sum(int((~c.coord_mask.any(axis=1)).sum()) for c in complexes)
    return StructureFile(
        complexes=tuple(complexes),
        b_factors=tuple(b_factors),
        chain_keys=tuple(keys),
        dropped=tuple(Dropped(item, reason, n) for (item, reason), n in dropped.items()),
        notes=tuple(notes),
        totals=totals,
    )


def _format_of(path: Path) -> str | None:
    name = path.name.lower().removesuffix(".gz")
    return FORMATS.get(Path(name).suffix)


def _read_records(path: Path, kind: str) -> list[FileRecords]:
    data = read_bytes(path)
    if kind != "bcif":
        while data.startswith(_BYTE_ORDER_MARK):  # joined files can have several
            data = data.removeprefix(_BYTE_ORDER_MARK)
        if b"\0" in data:
            raise InputError(
                "the file holds NUL bytes: it is binary, UTF-16 or damaged; save it as plain text",
                path=path,
                line=data.count(b"\n", 0, data.index(b"\0")) + 1,
                rule="text.null",
            )
    stem = path.name
    for ending in (".gz", *FORMATS):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    source = str(path)
    if kind == "pdb":
        # PDB files are ASCII by their standard; authors' names in other encodings do no harm.
        text = data.decode("latin-1")
        if text.lstrip().startswith("data_"):
            raise InputError(
                "the content is mmCIF; rename the file to .cif", path=path, rule="structure.format"
            )
        return [read_pdb(text, name=stem, source=source)]
    if kind == "mmcif":
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        found = [
            read_block(block, source=source) for block in read_text_blocks(text, source=source)
        ]
    else:
        found = [
            read_block(block, source=source) for block in read_binary_blocks(data, source=source)
        ]
    records_list = [records for records in found if records is not None]
    if not records_list:
        raise InputError(
            "no data block has atoms (_atom_site or _chem_comp_atom); it is not a structure",
            path=path,
            rule="structure.empty",
        )
    # A file of one block is known by its file name, like a PDB file.
    return [replace(records_list[0], name=stem)] if len(records_list) == 1 else records_list


def _check(records: FileRecords, model: int, path: Path) -> None:
    if len(records.atoms) == 0:
        raise InputError(
            "the file has no ATOM or HETATM record; it is empty or not a structure",
            path=path,
            rule="structure.empty",
        )
    models = int(records.atoms.model.max()) + 1
    if not 1 <= model <= models:
        raise InputError(
            f"model {model} was asked for and the file has {models}; choose 1 to {models}",
            path=path,
            rule="structure.model",
        )


def _expand(
    records: FileRecords, made: AssembledComplex, b_factor: np.ndarray, name: str, path: Path
) -> tuple[Complex, np.ndarray, tuple[str, ...]]:
    available = records.assemblies()
    if name not in available:
        listed = ", ".join(available) or "none"
        raise InputError(
            f"assembly {name!r} was asked for and the file describes {listed}; choose one of "
            "these or none",
            path=path,
            rule="structure.assembly",
        )
    names = made.record.chain_names if records.chains_by_author else made.chain_keys
    record, origin = expand_assembly(made.record, available[name], names)
    if record.num_tokens == 0:
        raise InputError(
            f"assembly {name!r} contains none of the chains of the file",
            path=path,
            rule="structure.assembly",
        )
    keys = {int(new): made.chain_keys[int(old)] for new, old in zip(
        record.chain_id, made.record.chain_id[origin], strict=True)}  # fmt: skip
    return record, b_factor[origin], tuple(keys[i] for i in range(len(keys)))
