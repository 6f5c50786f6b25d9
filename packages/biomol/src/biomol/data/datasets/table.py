"""A table of molecules or sequences with measured values, as a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from biomol.data.complex import Complex
from biomol.data.datasets.dataset import Dataset, digest_of
from biomol.data.datasets.sequences import SequenceRecords
from biomol.data.packed import pack
from biomol.data.splits import (
    Split,
    given_split,
    random_split,
    scaffold_groups_split,
    scaffold_of,
)
from biomol.io.fasta import clean_sequence
from biomol.io.ligand import complex_from_mol, parse_smiles
from biomol.io.rejection import Rejection
from biomol.io.tables import Property, Row, Table, read_table
from scimind.errors import InputError

SplitMethod = Literal["auto", "given", "scaffold", "random"]


def load_table(
    path: str | Path,
    *,
    name: str | None = None,
    molecule: str | None = None,
    targets: Sequence[str] | None = None,
    property_names: Mapping[str, str] | None = None,
    split: SplitMethod = "auto",
    seed: int = 0,
) -> Dataset:
    """A table as a data set.

    Args:
        path: See ``biomol.io.tables.read_table``.
        name: Name of the data set; the stem of the file by default.
        molecule: Column of SMILES or sequences; found when not given.
        targets: Columns of values; found when not given.
        property_names: Property name of each target column; by default ``name/column``.
        split: ``"given"`` by the table's own column, ``"scaffold"``, ``"random"``, or ``"auto"``:
            the given one if there is one, scaffolds for SMILES, random for sequences.
        seed: Seed of a random split.

    Returns:
        The usable records in file order.

    Raises:
        InputError: The table cannot be read or has no usable row.
    """
    path = Path(path)
    table = read_table(path, molecule=molecule, targets=targets)
    name = name or path.name.split(".")[0]
    renamed = {
        target.name: (property_names or {}).get(target.name, f"{name}/{target.name}")
        for target in table.targets
    }
    rejected: list[Rejection] = list(table.rejected)
    kept: list[Row] = []
    scaffolds: list[str] = []
    records: Sequence[Complex]
    if table.content == "smiles":
        parsed = _molecules(table, name, renamed, kept, scaffolds, rejected)
        first = next(parsed, None)
        if first is None:
            raise InputError(
                f"none of {len(table.rows)} SMILES is a possible molecule; first reason: "
                f"{rejected[0].message}",
                path=path,
                rule="table.no_rows",
            )
        records = pack(_chain(first, parsed))
    else:
        records = _sequences(table, name, renamed, kept, rejected)
    return Dataset(
        name=name,
        records=records,
        split=_split([row.part for row in kept], scaffolds, split, seed, table.path),
        properties=tuple(
            Property(renamed[target.name], target.kind, target.unit) for target in table.targets
        ),
        keys=tuple(row.text for row in kept),
        rejected=tuple(rejected),
        digest=digest_of([path]),
    )


def _chain(first: Complex, rest: Iterator[Complex]) -> Iterator[Complex]:
    yield first
    yield from rest


def _molecules(
    table: Table,
    name: str,
    renamed: Mapping[str, str],
    kept: list[Row],
    scaffolds: list[str],
    rejected: list[Rejection],
) -> Iterator[Complex]:
    """Records of the molecules, noting on the way which rows were kept and refused."""
    for row in table.rows:
        properties = {renamed[key]: value for key, value in row.values.items()}
        try:
            mol = parse_smiles(row.text)
            record = complex_from_mol(
                mol, f"{name}:{row.line}", f"{table.path}#{row.line}", properties=properties
            )
        except InputError as error:
            rejected.append(Rejection.from_error(error, path=table.path, line=row.line))
            continue
        kept.append(row)
        scaffolds.append(scaffold_of(mol))
        yield record


def _sequences(
    table: Table,
    name: str,
    renamed: Mapping[str, str],
    kept: list[Row],
    rejected: list[Rejection],
) -> SequenceRecords:
    letters, values, mol_types = [], [], []
    for row in table.rows:
        try:
            cleaned, mol_type, _ = clean_sequence(row.text)
        except InputError as error:
            rejected.append(Rejection.from_error(error, path=table.path, line=row.line))
            continue
        kept.append(row)
        letters.append(cleaned)
        mol_types.append(mol_type)
        values.append({renamed[key]: value for key, value in row.values.items()})
    if not kept:
        raise InputError(
            f"none of {len(table.rows)} sequences can be used; first reason: {rejected[0].message}",
            path=table.path,
            rule="table.no_rows",
        )
    # The type is that of the column: one short sequence of A, C, G, T alone decides nothing.
    mol_type = max(set(mol_types), key=mol_types.count)
    return SequenceRecords(
        sequences=tuple(letters),
        names=tuple(f"{name}:{row.line}" for row in kept),
        mol_type=mol_type,
        source=table.path,
        properties=tuple(values),
    )


def _split(
    parts: Sequence[str | None],
    scaffolds: Sequence[str],
    method: SplitMethod,
    seed: int,
    path: str,
) -> Split:
    if method == "auto":
        ungrouped: SplitMethod = "scaffold" if scaffolds else "random"
        method = "given" if any(parts) else ungrouped
    if method == "given":
        return given_split(parts, seed=seed)
    if method == "scaffold":
        if not scaffolds:
            raise InputError(
                "a scaffold split needs molecules and the table holds sequences; "
                "use split=given or split=random",
                path=path,
                rule="split.scaffold",
            )
        return scaffold_groups_split(scaffolds)
    return random_split(len(parts), seed=seed)
