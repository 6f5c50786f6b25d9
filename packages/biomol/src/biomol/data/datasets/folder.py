"""A folder of the user's own files as data sets: what ``data.root=`` means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from biomol.chem.vocab import MolType
from biomol.data.clusters import cluster_chains
from biomol.data.complex import Complex
from biomol.data.datasets.dataset import Dataset, digest_of
from biomol.data.datasets.flip import CLASSES, load_flip_residues, load_flip_values
from biomol.data.datasets.moleculenet import SOURCES, load_moleculenet
from biomol.data.datasets.structures import load_structures, polymer_chains
from biomol.data.datasets.table import load_table
from biomol.data.packed import pack
from biomol.data.splits import cluster_groups_split, murcko_scaffold, scaffold_groups_split
from biomol.io.folder import FolderScan, read_all, scan
from biomol.io.rejection import Rejection
from biomol.io.tables import Property
from scimind.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FolderData:
    """Everything usable in a folder.

    Attributes:
        scan: What was found.
        datasets: One per table, SDF file and FLIP task, one of all structure files, one of all
            FASTA chains; in this order, names unique.
        rejected: Every file, record and row that was refused, those of the data sets included.
    """

    scan: FolderScan
    datasets: tuple[Dataset, ...]
    rejected: tuple[Rejection, ...]


def load_folder(root: str | Path, *, seed: int = 0) -> FolderData:
    """Read a folder of CIF, PDB, SDF, FASTA, CSV and Parquet files.

    Args:
        root: The folder; see ``biomol.io.folder`` for what is read.
        seed: Seed of the splits that are random.

    Returns:
        The data sets. A file that cannot be used is in ``rejected`` and the rest is read.

    Raises:
        InputError: There is no such folder or nothing in it can be used.
    """
    found = scan(root)
    rejected = list(found.rejected)
    datasets: list[Dataset] = []

    def attempt(path: Path, load: Callable[[], Dataset]) -> None:
        try:
            dataset = load()
        except InputError as error:
            rejected.append(Rejection.from_error(error, path=str(path)))
            return
        names = {known.name for known in datasets}
        if dataset.name in names:
            dataset = replace(dataset, name=f"{dataset.name}#{len(datasets)}")
        datasets.append(dataset)
        rejected.extend(dataset.rejected)

    for path in found.files["table"]:
        name = path.name.split(".")[0].lower()
        if name in SOURCES and path.parent.name == "moleculenet":
            attempt(path, lambda p=path, n=name: load_moleculenet(p.parent, n))  # type: ignore[misc]
        else:
            attempt(path, lambda p=path: load_table(p, seed=seed))  # type: ignore[misc]
    for path in found.flip_values:
        task = path.parent.name.removeprefix("flip_")
        attempt(path, lambda p=path, t=task: load_flip_values(p, t))  # type: ignore[misc]
    for path in found.flip_residues:
        task = path.name.removeprefix("flip_")
        kind = task if task in CLASSES else "secondary_structure"
        attempt(path, lambda p=path, k=kind: load_flip_residues(p, name=k))  # type: ignore[misc]
    ligands = list(read_all(found, "ligand", rejected))
    for path, content in ligands:
        attempt(path, lambda p=path, c=content: _ligands(p, c.complexes, c.smiles))  # type: ignore[misc]
    if found.files["structure"]:
        refused: list[Rejection] = []
        try:
            datasets.append(load_structures(found.files["structure"], seed=seed, rejected=refused))
        except InputError as error:
            if not refused:
                rejected.append(Rejection.from_error(error, path=str(found.root)))
        rejected.extend(refused)
    chains = [c for _, content in read_all(found, "fasta", rejected) for c in content.complexes]
    if chains:
        attempt(found.root, lambda: _chains(chains, found.files["fasta"], seed))
    if not datasets:
        reason = rejected[0].message if rejected else "nothing was found"
        raise InputError(
            f"no file can be used; first reason: {reason}", path=found.root, rule="folder.nothing"
        )
    return FolderData(scan=found, datasets=tuple(datasets), rejected=tuple(rejected))


def _ligands(path: Path, complexes: Sequence[Complex], smiles: Sequence[str]) -> Dataset:
    if not complexes:
        raise InputError("no molecule of the file can be used", path=path, rule="sdf.no_records")
    name = path.name.split(".")[0]
    tags = sorted({tag for record in complexes for tag in record.properties})
    renamed = [
        replace(record, properties={f"{name}/{tag}": v for tag, v in record.properties.items()})
        for record in complexes
    ]
    return Dataset(
        name=name,
        records=pack(renamed),
        split=scaffold_groups_split([murcko_scaffold(text) for text in smiles]),
        properties=tuple(Property(f"{name}/{tag}", "regression") for tag in tags),
        keys=tuple(smiles),
        digest=digest_of([path]),
    )


def _chains(complexes: Sequence[Complex], paths: Sequence[Path], seed: int) -> Dataset:
    found = [polymer_chains(record)[0] for record in complexes]
    groups = [""] * len(found)
    for mol_type in (MolType.PROTEIN, MolType.RNA, MolType.DNA):
        members = [i for i, chain in enumerate(found) if chain.mol_type is mol_type]
        clusters = cluster_chains([found[i].sequence for i in members], mol_type)
        for index, cluster in zip(members, clusters, strict=True):
            groups[index] = f"{mol_type.name.lower()}-{cluster}"
    return Dataset(
        name="sequences",
        records=pack(complexes),
        split=cluster_groups_split(groups, seed=seed),
        keys=tuple(chain.sequence for chain in found),
        digest=digest_of(paths),
    )
