"""A folder of the user's files: which are read, and what was refused.

Structures (PDB, mmCIF, BinaryCIF), ligands (SDF, MOL), sequences (FASTA) and tables (CSV, TSV,
Parquet) are found recursively; other files are counted and left alone. FLIP folders and tables are
recognised anywhere and named for the reader that knows their splits. The layout of the project's
own data (folders ``structures`` and ``property/moleculenet``) is recognised as a whole: only
``PROJECT_FOLDERS`` are read of it, never its benchmarks.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomol.io.fasta import FastaFile, read_fasta
from biomol.io.ligand import LigandFile, read_sdf
from biomol.io.rejection import Rejection, write_rejected
from biomol.io.structure import StructureFile, is_structure_file, read_structure
from biomol.io.tables import Table, read_table
from scimind.errors import InputError

__all__ = ["KINDS", "FolderScan", "Rejection", "read_all", "scan", "write_rejected"]

KINDS: dict[str, tuple[str, ...]] = {
    "structure": (".pdb", ".ent", ".cif", ".mmcif", ".bcif"),
    "ligand": (".sdf", ".mol", ".sd"),
    "fasta": (".fasta", ".fa", ".faa", ".fna"),
    "table": (".csv", ".tsv", ".parquet", ".pq"),
}
"""Kind of record by file ending; each ending but ``.parquet`` may be followed by ``.gz``."""

PROJECT_FOLDERS = ("structures", "property/moleculenet", "property/flip_*")
"""What is read of the project's own data; its benchmarks, reference tensors, parser examples and
the tables that need readers of their own (affinity, ddG) are not trained on."""

_DESCRIPTIONS = ("manifest.csv", "index.csv")
FLIP_RESIDUES = ("sequences.fasta", "sequences.fasta.gz")
FLIP_HEADER = "sequence,target,set,validation"

_READERS: dict[str, Callable[[Path], StructureFile | LigandFile | FastaFile | Table]] = {
    "structure": read_structure,
    "ligand": read_sdf,
    "fasta": read_fasta,
    "table": read_table,
}


@dataclass(frozen=True, kw_only=True)
class FolderScan:
    """Files of a folder by what they are.

    Attributes:
        root: The folder.
        files: Files of each of ``KINDS``, sorted; files of FLIP folders are not among them.
        flip_residues: Folders with FLIP's parallel FASTA files.
        flip_values: FLIP tables with one value per sequence.
        ignored: Number of files of no known kind, by ending.
        excluded: Number of files outside ``PROJECT_FOLDERS`` where these apply, and of tables
            named manifest or index that describe the files beside them.
        rejected: Files that cannot be opened or are empty.
    """

    root: Path
    files: dict[str, tuple[Path, ...]]
    flip_residues: tuple[Path, ...] = ()
    flip_values: tuple[Path, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    excluded: int = 0
    rejected: tuple[Rejection, ...] = ()

    @property
    def num_files(self) -> int:
        """Files that will be read."""
        return sum(map(len, self.files.values())) + len(self.flip_values)


def kind_of(path: Path) -> str | None:
    """Kind of a file by its ending, None if it is not read."""
    if is_structure_file(path):
        return "structure"
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind, endings in KINDS.items() if name.endswith(endings)), None)


def scan(root: str | Path) -> FolderScan:
    """Find the files of a folder; nothing is parsed yet.

    Args:
        root: The folder, or a single file.

    Returns:
        What was found.

    Raises:
        InputError: The folder does not exist, or holds no file of a known kind.
    """
    root = Path(root)
    if not root.exists():
        raise InputError("there is no such folder", path=root, rule="folder.missing")
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    flip_residues: list[Path] = []
    flip_values: list[Path] = []
    ignored: Counter[str] = Counter()
    rejected: list[Rejection] = []
    excluded = 0
    project = (root / "structures").is_dir() and (root / "property" / "moleculenet").is_dir()
    for path in _files(root):
        if (project and not _in_project_folder(path.relative_to(root))) or (
            path != root and path.name.lower() in _DESCRIPTIONS
        ):
            excluded += 1
            continue
        kind = kind_of(path)
        if kind is None or path.name.startswith("."):
            ignored[path.suffix.lower() or "(none)"] += 1
            continue
        problem = _problem(path)
        if problem:
            rejected.append(Rejection(str(path), None, *problem))
        elif kind == "fasta" and _is_flip_folder(path.parent):
            if path.name in FLIP_RESIDUES:
                flip_residues.append(path.parent)
        elif kind == "table" and _is_flip_table(path):
            flip_values.append(path)
        else:
            found[kind].append(path)
    result = FolderScan(
        root=root,
        files={kind: tuple(paths) for kind, paths in found.items()},
        flip_residues=tuple(flip_residues),
        flip_values=tuple(flip_values),
        ignored=dict(ignored),
        excluded=excluded,
        rejected=tuple(rejected),
    )
    if result.num_files + len(flip_residues) + len(rejected) == 0:
        raise InputError(
            f"the folder holds no file to read ({sum(ignored.values())} of other kinds); supported "
            f"are {', '.join(ending for endings in KINDS.values() for ending in endings)}",
            path=root,
            rule="folder.empty",
        )
    return result


def read_all(
    result: FolderScan, kind: str, rejected: list[Rejection]
) -> Iterator[tuple[Path, Any]]:
    """Read every file of a kind; a file that cannot be read is recorded and the rest goes on.

    Args:
        result: A scan.
        kind: One of ``KINDS``.
        rejected: Takes the refusals, of files and of records within files.

    Yields:
        Path and content: ``StructureFile``, ``LigandFile``, ``FastaFile`` or ``Table``.
    """
    reader = _READERS[kind]
    for path in result.files[kind]:
        try:
            content = reader(path)
        except InputError as error:
            rejected.append(Rejection.from_error(error, path=str(path)))
            continue
        if isinstance(content, LigandFile | FastaFile):
            rejected.extend(content.dropped)
        elif isinstance(content, Table):
            rejected.extend(content.rejected)
        yield path, content


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder) / name


def _problem(path: Path) -> tuple[str, str] | None:
    try:
        if path.stat().st_size == 0:
            return "file.empty", "the file is empty"
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return "file.read", f"the file cannot be read: {error.strerror or error}"
    return None


def _is_flip_folder(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FLIP_RESIDUES)


def _is_flip_table(path: Path) -> bool:
    """The header is FLIP's; only the first bytes are read."""
    if not path.name.lower().removesuffix(".gz").endswith(".csv"):
        return False
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(len(FLIP_HEADER) + 8)
    except (OSError, EOFError):
        return False
    return head.decode("utf-8-sig", "replace").lower().lstrip().startswith(FLIP_HEADER)


def _in_project_folder(path: Path) -> bool:
    return any(
        path.match(f"{folder}/*") or any(parent.match(folder) for parent in path.parents)
        for folder in PROJECT_FOLDERS
    )
