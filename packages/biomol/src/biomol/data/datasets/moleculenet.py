"""MoleculeNet tables (Wu et al., Chem. Sci. 9 (2018) 513) with the scaffold split.

The columns are those of the published CSV files; any of the tables may be absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.table import load_table
from biomol.io.tables import Kind, Property
from scimind.errors import InputError


@dataclass(frozen=True)
class _Source:
    """Columns of one table: ``columns`` of the file to property names, or all 0/1 columns."""

    columns: dict[str, str]
    kind: Kind
    unit: str = ""
    molecule: str = "smiles"


SOURCES: dict[str, _Source] = {
    "esol": _Source(
        {"measured log solubility in mols per litre": "esol"}, "regression", "log10(mol/L)"
    ),
    "freesolv": _Source({"expt": "freesolv"}, "regression", "kcal/mol"),
    "lipophilicity": _Source({"exp": "lipophilicity"}, "regression", "logD at pH 7.4"),
    "bbbp": _Source({"p_np": "bbbp"}, "binary"),
    "bace": _Source({"Class": "bace"}, "binary", molecule="mol"),
    "clintox": _Source(
        {"FDA_APPROVED": "clintox/FDA_APPROVED", "CT_TOX": "clintox/CT_TOX"}, "binary"
    ),
    "tox21": _Source({}, "binary"),
    "sider": _Source({}, "binary"),
}
"""Tables known by name."""


def load_moleculenet(folder: str | Path, name: str) -> Dataset:
    """One MoleculeNet table.

    Args:
        folder: Folder of the CSV files.
        name: One of ``SOURCES``.

    Returns:
        The molecules in file order with the 80/10/10 scaffold split. Molecules that RDKit
        refuses are in ``rejected``.

    Raises:
        InputError: The name is unknown, the file is missing or has not the published columns.
    """
    if name not in SOURCES:
        raise InputError(
            f"there is no MoleculeNet table {name!r}; known are {', '.join(SOURCES)}",
            rule="moleculenet.name",
        )
    source = SOURCES[name]
    path = find_table(folder, name)
    if path is None:
        raise InputError(
            f"there is no {name}.csv; download it from MoleculeNet",
            path=folder,
            rule="moleculenet.missing",
        )
    names = source.columns
    dataset = load_table(
        path,
        name=name,
        molecule=source.molecule,
        targets=list(names) or None,
        property_names=names or None,
        split="scaffold",
    )
    properties = tuple(
        Property(found.name, source.kind, source.unit) for found in dataset.properties
    )
    return replace(dataset, properties=properties)


def find_table(folder: str | Path, name: str) -> Path | None:
    """The CSV file of a table in a folder, plain or gzipped, None if absent."""
    for suffix in (".csv", ".csv.gz"):
        path = Path(folder) / f"{name}{suffix}"
        if path.is_file():
            return path
    return None
