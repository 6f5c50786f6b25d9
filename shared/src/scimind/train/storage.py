"""Folders that exist completely or not at all, and notice any change to their bytes.

A folder is written under a temporary name, every file and the folder are flushed to the disk, and
only then it gets its name. A manifest lists size and SHA-256 of each file and carries its own
digest, so that a flipped bit, a cut file or a file of another folder is an error, never data.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scimind.errors import CheckpointError, EnvironmentProblem

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write all files of a new folder, or nothing.

    Args:
        folder: Final path; must not exist. Its parent is created.
        files: Names and contents; a generator keeps one content in memory at a time.

    Raises:
        EnvironmentProblem: The disk is full or not writable; nothing is left behind.
        FileExistsError: The folder exists.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; checkpoints are never overwritten")
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        entries: dict[str, Any] = {}
        for name, content in files:
            _check_name(name, folder)
            _write_durably(temporary / name, content)
            entries[name] = {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        _write_durably(temporary / MANIFEST, _manifest_bytes(entries))
        flush_folder(temporary)
        temporary.rename(folder)
        flush_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise EnvironmentProblem(
            f"cannot write {folder}: {error.strerror or error}; earlier checkpoints are untouched"
            f"{_remedy(error)}"
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of each file of a folder.

    Raises:
        CheckpointError: The manifest is missing, damaged, or names something outside the folder.
    """
    path = folder / MANIFEST
    try:
        content = _read(path, MAX_MANIFEST_BYTES)
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise CheckpointError(f"there is no checkpoint {folder}") from error
        raise CheckpointError(f"{path} is missing: the checkpoint is incomplete") from error
    try:
        entries = json.loads(content)["files"]
        intact = _manifest_bytes(entries) == content
        files = {name: (int(e["bytes"]), str(e["sha256"])) for name, e in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: not a manifest") from error
    if not intact:
        raise CheckpointError(f"{path} is damaged: it does not match its own digest")
    if len(files) > MAX_FILES:
        raise CheckpointError(f"{path} lists {len(files)} files; at most {MAX_FILES} are read")
    for name in files:
        _check_name(name, folder)
    return files


def read_file(folder: Path, name: str, manifest: dict[str, tuple[int, str]]) -> bytes:
    """Content of one file, equal to what the manifest says.

    Raises:
        CheckpointError: The file is not listed, missing, or differs in any bit.
    """
    path = folder / name
    if name not in manifest:
        raise CheckpointError(f"{folder} holds no {name}; it has {', '.join(sorted(manifest))}")
    size, digest = manifest[name]
    try:
        content = _read(path, size)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: the checkpoint is incomplete") from error
    if len(content) != size:
        raise CheckpointError(f"{path} is truncated: {len(content)} of {size} bytes")
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}")
    return content


def manifest_digest(folder: Path) -> str:
    """SHA-256 that identifies a checkpoint: over the manifest, hence over all its files."""
    read_manifest(folder)
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def remove_folder(folder: Path) -> None:
    """Remove a folder so that an interruption never leaves half of it under its name."""
    doomed = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}-old")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_litter(parent: Path) -> int:
    """Remove what interrupted writes left; only for the owner of the run folder."""
    litter = list(parent.glob(f"{TEMPORARY}*"))
    for folder in litter:
        shutil.rmtree(folder, ignore_errors=True)
    return len(litter)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_bytes(entries: dict[str, Any]) -> bytes:
    body = json.dumps(entries, sort_keys=True, indent=1)
    digest = hashlib.sha256(body.encode()).hexdigest()
    # Rebuilt and compared byte for byte on reading: there is one spelling only.
    return json.dumps({"files": entries, "sha256": digest}, sort_keys=True, indent=1).encode()


def _check_name(name: str, folder: Path) -> None:
    if not _NAME.fullmatch(name) or name == MANIFEST:
        raise CheckpointError(f"{folder}: file name {name!r} is not a plain name; refusing it")


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, limit: int) -> bytes:
    """At most ``limit`` bytes of a regular file; links, pipes and devices are refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise CheckpointError(f"cannot read {path}: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"cannot read {path}: not a regular file")
        if status.st_size > limit:
            raise CheckpointError(f"{path} has {status.st_size} bytes; expected at most {limit}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free space, or set output= to another disk, then resume"
    return "; set output= to a folder that can be written"
