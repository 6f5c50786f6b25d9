"""Reading untrusted files: bounded, without executing anything, with errors a user can act on.

Every reader takes a size limit and raises ``InputError`` with the file, the line where it is
known, and the broken rule. Nothing here unpickles, evaluates or extracts.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scimind.errors import InputError

MAX_TEXT_BYTES = 1 << 30
MAX_DOCUMENT_BYTES = 1 << 26  # JSON: parsed as a whole, tens of times larger in memory
MAX_ARRAY_BYTES = 4 << 30
MAX_DEPTH = 64
_CHUNK_BYTES = 1 << 20


def read_bytes(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Content of a regular file; ``.gz`` is decompressed up to the limit.

    Raises:
        InputError: The file is missing, not a regular file, unreadable, too large, or its
            compressed stream is damaged.
    """
    path = Path(path)
    try:
        # A FIFO or device would block or never end.
        if path.exists() and not path.is_file():
            raise InputError(
                "this is not a regular file; give the path of a file", path=path, rule="file.kind"
            )
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = bytearray()
            while chunk := file.read(_CHUNK_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    raise InputError(
                        f"the content exceeds {max_bytes} bytes; split the file",
                        path=path,
                        rule="file.size",
                    )
            return bytes(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the compressed stream is damaged ({error}); copy the file again",
            path=path,
            rule="file.gzip",
        ) from error
    except FileNotFoundError as error:
        raise InputError(
            "the file does not exist; check the path", path=path, rule="file.missing"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError(
            f"the file cannot be read ({error}); check its permissions",
            path=path,
            rule="file.unreadable",
        ) from error


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Content of a UTF-8 text file, a byte order mark removed, line ends as newlines.

    Raises:
        InputError: As ``read_bytes``; or the bytes are not UTF-8, or hold a null character.
    """
    content = read_bytes(path, max_bytes)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {content[error.start]:#04x} is not UTF-8; convert the file to UTF-8",
            path=path,
            line=content.count(b"\n", 0, error.start) + 1,
            rule="text.encoding",
        ) from error
    if (position := text.find("\0")) >= 0:
        raise InputError(
            "the text holds a null character, so this is a binary or damaged file",
            path=path,
            line=text.count("\n", 0, position) + 1,
            rule="text.null",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """Content of a strict JSON file: no NaN, no repeated keys, at most 64 levels.

    Raises:
        InputError: As ``read_text``, or the text is no such JSON.
    """
    text = read_text(path, max_bytes)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(
                f"the key {twice!r:.80} occurs twice in one object; keep one",
                path=path,
                rule="json.duplicate",
            )
        return content

    def constant(name: str) -> Any:
        raise InputError(
            f"{name} is no JSON number; use null for a missing value",
            path=path,
            rule="json.constant",
        )

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            constant(f"{digits:.40}")
        return value

    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_constant=constant, parse_float=number
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"{error.msg}; correct the JSON", path=path, line=error.lineno, rule="json.syntax"
        ) from error
    except RecursionError as error:
        raise InputError(
            f"the nesting exceeds {MAX_DEPTH} levels; flatten the document",
            path=path,
            rule="json.depth",
        ) from error
    except ValueError as error:  # more than 4300 digits in an integer
        raise InputError(f"{error}; correct the number", path=path, rule="json.number") from error
    _check_depth(value, path, "json.depth")
    return value


_MAX_CELL = 131_072


def read_csv(
    path: Path, *, delimiter: str = ",", max_bytes: int = MAX_TEXT_BYTES
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header line, as ``(line number, cells by column)``.

    Empty lines are skipped. Every other line has as many cells as the header.

    Raises:
        InputError: As ``read_text``; no header, a repeated or empty column name, a row of
            another width, or an unclosed quote.
    """
    text = read_text(path, max_bytes)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            first, line = line, reader.line_num + 1
            # The limit of the csv module belongs to the process, and SciPy and MindSpore raise it.
            if any(len(cell) > _MAX_CELL for cell in cells):
                raise csv.Error(f"a cell has more than {_MAX_CELL} characters")
            if not cells or (len(cells) == 1 and not cells[0].strip() and header is None):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(header, path, first)
            elif len(cells) != len(header):
                raise InputError(
                    f"the row has {len(cells)} cells and the header has {len(header)}; "
                    "check for missing separators or unquoted ones",
                    path=path,
                    line=first,
                    rule="csv.width",
                )
            else:
                yield first, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(
            f"{error}; check the quotes", path=path, line=reader.line_num, rule="csv.syntax"
        ) from error
    if header is None:
        raise InputError(
            "the file has no header line; name the columns in the first line",
            path=path,
            rule="csv.header",
        )


def _check_header(header: list[str], path: Path, line: int) -> None:
    for name in header:
        if not name or header.count(name) > 1:
            problem = "is empty" if not name else "occurs twice"
            raise InputError(
                f"the column name {name!r:.80} {problem}; give every column its own name",
                path=path,
                line=line,
                rule="csv.header",
            )


def read_npy(path: Path, max_bytes: int = MAX_ARRAY_BYTES) -> np.ndarray:
    """Array of an ``.npy`` file; numbers, booleans and strings only.

    Raises:
        InputError: As ``read_bytes``; the array would hold Python objects, or its declared size
            is over the limit or differs from the size of the file.
    """
    content = read_bytes(path, max_bytes + (1 << 16))
    return _parse_npy(io.BytesIO(content), len(content), path, max_bytes)


def read_npz(path: Path, max_bytes: int = MAX_ARRAY_BYTES) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name; the limit is on the decompressed total.

    Sizes are counted while decompressing, so an archive that lies about them gains nothing.

    Raises:
        InputError: As ``read_npy``; or the archive is damaged or repeats a name.
    """
    content = read_bytes(path, max_bytes)
    # zipfile would also read an archive that is appended to something else.
    if content[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise InputError(
            f"the file begins with {content[:4]!r} and not like a zip archive; write it again",
            path=path,
            rule="npz.archive",
        )
    arrays: dict[str, np.ndarray] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise InputError(
                        f"the archive holds {name!r:.80} twice; write it again",
                        path=path,
                        rule="npz.duplicate",
                    )
                with archive.open(entry) as file:
                    data = file.read(left + 1)
                if len(data) > left:
                    raise InputError(
                        f"the decompressed arrays exceed {max_bytes} bytes; split the file",
                        path=path,
                        rule="npz.size",
                    )
                left -= len(data)
                arrays[name] = _parse_npy(io.BytesIO(data), len(data), path, max_bytes)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
        OverflowError,
    ) as error:
        raise InputError(
            f"the archive is damaged ({error}); copy or write the file again",
            path=path,
            rule="npz.archive",
        ) from error
    return arrays


_ARRAY_KINDS = "biufcSU"


def _parse_npy(file: io.BytesIO, size: int, path: Path, max_bytes: int) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format version {version} is not supported")
        header_end = struct.unpack("<H" if version == (1, 0) else "<I", file.read(version[0] * 2))
        header = ast.literal_eval(file.read(min(header_end[0], 10_000)).decode("latin1"))
        dtype, shape, fortran = (
            np.dtype(header["descr"]),
            header["shape"],
            header["fortran_order"],
        )
        if not (isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)):
            raise ValueError(f"shape {shape!r:.80} is not a tuple of non-negative integers")
    except (
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        struct.error,
        MemoryError,
        RecursionError,
    ) as error:
        raise InputError(
            f"the array header is damaged ({error}); write the file again",
            path=path,
            rule="npy.header",
        ) from error
    if dtype.hasobject or dtype.kind not in _ARRAY_KINDS:
        raise InputError(
            f"the array holds {dtype} values; only numbers, booleans and strings are read, since "
            "Python objects would run code",
            path=path,
            rule="npy.objects",
        )
    declared = math.prod(shape) * dtype.itemsize
    if declared > max_bytes or declared != size - file.tell():
        raise InputError(
            f"the header declares {declared} bytes of data, the file has {size - file.tell()} and "
            f"the limit is {max_bytes}; write the file again",
            path=path,
            rule="npy.size",
        )
    try:
        flat = np.frombuffer(file.read(), dtype=dtype, count=math.prod(shape)).copy()
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:  # (0, 10**30), or strings of length 0
        raise InputError(
            f"shape {shape} of {dtype} cannot be built ({error}); write the file again",
            path=path,
            rule="npy.size",
        ) from error


def _check_depth(value: Any, path: Path, rule: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(
                f"the nesting exceeds {MAX_DEPTH} levels; flatten the document",
                path=path,
                rule=rule,
            )
        level = [
            child
            for entry in level
            if isinstance(entry, dict | list)
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
