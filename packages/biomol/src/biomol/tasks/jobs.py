"""The records of a batch of inputs, one job each, and the inputs that gave none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence, read_fasta
from biomol.io.folder import kind_of, scan
from biomol.io.ligand import from_smiles, read_sdf
from biomol.io.rejection import Rejection
from biomol.io.structure import read_structure
from biomol.io.tables import read_table
from scimind.errors import InputError

_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One input record.

    Attributes:
        name: Name of the record, unique within the batch and safe as a file name.
        source: The file, or the text that was given.
        digest: Hash of the file or text, to recognise a job that was done before.
        record: The record; None where the input was refused.
        rejection: Why it was refused.
    """

    name: str
    source: str
    digest: str
    record: Complex | None = None
    rejection: Rejection | None = None


def collect(inputs: Sequence[str]) -> list[Job]:
    """Jobs of folders, files and SMILES, in order; every refusal is a job without record.

    Args:
        inputs: Paths, or SMILES where no such file exists.

    Raises:
        InputError: Nothing at all was given.
    """
    if not inputs:
        raise InputError(
            "no input was given; set input= to a folder, a file or a SMILES", rule="predict.input"
        )
    taken: dict[str, int] = {}
    jobs: list[Job] = []
    for number, text in enumerate(inputs, start=1):
        path = Path(text)
        exists = len(text) < 4096 and path.exists()
        found = _of_path(path) if exists else iter([_of_text(text, number)])
        jobs.extend(found)
    return [_renamed(job, taken) for job in jobs]


def _renamed(job: Job, taken: dict[str, int]) -> Job:
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in job.name)[:80].strip(".")
    name = safe or "record"
    # Case does not tell files apart everywhere.
    taken[name.lower()] = count = taken.get(name.lower(), 0) + 1
    if count > 1:
        name = f"{name}-{count}"
    return Job(
        name=name,
        source=job.source,
        digest=job.digest,
        record=job.record,
        rejection=job.rejection,
    )


def _of_text(text: str, number: int) -> Job:
    name = f"smiles-{number}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    try:
        record = from_smiles(text, name, conformer=True)
    except InputError as error:
        rule = error.rule
        message = error.message
        if "/" in text or Path(text).suffix:
            message += "; there is no file of this name either"
        rejection = Rejection(path=text, line=None, rule=rule, message=message)
        return Job(name=name, source=text, digest=digest, rejection=rejection)
    return Job(name=name, source=text, digest=digest, record=record)


def _of_path(path: Path) -> Iterator[Job]:
    if path.is_file():
        yield from _of_file(path)
        return
    try:
        found = scan(path)
    except InputError as error:
        yield Job(
            name=path.name,
            source=str(path),
            digest="",
            rejection=Rejection.from_error(error, path=str(path)),
        )
        return
    for rejection in found.rejected:
        yield Job(
            name=Path(rejection.path).name, source=rejection.path, digest="", rejection=rejection
        )
    files = [*(file for kind in found.files.values() for file in kind), *found.flip_values]
    for file in sorted(files):
        yield from _of_file(file)


def _of_file(path: Path) -> Iterator[Job]:
    """Every record of a file."""
    source = str(path)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGEST_CHARACTERS]
        records, refused = _read(path)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        yield Job(name=path.name, source=source, digest="",
                  rejection=Rejection(source, None, "file.read", message))  # fmt: skip
        return
    except InputError as error:
        rejection = Rejection.from_error(error, path=source)
        yield Job(name=path.name, source=source, digest=digest, rejection=rejection)
        return
    for record in records:
        yield Job(name=record.name, source=source, digest=digest, record=record)
    for rejection in refused:
        yield Job(
            name=f"{path.name}-{rejection.line or 'record'}",
            source=source,
            digest=digest,
            rejection=rejection,
        )


def _read(path: Path) -> tuple[list[Complex], Sequence[Rejection]]:
    kind = kind_of(path)
    if kind == "structure":
        return list(read_structure(path).complexes), ()
    if kind == "ligand":
        ligands = read_sdf(path)
        return list(ligands.complexes), ligands.dropped
    if kind == "fasta":
        chains = read_fasta(path)
        return list(chains.complexes), chains.dropped
    if kind == "table":
        return _table(path)
    raise InputError(
        f"{path.suffix or 'a file without ending'} is no known format; give mmCIF, PDB, BinaryCIF, "
        "SDF, FASTA, CSV, TSV or Parquet",
        path=path,
        rule="predict.format",
    )


def _table(path: Path) -> tuple[list[Complex], list[Rejection]]:
    table = read_table(path)
    refused = list(table.rejected)
    records = []
    stem = path.name.split(".")[0]
    for row in table.rows:
        try:
            name = f"{stem}-{row.line}"
            if table.content == "smiles":
                records.append(from_smiles(row.text, name, conformer=True))
            else:
                records.append(complex_from_sequence(row.text, name=name, source=str(path)))
        except InputError as error:
            refused.append(Rejection.from_error(error, path=str(path), line=row.line))
    return records, refused
