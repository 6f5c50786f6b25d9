"""Downloads that are either complete and of the expected content, or not there.

A transfer goes to ``<name>.part``; the final name appears, by rename, only after size and SHA-256
match. What was received stays for the next attempt, which asks the server for the rest only.

Environment: ``SCIMIND_CACHE`` (folder), ``SCIMIND_OFFLINE=1`` (never touch the network),
``SCIMIND_MIRROR`` (comma-separated base URLs, tried first as ``<base>/<name>``).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scimind.data.cache import cache_folder, exclusive
from scimind.errors import EnvironmentProblem, InputError

_CHUNK = 1 << 18
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


class DownloadError(EnvironmentProblem):
    """No address gave the file; the message lists every address with its reason."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One entry of a registry.

    Attributes:
        name: File name in the cache.
        urls: Addresses of the same bytes, best first.
        sha256: Digest of the content, in lower-case hexadecimal.
        size: Bytes.
        licence: Licence and conditions, shown before the transfer.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    licence: str

    def __post_init__(self) -> None:
        problems = []
        if not re.fullmatch(r"[\w][\w.+-]*", self.name):
            problems.append(f"name {self.name!r} must be a plain file name")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            problems.append(f"sha256 {self.sha256!r} must be 64 lower-case hexadecimal digits")
        if not isinstance(self.size, int) or self.size < 0:
            problems.append(f"size {self.size!r} must be a number of bytes")
        if not self.licence:
            problems.append("licence is empty; name it, or say that it is unknown")
        bad = [url for url in self.urls if not re.match(r"https?://[^/]", url)]
        if bad or not self.urls:
            problems.append(f"urls must be http or https addresses, found {bad or 'none'}")
        if problems:
            raise InputError("; ".join(problems), rule="download.entry")


@dataclass(frozen=True, kw_only=True)
class DownloadPolicy:
    """Patience of a download.

    Attributes:
        timeout_s: Longest silence of a server, and the window of ``min_bytes_per_s``.
        min_bytes_per_s: A server slower than this over a whole window counts as failed.
        attempts: Tries per address; only failures that may pass are tried again.
        backoff_s: Wait before the second try; it doubles.
        lock_timeout_s: Longest wait for another process that downloads the same file.
    """

    timeout_s: float = 30.0
    min_bytes_per_s: float = 1024.0
    attempts: int = 4
    backoff_s: float = 1.0
    lock_timeout_s: float = 3600.0


def load_registry(path: Path) -> dict[str, RemoteFile]:
    """Reads a JSON list of entries with the fields of ``RemoteFile``, by name.

    Raises:
        InputError: The file is no such list, or two entries have one name.
    """
    names = {field.name for field in fields(RemoteFile)}
    entries: dict[str, RemoteFile] = {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path, rule="download.registry") from error
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        if not isinstance(row, dict) or set(row) != names or not isinstance(row["urls"], list):
            found = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise InputError(
                f"entry has {found}, it needs {sorted(names)}", path=path, line=number,
                rule="download.registry",
            )  # fmt: skip
        entry = RemoteFile(**{**row, "urls": tuple(row["urls"])})
        if entry.name in entries:
            raise InputError(f"{entry.name} comes twice", path=path, line=number,
                             rule="download.registry")  # fmt: skip
        entries[entry.name] = entry
    return entries


def print_to_stderr(message: str) -> None:
    """The default announcement: one line that is seen whatever the log level."""
    print(message, file=sys.stderr, flush=True)


def fetch(
    file: RemoteFile,
    *,
    cache: Path | None = None,
    policy: DownloadPolicy = DownloadPolicy(),
    announce: Callable[[str], None] = print_to_stderr,
) -> Path:
    """The path of a file's verified content, from the cache or from the network.

    Args:
        file: The entry.
        cache: Folder of the cache; by default ``cache_folder()``.
        policy: Timeouts and retries.
        announce: Told the size, address and licence before a transfer, and every retry.

    Raises:
        DownloadError: Offline and not in the cache, or no address gave the expected content.
        EnvironmentProblem: The cache cannot be written, or the disk is full.
    """
    folder = (cache or cache_folder()) / file.sha256[:16]
    final = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(
            folder / f"{file.name}.lock", timeout_s=policy.lock_timeout_s, announce=announce
        ):
            if final.exists():
                if _matches(final, file):
                    return final
                announce(f"{final} no longer has the content of {file.name}; fetching it again")
                final.unlink()
            _transfer(file, folder / f"{file.name}.part", final, policy, announce)
    except OSError as error:
        raise EnvironmentProblem(
            f"{final} cannot be written: {error.strerror or error}; free space or set "
            "SCIMIND_CACHE to another folder"
        ) from error
    return final


class _Failed(Exception):
    """One attempt did not work; ``again`` tells whether another one may."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


def _transfer(
    file: RemoteFile,
    part: Path,
    final: Path,
    policy: DownloadPolicy,
    announce: Callable[[str], None],
) -> None:
    if os.environ.get("SCIMIND_OFFLINE", "") not in {"", "0"}:
        raise DownloadError(
            f"{file.name} ({_megabytes(file.size)}) is not in the cache and SCIMIND_OFFLINE is "
            f"set; download {file.urls[0]} elsewhere and copy it to {final}, or unset the "
            "variable"
        )
    received = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < file.size - received:
        raise EnvironmentProblem(
            f"{file.name} needs {_megabytes(file.size - received)}, {part.parent} has "
            f"{_megabytes(free)} left; free space or set SCIMIND_CACHE to another folder"
        )
    mirrors = [base for base in os.environ.get("SCIMIND_MIRROR", "").split(",") if base.strip()]
    addresses = [f"{base.strip().rstrip('/')}/{file.name}" for base in mirrors] + list(file.urls)
    announce(
        f"downloading {file.name}, {_megabytes(file.size)}, licence: {file.licence}, from "
        f"{addresses[0]}"
    )
    reasons = []
    for address in addresses:
        for attempt in range(policy.attempts):
            try:
                _attempt(address, file, part, policy)
            except _Failed as failure:
                reasons.append(f"{address}: {failure}")
                announce(f"{address}: {failure}")
                if not failure.again:
                    break
                if attempt + 1 < policy.attempts:
                    time.sleep(policy.backoff_s * 2**attempt)
            else:
                os.replace(part, final)  # noqa: PTH105
                _sync_folder(final.parent)
                return
    raise DownloadError(
        f"{file.name} could not be downloaded: {'; '.join(dict.fromkeys(reasons))}. Check the "
        f"network or set SCIMIND_MIRROR, or copy the file by hand to {final}"
    )


def _attempt(address: str, file: RemoteFile, part: Path, policy: DownloadPolicy) -> None:
    received = part.stat().st_size if part.exists() else 0
    if received > file.size:
        part.unlink()
        received = 0
    resumed = received > 0
    if received < file.size or not part.exists():
        _receive(address, file, part, received, policy)
    if not _matches(part, file):
        found = _sha256(part)
        part.unlink()
        # A resumed file may mix two versions; a fresh one of the wrong content stays wrong.
        raise _Failed(f"sha256 is {found}, expected {file.sha256}", again=resumed)


def _receive(
    address: str, file: RemoteFile, part: Path, received: int, policy: DownloadPolicy
) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": "scimind"})
    if received:
        request.add_header("Range", f"bytes={received}-")
    try:
        with _opener().open(request, timeout=policy.timeout_s) as response:
            mode = "ab" if received and _continues(response, received) else "wb"
            with part.open(mode) as target:
                _copy(response, target, file.size - (received if mode == "ab" else 0), policy)
                target.flush()
                os.fsync(target.fileno())
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
        again = error.code in _TRANSIENT_STATUS or error.code == 416
        raise _Failed(f"HTTP {error.code} {error.reason}", again=again) from error
    except urllib.error.URLError as error:
        raise _Failed(str(error.reason), again=True) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Failed(str(error) or type(error).__name__, again=True) from error
    if part.stat().st_size < file.size:
        raise _Failed(f"ended after {part.stat().st_size} of {file.size} bytes", again=True)


def _continues(response: Any, received: int) -> bool:
    if response.status != 206:
        return False
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {received}-"):
        raise _Failed(f"asked for byte {received}, got {content_range!r}", again=False)
    return True


def _copy(response: Any, target: Any, expected: int, policy: DownloadPolicy) -> None:
    window_start, window_bytes = time.monotonic(), 0
    remaining = expected
    while chunk := response.read1(_CHUNK):
        remaining -= len(chunk)
        if remaining < 0:
            raise _Failed(f"sends more than the expected {expected} bytes", again=False)
        target.write(chunk)
        window_bytes += len(chunk)
        elapsed = time.monotonic() - window_start
        if elapsed > policy.timeout_s:
            if window_bytes < policy.min_bytes_per_s * elapsed:
                raise _Failed(f"too slow, {window_bytes / elapsed:.0f} bytes/s", again=True)
            window_start, window_bytes = time.monotonic(), 0


def _opener() -> urllib.request.OpenerDirector:
    # Only these handlers: the default opener also follows redirections to ftp: and reads file:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _matches(path: Path, file: RemoteFile) -> bool:
    return path.stat().st_size == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
