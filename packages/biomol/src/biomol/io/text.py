"""Text of an input file: plain or gzipped UTF-8, with every way it can be broken named."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from scimind.errors import InputError

MAX_BYTES = 1 << 30
"""Files that unpack to more are refused, so that a small archive cannot fill the memory."""


def read_bytes(path: str | Path) -> bytes:
    """Content of a file, unpacked when its name ends with ``.gz``.

    Args:
        path: The file.

    Returns:
        The bytes.

    Raises:
        InputError: It is missing, unreadable, a damaged archive or larger than ``MAX_BYTES``.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                data = file.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("there is no such file", path=path, rule="file.missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"the gzip archive is damaged ({error}); fetch or pack it again",
            path=path,
            rule="file.gzip",
        ) from None
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", path=path, rule="file.read"
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            f"the file holds more than {MAX_BYTES >> 20} MiB; split it", path=path, rule="file.size"
        )
    return data


def read_text(path: str | Path) -> str:
    """Text of a UTF-8 file with Unix line ends and without byte order mark.

    Args:
        path: The file, plain or gzipped.

    Returns:
        The text.

    Raises:
        InputError: See ``read_bytes``; or it is not UTF-8, or holds NUL bytes.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8",
            path=path,
            line=data[: error.start].count(b"\n") + 1,
            rule="file.encoding",
        ) from None
    if "\0" in text:
        raise InputError(
            "the file holds NUL bytes: it is binary, UTF-16 or damaged; save it as UTF-8 text",
            path=path,
            line=text[: text.index("\0")].count("\n") + 1,
            rule="file.encoding",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
