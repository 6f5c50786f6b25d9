"""What a run was made of: configuration, commit, versions, machine, data.

The name of the machine and of the user are left out on purpose: these files are published.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from scimind.config import RunConfig, save_resolved, to_plain
from scimind.errors import InputError

CONFIG_FILE = "config.yaml"
PROVENANCE_FILE = "provenance.json"
LIBRARIES = (
    "scimind",
    "scimind-biomol",
    "mindspore",
    "numpy",
    "scipy",
    "protobuf",
    "safetensors",
    "hydra-core",
    "rdkit",
    "gemmi",
    "biotite",
    "biopython",
    "pandas",
    "pyarrow",
)
MAX_HASHED_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class DataDigest:
    """Fingerprint of a file or of all files of a folder.

    Attributes:
        name: Last part of the path; where the data lies on one machine says nothing about it.
        sha256: Over the relative names and the contents of the files.
        files: Number of files.
        bytes: Their total size.
        complete: False when the contents exceeded the limit: ``sha256`` then covers the names and
            sizes of all files, but the contents only of those before the limit.
    """

    name: str
    sha256: str
    files: int
    bytes: int
    complete: bool


def config_hash(config: Any) -> str:
    """SHA-256 of a configuration's values; the folder of the run does not count."""
    values = to_plain(config)
    if isinstance(values, dict):
        values.pop("output", None)
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def commit_state(folder: Path | None = None) -> tuple[str, bool] | None:
    """Commit of the checkout this library runs from, and whether files differ from it.

    Args:
        folder: A folder of a checkout; by default that of this module.

    Returns:
        ``None`` without git, and for an installed copy, even inside somebody else's checkout.
    """
    here = Path(__file__).resolve()
    where = folder or here.parent
    try:
        if folder is None:
            _git(where, "ls-files", "--error-unmatch", here.name)
        commit = _git(where, "rev-parse", "HEAD")
        changes = _git(where, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit, bool(changes)


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return answer.stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    """Python and the libraries that decide the numbers; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def hardware() -> dict[str, str]:
    """Processor name, the cores this process may use, memory and operating system."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": f"{memory / 2**30:.1f}",
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def data_digest(path: str | Path, max_bytes: int = MAX_HASHED_BYTES) -> DataDigest:
    """Fingerprint of a file or folder; moving it does not change the fingerprint.

    Hidden files are left out. Links are followed when they lead to files, not to folders.

    Args:
        path: File or folder.
        max_bytes: Contents are read up to this total, in the order of the names.

    Raises:
        InputError: The path is missing or a file cannot be read.
    """
    root = Path(path)
    if not root.exists():
        raise InputError("no such file or folder", path=root, rule="data.missing")
    total = hashlib.sha256()
    count = size = read = 0
    complete = True
    for name, file in sorted(_files(root)):
        try:
            length = file.stat().st_size
            if read + length <= max_bytes:
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                read += length
            else:
                digest, complete = "", False
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", path=file, rule="data.unreadable"
            ) from error
        total.update(f"{name}\0{length}\0{digest}\n".encode(errors="surrogateescape"))
        count, size = count + 1, size + length
    return DataDigest(
        name=root.name, sha256=total.hexdigest(), files=count, bytes=size, complete=complete
    )


def _files(root: Path) -> Iterable[tuple[str, Path]]:
    if root.is_file():
        yield root.name, root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file():
                yield file.relative_to(root).as_posix(), file


def write(run_dir: str | Path, config: RunConfig, *, data: Sequence[str | Path] = ()) -> Path:
    """Write ``config.yaml`` and ``provenance.json`` into the folder of a run.

    Call it once the folder is known to belong to this run. A resumed run replaces the files; the
    earlier records stay in ``provenance.json`` under ``earlier``.

    Args:
        run_dir: Folder of the run; created if needed.
        config: The resolved configuration.
        data: Files and folders that the run reads.

    Returns:
        The path of ``provenance.json``.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    save_resolved(config, run_dir / CONFIG_FILE)
    state = commit_state()
    record: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": None,
        "cpu_seconds": round(cpu_seconds(), 1),
        "arguments": sys.argv[1:],
        "seed": config.seed,
        "config_sha256": config_hash(config),
        "commit": None if state is None else state[0],
        "dirty": None if state is None else state[1],
        "versions": library_versions(),
        "hardware": hardware(),
        "data": [asdict(data_digest(path)) for path in data],
        "max_hashed_bytes": MAX_HASHED_BYTES,
        "earlier": _earlier(run_dir / PROVENANCE_FILE),
    }
    return _replace(run_dir / PROVENANCE_FILE, record)


def finish(run_dir: str | Path) -> None:
    """Add the end and the CPU time of the process to the record that `write` made."""
    path = Path(run_dir, PROVENANCE_FILE)
    record = json.loads(path.read_text(encoding="utf-8"))
    record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    record["cpu_seconds"] = round(cpu_seconds(), 1)
    _replace(path, record)


def _earlier(path: Path) -> list[Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(record, dict):
        return []
    earlier = record.pop("earlier", [])
    return [*earlier, record] if isinstance(earlier, list) else [record]


def _replace(path: Path, record: dict[str, Any]) -> Path:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
