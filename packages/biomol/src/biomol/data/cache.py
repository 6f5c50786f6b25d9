"""Prepared records on disk: one ``.npz`` per (source, versions, options), never pickled.

A cache is an optimisation only: a damaged or foreign file is named in the log and built again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biomol.data.packed import PackedComplexes
from scimind.errors import InputError
from scimind.reading import read_npz

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Raise when the layout of ``PackedComplexes`` or its meaning changes."""


def load_or_build(
    folder: Path | None,
    name: str,
    key: Mapping[str, Any],
    build: Callable[[], tuple[PackedComplexes, dict[str, Any]]],
) -> tuple[PackedComplexes, dict[str, Any]]:
    """Records and their description from the cache, or built and put there.

    Args:
        folder: Cache folder; None builds without a cache.
        name: Readable part of the file name.
        key: Everything the result depends on: versions, options, digests. JSON-able.
        build: Makes the records and a JSON-able description.

    Returns:
        The records and the description.
    """
    if folder is None:
        return build()
    text = json.dumps({"format": FORMAT_VERSION, "numpy": np.__version__, **key}, sort_keys=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        try:
            return read_packed(path, text)
        except InputError as error:
            log.warning("%s; it is built again", error)
    records, description = build()
    try:
        write_packed(path, records, description, text)
    except OSError as error:
        log.warning("the cache %s cannot be written (%s); the next run prepares again", path, error)
    return records, description


def write_packed(
    path: Path, records: PackedComplexes, description: dict[str, Any], key: str
) -> None:
    """Write records in one step: a temporary file, flushed to disk, then renamed.

    Args:
        path: The ``.npz`` file.
        records: What to write.
        description: JSON-able companion.
        key: What the content depends on, compared when it is read.
    """
    meta = json.dumps({"key": key, "description": description, "text": records.text})
    arrays = {f"array:{name}": array for name, array in records.arrays.items()}
    arrays["meta"] = np.frombuffer(meta.encode("utf-8"), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_packed(path: Path, key: str) -> tuple[PackedComplexes, dict[str, Any]]:
    """Read what ``write_packed`` wrote.

    Args:
        path: The ``.npz`` file.
        key: The key it must have been written with.

    Returns:
        The records and the description.

    Raises:
        InputError: The file is damaged (each array carries a checksum), or has another key.
    """
    arrays = read_npz(path)
    try:
        meta = json.loads(arrays.pop("meta").tobytes().decode("utf-8"))
        stored, description, text = meta["key"], meta["description"], tuple(meta["text"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"the cache has no readable description ({error})", path=path, rule="cache.meta"
        ) from None
    if stored != key:
        raise InputError("the cache belongs to other data", path=path, rule="cache.key")
    fields = {name.removeprefix("array:"): array for name, array in arrays.items()}
    records = PackedComplexes(arrays=fields, text=text)
    problem = records.inconsistency()
    if problem:
        raise InputError(f"the cache is damaged: {problem}", path=path, rule="cache.content")
    return records, description
